//! The whole pipeline behind one call.

use std::{borrow::Cow, fmt, mem, sync::Arc};

use smallvec::SmallVec;

use super::{
    inputs::{EncodedImage, EncodedPrompt, EncodedText, Image, ImageInput, PromptInput},
    options::GroundOptions,
    stage::{Kept, Run, Stage},
};
use crate::{
    bundle::Manifest,
    control::Control,
    detection::Detections,
    error::{Error, Result},
    geometry::{ImageGeometry, ImageSize},
    graph::{FeaturePyramid, Fusion, GroundingHead, ImageEncoder, TextEncoder},
    head_output::HeadOutput,
    postprocess::{HeadView, Postprocessor},
    preprocess::{Preprocessor, SourceImage},
    prompt::{TokenizedPhrase, Tokenizer},
    runtime::Device,
    spare::Spare,
};

/// Finds in an image what a prompt names.
///
/// ```text
/// image  --Preprocessor--> PixelBatch --ImageEncoder--> FeaturePyramid --+
///                                                                       Fusion --> FusedFeatures --GroundingHead--> HeadOutput --Postprocessor--> Detections
/// prompt --Tokenizer-----> TokenizedPrompt --TextEncoder--> TextFeatures --+
/// ```
///
/// Cloning is cheap, and calls may come from any number of threads: those that need the same graph
/// queue for it, those that need different ones run side by side.
///
/// Every step is at hand ([`image_encoder`](Self::image_encoder), [`head`](Self::head), ...), to be put
/// together in another way.
///
/// # Example
///
/// ```
/// use glip::Detector;
///
/// let image = image::open("examples/images/coffee.jpg")?;
/// let detector = Detector::nano()?;
/// let found = detector.ground(&image, "coffee cup . table . bicycle")?;
///
/// for detection in &found {
///     println!("{} {:.2} {:?}", detection.phrase, detection.score, detection.bbox);
/// }
/// assert!(found.iter().any(|detection| detection.phrase == "coffee cup"));
/// assert_eq!(found.of_phrase(2).count(), 0); // no bicycle
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Detector {
    pub(super) parts: Arc<Parts>,
    pub(super) control: Control,
}

/// What all clones share.
pub(super) struct Parts {
    pub(super) manifest: Arc<Manifest>,
    pub(super) preprocessor: Preprocessor,
    pub(super) tokenizer: Tokenizer,
    pub(super) image_encoder: ImageEncoder,
    pub(super) text_encoder: TextEncoder,
    pub(super) fusion: Fusion,
    pub(super) head: GroundingHead,
    pub(super) postprocessor: Postprocessor,
    pub(super) max_batch: usize,
    pub(super) spare: Spare<Kept>,
}

impl Detector {
    /// The same detector, whose calls report to the control and end when it says so. Clones of it do too.
    #[must_use]
    pub fn controlled(&self, control: &Control) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
            control: control.clone(),
        }
    }

    /// Finds the prompt's phrases in the image.
    ///
    /// The image is a picture or an [`EncodedImage`]; the prompt is a string of phrases separated by dots,
    /// a list of names, a [`Prompt`](crate::Prompt), a [`Vocabulary`](crate::Vocabulary), a
    /// [`LearnedPrompt`](crate::LearnedPrompt), or an [`EncodedPrompt`]. What is found is best first, and
    /// empty if nothing is.
    ///
    /// ```
    /// use glip::Detector;
    ///
    /// let detector = Detector::nano()?;
    /// let image = image::open("examples/images/coffee.jpg")?;
    /// let found = detector.ground(&image, ["cup", "bicycle"])?;
    /// assert_eq!(found.first().map(|best| best.phrase.as_str()), Some("cup"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`encode_image`](Self::encode_image), [`encode_prompt`](Self::encode_prompt) and the
    /// graphs' own; [`Error::OtherModel`] if another model encoded the image or the prompt.
    pub fn ground<'a>(
        &self,
        image: impl Into<ImageInput<'a>>,
        prompt: impl Into<PromptInput<'a>>,
    ) -> Result<Detections> {
        self.ground_with(image, prompt, &GroundOptions::default())
    }

    /// As [`ground`](Self::ground), with options for this call alone: thresholds, limits and
    /// aggregation.
    ///
    /// # Errors
    /// - As [`ground`](Self::ground).
    /// - [`Error::InvalidOption`]: an option is outside its range.
    pub fn ground_with<'a>(
        &self,
        image: impl Into<ImageInput<'a>>,
        prompt: impl Into<PromptInput<'a>>,
        options: &GroundOptions,
    ) -> Result<Detections> {
        let postprocessor = self.postprocessor_with(options)?;
        let texts = self.texts(prompt.into())?;
        let image = self.encoded_image(image.into())?;
        let total = texts.len();
        let texts = texts.into_iter().enumerate().map(|(done, text)| {
            self.control.step(done, total)?;
            self.encoded(text)
        });
        let mut kept = self.parts.spare.take();
        let mut run = Run {
            watch: None,
            memory: mem::take(&mut kept.run),
        };
        let geometries = [image.geometry];
        let found = self.find(&image.pyramid, &geometries, texts, &postprocessor, &mut run)?;
        kept.run = run.memory;
        if let Cow::Owned(image) = image {
            kept.pyramid = image.pyramid.into_place();
        }
        self.parts.spare.put(kept);
        self.finished(total);
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Finds the prompt's phrases in several images: one result per image, in their order.
    ///
    /// Pictures are run together if they have the same size after padding, or if the model masks padding,
    /// at most [`DetectorBuilder::max_batch`](crate::DetectorBuilder::max_batch) at a time. What is found in an image does not depend on the
    /// others, but for the last bits of scores and coordinates: a batch of another size is multiplied in another
    /// order, by which float32 differs from its seventh digit on, and float16 from its third or fourth. A score that near its
    /// threshold can fall on either side of it.
    ///
    /// # Errors
    /// As [`ground`](Self::ground), for the first image that fails.
    pub fn ground_batch<'a, I>(
        &self,
        images: I,
        prompt: impl Into<PromptInput<'a>>,
    ) -> Result<Vec<Detections>>
    where
        I: IntoIterator,
        I::Item: Into<ImageInput<'a>>,
    {
        self.ground_batch_with(images, prompt, &GroundOptions::default())
    }

    /// As [`ground_batch`](Self::ground_batch), with options for this call alone, as
    /// [`ground_with`](Self::ground_with). One text in one batch is a step of the progress.
    ///
    /// ```
    /// use glip::{Detector, GroundOptions};
    ///
    /// let image = image::open("examples/images/astronaut.jpg")?;
    /// let detector = Detector::nano()?;
    /// let options = GroundOptions::default().with_max_per_phrase(1);
    /// let found = detector.ground_batch_with([&image, &image], "woman", &options)?;
    /// assert!(found.len() == 2 && found.iter().all(|found| found.len() == 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ground_with`](Self::ground_with), for the first image that fails.
    pub fn ground_batch_with<'a, I>(
        &self,
        images: I,
        prompt: impl Into<PromptInput<'a>>,
        options: &GroundOptions,
    ) -> Result<Vec<Detections>>
    where
        I: IntoIterator,
        I::Item: Into<ImageInput<'a>>,
    {
        let postprocessor = self.postprocessor_with(options)?;
        let prompt = self.encode_prompt(prompt)?;
        let images: Vec<_> = images.into_iter().map(Into::into).collect();
        let (mut encoded, mut pictures) = (Vec::new(), Vec::new());
        for (index, image) in images.iter().enumerate() {
            match &image.0 {
                Image::Encoded(image) => {
                    self.check_model("image", &image.model)?;
                    encoded.push((index, image));
                }
                Image::Picture(picture) => pictures.push((index, picture.clone())),
                Image::Owned(picture) => pictures.push((index, SourceImage::from(&**picture))),
            }
        }
        let batches = self.batches(pictures)?;
        let total = (encoded.len() + batches.len()) * prompt.texts.len();
        let mut done = 0;
        let mut find = |pyramid: &FeaturePyramid, geometries: &[ImageGeometry]| {
            let texts = prompt.texts.iter().map(|text| {
                self.control.step(done, total)?;
                done += 1;
                Ok(Cow::Borrowed(text))
            });
            self.find(
                pyramid,
                geometries,
                texts,
                &postprocessor,
                &mut Run::default(),
            )
        };
        let mut results = vec![Detections::default(); images.len()];
        for (index, image) in encoded {
            let found = find(&image.pyramid, &[image.geometry])?;
            results[index] = found.into_iter().next().unwrap_or_default();
        }
        for batch in batches {
            let (indices, pictures): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let (pyramid, geometries) = self.encode_batch(&pictures)?;
            let found = find(&pyramid, &geometries)?;
            for (index, detections) in indices.into_iter().zip(found) {
                results[index] = detections;
            }
        }
        self.finished(total);
        Ok(results)
    }

    /// What the head says about the image, before any post-processing: one output for each text of the
    /// prompt. For scoring and selection of your own; the module [`postprocess`](crate::postprocess) has
    /// the steps from here on.
    ///
    /// ```
    /// use glip::{Detector, postprocess::{Aggregation, HeadView, phrase_scores}};
    ///
    /// let detector = Detector::nano()?;
    /// let image = image::open("examples/images/coffee.jpg")?;
    /// let raw = &detector.head_outputs(&image, "cup . spoon")?[0];
    /// let tokens: Vec<_> = raw.phrases.iter().map(|phrase| &phrase.tokens).collect();
    /// let head = HeadView::new(&raw.head, 0)?;
    /// let scores = phrase_scores(head.logits(), &tokens, Aggregation::Max)?;
    /// assert_eq!(scores.dim(), (raw.head.rows(), 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ground`](Self::ground).
    pub fn head_outputs<'a>(
        &self,
        image: impl Into<ImageInput<'a>>,
        prompt: impl Into<PromptInput<'a>>,
    ) -> Result<Vec<RawOutput>> {
        let texts = self.texts(prompt.into())?;
        let image = self.encoded_image(image.into())?;
        let total = texts.len();
        let raw = texts.into_iter().enumerate().map(|(done, text)| {
            self.control.step(done, total)?;
            let text = self.encoded(text)?.into_owned();
            Ok(RawOutput {
                head: self.look(&image.pyramid, &text, &mut Run::default())?,
                phrases: text.phrases,
                geometry: image.geometry,
            })
        });
        raw.collect()
    }

    /// Encodes an image, for any number of prompts.
    ///
    /// # Errors
    /// - [`Error::EmptyImage`]: it has no pixels.
    /// - As [`ImageEncoder::run`].
    pub fn encode_image<'a>(&self, image: impl Into<SourceImage<'a>>) -> Result<EncodedImage> {
        let (pyramid, geometries) = self.encode_batch(&[image.into()])?;
        Ok(EncodedImage {
            pyramid,
            geometry: geometries[0],
            model: Arc::clone(&self.parts.manifest),
        })
    }

    /// Preprocessing and image encoder, in memory of earlier calls.
    fn encode_batch(
        &self,
        images: &[SourceImage<'_>],
    ) -> Result<(FeaturePyramid, SmallVec<[ImageGeometry; 1]>)> {
        let mut kept = self.parts.spare.take();
        let pixels = self.preprocessor().run_in(images, &mut kept.input)?;
        let image_encoder = self.image_encoder().controlled(&self.control);
        let pyramid = image_encoder.run_in(mem::take(&mut kept.pyramid), pixels)?;
        let encoded = (pyramid, pixels.geometries().into());
        self.parts.spare.put(kept);
        Ok(encoded)
    }

    /// Encodes a prompt, for any number of images.
    ///
    /// # Errors
    /// - As [`Tokenizer::tokenize`]: the prompt is empty, too long, or has phrases that cannot be found.
    /// - As [`Vocabulary::prompts`](crate::Vocabulary::prompts).
    /// - [`Error::LearnedPromptModel`]: a learned prompt belongs to another model.
    /// - As [`TextEncoder::run`].
    pub fn encode_prompt<'a>(&self, prompt: impl Into<PromptInput<'a>>) -> Result<EncodedPrompt> {
        self.encode(prompt.into())
    }

    /// The device that the graphs run on.
    pub fn device(&self) -> Device {
        self.image_encoder().device()
    }

    /// How many images [`ground_batch`](Self::ground_batch) runs at once at most.
    pub fn max_batch(&self) -> usize {
        self.manifest().batch_limit(self.parts.max_batch)
    }

    /// What the model is and what it needs.
    pub fn manifest(&self) -> &Manifest {
        &self.parts.manifest
    }

    /// From images to pixels.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.parts.preprocessor
    }

    /// From prompts to tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.parts.tokenizer
    }

    /// From pixels to a feature pyramid.
    pub fn image_encoder(&self) -> &ImageEncoder {
        &self.parts.image_encoder
    }

    /// From tokens to text features.
    pub fn text_encoder(&self) -> &TextEncoder {
        &self.parts.text_encoder
    }

    /// From a pyramid and text features to fused features.
    pub fn fusion(&self) -> &Fusion {
        &self.parts.fusion
    }

    /// From fused features to logits and boxes.
    pub fn head(&self) -> &GroundingHead {
        &self.parts.head
    }

    /// From logits and boxes to detections.
    pub fn postprocessor(&self) -> &Postprocessor {
        &self.parts.postprocessor
    }

    /// The right half of the picture, from where image and prompt meet. What several texts find
    /// is merged before boxes suppress one another.
    pub(super) fn find<'p>(
        &self,
        pyramid: &FeaturePyramid,
        geometries: &[ImageGeometry],
        texts: impl IntoIterator<Item = Result<Cow<'p, EncodedText>>>,
        postprocessor: &Postprocessor,
        run: &mut Run<'_>,
    ) -> Result<SmallVec<[Detections; 1]>> {
        let mut candidates = mem::take(&mut run.memory.candidates);
        candidates.iter_mut().for_each(Vec::clear);
        candidates.resize(geometries.len(), Vec::new());
        let mut phrases: SmallVec<[Cow<'p, [TokenizedPhrase]>; 1]> = SmallVec::new();
        let mut count = 0;
        for text in texts {
            let text = text?;
            let output = self.look(pyramid, &text, run)?;
            let lookup = &mut run.memory.lookup;
            for (image, geometry) in geometries.iter().enumerate() {
                let (head, found) = (HeadView::new(&output, image)?, &mut candidates[image]);
                let before = found.len();
                let resized = geometry.resized;
                postprocessor.add_candidates(found, lookup, head, text.phrases(), resized)?;
                let of_text = found[before..].iter_mut();
                of_text.for_each(|candidate| candidate.phrase += count);
            }
            count += text.phrases().len();
            phrases.push(match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.phrases()),
                Cow::Owned(text) => Cow::Owned(text.phrases),
            });
            run.memory.head = output.into_memory();
            run.over(Stage::Postprocess)?;
        }
        let phrase = |index| {
            let missing = Error::PhraseIndex {
                index,
                phrases: count,
            };
            let mut all = phrases.iter().flat_map(|phrases| phrases.iter());
            all.nth(index).ok_or(missing)
        };
        let detections = |(candidates, geometry): (&mut Vec<_>, _)| {
            postprocessor.suppress_in_place(candidates);
            postprocessor.detections_of(candidates, phrase, geometry)
        };
        let found = candidates.iter_mut().zip(geometries).map(detections);
        let found = found.collect::<Result<_>>()?;
        run.memory.candidates = candidates;
        Ok(found)
    }

    /// Fusion and head.
    fn look(
        &self,
        pyramid: &FeaturePyramid,
        text: &EncodedText,
        run: &mut Run<'_>,
    ) -> Result<HeadOutput> {
        let fusion = self.fusion().controlled(&self.control);
        let place = mem::take(&mut run.memory.fusion);
        let features = fusion.run_in(place, pyramid, text.features())?;
        run.over(Stage::Fusion)?;
        let head = self.head().controlled(&self.control);
        let output = head.run_in(mem::take(&mut run.memory.head), &features)?;
        run.memory.fusion = features.into_place();
        run.over(Stage::Head)?;
        Ok(output)
    }

    /// Reports the end. There is nothing left to stop.
    fn finished(&self, total: usize) {
        let _ = self.control.step(total, total);
    }

    /// The post-processor of a call: the detector's, unless the call has options of its own.
    pub(crate) fn postprocessor_with(
        &self,
        options: &GroundOptions,
    ) -> Result<Cow<'_, Postprocessor>> {
        if *options == GroundOptions::default() {
            return Ok(Cow::Borrowed(self.postprocessor()));
        }
        let options = options.apply_to(self.postprocessor().options());
        self.postprocessor().with_options(options).map(Cow::Owned)
    }

    fn encoded_image<'a>(&self, image: ImageInput<'a>) -> Result<Cow<'a, EncodedImage>> {
        match image.0 {
            Image::Encoded(image) => {
                self.check_model("image", &image.model)?;
                Ok(image)
            }
            Image::Picture(picture) => self.encode_image(picture).map(Cow::Owned),
            Image::Owned(picture) => self.encode_image(&*picture).map(Cow::Owned),
        }
    }

    /// Refuses what another model encoded.
    pub(super) fn check_model(&self, what: &'static str, model: &Arc<Manifest>) -> Result<()> {
        let own = &self.parts.manifest;
        if Arc::ptr_eq(own, model) || own.identity == model.identity {
            return Ok(());
        }
        Err(Error::OtherModel {
            what,
            model: own.name.clone(),
            found: model.name.clone(),
        })
    }

    /// Pictures that can share a batch together, at most `max_batch` at a time.
    fn batches<'a>(&self, pictures: Vec<Numbered<'a>>) -> Result<Vec<Vec<Numbered<'a>>>> {
        let any_sizes = self.preprocessor().options().masks_padding;
        let mut by_size: Vec<(ImageSize, Vec<_>)> = Vec::new();
        for (index, picture) in pictures {
            let padded = self.preprocessor().geometry(picture.size())?.padded;
            match by_size
                .iter_mut()
                .find(|(size, _)| any_sizes || *size == padded)
            {
                Some((_, pictures)) => pictures.push((index, picture)),
                None => by_size.push((padded, vec![(index, picture)])),
            }
        }
        let limit = self.max_batch();
        let chunks = by_size
            .iter()
            .flat_map(|(_, pictures)| pictures.chunks(limit));
        Ok(chunks.map(<[_]>::to_vec).collect())
    }
}

/// What the head says about an image and a text: what [`Detector::head_outputs`] gives.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RawOutput {
    /// The phrases of the text, and their tokens.
    pub phrases: Vec<TokenizedPhrase>,
    /// The head's outputs, with batch 1.
    pub head: HeadOutput,
    /// How the image lies in the network's input.
    pub geometry: ImageGeometry,
}

/// A picture and its place among the images that were given.
type Numbered<'a> = (usize, SourceImage<'a>);

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector")
            .field("model", &self.manifest().name())
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}
