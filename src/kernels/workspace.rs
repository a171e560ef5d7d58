//! Memory that kernels share, one after another.

use super::{
    pixels::{Pixels, Sample},
    rounding::Rounded,
    window_attention::HeadMemory,
    windows::Token,
};
use crate::spare::Spare;

/// What kernels need while they run: as much as the largest of them, as a session runs one at a time.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(super) images: Spare<Pixels>,
    pub(super) blocks: Spare<Block>,
    pub(super) windows: Spare<WindowMemory>,
    /// Of weights that come anew with each run.
    pub(crate) weights: Spare<Vec<f32>>,
}

/// What a thread needs for some places.
#[derive(Default)]
pub(super) struct Block {
    pub(super) samples: Vec<Sample>,
    /// What is read at each place.
    pub(super) rows: Vec<f32>,
    /// The same in 8 bits, and what each row's numbers are multiples of.
    pub(super) bytes: Vec<u8>,
    pub(super) scales: Vec<f32>,
    /// What comes out there.
    pub(super) sums: Vec<f32>,
}

/// What a thread needs for some windows. Rows are those of their tokens.
#[derive(Default)]
pub(super) struct WindowMemory {
    pub(super) tokens: Vec<Token>,
    /// Where each window's tokens end.
    pub(super) ends: Vec<usize>,
    /// The tokens themselves, to which everything is added.
    pub(super) rows: Vec<f32>,
    /// What is multiplied next.
    pub(super) factors: Vec<f32>,
    pub(super) rounded: Rounded,
    pub(super) queries: Vec<f32>,
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) hidden: Vec<f32>,
    pub(super) hidden_rounded: Rounded,
    pub(super) head: HeadMemory,
}
