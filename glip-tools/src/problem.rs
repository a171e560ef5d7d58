//! What was left out of a run, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that could not be used and was left out, so that the rest could be; or, if it is
/// [doubtful](ProblemKind::Doubtful), that was used and looks wrong.
///
/// ```
/// use glip_tools::{Problem, ProblemKind};
///
/// let problem = Problem::new(ProblemKind::InvertedBox, "annotation 7", "width -3");
/// assert_eq!(problem.to_string(), "annotation 7: inverted box (width -3)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub kind: ProblemKind,
    /// What it is wrong with: a file, an image, an annotation.
    pub subject: String,
    /// The value that is wrong, or the reason.
    pub detail: String,
}

impl Problem {
    /// A problem of this kind with this subject.
    pub fn new(kind: ProblemKind, subject: impl Into<String>, detail: impl ToString) -> Self {
        Self {
            kind,
            subject: subject.into(),
            detail: detail.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.subject, self.kind, self.detail)
    }
}

/// What can be wrong with something that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// An entry is not of the form it should have.
    Malformed,
    /// Two entries have one id, or one name; the first is used.
    Duplicate,
    /// An annotation or a prediction is of an image that does not exist.
    UnknownImage,
    /// An annotation or a prediction is of a category that does not exist.
    UnknownCategory,
    /// A box ends before it begins, or has no extent.
    InvertedBox,
    /// A box has nothing in common with its image.
    BoxOutside,
    /// A picture is missing, damaged, cut off or too large.
    Picture,
    /// A picture is not of the size that its annotations say.
    PictureSize,
    /// An entry of a sequence, such as a sentence, has nothing that could be measured.
    Empty,
    /// The model failed on it.
    Model,
    /// It was used, but does not look right.
    Doubtful,
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed",
            Self::Duplicate => "duplicate",
            Self::UnknownImage => "unknown image",
            Self::UnknownCategory => "unknown category",
            Self::InvertedBox => "inverted box",
            Self::BoxOutside => "box outside of its image",
            Self::Picture => "unusable picture",
            Self::PictureSize => "picture of another size",
            Self::Empty => "nothing to measure",
            Self::Model => "the model failed",
            Self::Doubtful => "doubtful",
        })
    }
}
