//! What counts as a detection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::phrase_scores::Aggregation;
use crate::error::{Error, Result};

/// Thresholds and limits of post-processing.
///
/// The defaults are those of the official evaluation, with the score threshold of its demo.
///
/// ```
/// use glip::postprocess::PostprocessOptions;
///
/// // For computing average precision: everything, however unsure.
/// let options = PostprocessOptions::default().with_score_threshold(0.0).with_max_detections(300);
/// // For referring expressions: the best box of each phrase, however unsure.
/// let options = PostprocessOptions::default().with_score_threshold(0.0).with_max_per_phrase(1);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PostprocessOptions {
    /// Phrase scores, before centerness, must be over this. Default: 0.05, which bounds the work
    /// without costing measurable precision.
    pub candidate_threshold: f32,
    /// The most candidates of one pyramid level, or of all queries where the head has those. Default:
    /// 1000.
    pub candidates_per_level: usize,
    /// Boxes of one phrase that overlap a better one by more than this are suppressed. Default: 0.6.
    pub nms_iou_threshold: f32,
    /// The most detections in an image; those as good as the last are kept too. Default: 100.
    pub max_detections: usize,
    /// Reported scores, with GLIP the square root of phrase score x centerness, must be over this. Default:
    /// 0.5; official displays use 0.5 to 0.7.
    pub score_threshold: f32,
    /// How token scores become a phrase's score. Default: their mean.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// Score thresholds of single phrases, by [`Phrase::index`](crate::parts::Phrase::index), in place of
    /// [`score_threshold`](Self::score_threshold). Default: none.
    #[serde(default)]
    pub phrase_thresholds: BTreeMap<usize, f32>,
    /// The most detections of one phrase or category; 1 for referring expressions, which mean one
    /// thing each. Default: any number.
    #[serde(default)]
    pub max_per_phrase: Option<usize>,
    /// Whether boxes also suppress those of other phrases, so that an object is reported once even if
    /// two names fit it. Default: no, as official.
    #[serde(default)]
    pub nms_across_phrases: bool,
}

impl Default for PostprocessOptions {
    fn default() -> Self {
        Self {
            candidate_threshold: 0.05,
            candidates_per_level: 1000,
            nms_iou_threshold: 0.6,
            max_detections: 100,
            score_threshold: 0.5,
            aggregation: Aggregation::Mean,
            phrase_thresholds: BTreeMap::new(),
            max_per_phrase: None,
            nms_across_phrases: false,
        }
    }
}

impl PostprocessOptions {
    /// Sets [`candidate_threshold`](Self::candidate_threshold).
    #[must_use]
    pub fn with_candidate_threshold(self, candidate_threshold: f32) -> Self {
        Self {
            candidate_threshold,
            ..self
        }
    }

    /// Sets [`candidates_per_level`](Self::candidates_per_level).
    #[must_use]
    pub fn with_candidates_per_level(self, candidates_per_level: usize) -> Self {
        Self {
            candidates_per_level,
            ..self
        }
    }

    /// Sets [`nms_iou_threshold`](Self::nms_iou_threshold).
    #[must_use]
    pub fn with_nms_iou_threshold(self, nms_iou_threshold: f32) -> Self {
        Self {
            nms_iou_threshold,
            ..self
        }
    }

    /// Sets [`max_detections`](Self::max_detections).
    #[must_use]
    pub fn with_max_detections(self, max_detections: usize) -> Self {
        Self {
            max_detections,
            ..self
        }
    }

    /// Sets [`score_threshold`](Self::score_threshold).
    #[must_use]
    pub fn with_score_threshold(self, score_threshold: f32) -> Self {
        Self {
            score_threshold,
            ..self
        }
    }

    /// Sets [`aggregation`](Self::aggregation).
    #[must_use]
    pub fn with_aggregation(self, aggregation: Aggregation) -> Self {
        Self {
            aggregation,
            ..self
        }
    }

    /// Sets the [threshold](Self::phrase_thresholds) of the phrase with this index.
    #[must_use]
    pub fn with_phrase_threshold(mut self, index: usize, score_threshold: f32) -> Self {
        self.phrase_thresholds.insert(index, score_threshold);
        self
    }

    /// Sets [`max_per_phrase`](Self::max_per_phrase).
    #[must_use]
    pub fn with_max_per_phrase(self, max_per_phrase: usize) -> Self {
        Self {
            max_per_phrase: Some(max_per_phrase),
            ..self
        }
    }

    /// Sets [`nms_across_phrases`](Self::nms_across_phrases).
    #[must_use]
    pub fn with_nms_across_phrases(self, nms_across_phrases: bool) -> Self {
        Self {
            nms_across_phrases,
            ..self
        }
    }

    /// The score that detections of the phrase with this index must be over.
    pub(super) fn score_threshold_of(&self, index: usize) -> f32 {
        let own = self.phrase_thresholds.get(&index);
        own.copied().unwrap_or(self.score_threshold)
    }

    pub(super) fn validate(&self) -> Result<()> {
        let of_phrases = self.phrase_thresholds.values();
        let of_phrases = of_phrases.map(|&threshold| ("phrase_thresholds", threshold));
        let shares = [
            ("candidate_threshold", self.candidate_threshold),
            ("nms_iou_threshold", self.nms_iou_threshold),
            ("score_threshold", self.score_threshold),
        ];
        for (option, value) in shares.into_iter().chain(of_phrases) {
            if !(0.0..=1.0).contains(&value) {
                let found = value.to_string();
                return Err(Error::InvalidOption {
                    option,
                    found,
                    expected: "0 to 1",
                });
            }
        }
        let counts = [
            ("candidates_per_level", self.candidates_per_level),
            ("max_detections", self.max_detections),
            ("max_per_phrase", self.max_per_phrase.unwrap_or(1)),
        ];
        for (option, value) in counts {
            Error::if_zero(option, value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_their_range_are_errors() {
        let defaults = PostprocessOptions::default;
        assert!(defaults().validate().is_ok());
        let cases = [
            (
                "candidate_threshold",
                defaults().with_candidate_threshold(-0.1),
            ),
            ("nms_iou_threshold", defaults().with_nms_iou_threshold(1.5)),
            ("score_threshold", defaults().with_score_threshold(f32::NAN)),
            (
                "candidates_per_level",
                defaults().with_candidates_per_level(0),
            ),
            ("max_detections", defaults().with_max_detections(0)),
            ("max_per_phrase", defaults().with_max_per_phrase(0)),
            (
                "phrase_thresholds",
                defaults().with_phrase_threshold(3, 1.5),
            ),
        ];
        for (expected, options) in cases {
            let error = options.validate().unwrap_err();
            assert!(matches!(error, Error::InvalidOption { option, .. } if option == expected));
        }
    }
}
