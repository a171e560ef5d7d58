//! A phrase and its place in a text.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A phrase at its place in a prompt's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phrase {
    /// What detections of it are called: the category's label as the caller gave it, or the phrase
    /// as it stands in a caption.
    pub label: String,
    /// Its place among the phrases or categories that the caller gave. Synonyms share one.
    pub index: usize,
    /// Where it stands in the text, as byte ranges in rising order; more than one if other words
    /// stand between its own.
    pub spans: Vec<Range<usize>>,
}

/// The ranges of one phrase in a caption: usually one, several if other words stand in between.
///
/// Made from a range, or from a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhraseSpans(pub(super) Vec<Range<usize>>);

impl From<Range<usize>> for PhraseSpans {
    fn from(span: Range<usize>) -> Self {
        Self(vec![span])
    }
}

impl From<Vec<Range<usize>>> for PhraseSpans {
    fn from(spans: Vec<Range<usize>>) -> Self {
        Self(spans)
    }
}

impl<const N: usize> From<[Range<usize>; N]> for PhraseSpans {
    fn from(spans: [Range<usize>; N]) -> Self {
        Self(spans.into())
    }
}
