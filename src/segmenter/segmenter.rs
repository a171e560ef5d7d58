//! From boxes to masks behind one call.

use std::{borrow::Cow, fmt, sync::Arc};

use ndarray::{Array1, Array3};

use super::{
    decoder::Decoder,
    encoder::Encoder,
    logits::MaskLogits,
    prompt::{MaskPrompt, NetworkPrompt},
    scene::{SceneInput, SegmentationScene},
};
use crate::{
    bundle::{PromptsInRun, SegmenterManifest},
    control::Control,
    error::{Error, Result},
    geometry::ImageGeometry,
    mask::Mask,
    preprocess::{PictureOr, Preprocessor, SourceImage},
    runtime::Device,
};

/// Finds the pixels of what is in a box, or at a point.
///
/// ```text
/// image --Preprocessor--> PixelBatch --encoder--> SegmentationScene --+
///                                                                    decoder --> logits --upsample_mask--> masks
/// boxes --------------------------------------------------------------+
/// ```
///
/// It knows nothing of words: [`Detector`](crate::Detector) finds the boxes. It runs the graphs of Segment Anything and its
/// kin, which `python -m glip_torch.export_segmenter` makes.
///
/// Cloning is cheap, and calls may come from any number of threads: those that need the same graph queue for it.
///
/// # Example
///
/// ```no_run
/// use glip::{Detector, Segmenter};
///
/// let image = image::open("examples/images/coffee.jpg")?;
/// let found = Detector::nano()?.ground(&image, "coffee cup . table")?;
/// let masks = Segmenter::from_dir("models/mobile-sam")?.masks(&image, found.boxes())?;
/// for (detection, mask) in found.iter().zip(&masks) {
///     println!("{}: {} pixels", detection.phrase, mask.area());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Segmenter {
    pub(super) parts: Arc<Parts>,
    pub(super) control: Control,
}

/// What all clones share.
pub(super) struct Parts {
    pub(super) manifest: Arc<SegmenterManifest>,
    pub(super) preprocessor: Preprocessor,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
    pub(super) max_prompts: usize,
}

impl Segmenter {
    /// The same segmenter, whose calls report to the control and end when it says so. Clones of it do too.
    #[must_use]
    pub fn controlled(&self, control: &Control) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
            control: control.clone(),
        }
    }

    /// The mask of each prompt, in their order: of a box, of points, or of both. Without prompts there are no masks,
    /// and a picture is not even encoded.
    ///
    /// The image is a picture or a [`SegmentationScene`]. Masks are of the image's own size; their scores are what the
    /// model expects their overlap with the thing to be. What a prompt's mask is does not depend on the
    /// others, but for last bits.
    ///
    /// # Errors
    /// - As [`encode_image`](Self::encode_image), for a picture.
    /// - [`Error::OtherModel`]: another segmenter encoded the scene.
    /// - [`Error::PromptOutside`]: a box lies beside the image as a whole, or a point is not on it.
    /// - [`Error::PromptWithoutBox`]: a prompt is points alone, and the decoder was exported for boxes.
    /// - [`Error::PromptPoints`]: a prompt has more points than the decoder looks at.
    /// - [`Error::MaskSize`]: a side of the image has more than 65,535 pixels.
    /// - [`Error::GraphRun`], [`Error::NonFinite`]: the decoder fails, or gives what is no number.
    /// - [`Error::Stopped`], [`Error::DeadlinePassed`]: a [control](Self::controlled) said so.
    pub fn masks<'a, P>(&self, image: impl Into<SceneInput<'a>>, prompts: P) -> Result<Vec<Mask>>
    where
        P: IntoIterator,
        P::Item: Into<MaskPrompt>,
    {
        self.each_mask(image.into(), prompts, |logits| logits.mask(logits.best()))
    }

    /// What masks are made of: the logits of everything that a prompt may mean, for each prompt in their order. They take 0.8 MB
    /// a prompt, with SAM's three candidates.
    ///
    /// # Errors
    /// As [`masks`](Self::masks).
    pub fn mask_logits<'a, P>(
        &self,
        image: impl Into<SceneInput<'a>>,
        prompts: P,
    ) -> Result<Vec<MaskLogits>>
    where
        P: IntoIterator,
        P::Item: Into<MaskPrompt>,
    {
        self.each_mask(image.into(), prompts, Ok)
    }

    /// Encodes an image, for any number of prompts. It is most of the work.
    ///
    /// # Errors
    /// - [`Error::EmptyImage`]: it has no pixels.
    /// - [`Error::GraphRun`]: ONNX Runtime fails, for example for lack of memory.
    /// - [`Error::NonFinite`]: a feature is NaN or infinite.
    /// - [`Error::Stopped`], [`Error::DeadlinePassed`]: a [control](Self::controlled) said so.
    pub fn encode_image<'a>(&self, image: impl Into<SourceImage<'a>>) -> Result<SegmentationScene> {
        let pixels = self.preprocessor().run(image)?;
        let encoder = self.parts.encoder.controlled(&self.control);
        Ok(SegmentationScene {
            features: encoder.run(&pixels)?,
            geometry: pixels.geometries()[0],
            model: Arc::clone(&self.parts.manifest),
        })
    }

    /// The device that the graphs run on.
    pub fn device(&self) -> Device {
        self.parts.encoder.device()
    }

    /// What the model is and what it needs.
    pub fn manifest(&self) -> &SegmenterManifest {
        &self.parts.manifest
    }

    /// From images to pixels.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.parts.preprocessor
    }

    /// What is made of the logits of each prompt, which are gone once the decoder is asked again.
    fn each_mask<'a, P, T>(
        &self,
        image: SceneInput<'a>,
        prompts: P,
        make: impl Fn(MaskLogits) -> Result<T>,
    ) -> Result<Vec<T>>
    where
        P: IntoIterator,
        P::Item: Into<MaskPrompt>,
    {
        let prompts: Vec<MaskPrompt> = prompts.into_iter().map(Into::into).collect();
        if prompts.is_empty() && !matches!(image.0, PictureOr::Encoded(_)) {
            return Ok(Vec::new());
        }
        let scene = self.scene(image)?;
        let geometry = &scene.geometry;
        let decoder = self.parts.decoder.controlled(&self.control);
        let prompts = prompts.iter().enumerate().map(|(index, prompt)| {
            let prompt = prompt.on_network(index, geometry)?;
            decoder.check(index, &prompt)?;
            Ok(prompt)
        });
        let prompts = prompts.collect::<Result<Vec<_>>>()?;
        let mut made = Vec::with_capacity(prompts.len());
        for run in self.runs(&prompts) {
            self.control.step(made.len(), prompts.len())?;
            let (logits, scores) = decoder.run(&scene.features, geometry.resized, run)?;
            let found = logits.outer_iter().zip(scores.outer_iter());
            for (prompt, (logits, scores)) in run.iter().zip(found) {
                let logits = self.logits(logits.to_owned(), scores.to_owned(), prompt, geometry);
                made.push(make(logits?)?);
            }
        }
        // There is nothing left to stop.
        let _ = self.control.step(prompts.len(), prompts.len());
        Ok(made)
    }

    fn scene<'a>(&self, image: SceneInput<'a>) -> Result<Cow<'a, SegmentationScene>> {
        match image.0 {
            PictureOr::Encoded(scene) => {
                self.check_model(&scene.model)?;
                Ok(scene)
            }
            PictureOr::Picture(picture) => self.encode_image(picture).map(Cow::Owned),
            PictureOr::Owned(picture) => self.encode_image(&*picture).map(Cow::Owned),
        }
    }

    /// Refuses what another model encoded.
    fn check_model(&self, model: &Arc<SegmenterManifest>) -> Result<()> {
        let own = &self.parts.manifest;
        if Arc::ptr_eq(own, model) || own.identity == model.identity {
            return Ok(());
        }
        Err(Error::OtherModel {
            what: "scene",
            model: own.name.clone(),
            found: model.name.clone(),
        })
    }

    /// The prompts of each run of the decoder, in their order.
    fn runs<'p>(&self, prompts: &'p [NetworkPrompt]) -> impl Iterator<Item = &'p [NetworkPrompt]> {
        let most = match self.parts.manifest.decoder.prompts {
            PromptsInRun::One => 1,
            PromptsInRun::Many => self.parts.max_prompts,
        };
        let alike = prompts.chunk_by(NetworkPrompt::goes_with);
        alike.flat_map(move |alike| alike.chunks(most))
    }

    /// The candidates for a prompt, and which of them is the best.
    fn logits(
        &self,
        logits: Array3<f32>,
        scores: Array1<f32>,
        prompt: &NetworkPrompt,
        geometry: &ImageGeometry,
    ) -> Result<MaskLogits> {
        let manifest = &self.parts.manifest;
        let choice = match prompt.is_ambiguous() {
            true => manifest.decoder.choose.of_an_ambiguous_prompt(),
            false => manifest.decoder.choose,
        };
        let (_, rows, columns) = logits.dim();
        Ok(MaskLogits {
            best: choice.choose(logits.view(), scores.view())?,
            geometry: match manifest.family.maps_lie_over_image {
                true => geometry.of_map_over_image((rows, columns)),
                false => *geometry,
            },
            logits,
            scores,
        })
    }
}

impl fmt::Debug for Segmenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segmenter")
            .field("model", &self.manifest().name())
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}
