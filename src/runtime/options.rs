//! The options of the sessions that run graphs.

use std::path::PathBuf;

use super::device::Device;
use crate::error::{Error, Result};

/// How the sessions that run a graph are made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// What the graph runs on. Default: the CPU, which every ONNX Runtime has.
    pub device: Device,
    /// Threads of one session. Default: 0, which lets ONNX Runtime take one per physical core.
    pub threads: usize,
    /// Sessions per graph, which is how many calls run at the same time; each holds its own copy
    /// of the weights. Default: 1, because one session already uses all cores.
    pub sessions: usize,
    /// Options of NVIDIA GPUs, without effect on other devices but as [`CudaOptions`] says.
    pub cuda: CudaOptions,
    /// Options of TensorRT, without effect on other devices.
    pub tensorrt: TensorRtOptions,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            threads: 0,
            sessions: 1,
            cuda: CudaOptions::default(),
            tensorrt: TensorRtOptions::default(),
        }
    }
}

impl SessionOptions {
    /// Runs on another device.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets the threads of one session; 0 lets ONNX Runtime choose.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the number of sessions per graph.
    #[must_use]
    pub fn with_sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Sets the options of NVIDIA GPUs.
    #[must_use]
    pub fn with_cuda(mut self, options: CudaOptions) -> Self {
        self.cuda = options;
        self
    }

    /// Sets the options of TensorRT.
    #[must_use]
    pub fn with_tensorrt(mut self, options: TensorRtOptions) -> Self {
        self.tensorrt = options;
        self
    }

    /// The same for the CPU.
    pub(crate) fn on_cpu(&self) -> Self {
        Self {
            device: Device::Cpu,
            cuda: CudaOptions::default(),
            ..self.clone()
        }
    }

    /// Refuses what cannot be, before anything is loaded.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |option, found, expected| Error::InvalidOption {
            option,
            found,
            expected,
        };
        if self.sessions == 0 {
            return Err(invalid("sessions", "0".into(), "at least 1"));
        }
        if self.cuda.graphs && !matches!(self.device, Device::Cuda(_)) {
            let found = format!("set for {}", self.device);
            return Err(invalid("cuda.graphs", found, "to be set for cuda only"));
        }
        Ok(())
    }
}

/// Options of [`Device::Cuda`], and of what [`Device::TensorRt`] leaves to CUDA.
///
/// ```no_run
/// use glip::{CudaOptions, Detector, Device};
///
/// let detector = Detector::builder()
///     .dir("models/glip-t-fp16")
///     .device(Device::Cuda(0))
///     .cuda(CudaOptions::default().with_graphs())
///     .build()?;
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CudaOptions {
    /// Whether the GPU's work is recorded once for each size of input and replayed from then on
    /// (a CUDA graph), which spares the processor launching thousands of small kernels.
    ///
    /// Default: `false`. The first call of a size takes several times as long, on every thread that
    /// makes it, and its buffers are kept: right for a camera of one resolution and a handful of
    /// prompt lengths, wrong for a folder of photographs. Only for [`Device::Cuda`] and bundles that
    /// are exported for a GPU, since those for CPUs loop, which cannot be recorded. While a size is
    /// recorded, other calls on the GPU wait, and code of your own must not use CUDA.
    pub graphs: bool,
    /// Whether float32 products may be rounded to the 10 bits of TF32, which tensor cores multiply
    /// several times faster.
    ///
    /// Default: `false`, unlike ONNX Runtime's, so that a float32 model gives on the GPU what it
    /// gives on the CPU. A float16 model is faster still.
    pub tf32: bool,
    /// How cuDNN chooses the algorithm of a convolution.
    pub convolutions: ConvolutionSearch,
}

impl CudaOptions {
    /// Records the work of each size once and replays it.
    #[must_use]
    pub fn with_graphs(mut self) -> Self {
        self.graphs = true;
        self
    }

    /// Allows TF32.
    #[must_use]
    pub fn with_tf32(mut self) -> Self {
        self.tf32 = true;
        self
    }

    /// Sets how cuDNN chooses the algorithm of a convolution.
    #[must_use]
    pub fn with_convolutions(mut self, search: ConvolutionSearch) -> Self {
        self.convolutions = search;
        self
    }
}

/// How cuDNN chooses the algorithm of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ConvolutionSearch {
    /// By rules of thumb. The default, unlike ONNX Runtime's, because pictures come in many sizes,
    /// and each size is searched for anew.
    #[default]
    Heuristic,
    /// By trying all: the first call of each size is slow and takes more memory.
    Exhaustive,
}

/// Options of [`Device::TensorRt`].
///
/// TensorRT compiles a graph for the sizes it has seen, which takes minutes; a size outside of them
/// makes it compile again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TensorRtOptions {
    /// Whether a float32 model may be computed in float16.
    /// Default: `false`, because accuracy is lost; a float16 model does not need it.
    pub fp16: bool,
    /// A folder that keeps compiled graphs for the next start, made if it is not there.
    /// Default: none, so that nothing is written unasked.
    pub engine_cache: Option<PathBuf>,
}

impl TensorRtOptions {
    /// Allows float16.
    #[must_use]
    pub fn with_fp16(mut self) -> Self {
        self.fp16 = true;
        self
    }

    /// Keeps compiled graphs in a folder.
    #[must_use]
    pub fn with_engine_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.engine_cache = Some(folder.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_graphs_are_for_cuda_alone() {
        let options = SessionOptions::default().with_cuda(CudaOptions::default().with_graphs());
        for device in [Device::Cpu, Device::TensorRt(0)] {
            let error = options.clone().with_device(device).check().unwrap_err();
            assert!(error.to_string().contains(&device.to_string()), "{error}");
            assert!(error.to_string().contains("cuda.graphs"), "{error}");
        }
        assert!(options.clone().with_device(Device::Cuda(1)).check().is_ok());
        assert!(options.on_cpu().check().is_ok());
    }
}
