//! The kinds of heads: how each places its boxes.

use super::{
    anchors::AnchorOptions,
    box_coder::BoxCoder,
    nms::{continuous_iou, inclusive_iou},
};
use crate::{
    error::Result,
    geometry::{BBox, Corners, ImageGeometry},
};

/// What kind of head a model has, with its constants. A model's manifest states it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HeadSpec {
    /// Boxes relative to anchors, each with a centerness, as of GLIP. Boxes that overlap a better one
    /// are suppressed.
    Anchors {
        /// Where the anchors are.
        anchors: AnchorOptions,
        /// How boxes are encoded.
        box_coder: BoxCoder,
    },
    /// Boxes as they are, one for each query, as of the DETR family. A manifest recommends an
    /// [`nms_iou_threshold`](super::PostprocessOptions::nms_iou_threshold) of 1 for them, which
    /// suppresses nothing: queries of one thing have learned to leave it to one of them.
    Queries,
}

/// The anchors and the box coder of all released GLIP models.
impl Default for HeadSpec {
    fn default() -> Self {
        Self::Anchors {
            anchors: AnchorOptions::default(),
            box_coder: BoxCoder::default(),
        }
    }
}

impl HeadSpec {
    pub(super) fn validate(&self) -> Result<()> {
        match self {
            Self::Anchors { anchors, box_coder } => {
                anchors.validate()?;
                box_coder.validate()
            }
            Self::Queries => Ok(()),
        }
    }

    /// How much of two boxes is shared, in the convention in which the head gives them.
    pub(super) fn iou(&self) -> fn(Corners, Corners) -> f32 {
        match self {
            Self::Anchors { .. } => inclusive_iou,
            Self::Queries => continuous_iou,
        }
    }

    /// A box of the head, in pixels of the resized image, as one in the original image.
    ///
    /// Corners of a head of anchors are the first and the last pixel of a box, and were so in the
    /// images it was trained on, before these were resized: the edge is one pixel of the *original*
    /// image beyond the last pixel. Official converts boxes for COCO in the same way.
    pub(super) fn to_original(&self, corners: Corners, geometry: &ImageGeometry) -> Result<BBox> {
        match self {
            Self::Queries => geometry.to_original(corners),
            Self::Anchors { .. } => {
                let ([x, y], [x1, y1, x2, y2]) = (geometry.scale(), corners);
                BBox::new(x1 * x, y1 * y, x2 * x + 1.0, y2 * y + 1.0)
            }
        }
    }
}
