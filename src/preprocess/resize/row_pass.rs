//! The fastest row pass that the processor has.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use super::{portable, window::Window};

/// The row pass: over the pixels of a row. All ways give the same.
pub(super) enum RowPass {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Windows),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Windows),
    Portable(Vec<Window>),
}

impl RowPass {
    pub(super) fn new(windows: Vec<Window>) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(windows) = avx512::Windows::new(&windows) {
                return Self::Avx512(windows);
            }
            if let Some(windows) = avx2::Windows::new(&windows) {
                return Self::Avx2(windows);
            }
        }
        Self::Portable(windows)
    }

    /// How many bytes a row must have beyond its pixels; their values do not matter.
    pub(super) fn padding(&self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(windows) => windows.padding(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(windows) => windows.padding(),
            Self::Portable(_) => 0,
        }
    }

    /// Gives a row of pixels its new width, and sorts it by channel. `next` is memory that is read next.
    pub(super) fn add_pixels(&self, row: &[u8], narrowed: &mut [u8], next: Range<*const u8>) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(windows) => windows.add_pixels(row, narrowed, next),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(windows) => windows.add_pixels(row, narrowed, next),
            Self::Portable(windows) => portable::add_pixels(row, windows, narrowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::preprocess::resize::window::{RGB, windows};

    fn noise(bytes: usize, seed: u32) -> Vec<u8> {
        let level = |i: u32| ((i ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8;
        (0..bytes as u32).map(level).collect()
    }

    /// The fastest that this processor has, and others.
    fn row_passes(windows: impl Fn() -> Vec<Window>) -> Vec<RowPass> {
        let mut passes = vec![RowPass::new(windows())];
        #[cfg(target_arch = "x86_64")]
        passes.extend(avx2::Windows::new(&windows()).map(RowPass::Avx2));
        passes
    }

    proptest! {
        /// Where the processor has one way only, it is compared with itself.
        #[test]
        fn every_row_pass_gives_the_same(
            from in 1usize..400, to in 1usize..400, seed in any::<u32>(),
        ) {
            let mut expected = vec![0; RGB * to];
            let row = noise(RGB * (2 * from + 50), seed);
            portable::add_pixels(&row, &windows(from, to), &mut expected);

            for pass in row_passes(|| windows(from, to)) {
                let row = &row[..RGB * from + pass.padding()];
                let mut found = vec![0; RGB * to];
                pass.add_pixels(row, &mut found, row.as_ptr_range());
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
