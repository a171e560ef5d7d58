//! Options of a single call.

use std::collections::BTreeMap;

use crate::postprocess::{Aggregation, PostprocessOptions};

/// What a call wants other than the model recommends. What is not set stays as it is.
///
/// ```
/// use glip::{Detector, GroundOptions};
///
/// let image = image::open("examples/images/coffee.jpg")?;
/// let detector = Detector::nano()?;
/// let options = GroundOptions::default().with_score_threshold(0.1).with_max_per_phrase(1);
/// let found = detector.ground_with(&image, "cup . spoon", &options)?;
/// assert!(found.of_phrase(0).count() <= 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GroundOptions {
    /// See [`PostprocessOptions::candidate_threshold`].
    pub candidate_threshold: Option<f32>,
    /// See [`PostprocessOptions::candidates_per_level`].
    pub candidates_per_level: Option<usize>,
    /// See [`PostprocessOptions::nms_iou_threshold`].
    pub nms_iou_threshold: Option<f32>,
    /// See [`PostprocessOptions::max_detections`].
    pub max_detections: Option<usize>,
    /// See [`PostprocessOptions::score_threshold`].
    pub score_threshold: Option<f32>,
    /// See [`PostprocessOptions::aggregation`].
    pub aggregation: Option<Aggregation>,
    /// Score thresholds of single phrases; the model's own of others stay. See
    /// [`PostprocessOptions::phrase_thresholds`].
    pub phrase_thresholds: BTreeMap<usize, f32>,
    /// See [`PostprocessOptions::max_per_phrase`].
    pub max_per_phrase: Option<usize>,
    /// See [`PostprocessOptions::nms_across_phrases`].
    pub nms_across_phrases: Option<bool>,
}

macro_rules! setters {
    ($($field:ident: $type:ty => $setter:ident),+ $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $setter(self, value: $type) -> Self {
            Self { $field: Some(value), ..self }
        }
    )+};
}

impl GroundOptions {
    setters!(
        candidate_threshold: f32 => with_candidate_threshold,
        candidates_per_level: usize => with_candidates_per_level,
        nms_iou_threshold: f32 => with_nms_iou_threshold,
        max_detections: usize => with_max_detections,
        score_threshold: f32 => with_score_threshold,
        aggregation: Aggregation => with_aggregation,
        max_per_phrase: usize => with_max_per_phrase,
        nms_across_phrases: bool => with_nms_across_phrases,
    );

    /// Sets the score threshold of the phrase with this index.
    #[must_use]
    pub fn with_phrase_threshold(mut self, index: usize, score_threshold: f32) -> Self {
        self.phrase_thresholds.insert(index, score_threshold);
        self
    }

    /// The options of a model, changed where something is set here.
    #[must_use]
    pub fn apply_to(&self, options: &PostprocessOptions) -> PostprocessOptions {
        let mut changed = options.clone();
        set(&mut changed.candidate_threshold, &self.candidate_threshold);
        set(
            &mut changed.candidates_per_level,
            &self.candidates_per_level,
        );
        set(&mut changed.nms_iou_threshold, &self.nms_iou_threshold);
        set(&mut changed.max_detections, &self.max_detections);
        set(&mut changed.score_threshold, &self.score_threshold);
        set(&mut changed.aggregation, &self.aggregation);
        set(&mut changed.nms_across_phrases, &self.nms_across_phrases);
        changed.phrase_thresholds.extend(&self.phrase_thresholds);
        changed.max_per_phrase = self.max_per_phrase.or(changed.max_per_phrase);
        changed
    }
}

fn set<T: Clone>(option: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        option.clone_from(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_stays() {
        let model = PostprocessOptions::default()
            .with_score_threshold(0.64)
            .with_phrase_threshold(1, 0.2)
            .with_max_per_phrase(7);
        assert_eq!(GroundOptions::default().apply_to(&model), model);
        let options = GroundOptions::default()
            .with_max_detections(300)
            .with_phrase_threshold(2, 0.3)
            .with_nms_across_phrases(true);
        let expected = model
            .with_max_detections(300)
            .with_phrase_threshold(2, 0.3)
            .with_nms_across_phrases(true);
        assert_eq!(
            options.apply_to(
                &PostprocessOptions::default()
                    .with_score_threshold(0.64)
                    .with_phrase_threshold(1, 0.2)
                    .with_max_per_phrase(7)
            ),
            expected
        );
    }

    #[test]
    fn options_are_plain_data() {
        fn check<T: Clone + Send + Sync + 'static>() {}
        check::<GroundOptions>();
    }
}
