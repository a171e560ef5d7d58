//! What a layer needs on its way.

use super::coefficients::Coefficients;

/// What a layer needs between its steps.
#[derive(Default)]
pub(in crate::kernels) struct LayerMemory {
    /// Offsets and masks of each level, `[27, places]`.
    pub(super) fields: Vec<f32>,
    /// How far from zero each position's numbers go.
    pub(super) reach: Vec<f32>,
    /// What the branches give, block after block, `[places, channels]`.
    pub(super) values: Vec<f32>,
    /// Its sums over each block, `[3, channels]`: of numbers, of squares, and of numbers as often as they are seen.
    pub(super) sums: Vec<f32>,
    pub(super) coefficients: Coefficients,
}
