//! The passes with AVX2.
//!
//! The row pass takes four pixels of a window at a time. The processor's fast product takes 16 bits:
//! a level and half of a weight. Weights are split into their upper and lower 11 bits, multiplied and
//! added apart, and put together at the end. No bit is lost on the way, so the result is that of
//! [`portable::add_pixels`].

use std::{
    arch::x86_64::{
        __m128i, __m256i, _MM_HINT_T0, _mm_add_epi32, _mm_cvtsi128_si32, _mm_extract_epi32,
        _mm_packs_epi32, _mm_packus_epi16, _mm_prefetch, _mm_set1_epi32, _mm_setr_epi8,
        _mm_shuffle_epi8, _mm_srai_epi32, _mm256_add_epi32, _mm256_castsi256_si128,
        _mm256_extracti128_si256, _mm256_madd_epi16, _mm256_set_epi64x, _mm256_setr_epi8,
        _mm256_setr_epi16, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32,
    },
    ops::Range,
};

use super::{
    portable,
    window::{FRACTION_BITS, RGB, ROUNDING, WeightedRows, Window, channels, widest},
};

/// Pixels of a step.
const STEP: usize = 4;

/// Bytes that a step reads: two times eight, the second from the third pixel.
const STEP_BYTES: usize = 2 * RGB + 8;

/// Output pixels that are rounded and written together.
const GROUP: usize = 4;

/// Bytes that the processor fetches from memory at a time.
const CACHE_LINE: usize = 64;

/// Bits of the lower half of a weight.
const LOWER_BITS: i32 = 11;

/// Windows in the form that the instructions take, in whole groups. That there is one shows that the processor has AVX2.
pub(super) struct Passes {
    /// Where each window begins, in pixels.
    begins: Vec<usize>,
    /// For each step of each window, the upper and the lower halves of its weights.
    weights: Vec<[__m256i; 2]>,
    steps_per_window: usize,
}

impl Passes {
    /// `None` if the processor lacks AVX2.
    #[allow(
        unsafe_code,
        reason = "AVX2 is known to be there when the program runs only"
    )]
    pub(super) fn new(windows: &[Window]) -> Option<Self> {
        // SAFETY: the processor has AVX2.
        is_x86_feature_detected!("avx2").then(|| unsafe { Self::from_windows(windows) })
    }

    #[target_feature(enable = "avx2")]
    fn from_windows(windows: &[Window]) -> Self {
        let steps_per_window = widest(windows).div_ceil(STEP);
        let count = windows.len().next_multiple_of(GROUP);
        let mut weights = Vec::with_capacity(count * steps_per_window);
        let windows = || (0..count).map(|index| windows.get(index));
        for window in windows() {
            let weights_of = window.map_or(&[][..], |window| &window.weights);
            let weight = |index: usize| weights_of.get(index).copied().unwrap_or(0);
            for step in 0..steps_per_window {
                weights.push(halves(
                    [0, 1, 2, 3].map(|pixel| weight(STEP * step + pixel)),
                ));
            }
        }
        Self {
            begins: windows()
                .map(|window| window.map_or(0, |window| window.begin))
                .collect(),
            weights,
            steps_per_window,
        }
    }

    /// How many bytes a row must have beyond its pixels.
    pub(super) fn padding(&self) -> usize {
        RGB * STEP * self.steps_per_window + STEP_BYTES
    }

    #[allow(unsafe_code, reason = "as of `new`")]
    pub(super) fn add_pixels(&self, row: &[u8], narrowed: &mut [u8], next: Range<*const u8>) {
        // SAFETY: there are `Passes` only if the processor has AVX2.
        unsafe {
            match self.steps_per_window {
                1 => self.row_pass::<1>(row, narrowed, next),
                2 => self.row_pass::<2>(row, narrowed, next),
                3 => self.row_pass::<3>(row, narrowed, next),
                4 => self.row_pass::<4>(row, narrowed, next),
                _ => self.row_pass::<0>(row, narrowed, next),
            }
        }
    }

    #[allow(unsafe_code, reason = "as of `new`")]
    pub(super) fn add_rows<'a>(&self, rows: impl WeightedRows<'a>, resized: &mut [u8]) {
        // SAFETY: there are `Passes` only if the processor has AVX2.
        unsafe { column_pass(rows, resized) }
    }

    /// `STEPS` are those of a window, as the compiler need not loop over a number that it knows; 0 for any.
    #[target_feature(enable = "avx2")]
    fn row_pass<const STEPS: usize>(
        &self,
        row: &[u8],
        narrowed: &mut [u8],
        mut next: Range<*const u8>,
    ) {
        let steps = known::<STEPS>(self.steps_per_window);
        let (begins, _) = self.begins.as_chunks::<GROUP>();
        let groups = begins.iter().zip(self.weights.chunks_exact(GROUP * steps));
        let [red, green, blue] = channels(narrowed);
        let (reds, last_red) = red.as_chunks_mut::<GROUP>();
        let (greens, last_green) = green.as_chunks_mut::<GROUP>();
        let (blues, last_blue) = blue.as_chunks_mut::<GROUP>();
        // The last group may have less room.
        let mut last = [[0; GROUP]; RGB];
        let [red, green, blue] = &mut last;
        let outputs = reds.iter_mut().chain([red]);
        let outputs = outputs.zip(greens.iter_mut().chain([green]));
        let outputs = outputs.zip(blues.iter_mut().chain([blue]));
        for ((begins, weights), ((red, green), blue)) in groups.zip(outputs) {
            fetch(&mut next);
            [*red, *green, *blue] = levels_of_group::<STEPS>(row, begins, weights);
        }
        for (room, levels) in [last_red, last_green, last_blue].into_iter().zip(last) {
            room.copy_from_slice(&levels[..room.len()]);
        }
    }
}

/// Has the processor fetch a part of memory that is read soon, while it calculates: it does so by itself only where
/// it sees a pattern, and within a page.
#[allow(unsafe_code, reason = "fetching takes a pointer")]
fn fetch(memory: &mut Range<*const u8>) {
    for _ in 0..GROUP {
        if memory.start < memory.end {
            // SAFETY: fetching has no effect but on time, wherever it is from.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(memory.start.cast()) };
            memory.start = memory.start.wrapping_add(CACHE_LINE);
        }
    }
}

/// The steps of a window: `STEPS`, or any number if that is 0.
fn known<const STEPS: usize>(steps: usize) -> usize {
    match STEPS {
        0 => steps,
        known => known,
    }
}

/// The red, the green and the blue levels of a group.
#[inline]
#[target_feature(enable = "avx2")]
fn levels_of_group<const STEPS: usize>(
    row: &[u8],
    begins: &[usize; GROUP],
    weights: &[[__m256i; 2]],
) -> [[u8; GROUP]; RGB] {
    let steps = known::<STEPS>(weights.len() / GROUP);
    let sums = |index: usize| {
        let weights = &weights[steps * index..][..steps];
        window_sums::<STEPS>(&row[RGB * begins[index]..], weights)
    };
    let (first, second) = (
        _mm_packs_epi32(sums(0), sums(1)),
        _mm_packs_epi32(sums(2), sums(3)),
    );
    let levels = _mm_packus_epi16(first, second);
    let by_channel = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let levels = _mm_shuffle_epi8(levels, by_channel);
    [
        _mm_cvtsi128_si32(levels).to_le_bytes(),
        _mm_extract_epi32(levels, 1).to_le_bytes(),
        _mm_extract_epi32(levels, 2).to_le_bytes(),
    ]
}

/// A pixel's red, green and blue, rounded as [`portable::to_level`] does, and a zero.
#[inline]
#[target_feature(enable = "avx2")]
fn window_sums<const STEPS: usize>(row: &[u8], weights: &[[__m256i; 2]]) -> __m128i {
    let weights = &weights[..known::<STEPS>(weights.len())];
    let mut upper = _mm256_setzero_si256();
    let mut lower = _mm256_setzero_si256();
    let pixels = &row[..RGB * STEP * (weights.len() - 1) + STEP_BYTES];
    for (step, weights) in weights.iter().enumerate() {
        let levels = level_pairs(&pixels[RGB * STEP * step..]);
        upper = _mm256_add_epi32(upper, _mm256_madd_epi16(levels, weights[0]));
        lower = _mm256_add_epi32(lower, _mm256_madd_epi16(levels, weights[1]));
    }
    let sums = _mm256_add_epi32(_mm256_slli_epi32(upper, LOWER_BITS), lower);
    let (first, second) = (
        _mm256_castsi256_si128(sums),
        _mm256_extracti128_si256(sums, 1),
    );
    let sums = _mm_add_epi32(_mm_add_epi32(first, second), _mm_set1_epi32(ROUNDING));
    _mm_srai_epi32(sums, FRACTION_BITS as i32)
}

#[target_feature(enable = "avx2")]
fn column_pass<'a>(rows: impl WeightedRows<'a>, resized: &mut [u8]) {
    portable::add_rows(rows, resized);
}

/// The weights of four pixels, split, in the order of [`level_pairs`].
#[target_feature(enable = "avx2")]
fn halves(weights: [i32; STEP]) -> [__m256i; 2] {
    let in_order = |[a, b, c, d]: [i16; STEP]| {
        _mm256_setr_epi16(a, b, a, b, a, b, 0, 0, c, d, c, d, c, d, 0, 0)
    };
    let mask = (1 << LOWER_BITS) - 1;
    [
        in_order(weights.map(|weight| (weight >> LOWER_BITS) as i16)),
        in_order(weights.map(|weight| (weight & mask) as i16)),
    ]
}

/// Four pixels as 16-bit numbers: the reds of the first two pixels, their greens, their blues,
/// nothing, and the same of the last two.
#[target_feature(enable = "avx2")]
fn level_pairs(bytes: &[u8]) -> __m256i {
    let pixels = |begin: usize| {
        let bytes = bytes[begin..].first_chunk::<8>();
        bytes.map_or(0, |bytes| i64::from_le_bytes(*bytes))
    };
    let pixels = _mm256_set_epi64x(0, pixels(2 * RGB), 0, pixels(0));
    let order = _mm256_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, //
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
    );
    _mm256_shuffle_epi8(pixels, order)
}
