//! From how well a row matches tokens to how well it matches phrases.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the scores of a phrase's tokens become the phrase's score. All lie between the tokens' lowest
/// and highest score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Aggregation {
    /// The mean: what official evaluates with.
    #[default]
    Mean,
    /// The highest one.
    Max,
    /// The geometric mean, which a single unlikely token pulls down.
    GeometricMean,
}

impl Aggregation {
    /// The score of a phrase whose tokens have these logits (before the sigmoid): 0 to 1, or NaN if one of
    /// them is.
    ///
    /// ```
    /// use glip::postprocess::Aggregation;
    ///
    /// assert_eq!(Aggregation::Mean.score(&[0.0, 0.0]), 0.5);
    /// ```
    pub fn score(self, logits: &[f32]) -> f32 {
        let scores = logits.iter().map(|&logit| sigmoid(logit));
        let count = logits.len() as f32;
        match self {
            Self::Mean => scores.sum::<f32>() / count,
            Self::Max => scores.fold(0.0, larger),
            Self::GeometricMean => (scores.map(f32::ln).sum::<f32>() / count).exp(),
        }
    }
}

/// The larger number, and NaN if either is: `f32::max` would drop it.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The score of every row of the head's outputs for every phrase, `[rows, phrases]`, from logits `[rows, tokens]`
/// and the tokens of each phrase, in any order.
///
/// For scoring of your own; the [`Postprocessor`](super::Postprocessor) computes only the scores it
/// needs.
///
/// ```
/// use glip::postprocess::{Aggregation, phrase_scores};
/// use ndarray::array;
///
/// let logits = array![[9.0, 0.0, 0.0, 9.0]];
/// let scores = phrase_scores(logits.view(), &[vec![1, 2], vec![3]], Aggregation::Mean)?;
/// assert_eq!(scores[[0, 0]], 0.5);
/// assert!(scores[[0, 1]] > 0.99);
/// # Ok::<(), glip::Error>(())
/// ```
///
/// # Errors
/// - [`Error::TokenRange`]: a phrase has no tokens, or some beyond those of the logits.
pub fn phrase_scores<P: AsRef<[usize]>>(
    logits: ArrayView2<'_, f32>,
    phrases: &[P],
    aggregation: Aggregation,
) -> Result<Array2<f32>> {
    let (rows, tokens) = logits.dim();
    let phrases = phrases
        .iter()
        .map(|phrase| in_order(phrase.as_ref(), tokens));
    let phrases = phrases.collect::<Result<Vec<_>>>()?;
    let mut own = Vec::new();
    Ok(Array2::from_shape_fn(
        (rows, phrases.len()),
        |(row, phrase)| {
            let row = logits.row(row);
            own.clear();
            own.extend(phrases[phrase].iter().map(|&token| row[token]));
            aggregation.score(&own)
        },
    ))
}

/// A phrase's tokens in rising order, each once: a sum in another order may differ in its last bit.
pub(super) fn in_order(phrase: &[usize], tokens: usize) -> Result<Cow<'_, [usize]>> {
    if phrase.is_empty() || phrase.iter().any(|&token| token >= tokens) {
        return Err(Error::TokenRange {
            found: phrase.to_vec(),
            tokens,
        });
    }
    if phrase.is_sorted_by(|a, b| a < b) {
        return Ok(Cow::Borrowed(phrase));
    }
    let mut sorted = phrase.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    Ok(Cow::Owned(sorted))
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use ndarray::{Array2, ShapeBuilder, array};

    use super::*;

    #[test]
    fn aggregations_of_known_scores() {
        // The logits of 0.2 and 0.8.
        let logits = [-1.386_294_4, 1.386_294_4];
        assert_relative_eq!(Aggregation::Mean.score(&logits), 0.5, epsilon = 1e-6);
        assert_relative_eq!(Aggregation::Max.score(&logits), 0.8, epsilon = 1e-6);
        assert_relative_eq!(
            Aggregation::GeometricMean.score(&logits),
            0.4,
            epsilon = 1e-6
        );
    }

    #[test]
    fn extreme_logits_stay_in_range() {
        assert_eq!(sigmoid(50_000.0), 1.0);
        assert_eq!(sigmoid(-50_000.0), 0.0);
        assert_eq!(Aggregation::GeometricMean.score(&[-50_000.0, 0.0]), 0.0);
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for aggregation in [
            Aggregation::Mean,
            Aggregation::Max,
            Aggregation::GeometricMean,
        ] {
            for logits in [[f32::NAN, 2.0], [2.0, f32::NAN]] {
                assert!(aggregation.score(&logits).is_nan(), "{aggregation:?}");
            }
        }
    }

    #[test]
    fn the_order_of_tokens_does_not_matter() {
        let logits = array![[0.1, -2.3, 3.7, 0.9]];
        for (given, sorted) in [
            (vec![3, 1], vec![1, 3]),
            (vec![2, 0, 1], vec![0, 1, 2]),
            (vec![3, 0, 3], vec![0, 3]),
        ] {
            let scores = phrase_scores(logits.view(), &[given, sorted], Aggregation::Mean).unwrap();
            assert_eq!(scores[[0, 0]], scores[[0, 1]]);
        }
    }

    #[test]
    fn memory_order_does_not_matter() {
        let logits = array![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]];
        let mut columns_first = Array2::zeros((2, 3).f());
        columns_first.assign(&logits);
        let scores = |logits: &Array2<f32>| {
            phrase_scores(logits.view(), &[vec![0, 2], vec![2]], Aggregation::Mean).unwrap()
        };
        assert_eq!(scores(&logits), scores(&columns_first));
    }

    #[test]
    fn tokens_out_of_range_are_an_error() {
        let logits = Array2::zeros((1, 3));
        for own in [vec![], vec![0, 3]] {
            let error = phrase_scores(logits.view(), &[own], Aggregation::Mean).unwrap_err();
            assert!(matches!(error, Error::TokenRange { tokens: 3, .. }));
        }
    }
}
