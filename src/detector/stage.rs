//! The stages of a call, who is told of them, and the memory that goes from one call to the next.

use crate::{
    error::Result,
    graph::{FusionPlace, MapsPlace},
    head_output::HeadMemory,
    postprocess::{Candidate, PhraseLookup},
    preprocess::KeptInput,
};

/// A stage of a call: a box of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Preprocess,
    ImageEncoder,
    Fusion,
    Head,
    Postprocess,
}

/// Is told of each stage that is over, and can end the call there. Those after the image encoder come once for
/// each text of the prompt.
pub(crate) type Watch<'w> = &'w mut dyn FnMut(Stage) -> Result<()>;

/// What the right half of the picture is run with, from where image and prompt meet.
#[derive(Default)]
pub(super) struct Run<'w> {
    pub(super) watch: Option<Watch<'w>>,
    /// Goes from one text of the prompt to the next.
    pub(super) memory: RunMemory,
}

/// The memory of the right half.
#[derive(Default)]
pub(super) struct RunMemory {
    pub(super) fusion: FusionPlace,
    pub(super) head: HeadMemory,
    pub(super) lookup: PhraseLookup,
    /// Of each image.
    pub(super) candidates: Vec<Vec<Candidate>>,
}

impl Run<'_> {
    /// Tells who watches that a stage is over, and whether to go on.
    pub(super) fn over(&mut self, stage: Stage) -> Result<()> {
        self.watch.as_mut().map_or(Ok(()), |watch| watch(stage))
    }
}

/// Memory that is kept from one call to the next.
#[derive(Default)]
pub(crate) struct Kept {
    pub(super) input: KeptInput,
    pub(super) pyramid: MapsPlace,
    pub(super) run: RunMemory,
}
