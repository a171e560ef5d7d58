//! ODinW (Object Detection in the Wild): many small COCO data sets, and the mean of their AP.

use serde::Serialize;

use crate::eval::average_precision::DetectionScores;

/// A data set of ODinW, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedScores {
    /// The data set's name.
    pub name: String,
    /// How good the detections in it are.
    pub scores: DetectionScores,
}

/// The summary that papers give: the mean AP over the sets, each of the same weight. Sets without any
/// object are left out; `None` if all are.
pub fn odinw_summary(sets: &[NamedScores]) -> Option<f64> {
    let precisions: Vec<f64> = sets
        .iter()
        .filter_map(|set| set.scores.averages.ap)
        .collect();
    let count = precisions.len() as f64;
    (!precisions.is_empty()).then(|| precisions.iter().sum::<f64>() / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Averages, Protocol};

    #[test]
    fn the_mean_is_over_sets_with_objects() {
        let set = |ap| NamedScores {
            name: "set".into(),
            scores: DetectionScores {
                protocol: Protocol::Coco,
                averages: Averages {
                    ap,
                    ..Default::default()
                },
                classes: Vec::new(),
            },
        };
        assert_eq!(
            odinw_summary(&[set(Some(0.5)), set(None), set(Some(0.25))]),
            Some(0.375)
        );
        assert_eq!(odinw_summary(&[set(None)]), None);
    }
}
