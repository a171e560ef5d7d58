//! Suppression of boxes that show what a better one shows already.

use super::{Candidate, Corners};

/// Intersection over union with both edges counted as pixels of a box, so that a side is
/// `x2 - x1 + 1`: what GLIP suppresses by. Boxes less than a pixel apart overlap.
///
/// ```
/// use glip::postprocess::iou;
///
/// let a = [0.0, 0.0, 9.0, 9.0];
/// assert_eq!(iou(a, a), 1.0);
/// assert_eq!(iou(a, [5.0, 0.0, 14.0, 9.0]), 50.0 / 150.0);
/// ```
pub fn iou(a: Corners, b: Corners) -> f32 {
    let side = |from: f32, to: f32| (to - from + 1.0).max(0.0);
    let area = |[x1, y1, x2, y2]: Corners| side(x1, x2) * side(y1, y2);
    let overlap = [
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ];
    let intersection = area(overlap);
    let union = area(a) + area(b) - intersection;
    if union > 0.0 {
        (intersection / union).min(1.0)
    } else {
        0.0
    }
}

/// Keeps the best candidates of every phrase that overlap no better one of the same phrase by more
/// than `iou_threshold`, at most `max_kept` over all phrases; candidates as good as the last of them
/// are kept too. Best first.
///
/// Stopping at `max_kept` gives what official gets by suppressing everything and cutting then,
/// because a candidate's fate depends on better ones only.
///
/// ```
/// use glip::postprocess::{Candidate, nms};
///
/// let corners = [0.0, 0.0, 9.0, 9.0];
/// let cat = Candidate { anchor: 7, phrase: 0, score: 0.8, corners };
/// let same_cat = Candidate { anchor: 8, score: 0.6, ..cat };
/// let dog = Candidate { anchor: 8, phrase: 1, score: 0.7, corners };
/// assert_eq!(nms(vec![same_cat, dog, cat], 0.6, 100), [cat, dog]);
/// ```
pub fn nms(mut candidates: Vec<Candidate>, iou_threshold: f32, max_kept: usize) -> Vec<Candidate> {
    candidates.sort_unstable_by(Candidate::best_first);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let is_full = kept.len() >= max_kept;
        if is_full && kept.last().is_none_or(|last| candidate.score < last.score) {
            break;
        }
        let hides = |better: &Candidate| {
            better.phrase == candidate.phrase
                && iou(better.corners, candidate.corners) > iou_threshold
        };
        if !kept.iter().any(hides) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(anchor: usize, phrase: usize, score: f32, corners: Corners) -> Candidate {
        Candidate {
            anchor,
            phrase,
            score,
            corners,
        }
    }

    fn anchors(kept: &[Candidate]) -> Vec<usize> {
        kept.iter().map(|candidate| candidate.anchor).collect()
    }

    #[test]
    fn only_the_same_phrase_is_suppressed() {
        let corners = [0.0, 0.0, 10.0, 10.0];
        let candidates = vec![
            candidate(0, 0, 0.5, corners),
            candidate(1, 0, 0.9, corners),
            candidate(2, 1, 0.4, corners),
        ];
        assert_eq!(anchors(&nms(candidates, 0.6, 100)), [1, 2]);
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
        assert_eq!(anchors(&nms(candidates.clone(), 0.6, 2)), [0, 1, 2, 3]);
        assert_eq!(anchors(&nms(candidates.clone(), 0.6, 4)), [0, 1, 2, 3]);
        assert_eq!(anchors(&nms(candidates.clone(), 0.6, 1)), [0]);
        assert!(nms(candidates, 0.6, 0).is_empty());
    }

    #[test]
    fn nan_does_not_panic() {
        let candidates = (0..20)
            .map(|i| candidate(i, 0, if i % 3 == 0 { f32::NAN } else { 0.5 }, [f32::NAN; 4]))
            .collect();
        nms(candidates, 0.6, 5);
    }

    /// The definition, step by step: suppress everything, then cut.
    fn naive(candidates: &[Candidate], iou_threshold: f32, max_kept: usize) -> Vec<usize> {
        let mut order: Vec<&Candidate> = candidates.iter().collect();
        order.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.anchor.cmp(&b.anchor)));
        let mut kept: Vec<&Candidate> = Vec::new();
        while !order.is_empty() {
            let best = order.remove(0);
            order.retain(|other| {
                other.phrase != best.phrase || iou(best.corners, other.corners) <= iou_threshold
            });
            kept.push(best);
        }
        let last = kept
            .get(max_kept - 1)
            .map_or(0.0, |candidate| candidate.score);
        kept.iter()
            .filter(|c| c.score >= last)
            .map(|c| c.anchor)
            .collect()
    }

    prop_compose! {
        /// Coarse numbers, so that boxes coincide and scores tie.
        fn any_candidate()(
            phrase in 0usize..3, score in 1u8..20,
            x in 0u8..10, y in 0u8..10, width in 0u8..6, height in 0u8..6,
        ) -> Candidate {
            let (x, y) = (f32::from(x), f32::from(y));
            let corners = [x, y, x + f32::from(width), y + f32::from(height)];
            candidate(0, phrase, f32::from(score) / 20.0, corners)
        }
    }

    proptest! {
        #[test]
        fn nms_does_as_the_naive_version(
            mut candidates in prop::collection::vec(any_candidate(), 0..40),
            max_kept in 1usize..20,
        ) {
            for (anchor, candidate) in candidates.iter_mut().enumerate() {
                candidate.anchor = anchor;
            }
            let expected = naive(&candidates, 0.3, max_kept);
            prop_assert_eq!(anchors(&nms(candidates, 0.3, max_kept)), expected);
        }

        #[test]
        fn iou_is_symmetric_1_on_itself_and_0_apart(a in any_candidate(), b in any_candidate()) {
            let (a, b) = (a.corners, b.corners);
            prop_assert_eq!(iou(a, b), iou(b, a));
            prop_assert!((0.0..=1.0).contains(&iou(a, b)));
            prop_assert_eq!(iou(a, a), 1.0);
            let apart = (0..2).any(|axis| a[axis + 2] + 1.0 <= b[axis] || b[axis + 2] + 1.0 <= a[axis]);
            prop_assert_eq!(apart, iou(a, b) == 0.0);
        }
    }
}
