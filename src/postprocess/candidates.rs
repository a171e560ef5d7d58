//! The pairs of row and phrase that are worth a box.

use std::{cmp::Ordering, mem, ops::Range};

use ndarray::ArrayView1;
use smallvec::SmallVec;

use super::{
    head_view::HeadView,
    options::PostprocessOptions,
    phrase_scores::{in_order, sigmoid},
};
use crate::{error::Result, geometry::Corners, prompt::TokenizedPhrase};

/// A box that may show a phrase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The row of the head's outputs that it comes from: an anchor or a query.
    pub row: usize,
    /// The phrase's place among those that were scored.
    pub phrase: usize,
    /// The phrase's [index](crate::parts::Phrase::index), which synonyms share: boxes of one index suppress
    /// each other.
    pub phrase_index: usize,
    /// The phrase score, before centerness, 0 to 1.
    pub phrase_score: f32,
    /// The score, 0 to 1: the square root of phrase score times centerness, or the phrase score where
    /// the head has no centerness.
    pub score: f32,
    /// The box, in pixels of the resized image and in the head's convention: with anchors the first and
    /// the last pixel, with queries the edges.
    pub corners: Corners,
}

impl Candidate {
    /// By falling score; equal scores by row and phrase, so that results do not depend on the
    /// order of computation.
    pub(super) fn best_first(&self, other: &Self) -> Ordering {
        let place = |candidate: &Self| (candidate.row, candidate.phrase);
        other
            .score
            .total_cmp(&self.score)
            .then_with(|| place(self).cmp(&place(other)))
    }
}

/// The phrases of a prompt, to be looked up by token. Its memory is kept from one prompt to the next.
#[derive(Default)]
pub(crate) struct PhraseLookup {
    phrases: Vec<Scored>,
    /// The phrases that each token is part of: at most one, unless they overlap.
    of_token: Vec<SmallVec<[usize; 2]>>,
    /// The lowest score threshold of them.
    score_threshold: f32,
    /// The logit from which on each token is worth a look; infinite for tokens of no phrase.
    floors: Vec<f32>,
    /// Room for the tokens of a row that are.
    above: Vec<usize>,
    /// Room for the logits of tokens that are not neighbours.
    own: Vec<f32>,
}

/// Which pairs of row and phrase are candidates.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Selection {
    /// Those over their score threshold, and of these so many of the best.
    Best(usize),
    /// All over the candidate threshold.
    All,
}

/// What scoring a phrase needs.
struct Scored {
    tokens: Tokens,
    phrase_index: usize,
    score_threshold: f32,
    /// The last row it was scored at: it comes up at each of its tokens.
    row: usize,
}

enum Tokens {
    /// Neighbours, as of nearly all phrases.
    Range(Range<usize>),
    List(SmallVec<[usize; 8]>),
}

impl PhraseLookup {
    /// Takes the phrases of a prompt of `count` tokens in place of those before.
    pub(super) fn fill(
        &mut self,
        phrases: &[TokenizedPhrase],
        count: usize,
        options: &PostprocessOptions,
    ) -> Result<()> {
        self.phrases.clear();
        self.of_token.iter_mut().for_each(SmallVec::clear);
        self.of_token.resize(count, SmallVec::new());
        for (number, TokenizedPhrase { phrase, tokens }) in phrases.iter().enumerate() {
            let tokens = in_order(tokens, count)?;
            for &token in &*tokens {
                self.of_token[token].push(number);
            }
            self.phrases.push(Scored {
                tokens: Tokens::new(&tokens),
                phrase_index: phrase.index,
                score_threshold: options.score_threshold_of(phrase.index),
                row: usize::MAX,
            });
        }
        let thresholds = self.phrases.iter().map(|phrase| phrase.score_threshold);
        self.score_threshold = thresholds.reduce(f32::min).unwrap_or(1.0);
        Ok(())
    }

    /// Sets the floors of tokens by the phrase score that is needed for a score threshold.
    fn set_floors(&mut self, needed: impl Fn(f32) -> f32) {
        let floor = |&phrase: &usize| floor_of(needed(self.phrases[phrase].score_threshold));
        let floors = self.of_token.iter().map(|phrases| {
            let floors = phrases.iter().map(floor);
            floors.fold(f32::INFINITY, f32::min)
        });
        self.floors.clear();
        self.floors.extend(floors);
    }
}

impl Tokens {
    /// Of tokens in rising order.
    fn new(tokens: &[usize]) -> Self {
        match tokens {
            &[first, .., last] if last - first + 1 == tokens.len() => Self::Range(first..last + 1),
            &[only] => Self::Range(only..only + 1),
            tokens => Self::List(tokens.into()),
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

/// Adds the pairs of row and phrase that are candidates to `found`, in no order and still without boxes. `centerness` is
/// that of all rows before the sigmoid, `[rows]`, if the head has it. No row is asked for twice.
pub(super) fn add_candidates(
    found: &mut Vec<Candidate>,
    head: &HeadView<'_>,
    phrases: &mut PhraseLookup,
    rows: Range<usize>,
    centerness: Option<ArrayView1<'_, f32>>,
    selection: Selection,
    options: &PostprocessOptions,
) {
    let begin = found.len();
    // What is below this is not among the best, whatever comes yet.
    let mut least = 0.0f32;
    let surest = Confidence(centerness.map(|_| 1.0));
    let needed = |score: f32| match selection {
        Selection::All => options.candidate_threshold,
        Selection::Best(_) => options
            .candidate_threshold
            .max(surest.phrase_score_for(score)),
    };
    phrases.set_floors(needed);
    let logits = head.logits_of(rows.clone());
    let all_logits = logits.chunks_exact(head.tokens().max(1));
    for (row, logits) in rows.zip(all_logits) {
        // Most rows need not be asked for it.
        let confidence = || Confidence(centerness.map(|of_rows| sigmoid(of_rows[row])));
        let lowest_score = phrases.score_threshold.max(least);
        let floor = || match selection {
            Selection::Best(_) if lowest_score > 0.0 => {
                floor_of(confidence().phrase_score_for(lowest_score))
            }
            _ => f32::NEG_INFINITY,
        };
        find_above(&mut phrases.above, logits, &phrases.floors, floor);
        for &token in &phrases.above {
            for &phrase in &phrases.of_token[token] {
                let Scored {
                    tokens,
                    phrase_index,
                    score_threshold,
                    row: last_row,
                } = &mut phrases.phrases[phrase];
                if mem::replace(last_row, row) == row {
                    continue;
                }
                let logits = tokens.logits(logits, &mut phrases.own);
                let phrase_score = options.aggregation.score(logits);
                if phrase_score.is_nan() || phrase_score <= options.candidate_threshold {
                    continue;
                }
                let score = confidence().score(phrase_score);
                let is_sure = match selection {
                    Selection::All => !score.is_nan(),
                    Selection::Best(_) => score > *score_threshold && score >= least,
                };
                if is_sure {
                    found.push(Candidate {
                        row,
                        phrase,
                        phrase_index: *phrase_index,
                        phrase_score,
                        score,
                        corners: [0.0; 4],
                    });
                }
            }
        }
        // Once in a while, so that a head that finds everything everywhere fills neither memory nor time.
        if let Selection::Best(count) = selection
            && found.len() - begin > count.saturating_mul(2)
        {
            keep_best(found, begin, count);
            least = found[begin..]
                .iter()
                .map(|kept| kept.score)
                .fold(1.0, f32::min);
            phrases.set_floors(|threshold| needed(threshold.max(least)));
        }
    }
    if let Selection::Best(count) = selection {
        keep_best(found, begin, count);
    }
}

/// How sure the head is of a row whatever the phrase: its centerness, where there is one.
#[derive(Clone, Copy)]
struct Confidence(Option<f32>);

impl Confidence {
    fn score(self, phrase_score: f32) -> f32 {
        match self.0 {
            Some(centerness) => (phrase_score * centerness).sqrt(),
            None => phrase_score,
        }
    }

    /// The phrase score that gives this score.
    fn phrase_score_for(self, score: f32) -> f32 {
        match self.0 {
            Some(centerness) => score * score / centerness,
            None => score,
        }
    }
}

/// A logit from which on a token is worth a look. A phrase scores at most as its best token does, so a
/// phrase whose tokens all lie below the logit of the phrase score it needs cannot be a candidate.
fn floor_of(phrase_score: f32) -> f32 {
    /// Scores are rounded; without this, one at the very threshold could be missed.
    const SLACK: f32 = 1e-3;
    /// Nearer to 1 the logit grows faster than the slack covers.
    const HIGHEST: f32 = 0.99;
    let needed = phrase_score.min(HIGHEST);
    (needed / (1.0 - needed)).ln() - SLACK
}

/// Puts the tokens of a row whose logits are above their floors, and above the row's, in place of those found before.
/// Most blocks of tokens have none; where many have, a branch for each would often be mispredicted. So they are noted
/// first, and looked into then.
fn find_above(found: &mut Vec<usize>, row: &[f32], floors: &[f32], floor_of_row: impl Fn() -> f32) {
    const BLOCK: usize = 16;
    /// Blocks that are noted at a time.
    const BLOCKS: usize = 32;
    found.clear();
    let (blocks, rest) = row.as_chunks::<BLOCK>();
    let (floors, floors_of_rest) = floors.as_chunks::<BLOCK>();
    let mut begin = 0;
    for (blocks, floors) in blocks.chunks(BLOCKS).zip(floors.chunks(BLOCKS)) {
        let mut noted = [0; BLOCKS];
        let mut count = 0;
        for (index, (block, floors)) in blocks.iter().zip(floors).enumerate() {
            // The remainder is the number itself, and spares a check.
            noted[count % BLOCKS] = index;
            count += usize::from(any_above(block, floors));
        }
        if count > 0 {
            let least = floor_of_row();
            for &index in &noted[..count] {
                let above = bits(mask_above(&blocks[index], &floors[index], least));
                found.extend(above.map(|bit| begin + BLOCK * index + bit));
            }
        }
        begin += BLOCK * blocks.len();
    }
    if !rest.is_empty() {
        let above = bits(mask_above(rest, floors_of_rest, floor_of_row()));
        found.extend(above.map(|bit| begin + bit));
    }
}

/// Whether any value is above its floor: without a branch inside, so that the compiler makes vector instructions of it.
fn any_above<const COUNT: usize>(values: &[f32; COUNT], floors: &[f32; COUNT]) -> bool {
    let pairs = values.iter().zip(floors);
    pairs.fold(false, |any, (value, floor)| any | (value > floor))
}

/// A bit for each value, set if it is above its floor and above the least.
fn mask_above(values: &[f32], floors: &[f32], least: f32) -> u32 {
    let pairs = values.iter().zip(floors).enumerate();
    pairs.fold(0, |mask, (index, (&value, &floor))| {
        mask | u32::from(value > floor && value > least) << index
    })
}

/// The numbers of the bits that are set.
fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (mask != 0).then(|| mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        bit
    })
}

/// Drops all but the `count` best of those from `begin` on.
fn keep_best(candidates: &mut Vec<Candidate>, begin: usize, count: usize) {
    if candidates.len() - begin > count {
        candidates[begin..].select_nth_unstable_by(count, Candidate::best_first);
        candidates.truncate(begin + count);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Array3, Axis};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        geometry::GridSize,
        head_output::{HeadBoxes, HeadOutput},
        postprocess::phrase_scores::{Aggregation, phrase_scores},
        prompt::Phrase,
    };

    const GRID: GridSize = GridSize::new(4, 3);
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
        let boxes = HeadBoxes::Anchors {
            deltas: Array3::zeros((1, GRID.cells(), 4)),
            centerness: Array1::from(centerness).insert_axis(Axis(0)),
            level_sizes: vec![GRID],
        };
        HeadOutput::new(logits.insert_axis(Axis(0)), boxes).unwrap()
    }

    /// The centerness of the rows, if the head shall have one.
    fn centerness_of(output: &HeadOutput, has_centerness: bool) -> Option<ArrayView1<'_, f32>> {
        let HeadBoxes::Anchors { centerness, .. } = output.boxes() else {
            panic!("{output:?}");
        };
        has_centerness.then(|| centerness.row(0))
    }

    /// Row, phrase and score of pairs, best first.
    fn found(
        output: &HeadOutput,
        has_centerness: bool,
        selection: Selection,
        options: &PostprocessOptions,
    ) -> Vec<(usize, usize, f32)> {
        let head = HeadView::new(output, 0).unwrap();
        let mut lookup = PhraseLookup::default();
        lookup.fill(&phrases(), TOKENS, options).unwrap();
        let centerness = centerness_of(output, has_centerness);
        let rows = 0..GRID.cells();
        // There is another already, which stays.
        let other = Candidate {
            row: usize::MAX,
            phrase: 0,
            phrase_index: 0,
            phrase_score: 1.0,
            score: 2.0,
            corners: [0.0; 4],
        };
        let mut found = vec![other];
        add_candidates(
            &mut found,
            &head,
            &mut lookup,
            rows,
            centerness,
            selection,
            options,
        );
        assert_eq!(found.remove(0), other);
        found.sort_by(Candidate::best_first);
        found.iter().map(|c| (c.row, c.phrase, c.score)).collect()
    }

    /// The same from the score of every pair.
    fn naive(
        output: &HeadOutput,
        has_centerness: bool,
        selection: Selection,
        options: &PostprocessOptions,
    ) -> Vec<(usize, usize, f32)> {
        let logits = output.logits().index_axis(Axis(0), 0);
        let tokens: Vec<_> = phrases().into_iter().map(|phrase| phrase.tokens).collect();
        let scores = phrase_scores(logits, &tokens, options.aggregation).unwrap();
        let mut found = Vec::new();
        for ((row, phrase), &phrase_score) in scores.indexed_iter() {
            let score = match centerness_of(output, has_centerness) {
                Some(centerness) => (phrase_score * sigmoid(centerness[row])).sqrt(),
                None => phrase_score,
            };
            let is_sure = match selection {
                Selection::All => !score.is_nan(),
                Selection::Best(_) => score > options.score_threshold_of(phrase),
            };
            if phrase_score > options.candidate_threshold && is_sure {
                found.push((row, phrase, score));
            }
        }
        found.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
        if let Selection::Best(count) = selection {
            found.truncate(count);
        }
        found
    }

    proptest! {
        #[test]
        fn skipping_early_loses_nothing(
            logits in prop::collection::vec(-8.0f32..8.0, GRID.cells() * TOKENS),
            centerness in prop::collection::vec(-4.0f32..6.0, GRID.cells()),
            score_threshold in 0.0f32..1.0,
            phrase_threshold in 0.0f32..1.0,
            count in 1usize..40,
            has_centerness: bool,
            aggregation in prop::sample::select(vec![
                Aggregation::Mean, Aggregation::Max, Aggregation::GeometricMean,
            ]),
        ) {
            let output = head_output(logits, centerness);
            for score_threshold in [0.0, score_threshold] {
                let options = PostprocessOptions::default()
                    .with_score_threshold(score_threshold)
                    .with_phrase_threshold(2, phrase_threshold)
                    .with_aggregation(aggregation);
                for selection in [Selection::Best(count), Selection::All] {
                    prop_assert_eq!(
                        found(&output, has_centerness, selection, &options),
                        naive(&output, has_centerness, selection, &options)
                    );
                }
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
        for aggregation in [Aggregation::Mean, Aggregation::Max] {
            let options = PostprocessOptions::default().with_aggregation(aggregation);
            for selection in [Selection::Best(usize::MAX), Selection::All] {
                let found = found(&output, true, selection, &options);
                // Without the pair of the one, and the row of the other.
                let expected = (GRID.cells() - 1) * phrases().len() - 1;
                assert_eq!(found.len(), expected, "{aggregation:?}");
                assert!(found.iter().all(|(_, _, score)| !score.is_nan()));
            }
        }
    }
}
