//! The fastest passes that the processor has.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::{
    portable,
    window::{WeightedRows, Window},
};

/// The two passes: over the pixels of a row and over the rows of a column. All ways give the same.
pub(super) enum Passes {
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Passes),
    Portable(Vec<Window>),
}

impl Passes {
    pub(super) fn new(windows: Vec<Window>) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(passes) = avx2::Passes::new(&windows) {
            return Self::Avx2(passes);
        }
        Self::Portable(windows)
    }

    /// How many bytes a row must have beyond its pixels; their values do not matter.
    pub(super) fn padding(&self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(passes) => passes.padding(),
            Self::Portable(_) => 0,
        }
    }

    /// Gives a row of pixels its new width, and sorts it by channel. `next` is memory that is read next.
    pub(super) fn add_pixels(&self, row: &[u8], narrowed: &mut [u8], next: Range<*const u8>) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(passes) => passes.add_pixels(row, narrowed, next),
            Self::Portable(windows) => portable::add_pixels(row, windows, narrowed),
        }
    }

    /// Makes one row of several and their weights. Rows are whole blocks.
    pub(super) fn add_rows<'a>(&self, rows: impl WeightedRows<'a>, resized: &mut [u8]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(passes) => passes.add_rows(rows, resized),
            Self::Portable(_) => portable::add_rows(rows, resized),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::preprocess::resize::window::{BLOCK, RGB, windows};

    fn noise(bytes: usize, seed: u32) -> Vec<u8> {
        let level = |i: u32| ((i ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8;
        (0..bytes as u32).map(level).collect()
    }

    proptest! {
        /// Where the processor has one way only, it is compared with itself.
        #[test]
        fn every_passes_gives_the_same(
            from in 1usize..400, to in 1usize..400, seed in any::<u32>(),
        ) {
            let mut row = noise(3 * (2 * from + 50), seed);
            let passes = Passes::new(windows(from, to));
            row.truncate(RGB * from + passes.padding());
            let mut found = vec![0; RGB * to];
            passes.add_pixels(&row, &mut found, row.as_ptr_range());

            let mut expected = vec![0; RGB * to];
            portable::add_pixels(&row, &windows(from, to), &mut expected);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn every_pass_over_rows_gives_the_same(
            count in 1usize..9, blocks in 1usize..5, seed in any::<u32>(),
        ) {
            let length = BLOCK * blocks;
            let levels = noise(length * count, seed);
            // Weights as of a window, whose sum is 1.
            let weights = &windows(count, 1)[0].weights;
            let rows = levels.chunks_exact(length).zip(weights.iter().copied());
            let mut found = vec![0; length];
            Passes::new(windows(count, 1)).add_rows(rows.clone(), &mut found);

            let mut expected = vec![0; length];
            portable::add_rows(rows, &mut expected);
            prop_assert_eq!(found, expected);
        }
    }
}
