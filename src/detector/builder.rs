//! How a detector is put together.

use std::{path::Path, sync::Arc};

use super::{
    detector::{Detector, Parts},
    options::GroundOptions,
};
use crate::{
    bundle::{Bundle, ModelSource},
    control::Control,
    error::{Error, Result},
    graph::{Fusion, GroundingHead, ImageEncoder, TextEncoder},
    postprocess::Postprocessor,
    preprocess::{Preprocessor, ResizeRule},
    runtime::{
        CpuOptions, CudaOptions, Device, Running, Runtime, SessionOptions, TensorRtOptions,
        running_methods,
    },
    spare::Spare,
};

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
        Self::builder().bundle(Bundle::nano()?).build()
    }

    /// A detector with options of your own.
    pub fn builder() -> DetectorBuilder {
        DetectorBuilder::default()
    }
}

/// Options of a [`Detector`].
///
/// # Example
///
/// ```
/// use glip::{Bundle, Detector, Device};
///
/// let detector = Detector::builder()
///     .bundle(Bundle::nano()?) // or .dir("models/glip-t")
///     .device(Device::Cuda(0))
///     .allow_cpu_fallback()
///     .sides(192, 320)
///     .score_threshold(0.6)
///     .build()?;
/// println!("running on {}", detector.device());
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct DetectorBuilder {
    model: Option<ModelSource<Bundle>>,
    running: Running,
    resize: Option<ResizeRule>,
    sides: Option<(u32, u32)>,
    options: GroundOptions,
    max_batch: usize,
}

impl Default for DetectorBuilder {
    fn default() -> Self {
        Self {
            model: None,
            running: Running::default(),
            resize: None,
            sides: None,
            options: GroundOptions::default(),
            max_batch: 4,
        }
    }
}

impl DetectorBuilder {
    /// Takes the model from a folder.
    pub fn dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.model = Some(ModelSource::Folder(folder.as_ref().to_owned()));
        self
    }

    /// Takes a model that is already open.
    pub fn bundle(mut self, bundle: Bundle) -> Self {
        self.model = Some(ModelSource::Bundle(Box::new(bundle)));
        self
    }

    running_methods!();

    /// Resizes images to these sides by the model's own [rule](ResizeRule::with_sides). Default: the model's
    /// own sides; smaller ones are faster and miss small things.
    pub fn sides(mut self, short_side: u32, long_side: u32) -> Self {
        self.sides = Some((short_side, long_side));
        self
    }

    /// Resizes images by this rule in place of the model's own.
    pub fn resize(mut self, rule: ResizeRule) -> Self {
        self.resize = Some(rule);
        self
    }

    /// Sets what calls want unless they say otherwise: thresholds, limits and aggregation. Default: what
    /// the model recommends, also where nothing is set in the options.
    pub fn options(mut self, options: GroundOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets the score that detections must be over: a shortcut to [`options`](Self::options).
    pub fn score_threshold(mut self, score: f32) -> Self {
        self.options = self.options.with_score_threshold(score);
        self
    }

    /// Sets how many images [`Detector::ground_batch`] runs at once at most. Default: 4, which
    /// bounds the memory that features of many images take. Models in 8 bits run one at a time
    /// whatever this is: their images would share one scale, and results depend on neighbours.
    pub fn max_batch(mut self, images: usize) -> Self {
        self.max_batch = images;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// - [`Error::NoModel`]: neither [`dir`](Self::dir) nor [`bundle`](Self::bundle) was called.
    /// - As [`Bundle::from_dir`] and [`Runtime::load`].
    /// - [`Error::InvalidOption`]: an option is outside its range.
    /// - [`Error::GraphLoad`], [`Error::GraphSignature`]: a graph cannot be loaded or is another.
    /// - [`Error::DeviceUnavailable`]: the device cannot be used, and the CPU was not allowed.
    /// - [`Error::CudaGraph`]: a graph cannot be recorded, and [`CudaOptions::graphs`] asks for it.
    pub fn build(self) -> Result<Detector> {
        Error::if_zero("max_batch", self.max_batch)?;
        let bundle = ModelSource::open(self.model, Bundle::from_dir)?;
        let manifest = bundle.manifest().clone();
        let mut image = manifest.image.clone();
        image.resize = self.resize.unwrap_or(image.resize);
        if let Some((short_side, long_side)) = self.sides {
            image.resize = image.resize.with_sides(short_side, long_side);
        }
        let options = self.options.apply_to(&manifest.postprocess);
        let graphs = self
            .running
            .load(|runtime, options| Graphs::load(runtime, &bundle, options))?;
        let threads = self
            .running
            .sessions
            .host_threads()
            .min(Preprocessor::MOST_THREADS);
        let preprocessor = Preprocessor::new(image)?
            .with_threads(threads)
            .on_cores(&self.running.sessions.cpu.cores);
        let parts = Parts {
            preprocessor: match graphs.image_encoder.takes_halves() {
                true => preprocessor.with_halves(),
                false => preprocessor,
            },
            tokenizer: bundle.tokenizer()?,
            image_encoder: graphs.image_encoder,
            text_encoder: graphs.text_encoder,
            fusion: graphs.fusion,
            head: graphs.head,
            postprocessor: Postprocessor::new(options, manifest.head.clone())?,
            max_batch: self.max_batch,
            spare: Spare::default(),
            manifest: Arc::new(manifest),
        };
        Ok(Detector {
            parts: Arc::new(parts),
            control: Control::default(),
        })
    }
}

/// The boxes that have graphs, all on one device.
struct Graphs {
    image_encoder: ImageEncoder,
    text_encoder: TextEncoder,
    fusion: Fusion,
    head: GroundingHead,
}

impl Graphs {
    fn load(runtime: &Runtime, bundle: &Bundle, options: &SessionOptions) -> Result<Self> {
        Ok(Self {
            image_encoder: ImageEncoder::load(runtime, bundle, options)?,
            text_encoder: TextEncoder::load(runtime, bundle, options)?,
            fusion: Fusion::load(runtime, bundle, options)?,
            head: GroundingHead::load(runtime, bundle, options)?,
        })
    }
}
