//! LayerNorm of rows.

use super::functions::sum_of;
use crate::instructions::{Kernel, multiply_add};

/// The parameters of a LayerNorm, a number for each channel.
pub(super) struct LayerNorm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    /// What is added to variances.
    pub(super) epsilon: f32,
}

/// Writes the rows of `from`, each with a mean of zero and a variance of one before weight and bias, to `to`.
pub(super) struct Normalize<'a> {
    pub(super) norm: &'a LayerNorm,
    pub(super) from: &'a [f32],
    pub(super) to: &'a mut [f32],
}

impl Kernel for Normalize<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let channels = self.norm.weight.len();
        let (weight, bias) = (&self.norm.weight[..channels], &self.norm.bias[..channels]);
        for row in 0..self.from.len() / channels {
            let from = &self.from[row * channels..][..channels];
            let to = &mut self.to[row * channels..][..channels];
            let mean = sum::<LANES, false>(from) / channels as f32;
            for at in 0..channels {
                to[at] = from[at] - mean;
            }
            // Of what is left, as a difference of large sums would have few right digits.
            let variance = sum::<LANES, true>(to) / channels as f32;
            let scale = 1.0 / (variance + self.norm.epsilon).sqrt();
            for at in 0..channels {
                to[at] = multiply_add::<FUSED>(to[at] * scale, weight[at], bias[at]);
            }
        }
    }
}

/// The sum of numbers or of their squares, as many sums at a time as registers hold.
#[inline(always)]
fn sum<const LANES: usize, const SQUARES: bool>(numbers: &[f32]) -> f32 {
    let (whole, rest) = numbers.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for at in 0..whole.len() {
        for lane in 0..LANES {
            let number = whole[at][lane];
            sums[lane] += if SQUARES { number * number } else { number };
        }
    }
    let mut total = sum_of(sums);
    for at in 0..rest.len() {
        total += if SQUARES {
            rest[at] * rest[at]
        } else {
            rest[at]
        };
    }
    total
}
