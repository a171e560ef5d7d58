//! Families of segmenters: what their decoders take for a prompt, and what they give.
//!
//! A segmenter is two graphs. The encoder makes features of an image, whose names and types the manifest lists. The decoder
//! takes these and a prompt, in the tensors of its family, of which the manifest lists those that there are. A family
//! that comes to the house is one table here and one importer on the Python side.

use crate::session::{Element, TensorSpec};

/// A family of segmenters.
#[derive(Debug)]
pub(crate) struct SegmenterFamily {
    /// As manifests name it.
    pub(crate) name: &'static str,
    /// What a decoder may take beside features.
    inputs: &'static [PromptTensor],
    /// The masks as logits, `[prompts, candidates, rows, columns]`: the name, and the rank with leading axes of 1.
    logits: (&'static str, usize),
    /// What the decoder expects of each mask, `[prompts, candidates]`, likewise.
    scores: (&'static str, usize),
    /// Whether the graph itself adds the point of padding that ends every prompt. Otherwise one that has no box needs it, and
    /// one that has a box must not have it: it would move the mask.
    pub(crate) decoder_pads: bool,
    /// Whether the decoder needs a box with every prompt. Points alone would be answered with other masks than the model's.
    pub(crate) needs_boxes: bool,
    /// Whether maps are resized to the original image at once, as they are: they lie over all of it. Otherwise they
    /// lie over the padded image.
    pub(crate) maps_lie_over_image: bool,
    /// Whether points are in pixels of the size that the graph is told, as [`PromptKind::ImageSize`], not of its image encoder's
    /// input.
    pub(crate) points_in_told_size: bool,
    /// How many points a prompt may have, corners of its box included. Graphs leave out what is more, and say nothing.
    pub(crate) most_points: Option<usize>,
}

/// An input of a decoder that says something of the prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PromptTensor {
    pub(crate) name: &'static str,
    pub(crate) kind: PromptKind,
    pub(crate) element: Element,
    /// With leading axes of 1, where it is more than the kind has.
    pub(crate) rank: usize,
}

/// What of the prompts a tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PromptKind {
    /// Points and the two corners of the box, x and y, `[prompts, points, 2]`.
    PointsAndCorners,
    /// What they are, `[prompts, points]`: -1 padding, 0 beside the thing, 1 on it, 2 and 3 the box's corners.
    LabelsOfAll,
    /// Points alone, `[prompts, points, 2]`.
    Points,
    /// What those are, `[prompts, points]`.
    Labels,
    /// Boxes, `[prompts, 4]`.
    Boxes,
    /// A mask to start from, of which there is none, `[1, 1, rows, columns]`.
    Mask,
    /// The same, `[prompts, 1, rows, columns]`.
    MaskOfEach,
    /// Whether there is one, `[1]`.
    HasMask,
    /// The same, `[prompts]`.
    HasMaskOfEach,
    /// Height and width that masks are resized to in the graph: those that they have.
    ImageSize,
}

/// Every family that manifests may name.
static FAMILIES: [&SegmenterFamily; 4] = [&SAM, &SAM2, &SAM2_HF, &EFFICIENT_SAM];

impl SegmenterFamily {
    /// The family of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FAMILIES.into_iter().find(|family| family.name == name)
    }

    /// The names that there are.
    pub(crate) fn names() -> String {
        FAMILIES.map(|family| family.name).join(", ")
    }

    /// The input of that name.
    pub(crate) fn input(&self, name: &str) -> Option<PromptTensor> {
        self.inputs.iter().find(|input| input.name == name).copied()
    }

    /// The names of all inputs that a decoder may have.
    pub(crate) fn input_names(&self) -> String {
        let names: Vec<_> = self.inputs.iter().map(|input| input.name).collect();
        names.join(", ")
    }

    /// The logits, then the scores.
    pub(crate) fn outputs(&self) -> [TensorSpec; 2] {
        [self.logits, self.scores].map(|(name, rank)| TensorSpec::new(name, Element::F32, rank))
    }
}

impl PromptTensor {
    pub(crate) fn spec(self) -> TensorSpec {
        TensorSpec::new(self.name, self.element, self.rank)
    }

    /// Whether it is how a decoder learns of boxes.
    pub(crate) fn takes_boxes(self) -> bool {
        matches!(self.kind, PromptKind::PointsAndCorners | PromptKind::Boxes)
    }
}

const fn tensor(
    name: &'static str,
    kind: PromptKind,
    element: Element,
    rank: usize,
) -> PromptTensor {
    PromptTensor {
        name,
        kind,
        element,
        rank,
    }
}

/// Segment Anything (https://arxiv.org/abs/2304.02643) as its own project exports it; MobileSAM, SAM-HQ and SlimSAM
/// are exported alike.
static SAM: SegmenterFamily = SegmenterFamily {
    name: "sam",
    inputs: &[
        tensor(
            "point_coords",
            PromptKind::PointsAndCorners,
            Element::F32,
            3,
        ),
        tensor("point_labels", PromptKind::LabelsOfAll, Element::F32, 2),
        tensor("mask_input", PromptKind::Mask, Element::F32, 4),
        tensor("has_mask_input", PromptKind::HasMask, Element::F32, 1),
        tensor("orig_im_size", PromptKind::ImageSize, Element::F32, 1),
    ],
    logits: ("low_res_masks", 4),
    scores: ("iou_predictions", 2),
    decoder_pads: false,
    needs_boxes: false,
    maps_lie_over_image: false,
    points_in_told_size: false,
    most_points: None,
};

/// SAM 2 and 2.1 (https://arxiv.org/abs/2408.00714) as samexporter exports them.
static SAM2: SegmenterFamily = SegmenterFamily {
    name: "sam2",
    inputs: &[
        tensor(
            "point_coords",
            PromptKind::PointsAndCorners,
            Element::F32,
            3,
        ),
        tensor("point_labels", PromptKind::LabelsOfAll, Element::F32, 2),
        tensor("mask_input", PromptKind::MaskOfEach, Element::F32, 4),
        tensor("has_mask_input", PromptKind::HasMaskOfEach, Element::F32, 1),
    ],
    logits: ("masks", 4),
    scores: ("iou_predictions", 2),
    decoder_pads: true,
    needs_boxes: false,
    maps_lie_over_image: true,
    points_in_told_size: false,
    most_points: None,
};

/// SAM 2 and 2.1 as the Hugging Face hub has them: an axis for images, boxes on their own.
static SAM2_HF: SegmenterFamily = SegmenterFamily {
    name: "sam2-hf",
    inputs: &[
        tensor("input_points", PromptKind::Points, Element::F32, 4),
        tensor("input_labels", PromptKind::Labels, Element::I64, 3),
        tensor("input_boxes", PromptKind::Boxes, Element::F32, 3),
    ],
    logits: ("pred_masks", 5),
    scores: ("iou_scores", 3),
    decoder_pads: true,
    // It pads the corners of boxes alone: it was traced with boxes, where the model does not pad points.
    needs_boxes: true,
    maps_lie_over_image: true,
    points_in_told_size: false,
    most_points: None,
};

/// EfficientSAM (https://arxiv.org/abs/2312.00863) as its own project exports it: the image in its own size, which the
/// encoder resizes, and one prompt a run.
static EFFICIENT_SAM: SegmenterFamily = SegmenterFamily {
    name: "efficient-sam",
    inputs: &[
        tensor(
            "batched_point_coords",
            PromptKind::PointsAndCorners,
            Element::F32,
            4,
        ),
        tensor(
            "batched_point_labels",
            PromptKind::LabelsOfAll,
            Element::F32,
            3,
        ),
        tensor("orig_im_size", PromptKind::ImageSize, Element::I64, 1),
    ],
    logits: ("output_masks", 5),
    scores: ("iou_predictions", 3),
    decoder_pads: true,
    needs_boxes: false,
    maps_lie_over_image: true,
    points_in_told_size: true,
    most_points: Some(6),
};
