//! From the head's outputs to detections, and the parts to build another way there.
//!
//! ```text
//! HeadOutput --phrase scores--> candidates --box coder--> boxes --NMS--> Detections
//! ```
//!
//! [`Postprocessor`] is all of it, as the official evaluation does it. For something else, take its
//! steps ([`candidates`](Postprocessor::candidates), [`suppress`](Postprocessor::suppress),
//! [`detections`](Postprocessor::detections)) or the parts below them: [`Anchors`], [`BoxCoder`],
//! [`phrase_scores`], [`iou`] and [`nms`]. They are plain arithmetic on `ndarray`s and know nothing of
//! graphs or sessions.
//!
//! Boxes here are [`Corners`], in pixels of the resized image that the network saw; only
//! [`Detections`] are in pixels of the original one.

mod anchors;
mod box_coder;
mod candidates;
mod head_view;
mod nms;
mod options;
mod phrase_scores;

use self::candidates::PhraseLookup;
pub use self::{
    anchors::{AnchorLevel, AnchorOptions, Anchors},
    box_coder::BoxCoder,
    candidates::Candidate,
    head_view::HeadView,
    nms::{iou, nms},
    options::PostprocessOptions,
    phrase_scores::{Aggregation, phrase_scores, sigmoid},
};
use crate::{
    detection::{BBox, Detection, Detections},
    error::{Error, Result},
    graph::HeadOutput,
    preprocess::{ImageGeometry, ImageSize},
    prompt::TokenizedPhrase,
};

/// A box as `[x1, y1, x2, y2]`, in pixels of the resized image.
pub type Corners = [f32; 4];

/// Turns the head's outputs into detections, as the official evaluation does.
///
/// 1. A phrase's score at an anchor is the mean over its tokens of the sigmoid of their logits. Pairs of
///    anchor and phrase over the candidate threshold are candidates; of each level the best 1000 by
///    phrase score x centerness stay.
/// 2. Their boxes are decoded and clipped to the image without its padding.
/// 3. Per phrase (with its synonyms), boxes that overlap a better one are suppressed; the best 100 of
///    all stay.
/// 4. Boxes are scaled to the original image.
///
/// ```
/// use glip::{GridSize, HeadOutput, ImageGeometry, ImageSize, Phrase, TokenizedPhrase};
/// use glip::postprocess::{AnchorOptions, BoxCoder, PostprocessOptions, Postprocessor};
/// use ndarray::{Array2, Array3};
///
/// // A head with one level of 8 x 8 anchors that is sure of "cat", tokens 1 and 2, at anchor 27.
/// let mut output = HeadOutput {
///     logits: Array3::from_elem((1, 64, 4), -9.0),
///     deltas: Array3::zeros((1, 64, 4)),
///     centerness: Array2::from_elem((1, 64), 5.0),
///     level_sizes: vec![GridSize { width: 8, height: 8 }],
/// };
/// output.logits[[0, 27, 1]] = 5.0;
/// output.logits[[0, 27, 2]] = 5.0;
/// let phrase = Phrase { label: "cat".to_owned(), index: 0, spans: vec![0..3] };
/// let cat = TokenizedPhrase { phrase, tokens: vec![1, 2] };
///
/// let anchors = AnchorOptions { strides: vec![8], sizes: vec![16] };
/// let postprocessor =
///     Postprocessor::new(PostprocessOptions::default(), anchors, BoxCoder::default())?;
/// let small = ImageSize { width: 64, height: 64 };
/// let original = ImageSize { width: 128, height: 128 };
/// let geometry = ImageGeometry { original, resized: small, padded: small };
/// let found = postprocessor.run(&output, &[cat], &[geometry])?;
/// let bbox = found[0].as_slice()[0].bbox;
/// assert_eq!(<[f32; 4]>::from(bbox), [40.0, 40.0, 70.0, 70.0]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Postprocessor {
    options: PostprocessOptions,
    anchors: AnchorOptions,
    box_coder: BoxCoder,
}

impl Postprocessor {
    /// The same for the same head, with other options.
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: a value is outside its range.
    pub fn with_options(&self, options: PostprocessOptions) -> Result<Self> {
        Self::new(options, self.anchors.clone(), self.box_coder)
    }

    /// A post-processor with these options, for a head with these anchors and this coder.
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: a value is outside its range.
    pub fn new(
        options: PostprocessOptions,
        anchors: AnchorOptions,
        box_coder: BoxCoder,
    ) -> Result<Self> {
        options.validate()?;
        anchors.validate()?;
        box_coder.validate()?;
        Ok(Self {
            options,
            anchors,
            box_coder,
        })
    }

    /// The options in use.
    pub fn options(&self) -> &PostprocessOptions {
        &self.options
    }

    /// The detections in every image of a batch, in the batch's order.
    ///
    /// `phrases` are those of the prompt that the head was run with, `geometries` those of the
    /// [`PixelBatch`](crate::PixelBatch).
    ///
    /// # Errors
    /// - [`Error::Shape`]: there are not as many geometries as images, the arrays' shapes do not agree
    ///   with one another, or not with the anchors' levels.
    /// - [`Error::TokenRange`]: a phrase has no tokens, or some beyond those of the logits.
    /// - [`Error::NonFinite`]: the deltas of a candidate are NaN or infinite.
    pub fn run(
        &self,
        output: &HeadOutput,
        phrases: &[TokenizedPhrase],
        geometries: &[ImageGeometry],
    ) -> Result<Vec<Detections>> {
        if geometries.len() != output.logits.dim().0 {
            return Err(Error::Shape {
                tensor: "logits".to_owned(),
                expected: format!(
                    "[{}, anchors, tokens], one for each image",
                    geometries.len()
                ),
                found: output.logits.shape().to_vec(),
            });
        }
        let image = |(index, geometry): (usize, &ImageGeometry)| {
            let head = HeadView::new(output, index)?;
            let candidates = self.candidates(head, phrases, geometry.resized)?;
            self.detections(&self.suppress(candidates), phrases, geometry)
        };
        geometries.iter().enumerate().map(image).collect()
    }

    /// Steps 1 and 2: the best candidates of each level, with their boxes clipped to the image.
    ///
    /// # Errors
    /// - As of [`run`](Self::run).
    pub fn candidates(
        &self,
        head: HeadView<'_>,
        phrases: &[TokenizedPhrase],
        resized: ImageSize,
    ) -> Result<Vec<Candidate>> {
        let anchors = Anchors::new(&self.anchors, head.level_sizes())?;
        phrases
            .iter()
            .try_for_each(|phrase| phrase_scores::check_tokens(&phrase.tokens, head.tokens()))?;
        let lookup = PhraseLookup::new(phrases, head.tokens(), &self.options);
        let mut found = Vec::new();
        for level in anchors.levels() {
            found.extend(candidates::best_of_level(
                &head,
                &lookup,
                level,
                &self.options,
            ));
        }
        for candidate in &mut found {
            let deltas = finite_deltas(&head, candidate.anchor)?;
            let decoded = self.box_coder.decode(candidate.corners, deltas);
            candidate.corners = clip(decoded, resized);
        }
        Ok(found)
    }

    /// Step 3: the candidates that are left after suppression, best first.
    pub fn suppress(&self, candidates: Vec<Candidate>) -> Vec<Candidate> {
        nms(candidates, &self.options)
    }

    /// Step 4: candidates as detections in the original image.
    ///
    /// # Errors
    /// - [`Error::InvalidBox`]: a box is not finite, as with a geometry without pixels.
    /// - [`Error::PhraseIndex`]: a candidate is of none of these phrases.
    pub fn detections(
        &self,
        candidates: &[Candidate],
        phrases: &[TokenizedPhrase],
        geometry: &ImageGeometry,
    ) -> Result<Detections> {
        let ratio = |original: u32, resized: u32| (f64::from(original) / f64::from(resized)) as f32;
        let ImageGeometry {
            original, resized, ..
        } = geometry;
        let x = ratio(original.width, resized.width);
        let y = ratio(original.height, resized.height);
        let detection = |candidate: &Candidate| {
            let missing = Error::PhraseIndex {
                index: candidate.phrase,
                phrases: phrases.len(),
            };
            let phrase = &phrases.get(candidate.phrase).ok_or(missing)?.phrase;
            let [x1, y1, x2, y2] = candidate.corners;
            Ok(Detection {
                phrase: phrase.label.clone(),
                phrase_index: phrase.index,
                score: candidate.score,
                phrase_score: candidate.phrase_score,
                bbox: BBox::new(x1 * x, y1 * y, x2 * x, y2 * y)?,
            })
        };
        candidates.iter().map(detection).collect()
    }
}

/// A candidate's deltas. Infinite ones would pass for a box at the image's edge once clipped.
fn finite_deltas(head: &HeadView<'_>, anchor: usize) -> Result<[f32; 4]> {
    let deltas = [0, 1, 2, 3].map(|i| head.deltas()[[anchor, i]]);
    match deltas.into_iter().find(|delta| !delta.is_finite()) {
        None => Ok(deltas),
        Some(value) => Err(Error::NonFinite {
            graph: "head".to_owned(),
            tensor: "deltas".to_owned(),
            value,
        }),
    }
}

/// The part of a box on the image, whose last pixels are at `width - 1` and `height - 1`.
fn clip([x1, y1, x2, y2]: Corners, size: ImageSize) -> Corners {
    let (right, bottom) = (
        size.width.saturating_sub(1) as f32,
        size.height.saturating_sub(1) as f32,
    );
    [
        x1.clamp(0.0, right),
        y1.clamp(0.0, bottom),
        x2.clamp(0.0, right),
        y2.clamp(0.0, bottom),
    ]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3};

    use super::*;
    use crate::{GridSize, Phrase};

    const SIZE: ImageSize = ImageSize {
        width: 64,
        height: 64,
    };
    const GEOMETRY: ImageGeometry = ImageGeometry {
        original: SIZE,
        resized: SIZE,
        padded: SIZE,
    };

    fn postprocessor() -> Postprocessor {
        let anchors = AnchorOptions {
            strides: vec![8],
            sizes: vec![16],
        };
        Postprocessor::new(PostprocessOptions::default(), anchors, BoxCoder::default()).unwrap()
    }

    fn phrases() -> Vec<TokenizedPhrase> {
        let phrase = |label: &str, index, token| TokenizedPhrase {
            phrase: Phrase {
                label: label.to_owned(),
                index,
                spans: vec![0..1],
            },
            tokens: vec![token],
        };
        // Indices as in one of a vocabulary's prompts.
        vec![phrase("cat", 40, 1), phrase("dog", 41, 3)]
    }

    fn output(images: usize) -> HeadOutput {
        HeadOutput {
            logits: Array3::from_elem((images, 64, 5), -9.0),
            deltas: Array3::zeros((images, 64, 4)),
            centerness: Array2::from_elem((images, 64), 9.0),
            level_sizes: vec![GridSize {
                width: 8,
                height: 8,
            }],
        }
    }

    #[test]
    fn every_image_has_its_result_and_the_callers_index() {
        let mut output = output(3);
        output.logits[[2, 27, 3]] = 4.0;
        output.logits[[0, 9, 1]] = 3.0;
        let found = postprocessor()
            .run(&output, &phrases(), &[GEOMETRY; 3])
            .unwrap();
        let summary: Vec<Vec<_>> = found
            .iter()
            .map(|found| {
                found
                    .iter()
                    .map(|d| (d.phrase.as_str(), d.phrase_index))
                    .collect()
            })
            .collect();
        assert_eq!(summary, [vec![("cat", 40)], vec![], vec![("dog", 41)]]);
    }

    #[test]
    fn synonyms_are_one_thing() {
        let mut phrases = phrases();
        phrases[0].phrase.label = "dog".to_owned();
        phrases[0].phrase.index = 41;
        let mut output = output(1);
        // The same object by both words, and another by one of them.
        output.logits[[0, 27, 1]] = 4.0;
        output.logits[[0, 27, 3]] = 3.0;
        output.logits[[0, 60, 3]] = 2.0;
        let found = postprocessor().run(&output, &phrases, &[GEOMETRY]).unwrap();
        let summary: Vec<_> = found[0]
            .iter()
            .map(|d| (d.phrase.as_str(), d.phrase_index))
            .collect();
        assert_eq!(summary, [("dog", 41), ("dog", 41)]);
        let best = &found[0].as_slice()[0];
        assert_eq!(best.phrase_score, sigmoid(4.0));
        assert_eq!(best.score, (sigmoid(4.0) * sigmoid(9.0)).sqrt());
    }

    #[test]
    fn phrases_have_thresholds_of_their_own() {
        let mut output = output(1);
        output.logits[[0, 9, 1]] = 1.0;
        output.logits[[0, 60, 3]] = 1.0;
        let find = |options| {
            let postprocessor = postprocessor().with_options(options).unwrap();
            let found = postprocessor.run(&output, &phrases(), &[GEOMETRY]).unwrap();
            let indices = found[0].iter().map(|d| d.phrase_index);
            indices.collect::<Vec<usize>>()
        };
        let strict = PostprocessOptions::default().with_score_threshold(0.9);
        assert!(find(strict.clone()).is_empty());
        assert_eq!(find(strict.with_phrase_threshold(41, 0.5)), [41]);
        let lenient = PostprocessOptions::default();
        assert_eq!(find(lenient.with_phrase_threshold(41, 0.9)), [40]);
    }

    #[test]
    fn boxes_end_with_the_image_not_its_padding() {
        let mut output = output(1);
        output.logits[[0, 63, 1]] = 4.0;
        let resized = ImageSize {
            width: 62,
            height: 60,
        };
        let geometry = ImageGeometry {
            resized,
            original: resized,
            padded: SIZE,
        };
        let found = postprocessor()
            .run(&output, &phrases(), &[geometry])
            .unwrap();
        let bbox = found[0].as_slice()[0].bbox;
        assert_eq!(<[f32; 4]>::from(bbox), [52.0, 52.0, 61.0, 59.0]);
    }

    #[test]
    fn unfit_inputs_are_errors() {
        let postprocessor = postprocessor();
        let too_few = postprocessor
            .run(&output(2), &phrases(), &[GEOMETRY])
            .unwrap_err();
        assert!(matches!(too_few, Error::Shape { .. }));
        let mut beyond = phrases();
        beyond[1].tokens = vec![4, 5];
        let beyond = postprocessor
            .run(&output(1), &beyond, &[GEOMETRY])
            .unwrap_err();
        assert!(matches!(beyond, Error::TokenRange { tokens: 5, .. }));
        let mut levels = output(1);
        levels.level_sizes = vec![
            GridSize {
                width: 8,
                height: 4
            };
            2
        ];
        let levels = postprocessor
            .run(&levels, &phrases(), &[GEOMETRY])
            .unwrap_err();
        assert!(matches!(levels, Error::Shape { .. }));
        let candidate = Candidate {
            anchor: 0,
            phrase: 2,
            label: 2,
            phrase_score: 0.9,
            score: 0.9,
            corners: [0.0; 4],
        };
        let stray = postprocessor
            .detections(&[candidate], &phrases(), &GEOMETRY)
            .unwrap_err();
        assert!(matches!(
            stray,
            Error::PhraseIndex {
                index: 2,
                phrases: 2
            }
        ));
    }

    #[test]
    fn deltas_that_are_not_finite_are_an_error() {
        for value in [f32::NAN, f32::INFINITY] {
            let mut output = output(1);
            output.logits[[0, 5, 1]] = 4.0;
            output.deltas[[0, 5, 2]] = value;
            let error = postprocessor()
                .run(&output, &phrases(), &[GEOMETRY])
                .unwrap_err();
            assert!(matches!(error, Error::NonFinite { .. }), "{error}");
        }
    }

    #[test]
    fn no_phrases_and_no_pixels_find_nothing() {
        let mut output = output(1);
        output.logits.fill(4.0);
        let found = postprocessor().run(&output, &[], &[GEOMETRY]).unwrap();
        assert!(found[0].is_empty());
        let empty = ImageSize {
            width: 0,
            height: 0,
        };
        let geometry = ImageGeometry {
            resized: empty,
            ..GEOMETRY
        };
        let error = postprocessor()
            .run(&output, &phrases(), &[geometry])
            .unwrap_err();
        assert!(matches!(error, Error::InvalidBox { .. }), "{error}");
    }
}
