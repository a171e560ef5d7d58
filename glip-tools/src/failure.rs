//! What could not be labelled, and why.

use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

use crate::causes::with_causes;

/// An image that could not be labelled, and why.
///
/// As JSON, which is a line of `errors.jsonl`: `{"image": "a.jpg", "error": "a.jpg is cut off: ..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object with image and error")]
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
        Self {
            image: image.into(),
            error: with_causes(error),
        }
    }
}
