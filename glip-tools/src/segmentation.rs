//! The pixels of objects, as files in COCO's format have them.

use glip::{ImageSize, Mask, parts::Rle};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::values::{finite, number, wrong};

/// The pixels of a thing as a model found them, in run lengths, which are small.
///
/// As JSON it is what a [`Mask`] is: `{"size": [height, width], "counts": "...", "score": 0.9}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredMask {
    /// Which pixels of the image they are.
    #[serde(flatten)]
    pub rle: Rle,
    /// How good they are held to be, 0 to 1: the intersection over union that the model expects.
    #[serde(serialize_with = "finite")]
    pub score: f32,
}

impl From<&Mask> for ScoredMask {
    fn from(mask: &Mask) -> Self {
        Self {
            rle: mask.rle(),
            score: mask.score(),
        }
    }
}

/// The pixels of an object, as files in COCO's format have them.
#[derive(Clone, Debug, PartialEq)]
pub enum Segmentation {
    /// The outlines of its parts, each `[x1, y1, x2, y2, ...]` with at least three corners, in pixels of the image: a
    /// pixel at 3 reaches from 3 to 4.
    Polygons(Vec<Vec<f64>>),
    /// Run lengths, as crowds have them.
    Rle(Rle),
}

impl Segmentation {
    const EXPECTED: &str = "polygons ([[x1, y1, x2, y2, x3, y3, ...], ...], in pixels of the image) or run lengths ({\"size\": [height, width], \"counts\": ...})";

    /// Of an image of this size, if it is known.
    pub(crate) fn parse(value: &Value, image: Option<ImageSize>) -> Result<Self, String> {
        let malformed = || wrong(value, "segmentation", Self::EXPECTED);
        match value {
            Value::Array(parts) if !parts.is_empty() => {
                let polygons = parts.iter().map(polygon).collect::<Option<_>>();
                polygons.map(Self::Polygons).ok_or_else(malformed)
            }
            Value::Object(_) => {
                let rle = run_lengths(value)?;
                of_image(&rle, image)?;
                Ok(Self::Rle(rle))
            }
            _ => Err(malformed()),
        }
    }

    /// The pixels of an image of this size that belong to it: of polygons, those that pycocotools fills.
    ///
    /// ```
    /// use glip::{ImageSize, Mask};
    /// use glip_tools::coco::Segmentation;
    ///
    /// let square = vec![1.0, 0.0, 3.0, 0.0, 3.0, 2.0, 1.0, 2.0];
    /// let pixels = Segmentation::Polygons(vec![square]).rle(ImageSize::new(4, 3))?;
    /// assert_eq!(Mask::from(&pixels), Mask::from_fn(pixels.size(), |x, y| (1..3).contains(&x) && y < 2)?);
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`glip::Error::MaskSize`]: a side of the image has no pixel, or more than 65,535.
    /// - [`glip::Error::MaskMismatch`]: the run lengths are those of an image of another size.
    pub fn rle(&self, image: ImageSize) -> glip::Result<Rle> {
        match self {
            Self::Polygons(polygons) => {
                // It refuses sizes alone, as run lengths then do.
                let filled = hotcoco::mask::fr_polys(polygons, image.height, image.width);
                Rle::from_counts(
                    image,
                    filled.map(|filled| filled.counts).unwrap_or_default(),
                )
            }
            Self::Rle(rle) if rle.size() == image => Ok(rle.clone()),
            Self::Rle(rle) => Err(glip::Error::MaskMismatch {
                expected: image.to_string(),
                found: rle.size().to_string(),
            }),
        }
    }
}

/// Run lengths of either of COCO's forms.
pub(crate) fn run_lengths(value: &Value) -> Result<Rle, String> {
    if !value.is_object() {
        let expected = "run lengths ({\"size\": [height, width], \"counts\": ...})";
        return Err(wrong(value, "segmentation", expected));
    }
    Rle::deserialize(value).map_err(|error| format!("segmentation: {error}"))
}

/// That run lengths are of an image of this size, if it is known.
pub(crate) fn of_image(rle: &Rle, image: Option<ImageSize>) -> Result<(), String> {
    let size = rle.size();
    match image {
        Some(image) if size != image => Err(format!(
            "segmentation is of {size} pixels, the image has {image}"
        )),
        _ => Ok(()),
    }
}

/// x and y of three corners or more. An edge is filled step by step, so that corners far beyond any image's sides, as no
/// tool writes them, would take memory and time without end.
fn polygon(value: &Value) -> Option<Vec<f64>> {
    const FARTHEST: f64 = 2.0 * 65_536.0;
    let numbers = value.as_array()?.iter();
    let near = numbers.map(|value| number(value).filter(|number| number.abs() <= FARTHEST));
    let corners: Vec<f64> = near.collect::<Option<_>>()?;
    (corners.len() >= 6 && corners.len().is_multiple_of(2)).then_some(corners)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn segmentations_come_in_coco_s_forms() {
        let size = ImageSize::new(3, 2);
        let rle = Rle::from_counts(size, vec![2, 2, 2]).unwrap();
        for (value, expected) in [
            (
                json!([[0, 0, "1.5", 0, 1, 1]]),
                Segmentation::Polygons(vec![vec![0.0, 0.0, 1.5, 0.0, 1.0, 1.0]]),
            ),
            (
                json!({"size": [2, 3], "counts": "222"}),
                Segmentation::Rle(rle.clone()),
            ),
            (
                json!({"size": [2, 3], "counts": [2, 2, 2]}),
                Segmentation::Rle(rle),
            ),
        ] {
            assert_eq!(
                Segmentation::parse(&value, Some(size)),
                Ok(expected),
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_no_segmentation_is_named() {
        let polygons = "give polygons ([[x1, y1";
        for (value, part) in [
            (json!(null), "no segmentation: give polygons"),
            (json!([]), polygons),
            (json!([[0, 0, 5, 5]]), polygons),
            (json!([[0, 0, 5, 5, 5, 0, 1]]), polygons),
            (json!([[0, 0, "NaN", 5, 5, 0]]), "[[0,0,NaN,5,5,0]]"),
            (json!([0, 0, 5, 0, 5, 5]), polygons),
            (json!("222"), polygons),
            (
                json!({"size": [2, 3], "counts": "22"}),
                "add up to 4 pixels",
            ),
            (
                json!({"size": [3, 2], "counts": "222"}),
                "segmentation is of 2 x 3 pixels, the image has 3 x 2",
            ),
            (
                json!({"counts": "222"}),
                "segmentation: missing field `size`",
            ),
        ] {
            let message = Segmentation::parse(&value, Some(ImageSize::new(3, 2))).unwrap_err();
            assert!(message.contains(part), "{value}: {message}");
        }
    }

    #[test]
    fn pixels_are_those_of_an_image() {
        let rle = Rle::from_counts(ImageSize::new(3, 2), vec![6]).unwrap();
        let error = Segmentation::Rle(rle)
            .rle(ImageSize::new(2, 3))
            .unwrap_err();
        assert!(matches!(error, glip::Error::MaskMismatch { .. }), "{error}");
        let polygons = Segmentation::Polygons(vec![vec![0.0, 0.0, 5.0, 0.0, 5.0, 5.0]]);
        for (width, height) in [(0, 5), (5, 0), (70_000, 1), (u32::MAX, u32::MAX)] {
            let error = polygons.rle(ImageSize::new(width, height)).unwrap_err();
            assert!(matches!(error, glip::Error::MaskSize { .. }), "{error}");
        }
    }
}
