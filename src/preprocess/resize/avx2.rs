//! The row pass with AVX2.
//!
//! The processor's fast product takes 16 bits: a level and half of a weight. Weights are split into their upper and
//! lower 11 bits, multiplied and added apart, and put together at the end. No bit is lost on the way, so the
//! result is that of [`portable::add_pixels`](super::portable::add_pixels).

use std::{
    arch::x86_64::{
        __m128i, __m256i, _mm_add_epi32, _mm_packs_epi32, _mm_packus_epi16, _mm_set1_epi32,
        _mm_setr_epi8, _mm_shuffle_epi8, _mm_srai_epi32, _mm256_add_epi32,
        _mm256_broadcastsi128_si256, _mm256_castsi256_si128, _mm256_extracti128_si256,
        _mm256_madd_epi16, _mm256_setr_epi8, _mm256_setr_epi16, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_slli_epi32,
    },
    ops::Range,
};

use super::{
    groups::{GROUP, Groups, STEP, known, pixels},
    window::{FRACTION_BITS, ROUNDING, Window},
};

/// Bits of the lower half of a weight.
const LOWER_BITS: i32 = 11;

/// The weights of four pixels of each window: the upper and the lower halves, in the order of [`level_pairs`].
type Weights = [[__m256i; 2]; GROUP];

/// There are some only if the processor has AVX2.
pub(super) struct Windows(Groups<Weights>);

impl Windows {
    /// `None` if the processor lacks AVX2.
    #[allow(
        unsafe_code,
        reason = "AVX2 is known to be there when the program runs only"
    )]
    pub(super) fn new(windows: &[Window]) -> Option<Self> {
        is_x86_feature_detected!("avx2").then(|| {
            // SAFETY: the processor has AVX2.
            let weights =
                |weights: [[i32; STEP]; GROUP]| weights.map(|weights| unsafe { halves(weights) });
            Self(Groups::new(windows, weights))
        })
    }

    /// How many bytes a row must have beyond its pixels.
    pub(super) fn padding(&self) -> usize {
        self.0.padding()
    }

    #[allow(unsafe_code, reason = "as of `new`")]
    pub(super) fn add_pixels(&self, row: &[u8], narrowed: &mut [u8], next: Range<*const u8>) {
        // SAFETY: there are `Windows` only if the processor has AVX2.
        unsafe {
            match self.0.steps {
                1 => self.row_pass::<1>(row, narrowed, next),
                2 => self.row_pass::<2>(row, narrowed, next),
                3 => self.row_pass::<3>(row, narrowed, next),
                4 => self.row_pass::<4>(row, narrowed, next),
                _ => self.row_pass::<0>(row, narrowed, next),
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn row_pass<const STEPS: usize>(
        &self,
        row: &[u8],
        narrowed: &mut [u8],
        next: Range<*const u8>,
    ) {
        self.0
            .row_pass::<STEPS>(row, narrowed, next, |windows, weights| {
                levels_of_group::<STEPS>(windows, weights)
            });
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn levels_of_group<const STEPS: usize>(windows: [&[u8]; GROUP], weights: &[Weights]) -> __m128i {
    let weights = &weights[..known::<STEPS>(weights.len())];
    let sums = |index: usize| {
        let weights = weights.iter().map(|weights| weights[index]);
        window_sums::<STEPS>(windows[index], weights)
    };
    let (first, second) = (
        _mm_packs_epi32(sums(0), sums(1)),
        _mm_packs_epi32(sums(2), sums(3)),
    );
    let by_channel = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm_shuffle_epi8(_mm_packus_epi16(first, second), by_channel)
}

/// A pixel's red, green and blue, rounded as [`to_level`](super::window::to_level) does, and a zero.
#[inline]
#[target_feature(enable = "avx2")]
fn window_sums<const STEPS: usize>(
    window: &[u8],
    weights: impl Iterator<Item = [__m256i; 2]>,
) -> __m128i {
    let mut upper = _mm256_setzero_si256();
    let mut lower = _mm256_setzero_si256();
    for (step, weights) in weights.enumerate() {
        let levels = level_pairs(pixels(window, step));
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
#[inline]
#[target_feature(enable = "avx2")]
fn level_pairs(pixels: __m128i) -> __m256i {
    let order = _mm256_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, //
        6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
    );
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(pixels), order)
}
