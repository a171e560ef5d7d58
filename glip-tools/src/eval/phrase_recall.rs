//! Flickr30K Entities' measure: how many phrases have a right box among the best.

use std::collections::BTreeMap;

use serde::Serialize;

/// A box counts if its IoU with the truth is at least this.
const MIN_IOU: f64 = 0.5;

/// What is true of a phrase that has several boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhraseProtocol {
    /// Any of them: MDETR's "any box" protocol, official GLIP's `FLICKR_GT_TYPE` "separate".
    AnyBox,
    /// The smallest box around all of them: official's "merged".
    MergedBoxes,
}

/// A phrase, its boxes, and those that were found for it. Boxes are `[x1, y1, x2, y2]` in pixels: their
/// first and last columns and rows, between which official compares them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PhraseResult {
    /// The kinds of things that the phrase names, for example `people`.
    pub kinds: Vec<String>,
    /// Where it is. A phrase without boxes is not counted.
    pub truth: Vec<[f64; 4]>,
    /// Where it was found, best first.
    pub found: Vec<[f64; 4]>,
}

/// The share of phrases that were found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhraseRecall {
    /// What counted as the truth.
    pub protocol: PhraseProtocol,
    /// Over all phrases.
    pub all: RecallAt,
    /// Over the phrases of each kind.
    pub kinds: BTreeMap<String, RecallAt>,
}

/// The share of phrases, from 0 to 1, that have a right box among the best few; none of no phrases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RecallAt {
    /// How many phrases there are.
    pub phrases: usize,
    /// The best box is right.
    pub at_1: Option<f64>,
    /// One of the best 5 is.
    pub at_5: Option<f64>,
    /// One of the best 10 is.
    pub at_10: Option<f64>,
    /// Any box is.
    pub at_any: Option<f64>,
}

/// Measures what was found for phrases, as official GLIP's and MDETR's `flickr_eval.py` do.
///
/// ```
/// use glip_tools::eval::{PhraseProtocol, PhraseResult, phrase_recall};
///
/// let two_men = PhraseResult {
///     kinds: vec!["people".into()],
///     truth: vec![[0.0, 0.0, 10.0, 20.0], [30.0, 0.0, 40.0, 20.0]],
///     found: vec![[0.0, 0.0, 10.0, 18.0]],
/// };
/// let any = phrase_recall(PhraseProtocol::AnyBox, [&two_men]);
/// assert_eq!(any.all.at_1, Some(1.0));
/// let merged = phrase_recall(PhraseProtocol::MergedBoxes, [&two_men]);
/// assert_eq!(merged.kinds["people"].at_1, Some(0.0));
/// ```
pub fn phrase_recall<'a>(
    protocol: PhraseProtocol,
    phrases: impl IntoIterator<Item = &'a PhraseResult>,
) -> PhraseRecall {
    let mut all = Tally::default();
    let mut kinds: BTreeMap<String, Tally> = BTreeMap::new();
    for phrase in phrases
        .into_iter()
        .filter(|phrase| !phrase.truth.is_empty())
    {
        let rank = first_hit(protocol, phrase);
        all.add(rank);
        for kind in &phrase.kinds {
            kinds.entry(kind.clone()).or_default().add(rank);
        }
    }
    PhraseRecall {
        protocol,
        all: all.recall(),
        kinds: kinds
            .into_iter()
            .map(|(kind, tally)| (kind, tally.recall()))
            .collect(),
    }
}

/// The place of the first right box, from 0.
fn first_hit(protocol: PhraseProtocol, phrase: &PhraseResult) -> Option<usize> {
    let merged;
    let truth = match protocol {
        PhraseProtocol::AnyBox => &phrase.truth[..],
        PhraseProtocol::MergedBoxes => {
            merged = around(&phrase.truth);
            std::slice::from_ref(&merged)
        }
    };
    let right = |found: &[f64; 4]| truth.iter().any(|bbox| iou(bbox, found) >= MIN_IOU);
    phrase.found.iter().position(right)
}

/// How many phrases there are, and how many have a right box among the best few.
#[derive(Default)]
struct Tally {
    phrases: usize,
    hits: [usize; 4],
}

impl Tally {
    fn add(&mut self, rank: Option<usize>) {
        self.phrases += 1;
        for (hits, limit) in self.hits.iter_mut().zip([1, 5, 10, usize::MAX]) {
            *hits += usize::from(rank.is_some_and(|rank| rank < limit));
        }
    }

    fn recall(&self) -> RecallAt {
        let share = |hits: usize| (self.phrases > 0).then(|| hits as f64 / self.phrases as f64);
        let [at_1, at_5, at_10, at_any] = self.hits.map(share);
        RecallAt {
            phrases: self.phrases,
            at_1,
            at_5,
            at_10,
            at_any,
        }
    }
}

/// The smallest box around all.
fn around(boxes: &[[f64; 4]]) -> [f64; 4] {
    let empty = [
        f64::INFINITY,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NEG_INFINITY,
    ];
    boxes.iter().fold(empty, |[x1, y1, x2, y2], bbox| {
        [
            x1.min(bbox[0]),
            y1.min(bbox[1]),
            x2.max(bbox[2]),
            y2.max(bbox[3]),
        ]
    })
}

/// Intersection over union of corners, as official's evaluation has it: without the pixel by which the
/// last column and row are wider.
fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let area = |[x1, y1, x2, y2]: &[f64; 4]| (x2 - x1) * (y2 - y1);
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let shared = width * height;
    let union = area(a) + area(b) - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}
