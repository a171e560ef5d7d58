//! Products of rows with a matrix of weights that was put in order for them beforehand.
//!
//! Rows come and go in pieces that stay in a core's cache, which is what a convolution that makes its rows itself
//! needs. The order of the loops is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
//! (2008).

use super::{
    instructions::{Instructions, Kernel, multiply_add},
    threads::Threads,
};

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
        self.instructions.run(Product {
            weights: self,
            group,
            tap,
            rows,
            sums,
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

struct Product<'a> {
    weights: &'a Weights,
    group: usize,
    tap: usize,
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for Product<'_> {
    /// A panel stays in the first cache while all rows pass it, a few at a time.
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let WeightsShape {
            outer, inner, taps, ..
        } = self.weights.shape;
        let count = self.rows.len() / inner;
        let first_panel = self.group * outer.div_ceil(LANES);
        for first in (0..outer).step_by(LANES) {
            let panel = (first_panel + first / LANES) * taps + self.tap;
            let panel = &self.weights.panels[panel * LANES * inner..][..LANES * inner];
            let (panel, _) = panel.as_chunks::<LANES>();
            let width = LANES.min(outer - first);
            let mut row = 0;
            while row + ROWS <= count {
                let products = tile::<ROWS, LANES, FUSED>(&self.rows[row * inner..], panel);
                add(
                    &products,
                    &mut self.sums[row * outer + first..],
                    outer,
                    width,
                );
                row += ROWS;
            }
            while row < count {
                let products = tile::<1, LANES, FUSED>(&self.rows[row * inner..], panel);
                add(
                    &products,
                    &mut self.sums[row * outer + first..],
                    outer,
                    width,
                );
                row += 1;
            }
        }
    }
}

/// `ROWS` rows times one panel, with all sums in registers.
#[allow(unsafe_code)]
#[inline(always)]
fn tile<const ROWS: usize, const LANES: usize, const FUSED: bool>(
    rows: &[f32],
    panel: &[[f32; LANES]],
) -> [[f32; LANES]; ROWS] {
    let inner = panel.len();
    let rows = &rows[..ROWS * inner];
    let mut sums = [[0.0; LANES]; ROWS];
    for place in 0..inner {
        let weights = &panel[place];
        for row in 0..ROWS {
            // SAFETY: `row` is below `ROWS` and `place` below `inner`, and there are as many numbers as both together.
            // A check would stand between the sums and their registers.
            let number = unsafe { *rows.get_unchecked(row * inner + place) };
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
