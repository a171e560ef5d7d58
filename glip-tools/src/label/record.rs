//! What a labeller takes and gives for each image.

use std::{borrow::Cow, error::Error as StdError, fs, path::PathBuf, sync::Arc};

use glip::BBox;
use image::DynamicImage;
use serde::{Deserialize, Serialize};

use super::{Caption, Subject, Verdict, inputs::read_section};
use crate::{Error, Picture, PictureLimits, Result};

/// An image to label, not decoded yet.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the image is called in labels and errors: its path below the folder that was given, with
    /// `/` between the parts.
    pub image: String,
    /// Where its bytes are.
    pub bytes: ImageBytes,
    /// What to look for.
    pub subject: Arc<Subject>,
    /// Where the image is from, if a label shall say so.
    pub source: Option<String>,
}

/// Where the bytes of an image are.
#[derive(Clone, Debug)]
pub enum ImageBytes {
    /// In a file, which is read when its turn comes.
    File(PathBuf),
    /// In a part of a file, for example of a tar shard, which is read when its turn comes.
    Section {
        /// The file.
        file: PathBuf,
        /// Where the image begins, in bytes.
        offset: u64,
        /// How many bytes it has.
        bytes: u64,
    },
    /// In memory.
    Memory(Vec<u8>),
}

impl ImageBytes {
    fn read(&self) -> Result<Cow<'_, [u8]>> {
        let (path, content) = match self {
            Self::Memory(bytes) => return Ok(Cow::Borrowed(bytes)),
            Self::File(path) => (path, fs::read(path)),
            Self::Section {
                file,
                offset,
                bytes,
            } => (file, read_section(file, *offset, *bytes)),
        };
        content.map(Cow::Owned).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })
    }
}

impl Request {
    /// Reads and decodes the image, and turns it upright.
    ///
    /// # Errors
    /// - [`Error::Read`]: the file cannot be read.
    /// - As [`Picture::decode`].
    pub fn picture(&self, limits: PictureLimits) -> Result<DynamicImage> {
        Ok(Picture::decode(&self.bytes.read()?, &self.image, limits)?.upright())
    }
}

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
    pub labels: Vec<Label>,
}

/// What was looked for in an image, as labels name it.
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

/// A box and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The index of its phrase in [`Asked::phrases`].
    pub phrase: usize,
    /// How sure the model is, 0 to 1.
    pub score: f32,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Where it is, in pixels of the upright image: the first and the last column and row, which both
    /// belong to it.
    pub bbox: BBox,
}

impl LabelRecord {
    /// The labels of the phrase with this index that a person need not look at.
    pub fn kept(&self, phrase: usize) -> impl Iterator<Item = &Label> {
        let labels = self.labels.iter();
        labels.filter(move |label| label.phrase == phrase && label.verdict == Verdict::Keep)
    }

    /// Whether a person shall look at a label of this phrase.
    pub fn asks(&self, phrase: usize) -> bool {
        let mut labels = self.labels.iter();
        labels.any(|label| label.phrase == phrase && label.verdict == Verdict::Ask)
    }

    /// What a label's phrase is called.
    pub fn name(&self, label: &Label) -> &str {
        self.asked
            .phrases()
            .get(label.phrase)
            .map_or("", String::as_str)
    }

    /// A label's left, top, right and bottom edge in pixels, within the image. Its last column and row
    /// belong to it, so the right edge is one pixel after the last column's left one.
    pub fn edges(&self, label: &Label) -> [f32; 4] {
        let [x1, y1, x2, y2] = label.bbox.into();
        let (right, bottom) = (self.width as f32, self.height as f32);
        [
            x1.max(0.0),
            y1.max(0.0),
            (x2 + 1.0).min(right),
            (y2 + 1.0).min(bottom),
        ]
    }
}

/// An image that could not be labelled, and why.
///
/// As JSON, which is a line of `errors.jsonl`: `{"image": "a.jpg", "error": "a.jpg is cut off: ..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the image is called, or where the input is that names none.
    pub image: String,
    /// What is wrong, with its causes and the remedy.
    pub error: String,
}

impl Failure {
    /// The failure as a line, without the line feed.
    pub fn to_line(&self) -> String {
        serde_json::json!({"image": self.image, "error": self.error}).to_string()
    }

    /// The failure of an image by an error and what caused it.
    pub fn new(image: impl Into<String>, error: &(dyn StdError + 'static)) -> Self {
        let mut reasons = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reasons = format!("{reasons}: {error}");
            cause = error.source();
        }
        Self {
            image: image.into(),
            error: reasons,
        }
    }
}

/// What a labeller gives for each input: the record of the image, or why there is none.
pub type Outcome = Result<LabelRecord, Failure>;
