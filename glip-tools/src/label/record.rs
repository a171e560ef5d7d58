//! What a labeller gives for each image. Its boxes are edges in pixels, also where they are written: the
//! journal's version says so.

use std::sync::Arc;

use glip::{BBox, ImageSize};
use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    label::{
        options::Verdict,
        subject::{Caption, Subject},
    },
    segmentation::ScoredMask,
    stamp::Stamp,
    values::finite,
};

/// What was found in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelRecord {
    /// What the image is called.
    pub image: String,
    /// Its width in pixels, turned upright.
    pub width: u32,
    /// Its height in pixels, turned upright.
    pub height: u32,
    /// Where the image is from, as the input said.
    pub source: Option<String>,
    /// What was looked for.
    pub asked: Asked,
    /// What was found, best first.
    pub boxes: Vec<LabelledBox>,
}

/// What the model was asked for: each phrase by its label, which is what its boxes are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The labels of categories.
    Categories(Arc<[String]>),
    /// A caption, and what its phrases are called.
    Caption(Caption, Arc<[String]>),
}

impl Asked {
    pub(super) fn of(subject: &Subject) -> glip::Result<Self> {
        match subject {
            Subject::Categories(_) => Ok(Self::Categories(subject.phrases()?.into())),
            Subject::Caption(caption) => Self::caption(caption.clone()),
        }
    }

    /// A caption that was asked.
    ///
    /// # Errors
    /// As [`Subject::phrases`].
    pub fn caption(caption: Caption) -> glip::Result<Self> {
        let phrases = caption.phrases()?.into();
        Ok(Self::Caption(caption, phrases))
    }

    /// What each phrase is called, by its index.
    pub fn phrases(&self) -> &[String] {
        match self {
            Self::Categories(phrases) | Self::Caption(_, phrases) => phrases,
        }
    }
}

/// A box with a label: what is in it, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "an object with phrase, score, verdict and bbox")]
pub struct LabelledBox {
    /// The index of its phrase in [`Asked::phrases`].
    pub phrase: usize,
    /// How sure the model is, 0 to 1.
    #[serde(serialize_with = "finite")]
    pub score: f32,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Where it is: its edges, in pixels of the upright image, so that a width is `x2 - x1`.
    pub bbox: BBox,
    /// Which pixels of the upright image it is, if a segmenter was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<ScoredMask>,
}

impl LabelRecord {
    /// The boxes of the phrase with this index that a person need not look at.
    pub fn kept(&self, phrase: usize) -> impl Iterator<Item = &LabelledBox> {
        let boxes = self.boxes.iter();
        boxes.filter(move |found| found.phrase == phrase && found.verdict == Verdict::Keep)
    }

    /// Whether a person shall look at a box of this phrase.
    pub fn is_in_review(&self, phrase: usize) -> bool {
        let mut boxes = self.boxes.iter();
        boxes.any(|found| found.phrase == phrase && found.verdict == Verdict::Review)
    }

    /// The label of a box: what its phrase is called.
    pub fn name(&self, found: &LabelledBox) -> &str {
        self.asked
            .phrases()
            .get(found.phrase)
            .map_or("", String::as_str)
    }

    /// A box's left, top, right and bottom edge in pixels, within the image.
    pub fn edges(&self, found: &LabelledBox) -> [f32; 4] {
        let image = ImageSize::new(self.width, self.height);
        found.bbox.clamp(image).into()
    }
}

/// What a labeller gives for each input: the record of the image, or why there is none.
pub type Outcome = Result<LabelRecord, Failure>;

/// An outcome, and what tells the image's bytes from others; those that could not be read have nothing.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) stamp: Option<Stamp>,
}

/// Why there is no record of an image, which perhaps could not even be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(expecting = "an object with image and error")]
pub(super) struct Failed {
    #[serde(flatten)]
    pub(super) failure: Failure,
    #[serde(rename = "file", default, skip_serializing_if = "Option::is_none")]
    pub(super) stamp: Option<Stamp>,
}

impl From<Failed> for Done {
    fn from(Failed { failure, stamp }: Failed) -> Self {
        Self {
            outcome: Err(failure),
            stamp,
        }
    }
}
