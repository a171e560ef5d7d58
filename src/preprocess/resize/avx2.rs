//! The passes with AVX2.
//!
//! The row pass takes four pixels of a window at a time. The processor's fast product takes 16 bits:
//! a level and half of a weight. Weights are split into their upper and lower 11 bits, multiplied and
//! added apart, and put together at the end. No bit is lost on the way, so the result is that of
//! [`portable::add_pixels`].

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_packs_epi32, _mm_packus_epi16,
    _mm_set1_epi32, _mm_srai_epi32, _mm256_add_epi32, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm256_madd_epi16, _mm256_set_epi64x, _mm256_setr_epi8,
    _mm256_setr_epi16, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32,
};

use super::{
    portable,
    window::{FRACTION_BITS, RGB, ROUNDING, WeightedRows, Window, channels, widest},
};

/// Pixels of a step.
const STEP: usize = 4;

/// Bytes that a step reads: two times eight, the second from the third pixel.
const STEP_BYTES: usize = 2 * RGB + 8;

/// Bits of the lower half of a weight.
const LOWER_BITS: i32 = 11;

/// Windows in the form that the instructions take. That there is one shows that the processor has AVX2.
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
        let mut weights = Vec::with_capacity(windows.len() * steps_per_window);
        for window in windows {
            let weight = |index: usize| window.weights.get(index).copied().unwrap_or(0);
            for step in 0..steps_per_window {
                weights.push(halves(
                    [0, 1, 2, 3].map(|pixel| weight(STEP * step + pixel)),
                ));
            }
        }
        Self {
            begins: windows.iter().map(|window| window.begin).collect(),
            weights,
            steps_per_window,
        }
    }

    /// How many bytes a row must have beyond its pixels.
    pub(super) fn padding(&self) -> usize {
        RGB * STEP * self.steps_per_window + STEP_BYTES
    }

    #[allow(unsafe_code, reason = "as of `new`")]
    pub(super) fn add_pixels(&self, row: &[u8], narrowed: &mut [u8]) {
        // SAFETY: there are `Passes` only if the processor has AVX2.
        unsafe { self.row_pass(row, narrowed) }
    }

    #[allow(unsafe_code, reason = "as of `new`")]
    pub(super) fn add_rows<'a>(&self, rows: impl WeightedRows<'a>, resized: &mut [u8]) {
        // SAFETY: there are `Passes` only if the processor has AVX2.
        unsafe { column_pass(rows, resized) }
    }

    #[target_feature(enable = "avx2")]
    fn row_pass(&self, row: &[u8], narrowed: &mut [u8]) {
        let [red, green, blue] = channels(narrowed);
        let windows = self
            .begins
            .iter()
            .zip(self.weights.chunks_exact(self.steps_per_window));
        let outputs = red.iter_mut().zip(green).zip(blue);
        for ((begin, steps), ((red, green), blue)) in windows.zip(outputs) {
            let mut upper = _mm256_setzero_si256();
            let mut lower = _mm256_setzero_si256();
            let pixels = row[RGB * begin..].windows(STEP_BYTES).step_by(RGB * STEP);
            for (pixels, weights) in pixels.zip(steps) {
                let levels = level_pairs(pixels);
                upper = _mm256_add_epi32(upper, _mm256_madd_epi16(levels, weights[0]));
                lower = _mm256_add_epi32(lower, _mm256_madd_epi16(levels, weights[1]));
            }
            let sums = _mm256_add_epi32(_mm256_slli_epi32(upper, LOWER_BITS), lower);
            [*red, *green, *blue, _] = to_levels(sums);
        }
    }
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

/// Adds the sums of the two pairs of pixels, and rounds them as [`portable::to_level`] does.
#[target_feature(enable = "avx2")]
fn to_levels(sums: __m256i) -> [u8; 4] {
    let (first, second) = (
        _mm256_castsi256_si128(sums),
        _mm256_extracti128_si256(sums, 1),
    );
    let sums: __m128i = _mm_add_epi32(_mm_add_epi32(first, second), _mm_set1_epi32(ROUNDING));
    let levels = _mm_srai_epi32(sums, FRACTION_BITS as i32);
    let levels = _mm_packs_epi32(levels, levels);
    let levels = _mm_packus_epi16(levels, levels);
    _mm_cvtsi128_si32(levels).to_le_bytes()
}
