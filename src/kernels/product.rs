//! Products of rows with a matrix of weights that was put in order for them beforehand.
//!
//! Rows come and go in pieces that stay in a core's cache, which is what a convolution that makes its rows itself
//! needs. The order of the loops is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
//! (2008).

use super::instructions::{Instructions, Kernel, multiply_add};

/// A matrix of weights, `[inner, outer]`, as products read it: panels of a few columns each, and in a panel row after row.
pub(super) struct Weights {
    panels: Vec<f32>,
    inner: usize,
    outer: usize,
    instructions: Instructions,
}

impl Weights {
    /// Of weights that are asked for by row and column.
    pub(super) fn new(
        inner: usize,
        outer: usize,
        instructions: Instructions,
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let lanes = instructions.lanes();
        let mut panels = Vec::with_capacity(outer.next_multiple_of(lanes) * inner);
        for first in (0..outer).step_by(lanes) {
            for row in 0..inner {
                // Columns past the last are zero, so that all panels are alike.
                let columns = first..first + lanes;
                panels.extend(columns.map(|column| match column < outer {
                    true => weight(row, column),
                    false => 0.0,
                }));
            }
        }
        Self {
            panels,
            inner,
            outer,
            instructions,
        }
    }

    /// Adds `rows`, `[n, inner]`, times these weights to `sums`, `[n, outer]`.
    pub(super) fn add_product(&self, rows: &[f32], sums: &mut [f32]) {
        self.instructions.run(Product {
            weights: self,
            rows,
            sums,
        });
    }
}

struct Product<'a> {
    weights: &'a Weights,
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for Product<'_> {
    /// A panel stays in the first cache while all rows pass it, a few at a time.
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let Weights { inner, outer, .. } = *self.weights;
        let count = self.rows.len() / inner;
        for first in (0..outer).step_by(LANES) {
            let panel = &self.weights.panels[first * inner..][..LANES * inner];
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
