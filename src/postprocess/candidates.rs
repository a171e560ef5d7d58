//! The pairs of anchor and phrase that are worth a box.

use std::{cmp::Ordering, mem, ops::Range};

use super::{
    AnchorLevel, Corners, PostprocessOptions, head_view::HeadView, phrase_scores::sigmoid,
};
use crate::prompt::TokenizedPhrase;

/// A box that may show a phrase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The anchor it comes from, numbered as in the head's outputs.
    pub anchor: usize,
    /// The phrase's place among those that were scored.
    pub phrase: usize,
    /// The phrase's [index](crate::Phrase::index), which synonyms share: boxes of one label suppress
    /// each other.
    pub label: usize,
    /// The phrase score, before centerness, 0 to 1.
    pub phrase_score: f32,
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

/// The phrases of a prompt, to be looked up by token.
pub(super) struct PhraseLookup {
    phrases: Vec<Scored>,
    /// The phrases that each token is part of: at most one, unless they overlap.
    of_token: Vec<Vec<usize>>,
    /// The lowest score threshold of them.
    score_threshold: f32,
}

/// What scoring a phrase needs.
struct Scored {
    tokens: Tokens,
    label: usize,
    score_threshold: f32,
}

enum Tokens {
    /// Neighbours, as of nearly all phrases.
    Range(Range<usize>),
    List(Vec<usize>),
}

impl PhraseLookup {
    /// Phrases in a prompt of `count` tokens, none of them beyond its end.
    pub(super) fn new(
        phrases: &[TokenizedPhrase],
        count: usize,
        options: &PostprocessOptions,
    ) -> Self {
        let mut of_token = vec![Vec::new(); count];
        for (phrase, TokenizedPhrase { tokens, .. }) in phrases.iter().enumerate() {
            for &token in tokens {
                of_token[token].push(phrase);
            }
        }
        let scored = |TokenizedPhrase { phrase, tokens }: &TokenizedPhrase| Scored {
            tokens: Tokens::new(tokens),
            label: phrase.index,
            score_threshold: options.score_threshold_of(phrase.index),
        };
        let phrases: Vec<_> = phrases.iter().map(scored).collect();
        let thresholds = phrases.iter().map(|phrase| phrase.score_threshold);
        Self {
            score_threshold: thresholds.reduce(f32::min).unwrap_or(1.0),
            phrases,
            of_token,
        }
    }
}

impl Tokens {
    fn new(tokens: &[usize]) -> Self {
        match tokens {
            &[first, .., last] if last - first + 1 == tokens.len() => Self::Range(first..last + 1),
            &[only] => Self::Range(only..only + 1),
            tokens => Self::List(tokens.to_vec()),
        }
    }

    /// Their logits of a row; `own` is room for those that are not neighbours.
    fn logits<'a>(&self, row: &'a [f32], own: &'a mut Vec<f32>) -> &'a [f32] {
        match self {
            Self::Range(range) => &row[range.clone()],
            Self::List(tokens) => {
                own.clear();
                own.extend(tokens.iter().map(|&token| row[token]));
                own
            }
        }
    }
}

/// The best pairs of anchor and phrase of one level, in no order; their corners are still the anchors'.
pub(super) fn best_of_level(
    head: &HeadView<'_>,
    phrases: &PhraseLookup,
    level: &AnchorLevel,
    options: &PostprocessOptions,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    // For each phrase, the last anchor it was scored at: it comes up at each of its tokens.
    let mut scored = vec![usize::MAX; phrases.phrases.len()];
    let mut own = Vec::new();
    let count = options.candidates_per_level;
    let logits = head.logits_of(level.range());
    let rows = logits.chunks_exact(head.tokens().max(1));
    for (anchor, row) in level.range().zip(rows) {
        let centerness = sigmoid(head.centerness()[anchor]);
        let floor = lowest_useful_logit(centerness, phrases.score_threshold, options);
        for token in tokens_above(row, floor) {
            for &phrase in &phrases.of_token[token] {
                if mem::replace(&mut scored[phrase], anchor) == anchor {
                    continue;
                }
                let Scored {
                    tokens,
                    label,
                    score_threshold,
                } = &phrases.phrases[phrase];
                let phrase_score = options.aggregation.score(tokens.logits(row, &mut own));
                let score = (phrase_score * centerness).sqrt();
                if phrase_score > options.candidate_threshold && score > *score_threshold {
                    found.push(Candidate {
                        anchor,
                        phrase,
                        label: *label,
                        phrase_score,
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
fn lowest_useful_logit(centerness: f32, score_threshold: f32, options: &PostprocessOptions) -> f32 {
    /// Scores are rounded; without this, one at the very threshold could be missed.
    const SLACK: f32 = 1e-3;
    /// Nearer to 1 the logit grows faster than the slack covers.
    const HIGHEST: f32 = 0.99;
    let for_score = score_threshold * score_threshold / centerness;
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
        GridSize, HeadOutput, Phrase,
        postprocess::{Aggregation, AnchorOptions, Anchors, phrase_scores},
    };

    const GRID: GridSize = GridSize {
        width: 4,
        height: 3,
    };
    /// A block of tokens and a few more.
    const TOKENS: usize = 11;

    /// Some overlap, one is in both blocks, one has a gap.
    fn phrases() -> Vec<TokenizedPhrase> {
        let tokens: [&[usize]; 5] = [&[0], &[1, 2], &[2, 4], &[6, 7, 8, 9], &[10]];
        let phrase = |(index, tokens): (usize, &&[usize])| TokenizedPhrase {
            phrase: Phrase {
                label: index.to_string(),
                index,
                spans: Vec::new(),
            },
            tokens: tokens.to_vec(),
        };
        tokens.iter().enumerate().map(phrase).collect()
    }

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
        let phrases = PhraseLookup::new(&phrases(), TOKENS, options);
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
        let tokens: Vec<_> = phrases().into_iter().map(|phrase| phrase.tokens).collect();
        let scores = phrase_scores(logits, &tokens, options.aggregation).unwrap();
        let mut found = Vec::new();
        for ((anchor, phrase), &phrase_score) in scores.indexed_iter() {
            let score = (phrase_score * sigmoid(output.centerness[[0, anchor]])).sqrt();
            let score_threshold = options.score_threshold_of(phrase);
            if phrase_score > options.candidate_threshold && score > score_threshold {
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
            phrase_threshold in 0.0f32..1.0,
            candidates_per_level in 1usize..40,
            aggregation in prop::sample::select(vec![
                Aggregation::Mean, Aggregation::Max, Aggregation::GeometricMean,
            ]),
        ) {
            let output = head_output(logits, centerness);
            for score_threshold in [0.0, score_threshold] {
                let options = PostprocessOptions::default()
                    .with_score_threshold(score_threshold)
                    .with_phrase_threshold(2, phrase_threshold)
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
            GRID.cells() * phrases().len() - 1 - phrases().len()
        );
    }
}
