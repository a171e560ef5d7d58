//! Suppression of boxes that show what a better one shows already.

use super::{candidates::Candidate, options::PostprocessOptions};
use crate::{
    error::{Error, Result},
    geometry::{BBox, Corners, iou},
};

/// Intersection over union of boxes whose corners are their first and last pixels, so that a side is
/// `x2 - x1 + 1`: what GLIP suppresses by. Boxes less than a pixel apart overlap. For boxes between
/// edges there is [`BBox::iou`].
///
/// ```
/// use glip::postprocess::inclusive_iou;
///
/// let a = [0.0, 0.0, 9.0, 9.0];
/// assert_eq!(inclusive_iou(a, a), 1.0);
/// assert_eq!(inclusive_iou(a, [5.0, 0.0, 14.0, 9.0]), 50.0 / 150.0);
/// ```
pub fn inclusive_iou(a: Corners, b: Corners) -> f32 {
    iou(a, b, 1.0)
}

/// Intersection over union of boxes between edges.
pub(super) fn continuous_iou(a: Corners, b: Corners) -> f32 {
    iou(a, b, 0.0)
}

/// Non-maximum suppression of boxes of your own: the places of those that are kept, best first. A box
/// goes if it overlaps a better one of its group by more than `iou_threshold`.
///
/// ```
/// use glip::{BBox, postprocess::nms};
///
/// let boxes = [
///     BBox::new(0.0, 0.0, 10.0, 10.0)?,
///     BBox::new(1.0, 0.0, 10.0, 10.0)?,
///     BBox::new(1.0, 0.0, 10.0, 10.0)?,
/// ];
/// assert_eq!(nms(&boxes, &[0.8, 0.9, 0.7], &[0, 0, 1], 0.5)?, [1, 2]);
/// # Ok::<(), glip::Error>(())
/// ```
///
/// # Errors
/// - [`Error::Shape`]: there are not as many scores or groups as boxes.
pub fn nms(
    boxes: &[BBox],
    scores: &[f32],
    groups: &[usize],
    iou_threshold: f32,
) -> Result<Vec<usize>> {
    for (tensor, found) in [("scores", scores.len()), ("groups", groups.len())] {
        if found != boxes.len() {
            return Err(Error::Shape {
                tensor: tensor.to_owned(),
                expected: format!("[{}], one for each box", boxes.len()),
                found: vec![found],
            });
        }
    }
    let candidates = boxes.iter().zip(scores).zip(groups).enumerate();
    let candidates = candidates.map(|(row, ((&bbox, &score), &group))| Candidate {
        row,
        phrase: 0,
        phrase_index: group,
        phrase_score: score,
        score,
        corners: bbox.into(),
    });
    let options = PostprocessOptions::default()
        .with_nms_iou_threshold(iou_threshold)
        .with_max_detections(usize::MAX);
    let mut kept = candidates.collect();
    suppress(&mut kept, continuous_iou, &options);
    Ok(kept.into_iter().map(|candidate| candidate.row).collect())
}

/// Keeps the best candidates of every phrase index that overlap no better one of the same index by more than
/// [`nms_iou_threshold`](PostprocessOptions::nms_iou_threshold), at most
/// [`max_detections`](PostprocessOptions::max_detections) over all of them; candidates as good as the
/// last of them are kept too. Best first.
///
/// Stopping there gives what official gets by suppressing everything and cutting then, because a
/// candidate's fate depends on better ones only.
pub(super) fn suppress(
    candidates: &mut Vec<Candidate>,
    iou: fn(Corners, Corners) -> f32,
    options: &PostprocessOptions,
) {
    // They are sorted as far as they are looked at, which is seldom to the end.
    let mut sorted = 0;
    // Those that are kept stand before those that are not.
    let mut count = 0;
    for place in 0..candidates.len() {
        if place == sorted {
            let next = options.max_detections.max(sorted).saturating_mul(2).max(1);
            sorted = next.min(candidates.len());
            sort_best(&mut candidates[place..], sorted - place);
        }
        let (kept, candidate) = (&candidates[..count], candidates[place]);
        let is_full = kept.len() >= options.max_detections;
        if is_full && kept.last().is_none_or(|last| candidate.score < last.score) {
            break;
        }
        if let Some(most) = options.max_per_phrase {
            let of_index = |kept: &&Candidate| kept.phrase_index == candidate.phrase_index;
            if kept.iter().filter(of_index).count() >= most {
                continue;
            }
        }
        let hides = |better: &Candidate| {
            (options.nms_across_phrases || better.phrase_index == candidate.phrase_index)
                && iou(better.corners, candidate.corners) > options.nms_iou_threshold
        };
        if !kept.iter().any(hides) {
            candidates[count] = candidate;
            count += 1;
        }
    }
    candidates.truncate(count);
}

/// Puts so many of the best in front, in order.
fn sort_best(candidates: &mut [Candidate], count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, Candidate::best_first);
    }
    candidates[..count].sort_unstable_by(Candidate::best_first);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(row: usize, phrase_index: usize, score: f32, corners: Corners) -> Candidate {
        Candidate {
            row,
            phrase: row,
            phrase_index,
            phrase_score: score,
            score,
            corners,
        }
    }

    fn select(mut candidates: Vec<Candidate>, options: &PostprocessOptions) -> Vec<Candidate> {
        suppress(&mut candidates, inclusive_iou, options);
        candidates
    }

    fn at_most(max_detections: usize) -> PostprocessOptions {
        PostprocessOptions::default().with_max_detections(max_detections)
    }

    fn rows(kept: &[Candidate]) -> Vec<usize> {
        kept.iter().map(|candidate| candidate.row).collect()
    }

    #[test]
    fn only_the_same_phrase_is_suppressed() {
        let corners = [0.0, 0.0, 10.0, 10.0];
        let candidates = vec![
            candidate(0, 0, 0.5, corners),
            candidate(1, 0, 0.9, corners),
            candidate(2, 1, 0.4, corners),
        ];
        assert_eq!(rows(&select(candidates, &at_most(100))), [1, 2]);
    }

    #[test]
    fn ties_with_the_last_are_kept() {
        let scores = [0.9, 0.5, 0.5, 0.5, 0.4];
        let apart = |i: usize, score| candidate(i, i, score, [0.0, 0.0, 1.0, 1.0]);
        let candidates: Vec<_> = scores
            .into_iter()
            .enumerate()
            .map(|(i, s)| apart(i, s))
            .collect();
        assert_eq!(rows(&select(candidates.clone(), &at_most(2))), [0, 1, 2, 3]);
        assert_eq!(rows(&select(candidates.clone(), &at_most(4))), [0, 1, 2, 3]);
        assert_eq!(rows(&select(candidates.clone(), &at_most(1))), [0]);
        assert!(select(candidates, &at_most(0)).is_empty());
    }

    #[test]
    fn at_most_so_many_of_a_phrase_are_kept() {
        let far_apart = |row: usize, phrase_index, score| {
            let at = 20.0 * row as f32;
            candidate(row, phrase_index, score, [at, at, at + 10.0, at + 10.0])
        };
        let candidates = vec![
            far_apart(0, 0, 0.6),
            far_apart(1, 0, 0.9),
            far_apart(2, 1, 0.3),
            far_apart(3, 0, 0.8),
        ];
        let top = |most| PostprocessOptions::default().with_max_per_phrase(most);
        assert_eq!(rows(&select(candidates.clone(), &top(1))), [1, 2]);
        assert_eq!(rows(&select(candidates, &top(2))), [1, 3, 2]);
    }

    /// NaN is above all numbers in the order of scores, and boxes that are NaN overlap nothing.
    #[test]
    fn nan_does_not_panic_and_hides_nothing() {
        let candidates: Vec<_> = (0..20)
            .map(|i| candidate(i, 0, if i % 3 == 0 { f32::NAN } else { 0.5 }, [f32::NAN; 4]))
            .collect();
        assert_eq!(select(candidates, &at_most(100)).len(), 20);
    }

    #[test]
    fn lists_of_other_lengths_are_errors() {
        let boxes = [BBox::new(0.0, 0.0, 1.0, 1.0).unwrap()];
        for (scores, groups, name) in [(&[][..], &[0][..], "scores"), (&[0.5], &[], "groups")] {
            let error = nms(&boxes, scores, groups, 0.5).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    /// The definition, step by step: suppress everything, then cut.
    fn naive(candidates: &[Candidate], iou_threshold: f32, max_kept: usize) -> Vec<usize> {
        let mut order: Vec<&Candidate> = candidates.iter().collect();
        order.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        let mut kept: Vec<&Candidate> = Vec::new();
        while !order.is_empty() {
            let best = order.remove(0);
            order.retain(|other| {
                other.phrase_index != best.phrase_index
                    || inclusive_iou(best.corners, other.corners) <= iou_threshold
            });
            kept.push(best);
        }
        let last = kept
            .get(max_kept - 1)
            .map_or(0.0, |candidate| candidate.score);
        kept.iter()
            .filter(|c| c.score >= last)
            .map(|c| c.row)
            .collect()
    }

    prop_compose! {
        /// Coarse numbers, so that boxes coincide and scores tie.
        fn any_candidate()(
            phrase_index in 0usize..3, score in 1u8..20,
            x in 0u8..10, y in 0u8..10, width in 0u8..6, height in 0u8..6,
        ) -> Candidate {
            let (x, y) = (f32::from(x), f32::from(y));
            let corners = [x, y, x + f32::from(width), y + f32::from(height)];
            candidate(0, phrase_index, f32::from(score) / 20.0, corners)
        }
    }

    proptest! {
        #[test]
        fn nms_does_as_the_naive_version(
            mut candidates in prop::collection::vec(any_candidate(), 0..40),
            max_kept in 1usize..20,
        ) {
            for (row, candidate) in candidates.iter_mut().enumerate() {
                candidate.row = row;
            }
            let expected = naive(&candidates, 0.3, max_kept);
            let options = at_most(max_kept).with_nms_iou_threshold(0.3);
            prop_assert_eq!(rows(&select(candidates, &options)), expected);
        }

        #[test]
        fn iou_is_symmetric_1_on_itself_and_0_apart(a in any_candidate(), b in any_candidate()) {
            let (a, b) = (a.corners, b.corners);
            prop_assert_eq!(inclusive_iou(a, b), inclusive_iou(b, a));
            prop_assert!((0.0..=1.0).contains(&inclusive_iou(a, b)));
            prop_assert_eq!(inclusive_iou(a, a), 1.0);
            let apart = (0..2).any(|axis| a[axis + 2] + 1.0 <= b[axis] || b[axis + 2] + 1.0 <= a[axis]);
            prop_assert_eq!(apart, inclusive_iou(a, b) == 0.0);
        }
    }
}
