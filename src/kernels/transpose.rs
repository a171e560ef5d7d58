//! The same numbers with their two axes exchanged.

use crate::instructions::Kernel;

/// Rows and columns that change places in registers.
const TILE: usize = 8;

/// Writes `to[column * to_step + row] = from[row * from_step + column]`.
pub(super) struct Transpose<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) from: &'a [f32],
    pub(super) from_step: usize,
    pub(super) to: &'a mut [f32],
    pub(super) to_step: usize,
}

impl Transpose<'_> {
    #[inline(always)]
    fn tile(&mut self, row: usize, column: usize) {
        let mut tile = [[0.0; TILE]; TILE];
        for at in 0..TILE {
            let numbers = &self.from[(row + at) * self.from_step + column..][..TILE];
            for column in 0..TILE {
                tile[column][at] = numbers[column];
            }
        }
        for at in 0..TILE {
            let numbers = &mut self.to[(column + at) * self.to_step + row..][..TILE];
            numbers.copy_from_slice(&tile[at]);
        }
    }
}

impl Kernel for Transpose<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(mut self) {
        let whole = |count: usize| count - count % TILE;
        let (rows, columns) = (whole(self.rows), whole(self.columns));
        for column in (0..columns).step_by(TILE) {
            for row in (0..rows).step_by(TILE) {
                self.tile(row, column);
            }
        }
        for row in 0..self.rows {
            let first = if row < rows { columns } else { 0 };
            for column in first..self.columns {
                self.to[column * self.to_step + row] = self.from[row * self.from_step + column];
            }
        }
    }
}
