//! ONNX Runtime: finding it, loading it once, and what it runs on.

#[cfg(feature = "load-dynamic")]
mod binary;
mod device;
mod fallback;
#[cfg(feature = "load-dynamic")]
mod library;
mod options;
#[cfg(feature = "load-dynamic")]
mod places;
mod providers;
mod running;
#[allow(clippy::module_inception, reason = "files are named after their type")]
mod runtime;
mod version;

pub(crate) use self::running::{Running, running_methods};
pub use self::{
    device::Device,
    options::{Arena, ConvolutionSearch, CpuOptions, CudaOptions, SessionOptions, TensorRtOptions},
    runtime::Runtime,
};
