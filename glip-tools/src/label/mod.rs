#![doc = include_str!("../../docs/labelling.md")]

mod boxes;
mod grounding;
mod inputs;
mod journal;
mod labeller;
mod options;
mod outputs;
mod ranges;
mod record;
mod request;
mod run;
mod segmenting;
mod subject;
mod tiles;

pub use self::{
    boxes::BoxFilter,
    inputs::{Inputs, Requests},
    journal::{Journal, JournalHeader},
    labeller::{Counts, Labeller},
    options::{Band, LabelOptions, Verdict},
    outputs::{ERRORS, Format, MaskForm, OutputOptions, write},
    record::{Asked, LabelRecord, LabelledBox, Outcome},
    request::{ImageBytes, Request},
    run::Run,
    subject::{Caption, Subject},
    tiles::{Tile, Tiling},
};
pub use crate::{failure::Failure, segmentation::ScoredMask};
