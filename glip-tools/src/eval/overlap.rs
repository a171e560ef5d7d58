//! What of detections and objects is laid over one another.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What of detections and objects is laid over one another to see whether they are of one thing.
///
/// It is spelled as pycocotools' `iouType`: `bbox` or `segm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Overlap {
    /// Their boxes.
    #[default]
    #[serde(rename = "bbox")]
    Boxes,
    /// Their pixels.
    #[serde(rename = "segm")]
    Masks,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boxes => "bbox",
            Self::Masks => "segm",
        })
    }
}

impl FromStr for Overlap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "bbox" => Ok(Self::Boxes),
            "segm" => Ok(Self::Masks),
            _ => Err(Error::Option {
                option: "iou",
                found: format!("{text:?}"),
                expected: "bbox or segm".into(),
            }),
        }
    }
}
