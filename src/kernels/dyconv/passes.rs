//! The passes over what convolutions give.

use crate::{
    instructions::{Kernel, multiply_add},
    kernels::pixels::Grid,
};

/// Adds up what a block of a branch gives, over its places.
pub(super) struct Sum<'a> {
    /// `[places, channels]`.
    pub(super) values: &'a [f32],
    /// How often each place is seen, or nothing if all are as often.
    pub(super) times: &'a [f32],
    /// `[3, channels]`: of numbers, of their squares, and of numbers as often as they are seen.
    pub(super) sums: &'a mut [f32],
}

impl Kernel for Sum<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let channels = self.sums.len() / 3;
        self.sums.fill(0.0);
        let (numbers, rest) = self.sums.split_at_mut(channels);
        let (squares, seen) = rest.split_at_mut(channels);
        for place in 0..self.values.len() / channels {
            let values = &self.values[place * channels..][..channels];
            for at in 0..channels {
                numbers[at] += values[at];
                squares[at] = multiply_add::<FUSED>(values[at], values[at], squares[at]);
            }
        }
        for place in 0..self.times.len() {
            let (times, values) = (
                self.times[place],
                &self.values[place * channels..][..channels],
            );
            for at in 0..channels {
                seen[at] = multiply_add::<FUSED>(times, values[at], seen[at]);
            }
        }
        if self.times.is_empty() {
            seen.copy_from_slice(numbers);
        }
    }
}

/// What a branch adds to a level.
#[derive(Clone, Copy)]
pub(super) struct Term<'a> {
    /// Of its places.
    pub(super) grid: Grid,
    /// `[places, channels]`.
    pub(super) values: &'a [f32],
    /// What they are multiplied with, `[channels]`.
    pub(super) slopes: &'a [f32],
}

/// Adds up the branches of a level, enlarges that of the coarser one, and takes the larger of two lines.
pub(super) struct Combine<'a> {
    /// One for each `Source`.
    pub(super) terms: [Option<Term<'a>>; 3],
    /// Slope, offset, slope, offset: `[4, channels]`.
    pub(super) lines: &'a [f32],
    pub(super) grid: Grid,
    /// Of the level's positions, the first of these.
    pub(super) first: usize,
    /// `[positions, channels]`.
    pub(super) out: &'a mut [f32],
}

impl Kernel for Combine<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let channels = self.lines.len() / 4;
        let [own, finer, coarser] = self.terms;
        for place in 0..self.out.len() / channels {
            let out = &mut self.out[place * channels..][..channels];
            let at_place = self.first + place;
            out.fill(0.0);
            for term in [own, finer] {
                let Some(Term { values, slopes, .. }) = term else {
                    continue;
                };
                let (values, slopes) = (
                    &values[at_place * channels..][..channels],
                    &slopes[..channels],
                );
                for at in 0..channels {
                    out[at] = multiply_add::<FUSED>(values[at], slopes[at], out[at]);
                }
            }
            if let Some(Term {
                grid,
                values,
                slopes,
            }) = coarser
            {
                let sample = grid.of_enlarged(at_place, self.grid);
                let [a, b, c, d] = sample
                    .pixels
                    .map(|pixel| &values[pixel * channels..][..channels]);
                let (shares, slopes) = (sample.shares, &slopes[..channels]);
                for at in 0..channels {
                    let number = multiply_add::<FUSED>(shares[1], b[at], shares[0] * a[at]);
                    let number = multiply_add::<FUSED>(shares[2], c[at], number);
                    let number = multiply_add::<FUSED>(shares[3], d[at], number);
                    out[at] = multiply_add::<FUSED>(number, slopes[at], out[at]);
                }
            }
            let line = |number: usize| &self.lines[number * channels..][..channels];
            let (slope1, offset1, slope2, offset2) = (line(0), line(1), line(2), line(3));
            for at in 0..channels {
                let first = multiply_add::<FUSED>(out[at], slope1[at], offset1[at]);
                let second = multiply_add::<FUSED>(out[at], slope2[at], offset2[at]);
                out[at] = if first > second { first } else { second };
            }
        }
    }
}
