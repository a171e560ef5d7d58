//! From fused features to what the model says about every anchor.

use ndarray::{Array2, Array3};

/// Width and height of a feature map, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GridSize {
    /// Cells in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl GridSize {
    /// Number of cells, which is the number of anchors of the level.
    pub fn cells(self) -> usize {
        self.width * self.height
    }
}

/// What the model says about every anchor: the raw material of post-processing.
///
/// Anchors are the cells of all pyramid levels, finest level first, row by row within a level;
/// their number is the sum of [`GridSize::cells`] over `level_sizes`.
#[derive(Debug, Clone)]
pub struct HeadOutput {
    /// Alignment of every anchor with every token, before the sigmoid: `[batch, anchors, tokens]`.
    pub logits: Array3<f32>,
    /// Box regression, to be decoded against the anchors: `[batch, anchors, 4]` as dx, dy, dw, dh.
    pub deltas: Array3<f32>,
    /// How central an anchor is in its object, before the sigmoid: `[batch, anchors]`.
    pub centerness: Array2<f32>,
    /// The levels' sizes, finest (stride 8) first.
    pub level_sizes: Vec<GridSize>,
}
