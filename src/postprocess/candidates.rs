//! The pairs of anchor and phrase that are worth a box.

use std::{cmp::Ordering, mem, ops::Range};

use super::{
    AnchorLevel, Corners, PostprocessOptions, head_view::HeadView, phrase_scores::sigmoid,
};

/// A box that may show a phrase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The anchor it comes from, numbered as in the head's outputs.
    pub anchor: usize,
    /// The phrase's place among those that were scored.
    pub phrase: usize,
    /// The square root of phrase score times centerness, 0 to 1.
    pub score: f32,
    /// The box, in pixels of the resized image.
    pub corners: Corners,
}

impl Candidate {
    /// By falling score; equal scores by anchor and phrase, so that results do not depend on the
    /// order of computation.
    pub(super) fn best_first(&self, other: &Self) -> Ordering {
        let place = |candidate: &Self| (candidate.anchor, candidate.phrase);
        other
            .score
            .total_cmp(&self.score)
            .then_with(|| place(self).cmp(&place(other)))
    }
}

/// The tokens that phrases are made of, to be looked up either way.
pub(super) struct PhraseTokens {
    /// The tokens of each phrase.
    tokens: Vec<Range<usize>>,
    /// The phrases that each token is part of: at most one, unless they overlap.
    phrases: Vec<Vec<usize>>,
}

impl PhraseTokens {
    /// Phrases in a prompt of `count` tokens, none of them beyond its end.
    pub(super) fn new(tokens: Vec<Range<usize>>, count: usize) -> Self {
        let mut phrases = vec![Vec::new(); count];
        for (phrase, range) in tokens.iter().enumerate() {
            phrases[range.clone()]
                .iter_mut()
                .for_each(|phrases| phrases.push(phrase));
        }
        Self { tokens, phrases }
    }
}

/// The best pairs of anchor and phrase of one level, in no order; their corners are still the anchors'.
pub(super) fn best_of_level(
    head: &HeadView<'_>,
    phrases: &PhraseTokens,
    level: &AnchorLevel,
    options: &PostprocessOptions,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    // For each phrase, the last anchor it was scored at: it comes up at each of its tokens.
    let mut scored = vec![usize::MAX; phrases.tokens.len()];
    let count = options.candidates_per_level;
    let logits = head.logits_of(level.range());
    let rows = logits.chunks_exact(head.tokens().max(1));
    for (anchor, row) in level.range().zip(rows) {
        let centerness = sigmoid(head.centerness()[anchor]);
        let floor = lowest_useful_logit(centerness, options);
        for token in tokens_above(row, floor) {
            for &phrase in &phrases.phrases[token] {
                if mem::replace(&mut scored[phrase], anchor) == anchor {
                    continue;
                }
                let logits = &row[phrases.tokens[phrase].clone()];
                let phrase_score = options.aggregation.score(logits);
                let score = (phrase_score * centerness).sqrt();
                if phrase_score > options.candidate_threshold && score > options.score_threshold {
                    found.push(Candidate {
                        anchor,
                        phrase,
                        score,
                        corners: level.anchor(anchor),
                    });
                }
            }
        }
        // Once in a while, so that a head that finds everything everywhere does not fill the memory.
        if found.len() > count.saturating_mul(4) {
            keep_best(&mut found, count);
        }
    }
    keep_best(&mut found, count);
    found
}

/// A logit that no token of a candidate's phrase needs to exceed for the phrase to be dropped: a phrase
/// scores at most as its best token does, so if that one is too low, the phrase is.
fn lowest_useful_logit(centerness: f32, options: &PostprocessOptions) -> f32 {
    /// Scores are rounded; without this, one at the very threshold could be missed.
    const SLACK: f32 = 1e-3;
    /// Nearer to 1 the logit grows faster than the slack covers.
    const HIGHEST: f32 = 0.99;
    let for_score = options.score_threshold * options.score_threshold / centerness;
    let needed = options.candidate_threshold.max(for_score).min(HIGHEST);
    (needed / (1.0 - needed)).ln() - SLACK
}

/// The tokens whose logits are above the floor. Most anchors see nothing of the prompt, so blocks are
/// looked at as a whole first, without a branch inside: the compiler makes vector instructions of it.
fn tokens_above(row: &[f32], floor: f32) -> impl Iterator<Item = usize> {
    const BLOCK: usize = 16;
    let any_above = move |block: &[f32; BLOCK]| {
        block
            .iter()
            .fold(false, |any, &logit| any | (logit > floor))
    };
    let (blocks, rest) = row.as_chunks::<BLOCK>();
    let blocks = blocks
        .iter()
        .enumerate()
        .filter(move |(_, block)| any_above(block));
    let blocks = blocks.map(|(index, block)| (BLOCK * index, block.as_slice()));
    let rest = (row.len() - rest.len(), rest);
    blocks.chain([rest]).flat_map(move |(begin, logits)| {
        bits(mask_above(logits, floor)).map(move |bit| begin + bit)
    })
}

/// A bit for each value, set if it is above the floor.
fn mask_above(values: &[f32], floor: f32) -> u32 {
    let bit = |(index, value): (usize, &f32)| u32::from(*value > floor) << index;
    values
        .iter()
        .enumerate()
        .fold(0, |mask, value| mask | bit(value))
}

/// The numbers of the bits that are set.
fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (mask != 0).then(|| mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        bit
    })
}

/// Drops all but the `count` best.
fn keep_best(candidates: &mut Vec<Candidate>, count: usize) {
    if candidates.len() > count {
        candidates.select_nth_unstable_by(count, Candidate::best_first);
        candidates.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        GridSize, HeadOutput,
        postprocess::{Aggregation, AnchorOptions, Anchors, phrase_scores},
    };

    const GRID: GridSize = GridSize {
        width: 4,
        height: 3,
    };
    /// A block of tokens and a few more.
    const TOKENS: usize = 11;
    /// Some overlap; one is in both blocks.
    const PHRASES: [Range<usize>; 5] = [0..1, 1..3, 2..5, 6..10, 10..11];

    fn head_output(logits: Vec<f32>, centerness: Vec<f32>) -> HeadOutput {
        let logits = Array2::from_shape_vec((GRID.cells(), TOKENS), logits).unwrap();
        let centerness = Array1::from(centerness);
        HeadOutput {
            logits: logits.insert_axis(ndarray::Axis(0)),
            deltas: ndarray::Array3::zeros((1, GRID.cells(), 4)),
            centerness: centerness.insert_axis(ndarray::Axis(0)),
            level_sizes: vec![GRID],
        }
    }

    /// Anchor, phrase and score of the best pairs, best first.
    fn best(output: &HeadOutput, options: &PostprocessOptions) -> Vec<(usize, usize, f32)> {
        let anchors = AnchorOptions {
            strides: vec![8],
            sizes: vec![64],
        };
        let anchors = Anchors::new(&anchors, &[GRID]).unwrap();
        let head = HeadView::new(output, 0).unwrap();
        let phrases = PhraseTokens::new(PHRASES.to_vec(), TOKENS);
        let mut found = best_of_level(&head, &phrases, &anchors.levels()[0], options);
        found.sort_by(Candidate::best_first);
        found
            .iter()
            .map(|c| (c.anchor, c.phrase, c.score))
            .collect()
    }

    /// The same from the score of every pair.
    fn naive(output: &HeadOutput, options: &PostprocessOptions) -> Vec<(usize, usize, f32)> {
        let logits = output.logits.index_axis(ndarray::Axis(0), 0);
        let scores = phrase_scores(logits, &PHRASES, options.aggregation).unwrap();
        let mut found = Vec::new();
        for ((anchor, phrase), &phrase_score) in scores.indexed_iter() {
            let score = (phrase_score * sigmoid(output.centerness[[0, anchor]])).sqrt();
            if phrase_score > options.candidate_threshold && score > options.score_threshold {
                found.push((anchor, phrase, score));
            }
        }
        found.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
        found.truncate(options.candidates_per_level);
        found
    }

    proptest! {
        #[test]
        fn skipping_early_loses_nothing(
            logits in prop::collection::vec(-8.0f32..8.0, GRID.cells() * TOKENS),
            centerness in prop::collection::vec(-4.0f32..6.0, GRID.cells()),
            score_threshold in 0.0f32..1.0,
            candidates_per_level in 1usize..40,
            aggregation in prop::sample::select(vec![
                Aggregation::Mean, Aggregation::Max, Aggregation::GeometricMean,
            ]),
        ) {
            let output = head_output(logits, centerness);
            for score_threshold in [0.0, score_threshold] {
                let options = PostprocessOptions::default()
                    .with_score_threshold(score_threshold)
                    .with_candidates_per_level(candidates_per_level)
                    .with_aggregation(aggregation);
                prop_assert_eq!(best(&output, &options), naive(&output, &options));
            }
        }
    }

    #[test]
    fn nan_is_no_candidate_and_no_panic() {
        let mut logits = vec![3.0; GRID.cells() * TOKENS];
        logits[0] = f32::NAN;
        let mut centerness = vec![3.0; GRID.cells()];
        centerness[1] = f32::NAN;
        let output = head_output(logits, centerness);
        let found = best(&output, &PostprocessOptions::default());
        assert_eq!(
            found.len(),
            GRID.cells() * PHRASES.len() - 1 - PHRASES.len()
        );
    }
}
