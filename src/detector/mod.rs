//! The whole pipeline behind one call: what it takes, its options, and how it is put together.

mod builder;
#[allow(clippy::module_inception, reason = "files are named after their type")]
mod detector;
mod in_stages;
mod inputs;
mod options;
mod stage;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use self::stage::{Kept, Stage, Watch};
pub use self::{
    builder::DetectorBuilder,
    detector::{Detector, RawOutput},
    inputs::{EncodedImage, EncodedPrompt, EncodedText, ImageInput, PromptInput},
    options::GroundOptions,
};
