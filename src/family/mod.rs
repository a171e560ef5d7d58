//! Families of models, by what sets their graphs apart.

mod detector;
mod segmenter;

pub(crate) use self::{
    detector::{Family, GLIP, Signatures},
    segmenter::{PromptKind, PromptTensor, SegmenterFamily},
};
