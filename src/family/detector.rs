//! Families of detectors: which tensors their graphs take and give.
//!
//! A model's manifest names its family; everything else that sets families apart is data in the manifest
//! (how prompts are written, how images are resized, what kind of head there is). A family that comes to
//! the house is one table here and one exporter module on the Python side.

use crate::session::{Element, Signature, TensorSpec};

/// A family of models.
#[derive(Debug)]
pub(crate) struct Family {
    /// As manifests name it.
    pub(crate) name: &'static str,
    /// What the sides of a padded image must be multiples of.
    pub(crate) divisor: u32,
    /// The signatures of a model with so many feature maps of this type.
    pub(crate) signatures: fn(levels: usize, features: Element) -> Signatures,
}

/// What each graph of a model takes and gives. Inputs that are no feature maps are found by their names
/// among what the graphs before gave and what is known of the prompt: `input_ids`, `attention_mask`,
/// `position_ids` and `block_mask`; of the images there are `pixels` and `pixel_mask`.
#[derive(Debug, Clone)]
pub(crate) struct Signatures {
    pub(crate) image_encoder: Signature,
    pub(crate) text_encoder: Signature,
    pub(crate) fusion: Signature,
    pub(crate) head: Signature,
}

/// Every family that manifests may name.
static FAMILIES: [&Family; 2] = [&GLIP, &GROUNDING_DINO];

impl Family {
    /// The family of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FAMILIES.into_iter().find(|family| family.name == name)
    }

    /// The names that there are.
    pub(crate) fn names() -> String {
        FAMILIES.map(|family| family.name).join(", ")
    }
}

/// GLIP (https://arxiv.org/abs/2112.03857), in all variants.
pub(crate) static GLIP: Family = Family {
    name: "glip",
    // The coarsest stage of its backbones has stride 32. Levels of the pyramid beyond that round up.
    divisor: 32,
    signatures: glip,
};

fn floats(name: &str, rank: usize) -> TensorSpec {
    TensorSpec::new(name, Element::F32, rank)
}

fn integers(name: &str, rank: usize) -> TensorSpec {
    TensorSpec::new(name, Element::I64, rank)
}

fn glip(levels: usize, features: Element) -> Signatures {
    let maps = |name| TensorSpec::feature_maps(name, features, levels);
    Signatures {
        image_encoder: Signature::new(
            "image_encoder",
            vec![floats("pixels", 4)],
            maps("pyramid").collect(),
        ),
        text_encoder: Signature::new(
            "text_encoder",
            vec![integers("input_ids", 2), integers("attention_mask", 2)],
            vec![floats("hidden", 3), floats("embedded", 3)],
        ),
        fusion: Signature::new(
            "fusion",
            maps("pyramid")
                .chain([floats("hidden", 3), integers("attention_mask", 2)])
                .collect(),
            maps("fused").chain([floats("fused_text", 3)]).collect(),
        ),
        head: Signature::new(
            "head",
            maps("fused").chain([floats("text", 3)]).collect(),
            vec![
                floats("logits", 3),
                floats("deltas", 3),
                floats("centerness", 2),
            ],
        ),
    }
}

/// Grounding DINO (https://arxiv.org/abs/2303.05499), MM-Grounding-DINO and LLMDet, which are one
/// architecture.
static GROUNDING_DINO: Family = Family {
    name: "grounding-dino",
    // Sides that are no multiples of a stride are rounded up in the graphs: padding a picture would change
    // what is found near its border.
    divisor: 1,
    signatures: grounding_dino,
};

fn grounding_dino(levels: usize, features: Element) -> Signatures {
    let maps = |name| TensorSpec::feature_maps(name, features, levels);
    let block_mask = || TensorSpec::new("block_mask", Element::Bool, 3);
    Signatures {
        image_encoder: Signature::new(
            "image_encoder",
            vec![floats("pixels", 4)],
            maps("pyramid").collect(),
        ),
        text_encoder: Signature::new(
            "text_encoder",
            vec![
                integers("input_ids", 2),
                integers("position_ids", 2),
                block_mask(),
            ],
            vec![floats("hidden", 3)],
        ),
        fusion: Signature::new(
            "fusion",
            maps("pyramid")
                .chain([
                    floats("hidden", 3),
                    integers("attention_mask", 2),
                    integers("position_ids", 2),
                    block_mask(),
                ])
                .collect(),
            maps("fused").chain([floats("fused_hidden", 3)]).collect(),
        ),
        head: Signature::new(
            "head",
            maps("fused")
                .chain([floats("hidden", 3), integers("attention_mask", 2)])
                .collect(),
            vec![floats("logits", 3), floats("boxes", 3)],
        ),
    }
}
