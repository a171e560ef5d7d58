//! Rows of floats in 8 bits, as products of bytes read them.

use super::byte_product::ZERO;
use crate::instructions::{Instructions, Kernel};

/// The farthest from zero that a byte goes.
const REACH: f32 = 127.0;
/// A number is a whole one once this is added, and its last byte is as far above `ZERO` as the number was above zero.
const TO_BYTE: f32 = (3 << 22) as f32 + ZERO as f32;
/// What goes no farther than this is nothing: there is no number that makes `REACH` of it.
const NOTHING: f32 = 1e-36;

/// How many steps of a byte are in one, and how large a step is, if numbers go so far from zero.
#[inline(always)]
pub(super) fn steps(reach: f32) -> (f32, f32) {
    match reach < NOTHING {
        true => (0.0, 0.0),
        false => (REACH / reach, reach / REACH),
    }
}

/// A number of steps.
#[inline(always)]
pub(super) fn to_byte(steps: f32) -> u8 {
    (steps + TO_BYTE).to_bits() as u8
}

/// Rows in multiples of a scale of each.
#[derive(Default)]
pub(super) struct Rounded {
    pub(super) bytes: Vec<u8>,
    pub(super) scales: Vec<f32>,
}

impl Rounded {
    /// Takes the place of the rows that were here: `rows` is `[n, inner]`, and a row of bytes is of this length.
    pub(super) fn put(
        &mut self,
        rows: &[f32],
        inner: usize,
        length: usize,
        instructions: Instructions,
    ) {
        let count = rows.len() / inner;
        // What is behind a row's numbers may be anything: the weights there are zero.
        self.bytes.resize(count * length, ZERO);
        self.scales.resize(count, 0.0);
        instructions.run(Round {
            rows,
            inner,
            length,
            rounded: self,
        });
    }
}

struct Round<'a> {
    rows: &'a [f32],
    inner: usize,
    length: usize,
    rounded: &'a mut Rounded,
}

impl Kernel for Round<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        for row in 0..self.rows.len() / self.inner {
            let numbers = &self.rows[row * self.inner..][..self.inner];
            // By bits, of which those of what is no number are the most.
            let mut reach = 0;
            for at in 0..numbers.len() {
                reach = reach.max(numbers[at].abs().to_bits());
            }
            let reach = f32::from_bits(reach);
            let (per_unit, scale) = steps(reach);
            self.rounded.scales[row] = scale;
            let bytes = &mut self.rounded.bytes[row * self.length..][..self.inner];
            for at in 0..numbers.len() {
                bytes[at] = to_byte(numbers[at] * per_unit);
            }
        }
    }
}
