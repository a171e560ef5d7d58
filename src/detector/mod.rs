//! The whole pipeline behind one call.

mod builder;
mod inputs;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, path::Path, sync::Arc};

pub use builder::DetectorBuilder;
use inputs::{Image, Text};
pub use inputs::{ImageInput, PromptInput, Query, Scene};

use crate::{
    Detections, Device, FeaturePyramid, Fusion, GroundingHead, ImageEncoder, ImageGeometry,
    ImageSize, Manifest, Postprocessor, Preprocessor, Prompt, Result, SourceImage, TextEncoder,
    Tokenizer,
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
/// let image = image::open("examples/images/scene.png")?;
/// let detector = Detector::nano()?;
/// let found = detector.ground(&image, "red circle . blue square")?;
///
/// for detection in &found {
///     println!("{} {:.2} {:?}", detection.phrase, detection.score, detection.bbox);
/// }
/// assert!(found.iter().any(|detection| detection.phrase == "red circle"));
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

    /// Loads the small model that comes with the crate (feature `nano`).
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
    /// The image is a picture or a [`Scene`] encoded before; the prompt is a [`Prompt`], a string
    /// of phrases separated by dots, or a [`Query`] encoded before. What is found is best first,
    /// and empty if nothing is.
    ///
    /// # Errors
    /// As [`encode_image`](Self::encode_image), [`encode_prompt`](Self::encode_prompt) and the
    /// graphs' own.
    pub fn ground<'a>(
        &self,
        image: impl Into<ImageInput<'a>>,
        prompt: impl Into<PromptInput<'a>>,
    ) -> Result<Detections> {
        let query = self.query(prompt.into())?;
        let scene = self.scene(image.into())?;
        self.find_in_scene(&scene, &query)
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
        let query = self.query(prompt.into())?;
        let images: Vec<_> = images.into_iter().map(Into::into).collect();
        let mut results = vec![Detections::default(); images.len()];
        let mut pictures = Vec::new();
        for (index, image) in images.iter().enumerate() {
            match &image.0 {
                Image::Scene(scene) => results[index] = self.find_in_scene(scene, &query)?,
                Image::Picture(picture) => pictures.push((index, picture)),
            }
        }
        for batch in self.batches(pictures)? {
            let (indices, pictures): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let pixels = self.preprocessor().run_batch(pictures)?;
            let pyramid = self.image_encoder().run(&pixels)?;
            let found = self.find(&pyramid, pixels.geometries(), &query)?;
            for (index, detections) in indices.into_iter().zip(found) {
                results[index] = detections;
            }
        }
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
    /// - As [`TextEncoder::run`].
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Query> {
        let tokens = self.tokenizer().tokenize(prompt)?;
        let text = self.text_encoder().run(&tokens)?;
        Ok(Query { tokens, text })
    }

    /// The device that the graphs run on.
    pub fn device(&self) -> Device {
        self.image_encoder().device()
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

    /// The right half of the picture, from where image and prompt meet.
    fn find(
        &self,
        pyramid: &FeaturePyramid,
        geometries: &[ImageGeometry],
        query: &Query,
    ) -> Result<Vec<Detections>> {
        let features = self.fusion().run(pyramid, &query.text)?;
        let output = self.head().run(&features)?;
        self.postprocessor()
            .run(&output, query.tokens.phrases(), geometries)
    }

    fn find_in_scene(&self, scene: &Scene, query: &Query) -> Result<Detections> {
        let found = self.find(&scene.pyramid, &[scene.geometry], query)?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    fn scene<'a>(&self, image: ImageInput<'a>) -> Result<Cow<'a, Scene>> {
        match image.0 {
            Image::Scene(scene) => Ok(Cow::Borrowed(scene)),
            Image::Picture(picture) => self.encode_image(picture).map(Cow::Owned),
        }
    }

    fn query<'a>(&self, prompt: PromptInput<'a>) -> Result<Cow<'a, Query>> {
        match prompt.0 {
            Text::Query(query) => Ok(Cow::Borrowed(query)),
            Text::Prompt(prompt) => self.encode_prompt(&prompt).map(Cow::Owned),
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
        let limit = self.manifest().batch_limit(self.0.max_batch);
        let chunks = by_size
            .iter()
            .flat_map(|(_, pictures)| pictures.chunks(limit));
        Ok(chunks.map(<[_]>::to_vec).collect())
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
