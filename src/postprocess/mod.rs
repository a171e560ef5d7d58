//! From the head's outputs to detections, and the parts to build another way there.
//!
//! ```text
//! HeadOutput --phrase scores--> candidates --boxes--> suppression --> Detections
//! ```
//!
//! [`Postprocessor`] is all of it, as the official evaluation does it. For something else, take its
//! steps ([`candidates`](Postprocessor::candidates), [`suppress`](Postprocessor::suppress),
//! [`detections`](Postprocessor::detections)) or the parts below them: [`Anchors`], [`BoxCoder`],
//! [`phrase_scores`] and [`nms`]. They are plain arithmetic on `ndarray`s and know nothing of graphs or
//! sessions. [`upsample_mask`] and [`stability_score`] are the end of segmentation models such as SAM.
//!
//! A head looks at *rows*: anchors, or queries ([`HeadOutput`](crate::parts::HeadOutput)). Boxes are
//! [`Corners`] here, in pixels of the resized image that the network saw; only
//! [`Detections`](crate::Detections) are in pixels of the original one.

mod anchors;
mod box_coder;
mod candidates;
mod head_spec;
mod head_view;
mod masks;
mod nms;
mod options;
mod phrase_scores;
mod postprocessor;

pub(crate) use self::candidates::PhraseLookup;
pub use self::{
    anchors::{AnchorLevel, AnchorOptions, Anchors},
    box_coder::BoxCoder,
    candidates::Candidate,
    head_spec::HeadSpec,
    head_view::{BoxesView, HeadView},
    masks::{MaskChoice, stability_score, upsample_logits, upsample_mask},
    nms::{inclusive_iou, nms},
    options::PostprocessOptions,
    phrase_scores::{Aggregation, phrase_scores, sigmoid},
    postprocessor::Postprocessor,
};
pub use crate::geometry::Corners;
