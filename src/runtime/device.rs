//! What graphs run on.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

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

    pub(super) fn name(self) -> &'static str {
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
}
