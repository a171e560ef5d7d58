//! The column pass.

use super::window::{ROUNDING, to_level};
use crate::instructions::{Instructions, Kernel};

/// Bytes of a row that are added at a time.
pub(super) const BLOCK: usize = 64;

/// Makes one row of several and their weights. Rows are whole blocks.
pub(super) fn add_rows<'a>(
    rows: impl Iterator<Item = (&'a [u8], i32)> + Clone,
    resized: &mut [u8],
) {
    Instructions::detect().run(ColumnPass { rows, resized });
}

struct ColumnPass<'r, I> {
    rows: I,
    resized: &'r mut [u8],
}

impl<'a, I: Iterator<Item = (&'a [u8], i32)> + Clone> Kernel for ColumnPass<'_, I> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let (resized, _) = self.resized.as_chunks_mut::<BLOCK>();
        for (index, resized) in resized.iter_mut().enumerate() {
            let mut sums = [ROUNDING; BLOCK];
            for (row, weight) in self.rows.clone() {
                let (blocks, _) = row.as_chunks::<BLOCK>();
                for (sum, &level) in sums.iter_mut().zip(&blocks[index]) {
                    *sum += i32::from(level) * weight;
                }
            }
            *resized = sums.map(to_level);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::preprocess::resize::window::windows;

    proptest! {
        #[test]
        fn all_instructions_give_the_weighted_mean(
            levels in vec(vec(any::<u8>(), 3 * BLOCK), 1..9),
        ) {
            // Weights as of a window, whose sum is 1.
            let weights = &windows(levels.len(), 1)[0].weights;
            let rows = levels.iter().map(Vec::as_slice);
            let rows = rows.zip(weights.iter().copied());
            let level = |x: usize| {
                let products = rows.clone().map(|(row, weight)| i32::from(row[x]) * weight);
                to_level(ROUNDING + products.sum::<i32>())
            };
            let expected: Vec<u8> = (0..3 * BLOCK).map(level).collect();

            for instructions in Instructions::all() {
                let mut found = vec![0; expected.len()];
                let (rows, resized) = (rows.clone(), &mut *found);
                instructions.run(ColumnPass { rows, resized });
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
