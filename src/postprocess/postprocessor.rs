//! All of post-processing, step by step.

use ndarray::ArrayView1;

use super::{
    anchors::Anchors,
    candidates::{Candidate, PhraseLookup, Selection, add_candidates},
    head_spec::HeadSpec,
    head_view::{BoxesView, HeadView},
    nms,
    options::PostprocessOptions,
};
use crate::{
    detection::{Detection, Detections},
    error::{Error, Result},
    geometry::{Corners, ImageGeometry, ImageSize},
    head_output::HeadOutput,
    prompt::TokenizedPhrase,
};

/// Turns the head's outputs into detections, as the official evaluation does.
///
/// 1. A phrase's score in a row is the mean over its tokens of the sigmoid of their logits. Pairs of
///    row and phrase over the candidate threshold are candidates, if they are also over the score
///    threshold; of each level, or of all queries, the best 1000 stay.
/// 2. Their boxes are decoded and clipped to the image without its padding.
/// 3. Per phrase (with its synonyms), boxes that overlap a better one are suppressed; the best 100 of
///    all stay.
/// 4. Boxes are taken to the original image, where they have continuous edges.
///
/// ```
/// use glip::{ImageSize, parts::{GridSize, ImageGeometry, Phrase}};
/// use glip::parts::{HeadBoxes, HeadOutput, TokenizedPhrase};
/// use glip::postprocess::{AnchorOptions, BoxCoder, HeadSpec, PostprocessOptions, Postprocessor};
/// use ndarray::{Array2, Array3};
///
/// // A head with one level of 8 x 8 anchors that is sure of "cat", tokens 1 and 2, at anchor 27.
/// let mut logits = Array3::from_elem((1, 64, 4), -9.0);
/// logits[[0, 27, 1]] = 5.0;
/// logits[[0, 27, 2]] = 5.0;
/// let boxes = HeadBoxes::Anchors {
///     deltas: Array3::zeros((1, 64, 4)),
///     centerness: Array2::from_elem((1, 64), 5.0),
///     level_sizes: vec![GridSize::new(8, 8)],
/// };
/// let output = HeadOutput::new(logits, boxes)?;
/// let phrase = Phrase { label: "cat".to_owned(), index: 0, spans: vec![0..3] };
/// let cat = TokenizedPhrase { phrase, tokens: vec![1, 2] };
///
/// let anchors = AnchorOptions { strides: vec![8], sizes: vec![16] };
/// let head = HeadSpec::Anchors { anchors, box_coder: BoxCoder::default() };
/// let postprocessor = Postprocessor::new(PostprocessOptions::default(), head)?;
/// let (original, small) = (ImageSize::new(128, 128), ImageSize::new(64, 64));
/// let geometry = ImageGeometry { original, resized: small, padded: small };
/// let found = postprocessor.run(&output, &[cat], &[geometry])?;
/// assert_eq!(found[0][0].bbox.xywh(), [40.0, 40.0, 31.0, 31.0]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Postprocessor {
    options: PostprocessOptions,
    head: HeadSpec,
}

impl Postprocessor {
    /// A post-processor with these options, for a head of this kind. A model's own is
    /// [`Manifest::postprocessor`](crate::manifest::Manifest::postprocessor).
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: a value is outside its range.
    pub fn new(options: PostprocessOptions, head: HeadSpec) -> Result<Self> {
        options.validate()?;
        head.validate()?;
        Ok(Self { options, head })
    }

    /// The same for the same head, with other options.
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: a value is outside its range.
    pub fn with_options(&self, options: PostprocessOptions) -> Result<Self> {
        Self::new(options, self.head.clone())
    }

    /// The kind of head.
    pub fn head(&self) -> &HeadSpec {
        &self.head
    }

    /// The options in use.
    pub fn options(&self) -> &PostprocessOptions {
        &self.options
    }

    /// The detections in every image of a batch, in the batch's order.
    ///
    /// `phrases` are those of the prompt that the head was run with, `geometries` those of the
    /// [`PixelBatch`](crate::parts::PixelBatch).
    ///
    /// # Errors
    /// - [`Error::Shape`]: there are not as many geometries as images, the output is of another kind of
    ///   head, or it has not as many levels as there are anchor strides.
    /// - [`Error::TokenRange`]: a phrase has no tokens, or some beyond those of the logits.
    /// - [`Error::NonFinite`]: the deltas of a candidate are NaN or infinite.
    pub fn run(
        &self,
        output: &HeadOutput,
        phrases: &[TokenizedPhrase],
        geometries: &[ImageGeometry],
    ) -> Result<Vec<Detections>> {
        if geometries.len() != output.batch() {
            return Err(Error::Shape {
                tensor: "logits".to_owned(),
                expected: format!("[{}, rows, tokens], one for each image", geometries.len()),
                found: output.logits().shape().to_vec(),
            });
        }
        let image = |(index, geometry): (usize, &ImageGeometry)| {
            let head = HeadView::new(output, index)?;
            let candidates = self.candidates(head, phrases, geometry.resized)?;
            self.detections(&self.suppress(candidates), phrases, geometry)
        };
        geometries.iter().enumerate().map(image).collect()
    }

    /// Steps 1 and 2: the best candidates, with their boxes clipped to the image. Only those over their
    /// score threshold come, and of each level no more than
    /// [`candidates_per_level`](PostprocessOptions::candidates_per_level);
    /// [`all_candidates`](Self::all_candidates) has the rest too.
    ///
    /// # Errors
    /// - As of [`run`](Self::run).
    pub fn candidates(
        &self,
        head: HeadView<'_>,
        phrases: &[TokenizedPhrase],
        resized: ImageSize,
    ) -> Result<Vec<Candidate>> {
        let mut found = Vec::new();
        self.add_candidates(
            &mut found,
            &mut PhraseLookup::default(),
            head,
            phrases,
            resized,
        )?;
        Ok(found)
    }

    /// As [`candidates`](Self::candidates), which are added to those that there are, in memory that is kept.
    pub(crate) fn add_candidates(
        &self,
        found: &mut Vec<Candidate>,
        lookup: &mut PhraseLookup,
        head: HeadView<'_>,
        phrases: &[TokenizedPhrase],
        resized: ImageSize,
    ) -> Result<()> {
        lookup.fill(phrases, head.tokens(), &self.options)?;
        let selection = Selection::Best(self.options.candidates_per_level);
        self.select(found, lookup, head, resized, selection)
    }

    /// As [`candidates`](Self::candidates), but every pair of row and phrase whose phrase score is over the
    /// [candidate threshold](PostprocessOptions::candidate_threshold), in no order: for those who select
    /// in a way of their own.
    ///
    /// # Errors
    /// - As of [`run`](Self::run).
    pub fn all_candidates(
        &self,
        head: HeadView<'_>,
        phrases: &[TokenizedPhrase],
        resized: ImageSize,
    ) -> Result<Vec<Candidate>> {
        let (mut found, mut lookup) = (Vec::new(), PhraseLookup::default());
        lookup.fill(phrases, head.tokens(), &self.options)?;
        self.select(&mut found, &mut lookup, head, resized, Selection::All)?;
        Ok(found)
    }

    fn select(
        &self,
        found: &mut Vec<Candidate>,
        phrases: &mut PhraseLookup,
        head: HeadView<'_>,
        resized: ImageSize,
        selection: Selection,
    ) -> Result<()> {
        let mut add = |rows, centerness, place: &dyn Fn(usize) -> Result<Corners>| {
            let begin = found.len();
            let options = &self.options;
            add_candidates(found, &head, phrases, rows, centerness, selection, options);
            for candidate in &mut found[begin..] {
                candidate.corners = place(candidate.row)?;
            }
            Ok(())
        };
        match (&self.head, head.boxes()) {
            (
                HeadSpec::Anchors { anchors, box_coder },
                BoxesView::Anchors {
                    deltas,
                    centerness,
                    level_sizes,
                },
            ) => {
                for level in Anchors::new(anchors, level_sizes)?.levels() {
                    add(level.range(), Some(centerness), &|row| {
                        let deltas = finite("deltas", deltas.row(row))?;
                        let corners = box_coder.decode(level.anchor(row), deltas);
                        Ok(clip_pixels(corners, resized))
                    })?;
                }
                Ok(())
            }
            (HeadSpec::Queries, BoxesView::Queries { boxes }) => {
                add(0..head.rows(), None, &|row| {
                    Ok(corners_of(finite("boxes", boxes.row(row))?, resized))
                })
            }
            (HeadSpec::Anchors { .. }, _) => Err(other_kind("anchors: deltas and centerness")),
            (HeadSpec::Queries, _) => Err(other_kind("queries: boxes")),
        }
    }

    /// Step 3: the candidates that are left after suppression, best first.
    pub fn suppress(&self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        self.suppress_in_place(&mut candidates);
        candidates
    }

    /// As [`suppress`](Self::suppress), in the candidates' own memory.
    pub(crate) fn suppress_in_place(&self, candidates: &mut Vec<Candidate>) {
        nms::suppress(candidates, self.head.iou(), &self.options);
    }

    /// Step 4: candidates as detections in the original image.
    ///
    /// # Errors
    /// - [`Error::InvalidBox`]: a box is not finite, as with a geometry without pixels.
    /// - [`Error::PhraseIndex`]: a candidate is of none of these phrases.
    /// - [`Error::NonFinite`]: a candidate's score is NaN or infinite.
    pub fn detections(
        &self,
        candidates: &[Candidate],
        phrases: &[TokenizedPhrase],
        geometry: &ImageGeometry,
    ) -> Result<Detections> {
        let phrase = |index| {
            let missing = Error::PhraseIndex {
                index,
                phrases: phrases.len(),
            };
            phrases.get(index).ok_or(missing)
        };
        self.detections_of(candidates, phrase, geometry)
    }

    /// As [`detections`](Self::detections), of phrases that are looked up.
    pub(crate) fn detections_of<'p>(
        &self,
        candidates: &[Candidate],
        phrase: impl Fn(usize) -> Result<&'p TokenizedPhrase>,
        geometry: &ImageGeometry,
    ) -> Result<Detections> {
        let detection = |candidate: &Candidate| {
            let phrase = &phrase(candidate.phrase)?.phrase;
            let scores = [candidate.score, candidate.phrase_score];
            if let Some(value) = scores.into_iter().find(|score| !score.is_finite()) {
                return Err(not_finite("the score of a candidate", value));
            }
            Ok(Detection {
                phrase: phrase.label.clone(),
                phrase_index: phrase.index,
                score: candidate.score,
                phrase_score: candidate.phrase_score,
                bbox: self.head.to_original(candidate.corners, geometry)?,
            })
        };
        let mut detections = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            detections.push(detection(candidate)?);
        }
        Ok(detections.into())
    }
}

/// The four numbers of a candidate's box. Infinite ones would pass for a box at the image's edge once
/// clipped.
fn finite(tensor: &str, numbers: ArrayView1<'_, f32>) -> Result<[f32; 4]> {
    let numbers = [0, 1, 2, 3].map(|i| numbers[i]);
    match numbers.into_iter().find(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(value) => Err(not_finite(tensor, value)),
    }
}

fn not_finite(tensor: &str, value: f32) -> Error {
    Error::NonFinite {
        graph: "head".to_owned(),
        tensor: tensor.to_owned(),
        value,
    }
}

fn other_kind(expected: &str) -> Error {
    Error::Shape {
        tensor: "the boxes of the head's output".to_owned(),
        expected: format!("those of {expected}, as this model's head gives"),
        found: Vec::new(),
    }
}

/// The part of a box on the image, by first and last pixels: the image's last are at `width - 1` and
/// `height - 1`.
fn clip_pixels([x1, y1, x2, y2]: Corners, size: ImageSize) -> Corners {
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

/// A box of centre, width and height relative to the image, as edges on it.
fn corners_of([x, y, width, height]: [f32; 4], size: ImageSize) -> Corners {
    let (right, bottom) = (size.width as f32, size.height as f32);
    [
        (x - 0.5 * width).clamp(0.0, 1.0) * right,
        (y - 0.5 * height).clamp(0.0, 1.0) * bottom,
        (x + 0.5 * width).clamp(0.0, 1.0) * right,
        (y + 0.5 * height).clamp(0.0, 1.0) * bottom,
    ]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array};

    use super::*;
    use crate::{
        geometry::GridSize,
        head_output::HeadBoxes,
        postprocess::{anchors::AnchorOptions, box_coder::BoxCoder, phrase_scores::sigmoid},
        prompt::Phrase,
    };

    const SIZE: ImageSize = ImageSize::new(64, 64);
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
        let box_coder = BoxCoder::default();
        let head = HeadSpec::Anchors { anchors, box_coder };
        Postprocessor::new(PostprocessOptions::default(), head).unwrap()
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

    /// The head's output for some images, unsure of everything but of `sure`: image, row, token, logit.
    fn output<const N: usize>(images: usize, sure: [(usize, usize, usize, f32); N]) -> HeadOutput {
        let mut logits = Array3::from_elem((images, 64, 5), -9.0);
        for (image, row, token, logit) in sure {
            logits[[image, row, token]] = logit;
        }
        let boxes = HeadBoxes::Anchors {
            deltas: Array3::zeros((images, 64, 4)),
            centerness: Array2::from_elem((images, 64), 9.0),
            level_sizes: vec![GridSize::new(8, 8)],
        };
        HeadOutput::new(logits, boxes).unwrap()
    }

    #[test]
    fn every_image_has_its_result_and_the_callers_index() {
        let output = output(3, [(2, 27, 3, 4.0), (0, 9, 1, 3.0)]);
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
        // The same object by both words, and another by one of them.
        let output = output(1, [(0, 27, 1, 4.0), (0, 27, 3, 3.0), (0, 60, 3, 2.0)]);
        let found = postprocessor().run(&output, &phrases, &[GEOMETRY]).unwrap();
        let summary: Vec<_> = found[0]
            .iter()
            .map(|d| (d.phrase.as_str(), d.phrase_index))
            .collect();
        assert_eq!(summary, [("dog", 41), ("dog", 41)]);
        let best = &found[0][0];
        assert_eq!(best.phrase_score, sigmoid(4.0));
        assert_eq!(best.score, (sigmoid(4.0) * sigmoid(9.0)).sqrt());
    }

    #[test]
    fn phrases_have_thresholds_of_their_own() {
        let output = output(1, [(0, 9, 1, 1.0), (0, 60, 3, 1.0)]);
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
        let output = output(1, [(0, 63, 1, 4.0)]);
        let resized = ImageSize::new(62, 60);
        let geometry = ImageGeometry {
            resized,
            original: resized,
            padded: SIZE,
        };
        let found = postprocessor()
            .run(&output, &phrases(), &[geometry])
            .unwrap();
        let bbox = found[0][0].bbox;
        assert_eq!(<[f32; 4]>::from(bbox), [52.0, 52.0, 62.0, 60.0]);
    }

    #[test]
    fn unfit_inputs_are_errors() {
        let postprocessor = postprocessor();
        let too_few = postprocessor
            .run(&output(2, []), &phrases(), &[GEOMETRY])
            .unwrap_err();
        assert!(matches!(too_few, Error::Shape { .. }));
        let mut beyond = phrases();
        beyond[1].tokens = vec![4, 5];
        let beyond = postprocessor
            .run(&output(1, []), &beyond, &[GEOMETRY])
            .unwrap_err();
        assert!(matches!(beyond, Error::TokenRange { tokens: 5, .. }));
        let (
            logits,
            HeadBoxes::Anchors {
                deltas, centerness, ..
            },
        ) = output(1, []).into_parts()
        else {
            panic!("not of anchors");
        };
        let boxes = HeadBoxes::Anchors {
            deltas,
            centerness,
            level_sizes: vec![GridSize::new(8, 4); 2],
        };
        let levels = HeadOutput::new(logits.clone(), boxes).unwrap();
        let levels = postprocessor
            .run(&levels, &phrases(), &[GEOMETRY])
            .unwrap_err();
        assert!(matches!(levels, Error::Shape { .. }));
        let boxes = HeadBoxes::Queries {
            boxes: Array3::zeros((1, 64, 4)),
        };
        let queries = HeadOutput::new(logits, boxes).unwrap();
        let queries = postprocessor
            .run(&queries, &phrases(), &[GEOMETRY])
            .unwrap_err();
        assert!(queries.to_string().contains("anchors"), "{queries}");

        let candidate = Candidate {
            row: 0,
            phrase: 2,
            phrase_index: 2,
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
        let unsure = Candidate {
            phrase: 1,
            score: f32::NAN,
            ..candidate
        };
        let unsure = postprocessor.detections(&[unsure], &phrases(), &GEOMETRY);
        assert!(matches!(unsure, Err(Error::NonFinite { .. })));
    }

    #[test]
    fn the_order_of_a_phrases_tokens_does_not_matter() {
        let output = output(1, [(0, 9, 1, 1.1), (0, 9, 2, 2.3), (0, 9, 4, 0.7)]);
        let find = |tokens: &[usize]| {
            let mut phrases = phrases();
            phrases[0].tokens = tokens.to_vec();
            let found = postprocessor().run(&output, &phrases, &[GEOMETRY]).unwrap();
            found[0].iter().map(|d| d.score).collect::<Vec<f32>>()
        };
        for (given, sorted) in [(vec![4, 1], vec![1, 4]), (vec![2, 4, 1], vec![1, 2, 4])] {
            assert_eq!(find(&sorted).len(), 1);
            assert_eq!(find(&given), find(&sorted));
        }
    }

    #[test]
    fn deltas_that_are_not_finite_are_an_error() {
        for value in [f32::NAN, f32::INFINITY] {
            let (logits, mut boxes) = output(1, [(0, 5, 1, 4.0)]).into_parts();
            if let HeadBoxes::Anchors { deltas, .. } = &mut boxes {
                deltas[[0, 5, 2]] = value;
            }
            let output = HeadOutput::new(logits, boxes).unwrap();
            let error = postprocessor()
                .run(&output, &phrases(), &[GEOMETRY])
                .unwrap_err();
            assert!(matches!(error, Error::NonFinite { .. }), "{error}");
        }
    }

    #[test]
    fn queries_have_their_boxes_and_scores_as_they_are() {
        let options = PostprocessOptions::default().with_nms_iou_threshold(1.0);
        let postprocessor = Postprocessor::new(options, HeadSpec::Queries).unwrap();
        let logits = array![[[-9.0, 2.0, -9.0], [-9.0, 3.0, 1.0], [-9.0, -9.0, -9.0]]];
        let boxes = array![[
            [0.5, 0.5, 0.5, 0.25],
            [0.5, 0.5, 0.5, 0.25],
            [0.0, 0.0, 1.0, 1.0]
        ]];
        let phrases = [
            phrases()[0].clone(),
            TokenizedPhrase {
                tokens: vec![2],
                ..phrases()[1].clone()
            },
        ];
        let resized = ImageSize::new(40, 80);
        let geometry = ImageGeometry {
            original: ImageSize::new(20, 40),
            resized,
            padded: SIZE,
        };
        let boxes = HeadBoxes::Queries { boxes };
        let output = HeadOutput::new(logits, boxes).unwrap();
        let found = postprocessor.run(&output, &phrases, &[geometry]).unwrap();
        let summary: Vec<_> = found[0].iter().map(|d| (d.phrase_index, d.score)).collect();
        // Both queries of the cat, though they are at one place.
        let expected = [(40, sigmoid(3.0)), (40, sigmoid(2.0)), (41, sigmoid(1.0))];
        assert_eq!(summary, expected);
        assert_eq!(Corners::from(found[0][0].bbox), [5.0, 15.0, 15.0, 25.0]);

        let view = HeadView::new(&output, 0).unwrap();
        let all = postprocessor
            .all_candidates(view, &phrases, resized)
            .unwrap();
        assert_eq!(all.len(), 3, "none of the rows that see nothing");
    }

    #[test]
    fn all_candidates_are_those_before_the_score_threshold() {
        let output = output(1, [(0, 9, 1, 1.0), (0, 60, 3, -2.0), (0, 61, 3, -4.0)]);
        let head = HeadView::new(&output, 0).unwrap();
        let rows = |found: Vec<Candidate>| -> Vec<usize> {
            found.iter().map(|candidate| candidate.row).collect()
        };
        let postprocessor = postprocessor();
        let best = postprocessor.candidates(head, &phrases(), SIZE).unwrap();
        let all = postprocessor
            .all_candidates(head, &phrases(), SIZE)
            .unwrap();
        assert_eq!((rows(best), rows(all)), (vec![9], vec![9, 60]));
    }

    #[test]
    fn no_phrases_and_no_pixels_find_nothing() {
        let every = std::array::from_fn::<_, 320, _>(|i| (0, i / 5, i % 5, 4.0));
        let output = output(1, every);
        let found = postprocessor().run(&output, &[], &[GEOMETRY]).unwrap();
        assert!(found[0].is_empty());
        let empty = ImageSize::new(0, 0);
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
