//! What was found.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A box in pixels of the original image: x from the left, y from the top.
///
/// Corners are finite and in order, `x1 <= x2` and `y1 <= y2`. They may lie anywhere between
/// pixels. As JSON it is `[x1, y1, x2, y2]`.
///
/// ```
/// use glip::BBox;
///
/// let bbox = BBox::new(10.0, 20.0, 40.0, 60.0)?;
/// assert_eq!((bbox.width(), bbox.height(), bbox.area()), (30.0, 40.0, 1200.0));
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "[f32; 4]", try_from = "[f32; 4]")]
pub struct BBox {
    x1: f32,
    y1: f32,
    x2: f32,
    y2: f32,
}

impl BBox {
    /// The box between two opposite corners, given in any order.
    ///
    /// # Errors
    /// - [`Error::InvalidBox`]: a coordinate is NaN or infinite.
    pub fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Result<Self> {
        let corners = [x1, y1, x2, y2];
        if !corners.iter().all(|coordinate| coordinate.is_finite()) {
            return Err(Error::InvalidBox { corners });
        }
        Ok(Self {
            x1: x1.min(x2),
            y1: y1.min(y2),
            x2: x1.max(x2),
            y2: y1.max(y2),
        })
    }

    /// The left edge.
    pub fn x1(&self) -> f32 {
        self.x1
    }

    /// The top edge.
    pub fn y1(&self) -> f32 {
        self.y1
    }

    /// The right edge.
    pub fn x2(&self) -> f32 {
        self.x2
    }

    /// The bottom edge.
    pub fn y2(&self) -> f32 {
        self.y2
    }

    /// `x2 - x1`, in pixels.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// `y2 - y1`, in pixels.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }

    /// Width times height, in square pixels.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Intersection over union with another box, from 0 to 1; 0 if both are without area.
    ///
    /// This is the plain geometric one, as COCO's evaluation uses it. GLIP's own suppression counts
    /// edges as whole pixels: see [`postprocess::iou`](crate::postprocess::iou).
    ///
    /// ```
    /// use glip::BBox;
    ///
    /// let left = BBox::new(0.0, 0.0, 10.0, 10.0)?;
    /// let middle = BBox::new(5.0, 0.0, 15.0, 10.0)?;
    /// assert_eq!(left.iou(&middle), 50.0 / 150.0);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn iou(&self, other: &Self) -> f32 {
        let width = (self.x2.min(other.x2) - self.x1.max(other.x1)).max(0.0);
        let height = (self.y2.min(other.y2) - self.y1.max(other.y1)).max(0.0);
        let intersection = width * height;
        let union = self.area() + other.area() - intersection;
        if union > 0.0 {
            (intersection / union).min(1.0)
        } else {
            0.0
        }
    }
}

/// `[x1, y1, x2, y2]`.
impl From<BBox> for [f32; 4] {
    fn from(bbox: BBox) -> Self {
        [bbox.x1, bbox.y1, bbox.x2, bbox.y2]
    }
}

impl TryFrom<[f32; 4]> for BBox {
    type Error = Error;

    fn try_from([x1, y1, x2, y2]: [f32; 4]) -> Result<Self> {
        Self::new(x1, y1, x2, y2)
    }
}

/// A phrase found in an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// What it is called: the category's label as it was given, or the phrase as it stands in a
    /// caption.
    pub phrase: String,
    /// Its place among the phrases or categories that were asked for.
    pub phrase_index: usize,
    /// How sure the model is, from 0 to 1: the square root of phrase score times centerness.
    pub score: f32,
    /// How well the phrase fits, before the box's centerness comes in, from 0 to 1. The centerness is
    /// `score * score / phrase_score`.
    pub phrase_score: f32,
    /// Where it is, in pixels of the original image.
    pub bbox: BBox,
}

/// Everything found in one image, best first; possibly nothing.
///
/// As JSON it is a list of detections.
///
/// ```
/// use glip::{BBox, Detection, Detections};
///
/// let bbox = BBox::new(1.0, 2.0, 3.0, 4.0)?;
/// let cat = Detection {
///     phrase: "a cat".into(),
///     phrase_index: 0,
///     score: 0.75,
///     phrase_score: 0.875,
///     bbox,
/// };
/// let dog = Detection { phrase: "a dog".into(), phrase_index: 1, score: 0.5, ..cat.clone() };
/// let found = Detections::from_iter([dog, cat]);
///
/// for detection in &found {
///     println!("{} {:.2} {:?}", detection.phrase, detection.score, detection.bbox);
/// }
/// let sure = found.with_min_score(0.6);
/// assert_eq!(
///     serde_json::to_string(&sure)?,
///     r#"[{"phrase":"a cat","phrase_index":0,"score":0.75,"phrase_score":0.875,"bbox":[1.0,2.0,3.0,4.0]}]"#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Detection>", into = "Vec<Detection>")]
pub struct Detections(Vec<Detection>);

impl Detections {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The detections, best first.
    pub fn as_slice(&self) -> &[Detection] {
        &self.0
    }

    /// Iterates over the detections, best first.
    pub fn iter(&self) -> std::slice::Iter<'_, Detection> {
        self.0.iter()
    }

    /// Those with at least this score.
    #[must_use]
    pub fn with_min_score(&self, score: f32) -> Self {
        Self(
            self.iter()
                .filter(|detection| detection.score >= score)
                .cloned()
                .collect(),
        )
    }

    /// Those of the phrase with this index, best first.
    pub fn of_phrase(&self, phrase_index: usize) -> impl Iterator<Item = &Detection> {
        self.iter()
            .filter(move |detection| detection.phrase_index == phrase_index)
    }

    /// The `count` best of each phrase.
    #[must_use]
    pub fn top_per_phrase(&self, count: usize) -> Self {
        let mut taken = std::collections::HashMap::new();
        let among_top = |detection: &&Detection| {
            let taken: &mut usize = taken.entry(detection.phrase_index).or_default();
            *taken += 1;
            *taken <= count
        };
        Self(self.iter().filter(among_top).cloned().collect())
    }
}

/// Sorts by falling score; equal scores keep their order.
impl From<Vec<Detection>> for Detections {
    fn from(mut detections: Vec<Detection>) -> Self {
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self(detections)
    }
}

impl From<Detections> for Vec<Detection> {
    fn from(detections: Detections) -> Self {
        detections.0
    }
}

/// Sorts by falling score; equal scores keep their order.
impl FromIterator<Detection> for Detections {
    fn from_iter<I: IntoIterator<Item = Detection>>(detections: I) -> Self {
        Vec::from_iter(detections).into()
    }
}

impl IntoIterator for Detections {
    type Item = Detection;
    type IntoIter = std::vec::IntoIter<Detection>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Detections {
    type Item = &'a Detection;
    type IntoIter = std::slice::Iter<'a, Detection>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn detection(phrase_index: usize, score: f32) -> Detection {
        let bbox = BBox::new(0.0, 0.0, 1.0, 1.0).unwrap();
        Detection {
            phrase: format!("phrase {phrase_index}"),
            phrase_index,
            score,
            phrase_score: score,
            bbox,
        }
    }

    fn found() -> Detections {
        let scores = [(1, 0.2), (0, 0.9), (1, 0.5), (0, 0.4)];
        scores
            .into_iter()
            .map(|(phrase_index, score)| detection(phrase_index, score))
            .collect()
    }

    fn scores<'a>(detections: impl IntoIterator<Item = &'a Detection>) -> Vec<f32> {
        detections
            .into_iter()
            .map(|detection| detection.score)
            .collect()
    }

    #[test]
    fn detections_are_sorted_and_filtered() {
        let found = found();
        assert_eq!(scores(&found), [0.9, 0.5, 0.4, 0.2]);
        assert_eq!(scores(&found.with_min_score(0.4)), [0.9, 0.5, 0.4]);
        assert_eq!(scores(found.of_phrase(1)), [0.5, 0.2]);
        assert_eq!(scores(&found.top_per_phrase(1)), [0.9, 0.5]);
        assert_eq!(
            found
                .clone()
                .into_iter()
                .map(|d| d.score)
                .collect::<Vec<_>>(),
            scores(&found)
        );
    }

    #[test]
    fn json_round_trip() {
        let json = serde_json::to_string(&found()).unwrap();
        assert_eq!(serde_json::from_str::<Detections>(&json).unwrap(), found());
    }

    #[test]
    fn boxes_put_their_corners_in_order() {
        let bbox = BBox::new(5.0, 1.0, 2.0, 7.0).unwrap();
        assert_eq!(<[f32; 4]>::from(bbox), [2.0, 1.0, 5.0, 7.0]);
        for corners in [[f32::NAN, 0.0, 1.0, 1.0], [0.0, 0.0, f32::INFINITY, 1.0]] {
            assert!(matches!(
                BBox::try_from(corners),
                Err(Error::InvalidBox { .. })
            ));
        }
    }

    #[test]
    fn iou_of_known_boxes() {
        let square = |from: f32, to: f32| BBox::new(from, from, to, to).unwrap();
        assert_eq!(square(0.0, 2.0).iou(&square(1.0, 3.0)), 1.0 / 7.0);
        assert_eq!(square(0.0, 1.0).iou(&square(2.0, 3.0)), 0.0);
        assert_eq!(square(1.0, 1.0).iou(&square(1.0, 1.0)), 0.0);
    }

    proptest! {
        #[test]
        fn iou_is_symmetric_and_at_most_1(
            a in prop::array::uniform4(-2000.0f32..2000.0),
            b in prop::array::uniform4(-2000.0f32..2000.0),
        ) {
            let (a, b) = (BBox::try_from(a).unwrap(), BBox::try_from(b).unwrap());
            prop_assert_eq!(a.iou(&b), b.iou(&a));
            prop_assert!((0.0..=1.0).contains(&a.iou(&b)));
            if a.area() > 0.0 {
                prop_assert_eq!(a.iou(&a), 1.0);
            }
        }
    }
}
