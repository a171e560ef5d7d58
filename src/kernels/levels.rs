//! Levels of a pyramid, one after another.

use std::ops::Deref;

use ndarray::ArrayView2;
use smallvec::SmallVec;

use super::pixels::Grid;

/// The levels of a pyramid.
#[derive(Debug)]
pub(super) struct Levels(SmallVec<[Level; 8]>);

/// A level among the rows of all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) grid: Grid,
    pub(super) first: usize,
    pub(super) end: usize,
}

impl Levels {
    /// Of sizes, `[levels, 2]`, which are heights and widths.
    ///
    /// # Errors
    ///
    /// Tells in words which sizes are none.
    pub(super) fn of(sizes: ArrayView2<'_, i64>) -> Result<Self, String> {
        let mut levels = Self(SmallVec::new());
        for size in sizes.outer_iter() {
            let level = match size.as_slice() {
                Some(&[height, width]) => Level::of(height, width, levels.end()),
                _ => None,
            };
            let level = level.ok_or_else(|| format!("sizes of {sizes}"))?;
            levels.0.push(level);
        }
        Ok(levels)
    }

    /// The row behind the last one.
    pub(super) fn end(&self) -> usize {
        self.last().map_or(0, |level| level.end)
    }
}

impl Deref for Levels {
    type Target = [Level];

    fn deref(&self) -> &[Level] {
        &self.0
    }
}

impl Level {
    /// The level that begins at a row. It has at least one cell.
    fn of(height: i64, width: i64, first: usize) -> Option<Self> {
        let [height, width] = [height, width].map(|side| usize::try_from(side).ok());
        let grid = Grid::new(height?, width?);
        let cells = height?.checked_mul(width?).filter(|&cells| cells > 0)?;
        let end = first.checked_add(cells)?;
        Some(Self { grid, first, end })
    }
}
