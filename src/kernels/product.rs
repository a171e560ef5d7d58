//! Products of rows with a matrix of weights that was put in order for them beforehand.
//!
//! Rows come and go in pieces that stay in a core's cache, which is what a convolution that makes its rows itself
//! needs. The order of the loops is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
//! (2008).

use super::threads::Threads;
use crate::instructions::{Instructions, Kernel, multiply_add};

/// The weights of a convolution, as products read them: a matrix `[inner, outer]` for each weight of the kernel, in panels
/// of a few columns each, and in a panel row after row.
pub(super) struct Weights {
    panels: Vec<f32>,
    shape: WeightsShape,
    instructions: Instructions,
}

/// Of a convolution's weights, `[groups * outer, inner, taps]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightsShape {
    /// Channels that see only each other.
    pub(super) groups: usize,
    /// Channels out of a group.
    pub(super) outer: usize,
    /// Channels into a group.
    pub(super) inner: usize,
    /// Weights of the kernel.
    pub(super) taps: usize,
}

impl Weights {
    /// Puts weights, as many as their shape says, in order. `memory` becomes theirs.
    pub(super) fn pack(
        weights: &[f32],
        shape: WeightsShape,
        mut memory: Vec<f32>,
        instructions: Instructions,
        threads: &Threads<'_>,
    ) -> Self {
        let WeightsShape {
            groups,
            outer,
            inner,
            taps,
        } = shape;
        let (lanes, column) = (instructions.lanes(), inner * taps);
        let panels = outer.div_ceil(lanes);
        memory.clear();
        // What no column fills stays zero, so that all panels are alike.
        memory.resize(groups * panels * lanes * column, 0.0);
        let chunks = memory.chunks_mut(lanes * column);
        threads.for_each(chunks, |place, to| {
            let (group, first) = (place / panels, place % panels * lanes);
            let columns = lanes.min(outer - first);
            let from = &weights[(group * outer + first) * column..][..columns * column];
            instructions.run(Pack {
                from,
                columns,
                inner,
                taps,
                to,
            });
        });
        Self {
            panels: memory,
            shape,
            instructions,
        }
    }

    pub(super) fn into_memory(self) -> Vec<f32> {
        self.panels
    }

    /// Adds `rows`, `[n, inner]`, times the matrix of a group and a tap to `sums`, `[n, outer]`.
    pub(super) fn add_product(&self, group: usize, tap: usize, rows: &[f32], sums: &mut [f32]) {
        let WeightsShape {
            outer, inner, taps, ..
        } = self.shape;
        let lanes = self.instructions.lanes();
        let panel = group * outer.div_ceil(lanes) * taps + tap;
        self.instructions.run(Product {
            panels: &self.panels[panel * lanes * inner..],
            panel_step: taps * lanes * inner,
            inner,
            rows,
            row_step: inner,
            sums,
            outer,
        });
    }
}

/// Brings columns, `[columns, inner, taps]`, into the order of a panel, `[taps, inner, LANES]`.
struct Pack<'a> {
    from: &'a [f32],
    columns: usize,
    inner: usize,
    taps: usize,
    to: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let length = self.inner * self.taps;
        for row in 0..self.inner {
            for tap in 0..self.taps {
                let to = &mut self.to[(tap * self.inner + row) * LANES..][..self.columns];
                // One number of each column: their next ones are in the cache then.
                for column in 0..self.columns {
                    to[column] = self.from[column * length + row * self.taps + tap];
                }
            }
        }
    }
}

/// Adds rows times a matrix to `sums`, `[n, outer]`.
pub(super) struct Product<'a> {
    /// The matrix in panels of `LANES` columns each, which are that far from one another.
    pub(super) panels: &'a [f32],
    pub(super) panel_step: usize,
    /// Numbers of a row that are multiplied, and how far it is from one row to the next.
    pub(super) inner: usize,
    pub(super) rows: &'a [f32],
    pub(super) row_step: usize,
    pub(super) sums: &'a mut [f32],
    pub(super) outer: usize,
}

impl Kernel for Product<'_> {
    /// A panel stays in the first cache while all rows pass it, a few at a time.
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(mut self) {
        for first in (0..self.outer).step_by(LANES) {
            let panel = &self.panels[first / LANES * self.panel_step..][..LANES * self.inner];
            let (panel, _) = panel.as_chunks::<LANES>();
            let row = self.pass::<ROWS, LANES, FUSED>(panel, first, 0);
            // A single row takes as long as three: their sums do not wait for one another.
            let row = match ROWS > 6 {
                true => self.pass::<6, LANES, FUSED>(panel, first, row),
                false => row,
            };
            let row = self.pass::<3, LANES, FUSED>(panel, first, row);
            let row = self.pass::<2, LANES, FUSED>(panel, first, row);
            self.pass::<1, LANES, FUSED>(panel, first, row);
        }
    }
}

impl Product<'_> {
    /// Rows from one on, as far as there are `ROWS` of them, times the panel that begins with a column. Returns the next row.
    #[inline(always)]
    fn pass<const ROWS: usize, const LANES: usize, const FUSED: bool>(
        &mut self,
        panel: &[[f32; LANES]],
        first: usize,
        mut row: usize,
    ) -> usize {
        let (count, width) = (self.sums.len() / self.outer, LANES.min(self.outer - first));
        while row + ROWS <= count {
            let rows = &self.rows[row * self.row_step..];
            let products = tile::<ROWS, LANES, FUSED>(rows, self.row_step, panel);
            let sums = &mut self.sums[row * self.outer + first..];
            add(&products, sums, self.outer, width);
            row += ROWS;
        }
        row
    }
}

/// `ROWS` rows, which are `step` apart, times one panel, with all sums in registers.
#[allow(unsafe_code)]
#[inline(always)]
pub(super) fn tile<const ROWS: usize, const LANES: usize, const FUSED: bool>(
    rows: &[f32],
    step: usize,
    panel: &[[f32; LANES]],
) -> [[f32; LANES]; ROWS] {
    let inner = panel.len();
    let rows = &rows[..(ROWS - 1) * step + inner];
    let mut sums = [[0.0; LANES]; ROWS];
    for place in 0..inner {
        let weights = &panel[place];
        for row in 0..ROWS {
            // SAFETY: `row` is below `ROWS` and `place` below `inner`, and there are as many numbers as the last of both
            // takes. A check would stand between the sums and their registers.
            let number = unsafe { *rows.get_unchecked(row * step + place) };
            for lane in 0..LANES {
                sums[row][lane] = multiply_add::<FUSED>(number, weights[lane], sums[row][lane]);
            }
        }
    }
    sums
}

/// Adds the first `width` products of each row to `sums`, whose rows are `outer` apart.
#[inline(always)]
fn add<const ROWS: usize, const LANES: usize>(
    products: &[[f32; LANES]; ROWS],
    sums: &mut [f32],
    outer: usize,
    width: usize,
) {
    for row in 0..ROWS {
        if width == LANES {
            // The usual case, of a length that the compiler knows.
            let sums = &mut sums[row * outer..][..LANES];
            for lane in 0..LANES {
                sums[lane] += products[row][lane];
            }
        } else {
            for lane in 0..width {
                sums[row * outer + lane] += products[row][lane];
            }
        }
    }
}
