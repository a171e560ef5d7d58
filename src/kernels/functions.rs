//! Functions of floats that the compiler turns into instructions for many at a time; those of `std` are calls.
//!
//! The coefficients were fitted to the functions in float64 for the least largest error (iteratively reweighted least squares).

use crate::instructions::{Kernel, multiply_add};

/// From here on down a power of two is nothing. It leaves room above the subnormal numbers, with which processors take a
/// hundred times as long.
const LEAST_EXPONENT: f32 = -115.0;
/// A number of up to 22 bits is a whole one once this was added and taken off again.
const TO_WHOLE: f32 = (3 << 22) as f32;
/// Of the fraction, from its first power on; as near to `2^x` as 9.1e-8 of it.
#[allow(
    clippy::approx_constant,
    reason = "the first was fitted with the others"
)]
const POWER_OF_TWO: [f32; 5] = [
    0.693_147,
    0.240_222_42,
    0.055_507_336,
    0.009_671_513,
    0.001_326_472_7,
];

/// `2^x` for x of up to 127, with an error of 1.7e-7 of it at the most.
#[inline(always)]
pub(super) fn exp2<const FUSED: bool>(x: f32) -> f32 {
    // The whole number lies in the last bits of this sum; moved to where floats have their exponents, it is a factor.
    let shifted = x + TO_WHOLE;
    let fraction = x - (shifted - TO_WHOLE);
    let [first, second, third, fourth, fifth] = POWER_OF_TWO;
    let power = multiply_add::<FUSED>(fifth, fraction, fourth);
    let power = multiply_add::<FUSED>(power, fraction, third);
    let power = multiply_add::<FUSED>(power, fraction, second);
    let power = multiply_add::<FUSED>(power, fraction, first);
    let power = multiply_add::<FUSED>(power, fraction, 1.0);
    let scaled = f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23));
    // What is no number is not less, and stays none.
    if x < LEAST_EXPONENT { 0.0 } else { scaled }
}

/// The logarithm to base 2 of the share of a normal distribution beyond x, for x from 0 on. It falls forever, so that for
/// no x the share comes back.
const LOG_OF_TAIL: [f32; 9] = [
    -0.999_998_87,
    -1.151_123_3,
    -0.459_115_45,
    -0.052_714_2,
    0.007_333_383_4,
    -0.000_323_341_72,
    -0.000_114_462_804,
    0.000_025_083_33,
    -0.000_001_690_403_1,
];

/// GELU, x times the share of a normal distribution below x, with an error of 1e-7 (or the last bit) at the most.
#[inline(always)]
pub(super) fn gelu<const FUSED: bool>(x: f32) -> f32 {
    let size = x.abs();
    let mut log = LOG_OF_TAIL[8];
    for power in (0..8).rev() {
        log = multiply_add::<FUSED>(log, size, LOG_OF_TAIL[power]);
    }
    // The tail on the side of x: x has all but it above zero, and nothing but it below.
    let ramp = if x < 0.0 { 0.0 } else { x };
    ramp - size * exp2::<FUSED>(log)
}

/// The larger of two, by one instruction.
#[inline(always)]
pub(super) fn larger(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}

/// The sum of all lanes, of which there are a power of two. One after another they would wait for each other.
#[inline(always)]
pub(super) fn sum_of<const LANES: usize>(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest of all lanes, of which there are a power of two.
#[inline(always)]
pub(super) fn largest_of<const LANES: usize>(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = larger(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// GELU of each number.
pub(super) struct Gelu<'a>(pub(super) &'a mut [f32]);

impl Kernel for Gelu<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        for at in 0..self.0.len() {
            self.0[at] = gelu::<FUSED>(self.0[at]);
        }
    }
}
