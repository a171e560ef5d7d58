//! How a detector is put together.

use std::{
    error::Error as StdError,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Detector, Parts};
use crate::{
    Bundle, CudaOptions, Device, Error, Fusion, GroundingHead, ImageEncoder, PostprocessOptions,
    Postprocessor, Preprocessor, ResizeRule, Result, Runtime, SessionOptions, TensorRtOptions,
    TextEncoder,
};

/// Options of a [`Detector`].
///
/// # Example
///
/// ```
/// use glip::{Bundle, Detector, Device, ResizeRule};
///
/// let detector = Detector::builder()
///     .bundle(Bundle::nano()?) // or .dir("models/glip-t")
///     .device(Device::Cuda(0))
///     .allow_cpu_fallback()
///     .resize(ResizeRule { short_side: 192, long_side: 320 })
///     .score_threshold(0.6)
///     .build()?;
/// println!("running on {}", detector.device());
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct DetectorBuilder {
    model: Option<Model>,
    runtime: Option<Runtime>,
    sessions: SessionOptions,
    cpu_fallback: bool,
    resize: Option<ResizeRule>,
    postprocess: Option<PostprocessOptions>,
    score_threshold: Option<f32>,
    max_batch: usize,
}

#[derive(Debug, Clone)]
enum Model {
    Folder(PathBuf),
    Bundle(Box<Bundle>),
}

impl Default for DetectorBuilder {
    fn default() -> Self {
        Self {
            model: None,
            runtime: None,
            sessions: SessionOptions::default(),
            cpu_fallback: false,
            resize: None,
            postprocess: None,
            score_threshold: None,
            max_batch: 4,
        }
    }
}

impl DetectorBuilder {
    /// Takes the model from a folder.
    pub fn dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.model = Some(Model::Folder(folder.as_ref().to_owned()));
        self
    }

    /// Takes a model that is already open.
    pub fn bundle(mut self, bundle: Bundle) -> Self {
        self.model = Some(Model::Bundle(Box::new(bundle)));
        self
    }

    /// Uses this ONNX Runtime. Default: the one that [`Runtime::load`] finds.
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Runs on this device. Default: the CPU.
    pub fn device(mut self, device: Device) -> Self {
        self.sessions = self.sessions.with_device(device);
        self
    }

    /// Runs on the CPU if the device cannot be used, which is an error otherwise.
    ///
    /// One graph that cannot run on the device takes all four to the CPU, because features in the
    /// memory of a GPU cannot go into a graph elsewhere. A warning through the
    /// [`log`](https://docs.rs/log) crate says which graph and why; [`Detector::device`] tells what
    /// it came to.
    pub fn allow_cpu_fallback(mut self) -> Self {
        self.cpu_fallback = true;
        self
    }

    /// Sets the options of NVIDIA GPUs, for [`Device::Cuda`].
    pub fn cuda(mut self, options: CudaOptions) -> Self {
        self.sessions = self.sessions.with_cuda(options);
        self
    }

    /// Sets the options of TensorRT, for [`Device::TensorRt`].
    pub fn tensorrt(mut self, options: TensorRtOptions) -> Self {
        self.sessions = self.sessions.with_tensorrt(options);
        self
    }

    /// Sets the threads of one session. Default: 0, which lets ONNX Runtime choose.
    pub fn threads(mut self, threads: usize) -> Self {
        self.sessions = self.sessions.with_threads(threads);
        self
    }

    /// Sets how many calls can run a graph at the same time; each has its own copy of the weights.
    /// Default: 1.
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = self.sessions.with_sessions(sessions);
        self
    }

    /// Resizes images by this rule. Default: the model's own; a smaller size is faster and misses
    /// small things.
    pub fn resize(mut self, rule: ResizeRule) -> Self {
        self.resize = Some(rule);
        self
    }

    /// Sets thresholds and limits of what is found. Default: the model's own.
    pub fn postprocess(mut self, options: PostprocessOptions) -> Self {
        self.postprocess = Some(options);
        self
    }

    /// Sets the score that detections must be over, above that of
    /// [`postprocess`](Self::postprocess). Default: the model's own.
    pub fn score_threshold(mut self, score: f32) -> Self {
        self.score_threshold = Some(score);
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
        if self.max_batch == 0 {
            return Err(Error::InvalidOption {
                option: "max_batch",
                found: "0".into(),
                expected: "at least 1",
            });
        }
        let bundle = match self.model {
            None => return Err(Error::NoModel),
            Some(Model::Folder(folder)) => Bundle::from_dir(folder)?,
            Some(Model::Bundle(bundle)) => *bundle,
        };
        let manifest = bundle.manifest().clone();
        let mut image = manifest.image.clone();
        image.resize = self.resize.unwrap_or(image.resize);
        let mut post = self.postprocess.unwrap_or(manifest.postprocess.clone());
        post.score_threshold = self.score_threshold.unwrap_or(post.score_threshold);
        let (anchors, box_coder) = (manifest.anchors.clone(), manifest.box_coder);
        let runtime = self.runtime.map_or_else(Runtime::load, Ok)?;
        let graphs = match self.cpu_fallback {
            true => Graphs::load_or_fall_back(&runtime, &bundle, &self.sessions),
            false => Graphs::load(&runtime, &bundle, &self.sessions),
        }?;
        Ok(Detector(Arc::new(Parts {
            preprocessor: Preprocessor::new(image)?,
            tokenizer: bundle.tokenizer()?,
            image_encoder: graphs.image_encoder,
            text_encoder: graphs.text_encoder,
            fusion: graphs.fusion,
            head: graphs.head,
            postprocessor: Postprocessor::new(post, anchors, box_coder)?,
            max_batch: self.max_batch,
            manifest,
        })))
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

    fn load_or_fall_back(
        runtime: &Runtime,
        bundle: &Bundle,
        options: &SessionOptions,
    ) -> Result<Self> {
        let device = options.device;
        let error = match Self::load(runtime, bundle, options) {
            Err(error) if device != Device::Cpu => error,
            result => return result,
        };
        let Some((graph, reason)) = device_failure(&error) else {
            return Err(error);
        };
        log::warn!("{device} cannot run graph {graph}, all graphs run on the CPU: {reason}");
        Self::load(runtime, bundle, &options.on_cpu())
    }
}

/// The graph that failed and the reason with its causes, if another device may do better.
fn device_failure(error: &Error) -> Option<(&str, String)> {
    let (graph, mut reason) = match error {
        Error::DeviceUnavailable { graph, reason, .. } => (graph, reason.clone()),
        // For example for lack of memory.
        Error::GraphLoad { graph, .. } => (graph, "it cannot be loaded".into()),
        _ => return None,
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    Some((graph, reason))
}
