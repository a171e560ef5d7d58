//! From boxes to masks behind one call.

use std::{borrow::Cow, fmt, sync::Arc};

use ndarray::Axis;

use super::{
    decoder::{Decoder, MaskLogits},
    encoder::Encoder,
    prompt::{MaskPrompt, NetworkPrompt},
    scene::{SceneInput, SegmentationScene},
};
use crate::{
    bundle::{PromptsInRun, SegmenterManifest},
    control::Control,
    error::{Error, Result},
    geometry::ImageGeometry,
    mask::Mask,
    postprocess::upsample_mask,
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
    /// - [`Error::MaskSize`]: a side of the image has more than 65,535 pixels.
    /// - [`Error::GraphRun`], [`Error::NonFinite`]: the decoder fails, or gives what is no number.
    /// - [`Error::Stopped`], [`Error::DeadlinePassed`]: a [control](Self::controlled) said so.
    pub fn masks<'a, P>(&self, image: impl Into<SceneInput<'a>>, prompts: P) -> Result<Vec<Mask>>
    where
        P: IntoIterator,
        P::Item: Into<MaskPrompt>,
    {
        let prompts: Vec<MaskPrompt> = prompts.into_iter().map(Into::into).collect();
        let image = image.into();
        if prompts.is_empty() && !matches!(image.0, PictureOr::Encoded(_)) {
            return Ok(Vec::new());
        }
        let scene = self.scene(image)?;
        let prompts = prompts.iter().enumerate();
        let prompts = prompts.map(|(index, prompt)| prompt.on_network(index, &scene.geometry));
        let prompts = prompts.collect::<Result<Vec<_>>>()?;
        self.check_boxes(&prompts)?;
        let decoder = self.parts.decoder.controlled(&self.control);
        let mut masks = Vec::with_capacity(prompts.len());
        for run in self.runs(&prompts) {
            self.control.step(masks.len(), prompts.len())?;
            let found = decoder.run(&scene.features, run)?;
            for (index, prompt) in run.iter().enumerate() {
                masks.push(self.mask(&found, index, prompt, &scene.geometry)?);
            }
        }
        // There is nothing left to stop.
        let _ = self.control.step(prompts.len(), prompts.len());
        Ok(masks)
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

    /// Refuses prompts without a box where the decoder needs one.
    fn check_boxes(&self, prompts: &[NetworkPrompt]) -> Result<()> {
        let manifest = &self.parts.manifest;
        let mut prompts = prompts.iter();
        match prompts.position(|prompt| prompt.corners.is_none()) {
            Some(index) if manifest.family.needs_boxes => Err(Error::PromptWithoutBox {
                index,
                model: manifest.name.clone(),
                family: manifest.family.name,
            }),
            _ => Ok(()),
        }
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

    /// The best candidate for a prompt, in the size of the image.
    fn mask(
        &self,
        found: &MaskLogits,
        index: usize,
        prompt: &NetworkPrompt,
        geometry: &ImageGeometry,
    ) -> Result<Mask> {
        let logits = found.logits.index_axis(Axis(0), index);
        let scores = found.scores.row(index);
        let choice = match prompt.is_ambiguous() {
            true => self.parts.manifest.decoder.choose.of_an_ambiguous_prompt(),
            false => self.parts.manifest.decoder.choose,
        };
        let best = choice.choose(logits, scores)?;
        let map = logits.index_axis(Axis(0), best);
        let geometry = match self.parts.manifest.family.maps_lie_over_image {
            true => geometry.of_map_over_image(map.dim()),
            false => *geometry,
        };
        Ok(upsample_mask(map, &geometry)?.with_score(scores[best].clamp(0.0, 1.0)))
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
