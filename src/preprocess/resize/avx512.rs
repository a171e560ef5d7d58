//! The row pass with AVX-512, its VBMI and its VNNI.
//!
//! The processor adds four products of bytes, one of them signed, to a sum by one instruction. A weight is three such
//! bytes, the digits of a number to the base of 256. Products with each are added apart, and put together at
//! the end. No bit is lost on the way, so the result is that of [`portable::add_pixels`](super::portable::add_pixels).

use std::{
    arch::x86_64::{
        __m128i, __m512i, _mm_loadu_si128, _mm512_add_epi32, _mm512_broadcast_i32x4,
        _mm512_castsi128_si512, _mm512_cvtusepi32_epi8, _mm512_dpbusd_epi32, _mm512_inserti32x4,
        _mm512_loadu_si512, _mm512_permutexvar_epi8, _mm512_set1_epi32, _mm512_setzero_si512,
        _mm512_slli_epi32, _mm512_srli_epi32,
    },
    ops::Range,
};

use super::{
    groups::{GROUP, Groups, STEP, known, pixels},
    window::{FRACTION_BITS, RGB, ROUNDING, Window},
};

/// Digits of a weight.
const DIGITS: usize = 3;

/// There are some only if the processor has these instructions.
pub(super) struct Windows(Groups<[__m128i; DIGITS]>);

impl Windows {
    /// `None` if the processor lacks the instructions.
    pub(super) fn new(windows: &[Window]) -> Option<Self> {
        let there = is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vnni");
        there.then(|| Self(Groups::new(windows, digits)))
    }

    /// How many bytes a row must have beyond its pixels.
    pub(super) fn padding(&self) -> usize {
        self.0.padding()
    }

    #[allow(
        unsafe_code,
        reason = "the instructions are known to be there when the program runs only"
    )]
    pub(super) fn add_pixels(&self, row: &[u8], narrowed: &mut [u8], next: Range<*const u8>) {
        // SAFETY: there are `Windows` only if the processor has the instructions.
        unsafe {
            match self.0.steps {
                1 => self.row_pass::<1>(row, narrowed, next),
                2 => self.row_pass::<2>(row, narrowed, next),
                _ => self.row_pass::<0>(row, narrowed, next),
            }
        }
    }

    #[target_feature(enable = "avx512bw,avx512vbmi,avx512vnni")]
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

/// Four bytes for each channel, a pixel each.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi,avx512vnni")]
fn levels_of_group<const STEPS: usize>(
    windows: [&[u8]; GROUP],
    weights: &[[__m128i; DIGITS]],
) -> __m128i {
    let weights = &weights[..known::<STEPS>(weights.len())];
    let mut sums = [
        _mm512_set1_epi32(ROUNDING),
        _mm512_setzero_si512(),
        _mm512_setzero_si512(),
    ];
    for (step, digits) in weights.iter().enumerate() {
        let levels = levels_by_channel([
            pixels(windows[0], step),
            pixels(windows[1], step),
            pixels(windows[2], step),
            pixels(windows[3], step),
        ]);
        for (sum, &digits) in sums.iter_mut().zip(digits) {
            *sum = _mm512_dpbusd_epi32(*sum, levels, _mm512_broadcast_i32x4(digits));
        }
    }
    let [lowest, middle, highest] = sums;
    let sums = _mm512_add_epi32(_mm512_slli_epi32::<8>(highest), middle);
    let sums = _mm512_add_epi32(_mm512_slli_epi32::<8>(sums), lowest);
    // As `window::to_level` does.
    _mm512_cvtusepi32_epi8(_mm512_srli_epi32::<FRACTION_BITS>(sums))
}

/// The reds of each window's four pixels, their greens, their blues, and what does not matter.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
#[allow(unsafe_code, reason = "loading takes a pointer")]
fn levels_by_channel([first, second, third, fourth]: [__m128i; GROUP]) -> __m512i {
    const ORDER: [u8; 64] = {
        let mut order = [0; 64];
        let mut to = 0;
        while to < GROUP * STEP * RGB {
            let (channel, window, pixel) = (to / (GROUP * STEP), to / STEP % GROUP, to % STEP);
            order[to] = (16 * window + RGB * pixel + channel) as u8;
            to += 1;
        }
        order
    };
    let pixels = _mm512_castsi128_si512(first);
    let pixels = _mm512_inserti32x4::<1>(pixels, second);
    let pixels = _mm512_inserti32x4::<2>(pixels, third);
    let pixels = _mm512_inserti32x4::<3>(pixels, fourth);
    // SAFETY: so many bytes are there.
    let order = unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) };
    _mm512_permutexvar_epi8(order, pixels)
}

/// For each digit from the lowest, those of four pixels of each window.
#[allow(unsafe_code, reason = "loading takes a pointer")]
fn digits(weights: [[i32; STEP]; GROUP]) -> [__m128i; DIGITS] {
    let mut rest = weights.as_flattened().to_vec();
    [(); DIGITS].map(|()| {
        let mut digits = [0; GROUP * STEP];
        for (digit, rest) in digits.iter_mut().zip(&mut rest) {
            *digit = *rest as i8;
            *rest = (*rest - i32::from(*digit)) >> 8;
        }
        // SAFETY: so many bytes are there.
        unsafe { _mm_loadu_si128(digits.as_ptr().cast()) }
    })
}
