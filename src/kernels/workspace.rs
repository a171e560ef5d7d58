//! Memory that kernels share, one after another.

use super::{
    dyconv::memory::LayerMemory,
    pixels::{PixelMemory, Sample},
    rounding::Rounded,
    swin_block::memory::WindowMemory,
};
use crate::spare::Spare;

/// What kernels need while they run: as much as the largest of them, as a session runs one at a time.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(super) images: Spare<PixelMemory>,
    pub(super) layers: Spare<LayerMemory>,
    pub(super) blocks: Spare<Block>,
    pub(super) windows: Spare<WindowMemory>,
    /// Of weights that come anew with each run.
    pub(crate) weights: Spare<Vec<f32>>,
}

/// What a thread needs for some places.
#[derive(Default)]
pub(super) struct Block {
    pub(super) read: Read,
    /// What comes out there.
    pub(super) sums: Vec<f32>,
}

/// What is read at some places.
#[derive(Default)]
pub(super) struct Read {
    pub(super) samples: Vec<Sample>,
    pub(super) rows: Vec<f32>,
    /// The same in 8 bits.
    pub(super) rounded: Rounded,
}
