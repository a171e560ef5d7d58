//! The whole pipeline behind one call.

mod builder;
mod inputs;
mod options;
#[cfg(test)]
mod tests;
mod words;

use std::{borrow::Cow, fmt, ops::ControlFlow, path::Path, sync::Arc};

pub use builder::DetectorBuilder;
use inputs::Image;
pub use inputs::{EncodedPrompt, ImageInput, PromptInput, Query, Scene};
pub use options::{GroundOptions, Progress, ProgressCallback};

use crate::{
    Detections, Device, Error, FeaturePyramid, Fusion, GroundingHead, ImageEncoder, ImageGeometry,
    ImageSize, Manifest, PostprocessOptions, Postprocessor, Preprocessor, Result, SourceImage,
    TextEncoder, Tokenizer,
    postprocess::{Candidate, HeadView},
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
/// Every box of the picture is at hand ([`image_encoder`](Self::image_encoder),
/// [`head`](Self::head), ...), to be put together in another way.
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
pub struct Detector(Arc<Parts>);

/// The boxes of the picture.
struct Parts {
    manifest: Manifest,
    preprocessor: Preprocessor,
    tokenizer: Tokenizer,
    image_encoder: ImageEncoder,
    text_encoder: TextEncoder,
    fusion: Fusion,
    head: GroundingHead,
    postprocessor: Postprocessor,
    max_batch: usize,
}

impl Detector {
    /// Loads a model folder with the default options: `Detector::builder().dir(folder).build()`.
    ///
    /// # Errors
    /// As [`DetectorBuilder::build`].
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        Self::builder().dir(folder).build()
    }

    /// Loads the small model that comes with the crate (feature `nano`): it finds COCO's 80 kinds of
    /// things in photographs, by their names and synonyms.
    ///
    /// # Errors
    /// As [`DetectorBuilder::build`].
    #[cfg(feature = "nano")]
    pub fn nano() -> Result<Self> {
        Self::builder().bundle(crate::Bundle::nano()?).build()
    }

    /// A detector with options of your own.
    pub fn builder() -> DetectorBuilder {
        DetectorBuilder::default()
    }

    /// Finds the prompt's phrases in the image.
    ///
    /// The image is a picture or a [`Scene`] encoded before; the prompt is a string of phrases
    /// separated by dots, a [`Prompt`](crate::Prompt), a [`Vocabulary`](crate::Vocabulary), a
    /// [`LearnedPrompt`](crate::LearnedPrompt), or a [`Query`] encoded before. What is found is best
    /// first, and empty if nothing is.
    ///
    /// # Errors
    /// As [`encode_image`](Self::encode_image), [`encode_prompt`](Self::encode_prompt) and the
    /// graphs' own.
    pub fn ground<'a>(
        &self,
        image: impl Into<ImageInput<'a>>,
        prompt: impl Into<PromptInput<'a>>,
    ) -> Result<Detections> {
        self.ground_with(image, prompt, GroundOptions::default())
    }

    /// As [`ground`](Self::ground), with options for this call alone: thresholds, limits and
    /// aggregation, progress and cancellation.
    ///
    /// # Errors
    /// - As [`ground`](Self::ground).
    /// - [`Error::InvalidOption`]: an option is outside its range.
    /// - [`Error::Cancelled`]: the progress callback said so.
    pub fn ground_with<'a>(
        &self,
        image: impl Into<ImageInput<'a>>,
        prompt: impl Into<PromptInput<'a>>,
        options: GroundOptions<'_>,
    ) -> Result<Detections> {
        let postprocessor = self.postprocessor_with(options.postprocess)?;
        let prompts = self.prompts(prompt.into())?;
        let scene = self.scene(image.into())?;
        let mut steps = Steps {
            total: prompts.len(),
            callback: options.progress,
        };
        let prompts = prompts.into_iter().enumerate().map(|(done, prompt)| {
            steps.before(done)?;
            self.encoded(prompt)
        });
        let found = self.find(&scene.pyramid, &[scene.geometry], prompts, &postprocessor)?;
        steps.finished();
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Finds the prompt's phrases in several images: one result per image, in their order.
    ///
    /// Pictures are run together if they have the same size after padding, at most
    /// [`DetectorBuilder::max_batch`] at a time. An image's result does not depend on the others:
    /// GLIP does not mask padding, and so a picture is never padded further to fit its neighbours.
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
        self.ground_batch_with(images, prompt, GroundOptions::default())
    }

    /// As [`ground_batch`](Self::ground_batch), with options for this call alone, as
    /// [`ground_with`](Self::ground_with). One prompt in one batch is a step of the progress.
    ///
    /// ```
    /// use glip::{Detector, GroundOptions};
    ///
    /// let image = image::open("examples/images/astronaut.jpg")?;
    /// let detector = Detector::nano()?;
    /// let options = detector.postprocessor().options().clone().with_max_per_phrase(1);
    /// let options = GroundOptions::default().with_postprocess(options);
    /// let found = detector.ground_batch_with([&image, &image], "woman", options)?;
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
        options: GroundOptions<'_>,
    ) -> Result<Vec<Detections>>
    where
        I: IntoIterator,
        I::Item: Into<ImageInput<'a>>,
    {
        let postprocessor = self.postprocessor_with(options.postprocess)?;
        let query = self.encode_prompt(prompt)?;
        let images: Vec<_> = images.into_iter().map(Into::into).collect();
        let (mut scenes, mut pictures) = (Vec::new(), Vec::new());
        for (index, image) in images.iter().enumerate() {
            match &image.0 {
                Image::Scene(scene) => scenes.push((index, *scene)),
                Image::Picture(picture) => pictures.push((index, picture)),
            }
        }
        let batches = self.batches(pictures)?;
        let mut steps = Steps {
            total: (scenes.len() + batches.len()) * query.prompts().len(),
            callback: options.progress,
        };
        let mut done = 0;
        let mut find = |pyramid: &FeaturePyramid, geometries: &[ImageGeometry]| {
            let prompts = query.prompts().iter().map(|prompt| {
                steps.before(done)?;
                done += 1;
                Ok(Cow::Borrowed(prompt))
            });
            self.find(pyramid, geometries, prompts, &postprocessor)
        };
        let mut results = vec![Detections::default(); images.len()];
        for (index, scene) in scenes {
            results[index] = find(&scene.pyramid, &[scene.geometry])?
                .pop()
                .unwrap_or_default();
        }
        for batch in batches {
            let (indices, pictures): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let pixels = self.preprocessor().run_batch(pictures)?;
            let pyramid = self.image_encoder().run(&pixels)?;
            let found = find(&pyramid, pixels.geometries())?;
            for (index, detections) in indices.into_iter().zip(found) {
                results[index] = detections;
            }
        }
        steps.finished();
        Ok(results)
    }

    /// Encodes an image, for any number of prompts.
    ///
    /// # Errors
    /// - [`Error::EmptyImage`](crate::Error::EmptyImage): it has no pixels.
    /// - As [`ImageEncoder::run`].
    pub fn encode_image<'a>(&self, image: impl Into<SourceImage<'a>>) -> Result<Scene> {
        let pixels = self.preprocessor().run(image)?;
        let pyramid = self.image_encoder().run(&pixels)?;
        Ok(Scene {
            pyramid,
            geometry: pixels.geometries()[0],
        })
    }

    /// Encodes a prompt, for any number of images.
    ///
    /// # Errors
    /// - As [`Tokenizer::tokenize`]: the prompt is empty, too long, or has phrases that cannot be found.
    /// - As [`Vocabulary::prompts`](crate::Vocabulary::prompts).
    /// - [`Error::LearnedPromptModel`]: a learned prompt belongs to another model.
    /// - As [`TextEncoder::run`].
    pub fn encode_prompt<'a>(&self, prompt: impl Into<PromptInput<'a>>) -> Result<Query> {
        let prompts = self.prompts(prompt.into())?.into_iter();
        let encoded = prompts.map(|prompt| self.encoded(prompt).map(Cow::into_owned));
        Ok(Query {
            prompts: encoded.collect::<Result<_>>()?,
        })
    }

    /// The device that the graphs run on.
    pub fn device(&self) -> Device {
        self.image_encoder().device()
    }

    /// How many images [`ground_batch`](Self::ground_batch) runs at once at most.
    pub fn max_batch(&self) -> usize {
        self.manifest().batch_limit(self.0.max_batch)
    }

    /// What the model is and what it needs.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// From images to pixels.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.0.preprocessor
    }

    /// From prompts to tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    /// From pixels to a feature pyramid.
    pub fn image_encoder(&self) -> &ImageEncoder {
        &self.0.image_encoder
    }

    /// From tokens to text features.
    pub fn text_encoder(&self) -> &TextEncoder {
        &self.0.text_encoder
    }

    /// From a pyramid and text features to fused features.
    pub fn fusion(&self) -> &Fusion {
        &self.0.fusion
    }

    /// From fused features to logits and boxes.
    pub fn head(&self) -> &GroundingHead {
        &self.0.head
    }

    /// From logits and boxes to detections.
    pub fn postprocessor(&self) -> &Postprocessor {
        &self.0.postprocessor
    }

    /// The right half of the picture, from where image and prompt meet. What several prompts find
    /// is merged before boxes suppress one another.
    fn find<'p>(
        &self,
        pyramid: &FeaturePyramid,
        geometries: &[ImageGeometry],
        prompts: impl IntoIterator<Item = Result<Cow<'p, EncodedPrompt>>>,
        postprocessor: &Postprocessor,
    ) -> Result<Vec<Detections>> {
        let mut candidates = vec![Vec::new(); geometries.len()];
        let mut phrases = Vec::new();
        for prompt in prompts {
            let prompt = prompt?;
            let features = self.fusion().run(pyramid, prompt.text())?;
            let output = self.head().run(&features)?;
            let first = phrases.len();
            for (image, geometry) in geometries.iter().enumerate() {
                let head = HeadView::new(&output, image)?;
                let found = postprocessor.candidates(head, prompt.phrases(), geometry.resized)?;
                candidates[image].extend(found.into_iter().map(|candidate| Candidate {
                    phrase: first + candidate.phrase,
                    ..candidate
                }));
            }
            phrases.extend_from_slice(prompt.phrases());
        }
        let detections = |(candidates, geometry)| {
            postprocessor.detections(&postprocessor.suppress(candidates), &phrases, geometry)
        };
        candidates
            .into_iter()
            .zip(geometries)
            .map(detections)
            .collect()
    }

    /// The post-processor of a call: the detector's, unless the call has options of its own.
    fn postprocessor_with(
        &self,
        options: Option<PostprocessOptions>,
    ) -> Result<Cow<'_, Postprocessor>> {
        match options {
            Some(options) => Ok(Cow::Owned(self.postprocessor().with_options(options)?)),
            None => Ok(Cow::Borrowed(self.postprocessor())),
        }
    }

    fn scene<'a>(&self, image: ImageInput<'a>) -> Result<Cow<'a, Scene>> {
        match image.0 {
            Image::Scene(scene) => Ok(Cow::Borrowed(scene)),
            Image::Picture(picture) => self.encode_image(picture).map(Cow::Owned),
        }
    }

    /// Pictures of one padded size together, at most `max_batch` at a time.
    fn batches<'p, 'a>(
        &self,
        pictures: Vec<Numbered<'p, 'a>>,
    ) -> Result<Vec<Vec<Numbered<'p, 'a>>>> {
        let mut by_size: Vec<(ImageSize, Vec<_>)> = Vec::new();
        for (index, picture) in pictures {
            let padded = self.preprocessor().geometry(picture.size())?.padded;
            match by_size.iter_mut().find(|(size, _)| *size == padded) {
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

/// The prompts of a call, as steps that are reported.
struct Steps<'a> {
    total: usize,
    callback: Option<ProgressCallback<'a>>,
}

impl Steps<'_> {
    /// Reports that so many are done, and asks whether to go on.
    fn before(&mut self, done: usize) -> Result<()> {
        let total = self.total;
        let Some(callback) = &mut self.callback else {
            return Ok(());
        };
        match callback(Progress { done, total }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled { done, total }),
        }
    }

    fn finished(mut self) {
        // There is nothing left to cancel.
        let _ = self.before(self.total);
    }
}

/// A picture and its place among the images that were given.
type Numbered<'p, 'a> = (usize, &'p SourceImage<'a>);

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector")
            .field("model", &self.manifest().name)
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}
