//! What graphs run on, and the options of the sessions that run them.

use std::{fmt, str::FromStr};

use ort::ep::ExecutionProviderDispatch;

use crate::{Error, Result};

/// What graphs run on.
///
/// All but the CPU need the feature of the same name and a build of ONNX Runtime that has the
/// execution provider. Written and parsed as `cpu`, `cuda:0`, `tensorrt:0`, `coreml`, `directml:0`
/// and `openvino`; without a number, the first device is meant.
///
/// # Example
///
/// ```
/// use glip::Device;
///
/// assert_eq!("cuda:1".parse::<Device>()?, Device::Cuda(1));
/// assert_eq!(Device::Cuda(0).to_string(), "cuda:0");
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by index (feature `cuda`). Feature maps stay in its memory between graphs.
    Cuda(u32),
    /// An NVIDIA GPU through TensorRT, by index (feature `tensorrt`).
    TensorRt(u32),
    /// Apple's accelerators (feature `coreml`).
    CoreMl,
    /// A GPU on Windows, by index (feature `directml`).
    DirectMl(u32),
    /// Intel's accelerators (feature `openvino`).
    OpenVino,
}

impl Device {
    /// ONNX Runtime's name of what runs nodes on the device.
    pub(crate) fn provider_name(self) -> &'static str {
        match self {
            Self::Cpu => "CPUExecutionProvider",
            Self::Cuda(_) => "CUDAExecutionProvider",
            Self::TensorRt(_) => "TensorrtExecutionProvider",
            Self::CoreMl => "CoreMLExecutionProvider",
            Self::DirectMl(_) => "DmlExecutionProvider",
            Self::OpenVino => "OpenVINOExecutionProvider",
        }
    }

    /// What registers the device with a session, most wanted first; nothing for the CPU, which every
    /// session has.
    pub(crate) fn execution_providers(self) -> Result<Vec<ExecutionProviderDispatch>> {
        match self {
            Self::Cpu => Ok(Vec::new()),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Ok(vec![self.cuda(index)?]),
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(index) => {
                let tensorrt = ort::ep::TensorRT::default().with_device_id(self.index(index)?);
                // Nodes that TensorRT has no kernel for stay on the same GPU.
                Ok(vec![tensorrt.build(), self.cuda(index)?])
            }
            #[cfg(feature = "coreml")]
            Self::CoreMl => Ok(vec![ort::ep::CoreML::default().build()]),
            #[cfg(feature = "directml")]
            Self::DirectMl(index) => {
                let directml = ort::ep::DirectML::default().with_device_id(self.index(index)?);
                Ok(vec![directml.build()])
            }
            #[cfg(feature = "openvino")]
            Self::OpenVino => Ok(vec![ort::ep::OpenVINO::default().build()]),
            #[allow(unreachable_patterns)] // With every provider's feature on, none is left.
            _ => Err(Error::DeviceUnavailable {
                device: self.to_string(),
                reason: format!("glip-rs was built without the feature `{}`", self.name()),
                source: None,
            }),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(self, index: u32) -> Result<ExecutionProviderDispatch> {
        let cuda = ort::ep::CUDA::default().with_device_id(self.index(index)?);
        Ok(cuda.build())
    }

    #[cfg(any(feature = "cuda", feature = "directml"))]
    fn index(self, index: u32) -> Result<i32> {
        i32::try_from(index).map_err(|error| Error::DeviceUnavailable {
            device: self.to_string(),
            reason: "there is no such device".into(),
            source: Some(error.into()),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda(_) => "cuda",
            Self::TensorRt(_) => "tensorrt",
            Self::CoreMl => "coreml",
            Self::DirectMl(_) => "directml",
            Self::OpenVino => "openvino",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cuda(index) | Self::TensorRt(index) | Self::DirectMl(index) => {
                write!(f, "{}:{index}", self.name())
            }
            _ => f.write_str(self.name()),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::InvalidOption {
            option: "device",
            found: format!("{text:?}"),
            expected: "cpu, cuda[:N], tensorrt[:N], coreml, directml[:N] or openvino",
        };
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, index) {
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("tensorrt", index) => Ok(Self::TensorRt(index.unwrap_or(0))),
            ("coreml", None) => Ok(Self::CoreMl),
            ("directml", index) => Ok(Self::DirectMl(index.unwrap_or(0))),
            ("openvino", None) => Ok(Self::OpenVino),
            _ => Err(unknown()),
        }
    }
}

/// How the sessions that run a graph are made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// What the graph runs on. Default: the CPU, which every ONNX Runtime has.
    pub device: Device,
    /// Whether the CPU is used where the device cannot be.
    /// Default: `false`, because a silent CPU run is found out late, by its slowness.
    pub cpu_fallback: bool,
    /// Threads of one session. Default: 0, which lets ONNX Runtime take one per physical core.
    pub threads: usize,
    /// Sessions per graph, which is how many calls run at the same time; each holds its own copy
    /// of the weights. Default: 1, because one session already uses all cores.
    pub sessions: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            cpu_fallback: false,
            threads: 0,
            sessions: 1,
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

    /// Uses the CPU where the device cannot be used.
    #[must_use]
    pub fn with_cpu_fallback(mut self) -> Self {
        self.cpu_fallback = true;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_survive_being_written_and_parsed() {
        for device in [
            Device::Cpu,
            Device::Cuda(3),
            Device::TensorRt(0),
            Device::CoreMl,
            Device::DirectMl(1),
            Device::OpenVino,
        ] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
    }

    #[test]
    fn unknown_devices_are_refused_by_name() {
        for text in ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "", "CUDA"] {
            let error = text.parse::<Device>().unwrap_err();
            assert!(matches!(error, Error::InvalidOption { .. }));
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_whose_feature_is_off_names_the_feature() {
        let error = Device::Cuda(0).execution_providers().err().unwrap();

        assert!(matches!(error, Error::DeviceUnavailable { .. }));
        assert!(error.to_string().contains("feature `cuda`"), "{error}");
    }
}
