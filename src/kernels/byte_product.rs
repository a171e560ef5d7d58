//! Products of rows with a matrix of weights that was put in order for them beforehand, both in 8 bits.
//!
//! Four products of bytes are added to a sum by one instruction, so that this is up to four times as fast as with floats.
//! Sums are whole numbers: they are the same for any instructions.

#![allow(
    unsafe_code,
    reason = "the compiler does not find these instructions by itself"
)]

/// Sums that a register holds.
const LANES: usize = 16;
/// Products that an instruction adds to a sum.
const DEPTH: usize = 4;
/// Instructions multiply unsigned numbers with signed ones: what they take for this is zero.
pub(super) const ZERO: u8 = 128;

/// Weights of some columns that are multiplied by the same `DEPTH` bytes of a row. In one line of a cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Weights([[i8; DEPTH]; LANES]);

/// The weights of a convolution, a matrix `[taps * inner, outer]`.
pub(super) struct ByteWeights {
    /// Panels of `LANES` columns each, and in a panel `DEPTH` rows after another.
    weights: Vec<Weights>,
    /// By how much too large sums are if zero is `ZERO`: what they begin with takes it off.
    begins: Vec<[i32; LANES]>,
    /// What a column's weights are multiples of.
    scales: Vec<[f32; LANES]>,
    outer: usize,
    /// Bytes of a row.
    length: usize,
    instructions: ByteInstructions,
}

impl ByteWeights {
    /// `weights` is `[inner, taps, outer]`, and `scales` has as many numbers as there are columns.
    pub(super) fn pack(
        weights: &[i8],
        taps: usize,
        scales: &[f32],
        instructions: ByteInstructions,
    ) -> Self {
        let outer = scales.len();
        let rows = weights.len() / outer;
        let (inner, groups) = (rows / taps, rows.div_ceil(DEPTH));
        let panels = outer.div_ceil(LANES);
        let mut packed = vec![Weights([[0; DEPTH]; LANES]); panels * groups];
        let mut begins = vec![[0; LANES]; panels];
        for (row, weights) in weights.chunks(outer).enumerate() {
            let place = row % taps * inner + row / taps;
            for (column, &weight) in weights.iter().enumerate() {
                let (panel, lane) = (column / LANES, column % LANES);
                packed[panel * groups + place / DEPTH].0[lane][place % DEPTH] = weight;
                begins[panel][lane] -= i32::from(ZERO) * i32::from(weight);
            }
        }
        let scales = scales.chunks(LANES).map(|scales| {
            let mut lanes = [0.0; LANES];
            lanes[..scales.len()].copy_from_slice(scales);
            lanes
        });
        Self {
            weights: packed,
            begins,
            scales: scales.collect(),
            outer,
            length: groups * DEPTH,
            instructions,
        }
    }

    /// Bytes of a row: those of all taps one after another, and what it takes to come to a whole number of instructions.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Adds `rows`, `[n, length]`, each in multiples of one of `scales`, times the matrix to `sums`, `[n, outer]`.
    pub(super) fn add_product(&self, rows: &[u8], scales: &[f32], sums: &mut [f32]) {
        let product = Product {
            weights: self,
            rows: rows.as_chunks().0,
            scales,
            sums,
        };
        product.run(self.instructions);
    }
}

/// A set of instructions that multiply bytes and add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteInstructions {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What any processor can do, slower than it multiplies floats.
    #[cfg_attr(not(test), allow(dead_code, reason = "tells tests what is right"))]
    Any,
}

impl ByteInstructions {
    /// The widest that this processor has, if it has any.
    pub(crate) fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            use crate::instructions::Instructions;

            let floats = Instructions::detect();
            if floats == Instructions::Avx512 && is_x86_feature_detected!("avx512vnni") {
                return Some(Self::Avx512);
            }
            if floats != Instructions::Any && is_x86_feature_detected!("avxvnni") {
                return Some(Self::Avx2);
            }
        }
        None
    }

    /// All that this processor has.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Self::Any];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avxvnni") && is_x86_feature_detected!("avx2") {
                all.push(Self::Avx2);
            }
            if Self::detect() == Some(Self::Avx512) {
                all.push(Self::Avx512);
            }
        }
        all
    }
}

/// `LANES` sums. Its functions are for processors that have the instructions.
trait Sums: Copy {
    unsafe fn begin(sums: &[i32; LANES]) -> Self;

    /// Adds the products of some bytes with the weights of each lane.
    unsafe fn add(self, bytes: [u8; DEPTH], weights: &Weights) -> Self;

    unsafe fn end(self) -> [i32; LANES];
}

struct Product<'a> {
    weights: &'a ByteWeights,
    rows: &'a [[u8; DEPTH]],
    scales: &'a [f32],
    sums: &'a mut [f32],
}

impl Product<'_> {
    fn run(self, instructions: ByteInstructions) {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has these instructions, as `detect` found.
            ByteInstructions::Avx512 => unsafe { x86::avx512(self) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            ByteInstructions::Avx2 => unsafe { x86::avx2(self) },
            // SAFETY: it takes no instructions of its own.
            ByteInstructions::Any => unsafe { self.multiply::<[i32; LANES], 1, 1>() },
        }
    }

    /// A few rows stay in the first cache while all panels, which are in the second, pass them.
    #[inline(always)]
    unsafe fn multiply<S: Sums, const ROWS: usize, const PANELS: usize>(mut self) {
        // SAFETY: as whoever calls says.
        unsafe {
            let row = self.pass::<S, ROWS, PANELS>(0);
            // A single row takes as long as three: their sums do not wait for one another.
            let row = match ROWS > 6 {
                true => self.pass::<S, 6, PANELS>(row),
                false => row,
            };
            let row = self.pass::<S, 3, PANELS>(row);
            self.pass::<S, 1, PANELS>(row);
        }
    }

    /// Rows from one on, as far as there are `ROWS` of them, times all panels. Returns the next row.
    #[inline(always)]
    unsafe fn pass<S: Sums, const ROWS: usize, const PANELS: usize>(
        &mut self,
        mut row: usize,
    ) -> usize {
        let groups = self.weights.length / DEPTH;
        let (count, panels) = (self.scales.len(), self.weights.begins.len());
        while row + ROWS <= count {
            let mut panel = 0;
            while panel < panels {
                // SAFETY: as whoever calls says.
                unsafe {
                    match panel + PANELS <= panels {
                        true => self.tile::<S, ROWS, PANELS>(groups, row, panel),
                        false => self.tile::<S, ROWS, 1>(groups, row, panel),
                    }
                }
                panel += if panel + PANELS <= panels { PANELS } else { 1 };
            }
            row += ROWS;
        }
        row
    }

    /// `ROWS` rows times `PANELS` panels, with all sums in registers.
    #[inline(always)]
    unsafe fn tile<S: Sums, const ROWS: usize, const PANELS: usize>(
        &mut self,
        groups: usize,
        row: usize,
        panel: usize,
    ) {
        let rows = &self.rows[row * groups..][..ROWS * groups];
        let weights = &self.weights.weights[panel * groups..][..PANELS * groups];
        let begins = &self.weights.begins[panel..][..PANELS];
        // SAFETY: the instructions are there, as whoever calls says. `at` is below `groups`, and there are as many times
        // `ROWS` bytes and `PANELS` weights. A check would stand between the sums and their registers.
        let sums = unsafe {
            let mut sums = [[S::begin(&begins[0]); PANELS]; ROWS];
            for place in 1..PANELS {
                for row in 0..ROWS {
                    sums[row][place] = S::begin(&begins[place]);
                }
            }
            for at in 0..groups {
                for row in 0..ROWS {
                    let bytes = *rows.get_unchecked(row * groups + at);
                    for place in 0..PANELS {
                        let weights = weights.get_unchecked(place * groups + at);
                        sums[row][place] = sums[row][place].add(bytes, weights);
                    }
                }
            }
            sums
        };
        for place in 0..PANELS {
            for at in 0..ROWS {
                // SAFETY: as above.
                let products = unsafe { sums[at][place].end() };
                self.add(row + at, panel + place, &products);
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, row: usize, panel: usize, products: &[i32; LANES]) {
        let outer = self.weights.outer;
        let (scale, scales) = (self.scales[row], &self.weights.scales[panel]);
        // In registers, as whoever compiles does not see that the scales are other memory than the sums.
        let mut terms = [0.0; LANES];
        for lane in 0..LANES {
            terms[lane] = products[lane] as f32 * (scale * scales[lane]);
        }
        let first = panel * LANES;
        if first + LANES <= outer {
            // The usual case, of a length that the compiler knows.
            let (sums, _) = self.sums[row * outer + first..].as_chunks_mut::<LANES>();
            let sums = &mut sums[0];
            for lane in 0..LANES {
                terms[lane] += sums[lane];
            }
            *sums = terms;
        } else {
            let sums = &mut self.sums[row * outer + first..][..outer - first];
            for lane in 0..sums.len() {
                sums[lane] += terms[lane];
            }
        }
    }
}

impl Sums for [i32; LANES] {
    #[inline(always)]
    unsafe fn begin(sums: &Self) -> Self {
        *sums
    }

    #[inline(always)]
    unsafe fn add(mut self, bytes: [u8; DEPTH], weights: &Weights) -> Self {
        for lane in 0..LANES {
            for at in 0..DEPTH {
                self[lane] += i32::from(bytes[at]) * i32::from(weights.0[lane][at]);
            }
        }
        self
    }

    #[inline(always)]
    unsafe fn end(self) -> Self {
        self
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{DEPTH, LANES, Product, Sums, Weights};

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn avx512(product: Product<'_>) {
        // SAFETY: these are the instructions that it takes.
        unsafe { product.multiply::<Wide, 12, 2>() }
    }

    #[target_feature(enable = "avx2,fma,avxvnni")]
    pub(super) unsafe fn avx2(product: Product<'_>) {
        // SAFETY: as above.
        unsafe { product.multiply::<Pair, 6, 1>() }
    }

    /// All lanes in one register.
    #[derive(Clone, Copy)]
    struct Wide(__m512i);

    impl Sums for Wide {
        #[inline(always)]
        unsafe fn begin(sums: &[i32; LANES]) -> Self {
            // SAFETY: it reads all of them, wherever they are.
            Self(unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) })
        }

        #[inline(always)]
        unsafe fn add(self, bytes: [u8; DEPTH], weights: &Weights) -> Self {
            // SAFETY: `Weights` is as large as a register, and aligned to it.
            unsafe {
                let weights = _mm512_load_si512((&raw const *weights).cast());
                let bytes = _mm512_set1_epi32(i32::from_ne_bytes(bytes));
                Self(_mm512_dpbusd_epi32(self.0, bytes, weights))
            }
        }

        #[inline(always)]
        unsafe fn end(self) -> [i32; LANES] {
            let mut sums = [0; LANES];
            // SAFETY: there is room for all of them.
            unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), self.0) };
            sums
        }
    }

    /// Half of the lanes in each of two registers.
    #[derive(Clone, Copy)]
    struct Pair([__m256i; 2]);

    impl Sums for Pair {
        #[inline(always)]
        unsafe fn begin(sums: &[i32; LANES]) -> Self {
            let sums = sums.as_ptr().cast::<__m256i>();
            // SAFETY: they are two registers' numbers, read wherever they are.
            unsafe { Self([_mm256_loadu_si256(sums), _mm256_loadu_si256(sums.add(1))]) }
        }

        #[inline(always)]
        unsafe fn add(self, bytes: [u8; DEPTH], weights: &Weights) -> Self {
            let weights = (&raw const *weights).cast::<__m256i>();
            // SAFETY: `Weights` is as large as two registers, and aligned to them.
            unsafe {
                let bytes = _mm256_set1_epi32(i32::from_ne_bytes(bytes));
                let (first, second) = (
                    _mm256_load_si256(weights),
                    _mm256_load_si256(weights.add(1)),
                );
                Self([
                    _mm256_dpbusd_avx_epi32(self.0[0], bytes, first),
                    _mm256_dpbusd_avx_epi32(self.0[1], bytes, second),
                ])
            }
        }

        #[inline(always)]
        unsafe fn end(self) -> [i32; LANES] {
            let mut sums = [0; LANES];
            let to = sums.as_mut_ptr().cast::<__m256i>();
            // SAFETY: there is room for two registers.
            unsafe {
                _mm256_storeu_si256(to, self.0[0]);
                _mm256_storeu_si256(to.add(1), self.0[1]);
            }
            sums
        }
    }
}
