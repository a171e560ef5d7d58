//! What was found.

use std::{collections::HashMap, ops::Deref};

use serde::{Deserialize, Serialize, Serializer, ser::Error as _};

use crate::geometry::BBox;

/// A phrase found in an image.
///
/// ```
/// use glip::{BBox, Detection};
///
/// let bbox = BBox::new(1.0, 2.0, 3.0, 4.0)?;
/// let cat = Detection::new("a cat", 0, 0.75, bbox).with_phrase_score(0.875);
/// assert_eq!((cat.score, cat.phrase_score), (0.75, 0.875));
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Detection {
    /// What it is called: the category's label as it was given, or the phrase as it stands in a
    /// caption.
    pub phrase: String,
    /// Its place among the phrases or categories that were asked for.
    pub phrase_index: usize,
    /// How sure the model is, from 0 to 1. Where the head has centerness, as GLIP's, it is the square
    /// root of phrase score times centerness, elsewhere the phrase score.
    #[serde(serialize_with = "finite")]
    pub score: f32,
    /// How well the phrase fits, before the box's centerness comes in, from 0 to 1.
    #[serde(serialize_with = "finite")]
    pub phrase_score: f32,
    /// Where it is, in pixels of the original image.
    pub bbox: BBox,
}

/// JSON has no NaN, and serde_json would write a null, which nobody reads back.
pub(crate) fn finite<S: Serializer>(score: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    if !score.is_finite() {
        let reason = format!("score {score}: scores lie in 0 to 1");
        return Err(S::Error::custom(reason));
    }
    serializer.serialize_f32(*score)
}

impl Detection {
    /// A detection whose phrase score is its score.
    pub fn new(phrase: impl Into<String>, phrase_index: usize, score: f32, bbox: BBox) -> Self {
        Self {
            phrase: phrase.into(),
            phrase_index,
            score,
            phrase_score: score,
            bbox,
        }
    }

    /// Sets [`phrase_score`](Self::phrase_score).
    #[must_use]
    pub fn with_phrase_score(self, phrase_score: f32) -> Self {
        Self {
            phrase_score,
            ..self
        }
    }
}

/// Everything found in one image, best first; possibly nothing. It is a slice of [`Detection`]s that
/// stays in order. As JSON it is a list of them.
///
/// ```
/// use glip::{BBox, Detection, Detections};
///
/// let bbox = BBox::new(1.0, 2.0, 3.0, 4.0)?;
/// let cat = Detection::new("a cat", 0, 0.75, bbox).with_phrase_score(0.875);
/// let dog = Detection::new("a dog", 1, 0.5, bbox);
/// let found = Detections::from_iter([dog, cat]);
///
/// for detection in &found {
///     println!("{} {:.2} {:?}", detection.phrase, detection.score, detection.bbox);
/// }
/// assert_eq!(found[0].phrase, "a cat");
/// assert_eq!(found.boxes().next(), found.first().map(|best| best.bbox));
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
    /// The boxes, best first.
    pub fn boxes(&self) -> impl ExactSizeIterator<Item = BBox> + '_ {
        self.0.iter().map(|detection| detection.bbox)
    }

    /// Those with at least this score.
    #[must_use]
    pub fn with_min_score(&self, score: f32) -> Self {
        let good = self.iter().filter(|detection| detection.score >= score);
        Self(good.cloned().collect())
    }

    /// Those of the phrase with this index, best first.
    pub fn of_phrase(&self, phrase_index: usize) -> impl Iterator<Item = &Detection> {
        self.iter()
            .filter(move |detection| detection.phrase_index == phrase_index)
    }

    /// The `count` best of each phrase.
    #[must_use]
    pub fn top_per_phrase(&self, count: usize) -> Self {
        let mut taken = HashMap::new();
        let among_top = |detection: &&Detection| {
            let taken: &mut usize = taken.entry(detection.phrase_index).or_default();
            *taken += 1;
            *taken <= count
        };
        Self(self.iter().filter(among_top).cloned().collect())
    }
}

/// The detections, best first.
impl Deref for Detections {
    type Target = [Detection];

    fn deref(&self) -> &[Detection] {
        &self.0
    }
}

/// Sorts by falling score; equal scores keep their order.
impl From<Vec<Detection>> for Detections {
    fn from(mut detections: Vec<Detection>) -> Self {
        let by_falling_score = |a: &Detection, b: &Detection| b.score.total_cmp(&a.score);
        // Sorting takes memory, and a detector's are sorted.
        if !detections.is_sorted_by(|a, b| by_falling_score(a, b).is_le()) {
            detections.sort_by(by_falling_score);
        }
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
    use super::*;

    fn detection(phrase_index: usize, score: f32) -> Detection {
        let bbox = BBox::new(0.0, 0.0, 1.0, 1.0).unwrap();
        Detection::new(format!("phrase {phrase_index}"), phrase_index, score, bbox)
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
        let nan = Detections::from_iter([detection(0, f32::NAN)]);
        let error = serde_json::to_string(&nan).unwrap_err();
        assert!(error.to_string().contains("score NaN"), "{error}");
    }
}
