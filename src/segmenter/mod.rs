//! From boxes to masks: an encoder for the image, a decoder for the prompts.

mod builder;
mod decoder;
mod encoder;
mod logits;
mod prompt;
mod scene;
#[allow(clippy::module_inception, reason = "files are named after their type")]
mod segmenter;
mod tensors;

pub use self::{
    builder::SegmenterBuilder,
    logits::MaskLogits,
    prompt::MaskPrompt,
    scene::{SceneInput, SegmentationScene},
    segmenter::Segmenter,
};
