//! The exported graphs: one file per graph, named after its type. What tensors each takes and gives is
//! its family's table (`family`); nothing here asks for a family's name.

mod feature_maps;
mod fusion;
mod grid;
mod grounding_head;
mod image_encoder;
mod load;
mod text_encoder;
mod text_states;

pub(crate) use self::{feature_maps::MapsPlace, fusion::FusionPlace};
pub use self::{
    fusion::{FusedFeatures, Fusion},
    grounding_head::GroundingHead,
    image_encoder::{FeaturePyramid, ImageEncoder},
    text_encoder::{TextEncoder, TextFeatures},
};
