//! The exported graphs: one file per graph, named after its type.

mod binding;
mod checked;
mod feature_maps;
mod fusion;
mod grounding_head;
mod image_encoder;
mod recording;
mod session;
mod signature;
mod tensor;
mod text_encoder;

pub use feature_maps::GridSize;
pub use fusion::{FusedFeatures, Fusion};
pub use grounding_head::{GroundingHead, HeadOutput};
pub use image_encoder::{FeaturePyramid, ImageEncoder};
pub use text_encoder::{TextEncoder, TextFeatures};

#[cfg(test)]
pub(crate) use {
    checked::Graph,
    tensor::{Input, Tensor},
};
