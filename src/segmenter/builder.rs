//! How a segmenter is put together.

use std::{path::Path, sync::Arc};

use super::{
    decoder::Decoder,
    encoder::Encoder,
    segmenter::{Parts, Segmenter},
};
use crate::{
    bundle::{ModelSource, SegmenterBundle},
    control::Control,
    error::{Error, Result},
    preprocess::Preprocessor,
    runtime::{
        CpuOptions, CudaOptions, Device, Running, Runtime, TensorRtOptions, running_methods,
    },
};

impl Segmenter {
    /// Loads a segmenter's folder with the default options: `Segmenter::builder().dir(folder).build()`.
    ///
    /// # Errors
    /// As [`SegmenterBuilder::build`].
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        Self::builder().dir(folder).build()
    }

    /// A segmenter with options of your own.
    pub fn builder() -> SegmenterBuilder {
        SegmenterBuilder::default()
    }
}

/// Options of a [`Segmenter`].
///
/// ```no_run
/// use glip::{Device, Segmenter};
///
/// let segmenter = Segmenter::builder()
///     .dir("models/sam2.1-tiny")
///     .device(Device::Cuda(0))
///     .allow_cpu_fallback()
///     .build()?;
/// println!("running on {}", segmenter.device());
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SegmenterBuilder {
    model: Option<ModelSource<SegmenterBundle>>,
    running: Running,
    max_prompts: usize,
}

impl Default for SegmenterBuilder {
    fn default() -> Self {
        Self {
            model: None,
            running: Running::default(),
            max_prompts: 16,
        }
    }
}

impl SegmenterBuilder {
    /// Takes the model from a folder.
    pub fn dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.model = Some(ModelSource::Folder(folder.as_ref().to_owned()));
        self
    }

    /// Takes a model that is already open.
    pub fn bundle(mut self, bundle: SegmenterBundle) -> Self {
        self.model = Some(ModelSource::Bundle(Box::new(bundle)));
        self
    }

    running_methods!();

    /// Sets how many prompts the decoder is asked at once at most. Default: 16, which bounds the memory that it takes;
    /// a decoder that takes one at a time is asked for one.
    pub fn max_prompts(mut self, prompts: usize) -> Self {
        self.max_prompts = prompts;
        self
    }

    /// Loads the model.
    ///
    /// # Errors
    /// - [`Error::NoModel`]: neither [`dir`](Self::dir) nor [`bundle`](Self::bundle) was called.
    /// - As [`SegmenterBundle::from_dir`] and [`Runtime::load`].
    /// - [`Error::InvalidOption`]: an option is outside its range.
    /// - [`Error::GraphLoad`], [`Error::GraphSignature`]: a graph cannot be loaded or is another.
    /// - [`Error::DeviceUnavailable`]: the device cannot be used, and the CPU was not allowed.
    pub fn build(self) -> Result<Segmenter> {
        Error::if_zero("max_prompts", self.max_prompts)?;
        let bundle = ModelSource::open(self.model, SegmenterBundle::from_dir)?;
        let (encoder, decoder) = self.running.load(|runtime, options| {
            Ok((
                Encoder::load(runtime, &bundle, options)?,
                Decoder::load(runtime, &bundle, options)?,
            ))
        })?;
        let threads = self
            .running
            .sessions
            .host_threads()
            .min(Preprocessor::MOST_THREADS);
        let manifest = Arc::new(bundle.manifest().clone());
        let parts = Parts {
            preprocessor: manifest
                .preprocessor()?
                .with_threads(threads)
                .on_cores(&self.running.sessions.cpu.cores),
            manifest,
            encoder,
            decoder,
            max_prompts: self.max_prompts,
        };
        Ok(Segmenter {
            parts: Arc::new(parts),
            control: Control::default(),
        })
    }
}
