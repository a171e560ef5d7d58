//! Linear layers on rows that are in a core's cache, with weights in floats or in 8 bits.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, s};

use super::{
    byte_product::{ByteInstructions, ByteWeights},
    product::Product,
    rounding::Rounded,
};
use crate::instructions::Instructions;

/// Numbers of a row that are multiplied at a time: as many rows of a panel stay in the first cache.
const DEPTH: usize = 256;

/// The weights of a linear layer as graphs have them.
#[derive(Clone, Copy)]
pub(crate) enum LinearWeights<'a> {
    /// `[in, out]`.
    Floats(ArrayView2<'a, f32>),
    /// `[in, out]`, each column in multiples of one of the scales, `[out]`. What is multiplied with them is rounded too.
    Bytes(ArrayView2<'a, i8>, ArrayView1<'a, f32>),
}

/// Weights `[in, out]`, as products read them.
pub(super) enum Linear {
    Floats(Floats),
    Bytes(ByteWeights, Instructions),
}

/// Rows that are to be multiplied, in the numbers that the layer reads.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    floats: &'a [f32],
    /// Filled for a layer in 8 bits.
    rounded: &'a Rounded,
}

impl LinearWeights<'_> {
    /// Those of some of the numbers that come in.
    pub(super) fn of_inputs(&self, range: Range<usize>) -> LinearWeights<'_> {
        match self {
            Self::Floats(weights) => LinearWeights::Floats(weights.slice(s![range, ..])),
            Self::Bytes(weights, scales) => {
                LinearWeights::Bytes(weights.slice(s![range, ..]), scales.view())
            }
        }
    }

    /// Those of some of the numbers that come out.
    pub(super) fn of_outputs(&self, range: Range<usize>) -> LinearWeights<'_> {
        match self {
            Self::Floats(weights) => LinearWeights::Floats(weights.slice(s![.., range])),
            Self::Bytes(weights, scales) => LinearWeights::Bytes(
                weights.slice(s![.., range.clone()]),
                scales.slice(s![range]),
            ),
        }
    }

    /// How many numbers come in and out.
    pub(super) fn shape(&self) -> [usize; 2] {
        let (inner, outer) = match self {
            Self::Floats(weights) => weights.dim(),
            Self::Bytes(weights, _) => weights.dim(),
        };
        [inner, outer]
    }

    /// Whether there is a scale for each column.
    pub(super) fn has_scales(&self) -> bool {
        match self {
            Self::Floats(_) => true,
            Self::Bytes(weights, scales) => scales.len() == weights.ncols(),
        }
    }
}

impl Linear {
    /// Without instructions for bytes, weights in 8 bits are made floats.
    pub(super) fn pack(
        weights: &LinearWeights<'_>,
        instructions: Instructions,
        byte_instructions: Option<ByteInstructions>,
    ) -> Self {
        match (weights, byte_instructions) {
            (LinearWeights::Floats(weights), _) => {
                Self::Floats(Floats::pack(weights.view(), instructions))
            }
            (LinearWeights::Bytes(weights, scales), None) => {
                let weights = weights.mapv(f32::from) * scales;
                Self::Floats(Floats::pack(weights.view(), instructions))
            }
            (LinearWeights::Bytes(weights, scales), Some(byte_instructions)) => {
                let weights = weights.iter().copied().collect::<Vec<_>>();
                let scales = scales.to_vec();
                let packed = ByteWeights::pack(&weights, 1, &scales, byte_instructions);
                Self::Bytes(packed, instructions)
            }
        }
    }

    /// Rows `[n, inner]` in the numbers that this layer, and any other of its kind, reads.
    pub(super) fn rows<'a>(
        &self,
        floats: &'a [f32],
        inner: usize,
        memory: &'a mut Rounded,
    ) -> Rows<'a> {
        if let Self::Bytes(weights, instructions) = self {
            memory.put(floats, inner, weights.length(), *instructions);
        }
        Rows {
            floats,
            rounded: memory,
        }
    }

    /// Adds the product of rows and weights to `sums`, `[n, outer]`.
    pub(super) fn add_product(&self, rows: Rows<'_>, sums: &mut [f32]) {
        match self {
            Self::Floats(weights) => weights.add_product(rows.floats, sums),
            Self::Bytes(weights, _) => {
                let Rounded { bytes, scales } = rows.rounded;
                weights.add_product(bytes, scales, sums);
            }
        }
    }
}

/// Weights in floats: those of up to `DEPTH` numbers of a row after another, and of these panels of a few columns each.
pub(super) struct Floats {
    panels: Vec<f32>,
    inner: usize,
    outer: usize,
    instructions: Instructions,
}

impl Floats {
    fn pack(weights: ArrayView2<'_, f32>, instructions: Instructions) -> Self {
        let (inner, outer) = weights.dim();
        let lanes = instructions.lanes();
        let width = outer.next_multiple_of(lanes);
        // What no column fills stays zero, so that all panels are alike.
        let mut panels = vec![0.0; inner * width];
        let depth = depth(inner);
        for (row, weights) in weights.outer_iter().enumerate() {
            let first = row / depth * depth;
            let depth = depth.min(inner - first);
            for (column, &weight) in weights.iter().enumerate() {
                let panel = first * width + column / lanes * lanes * depth;
                panels[panel + (row - first) * lanes + column % lanes] = weight;
            }
        }
        Self {
            panels,
            inner,
            outer,
            instructions,
        }
    }

    fn add_product(&self, rows: &[f32], sums: &mut [f32]) {
        let lanes = self.instructions.lanes();
        let width = self.outer.next_multiple_of(lanes);
        let step = depth(self.inner);
        for first in (0..self.inner).step_by(step) {
            let depth = step.min(self.inner - first);
            self.instructions.run(Product {
                panels: &self.panels[first * width..][..depth * width],
                panel_step: depth * lanes,
                inner: depth,
                rows: &rows[first..],
                row_step: self.inner,
                sums,
                outer: self.outer,
            });
        }
    }
}

/// Numbers of a row that are multiplied at a time, as many each time as can be.
fn depth(inner: usize) -> usize {
    inner.div_ceil(inner.div_ceil(DEPTH).max(1)).max(1)
}
