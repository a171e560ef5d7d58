//! What registers a device with a session.

use ort::ep::ExecutionProviderDispatch;

use super::{device::Device, options::SessionOptions};
use crate::error::{Error, Result};

impl SessionOptions {
    /// The execution providers of the device, most wanted first; none for the CPU, which every
    /// session has.
    pub(crate) fn execution_providers(
        &self,
        graph: &str,
    ) -> Result<Vec<ExecutionProviderDispatch>> {
        match self.device {
            Device::Cpu => Ok(Vec::new()),
            #[cfg(feature = "cuda")]
            Device::Cuda(index) => Ok(vec![self.cuda(self.checked(index, graph)?)]),
            #[cfg(feature = "tensorrt")]
            Device::TensorRt(index) => {
                let index = self.checked(index, graph)?;
                // Nodes that TensorRT has no kernel for stay on the same GPU.
                Ok(vec![self.tensorrt(index)?, self.cuda(index)])
            }
            #[cfg(feature = "coreml")]
            Device::CoreMl => Ok(vec![ort::ep::CoreML::default().build()]),
            #[cfg(feature = "directml")]
            Device::DirectMl(index) => {
                let index = self.checked(index, graph)?;
                Ok(vec![
                    ort::ep::DirectML::default().with_device_id(index).build(),
                ])
            }
            #[cfg(feature = "openvino")]
            Device::OpenVino => Ok(vec![ort::ep::OpenVINO::default().build()]),
            #[allow(unreachable_patterns)] // With every provider's feature on, none is left.
            device => Err(Error::DeviceUnavailable {
                device: device.to_string(),
                graph: graph.into(),
                reason: format!("glip-rs was built without the feature `{}`", device.name()),
                source: None,
            }),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, index: i32) -> ExecutionProviderDispatch {
        use ort::ep::cuda::ConvAlgorithmSearch;

        use super::options::ConvolutionSearch;

        let search = match self.cuda.convolutions {
            ConvolutionSearch::Heuristic => ConvAlgorithmSearch::Heuristic,
            ConvolutionSearch::Exhaustive => ConvAlgorithmSearch::Exhaustive,
        };
        ort::ep::CUDA::default()
            .with_device_id(index)
            .with_conv_algorithm_search(search)
            .with_tf32(self.cuda.tf32)
            .with_cuda_graph(self.cuda.graphs)
            // Sums of residuals and their norms are taken in float32, whatever the model's type.
            .with_skip_layer_norm_strict_mode(true)
            .build()
    }

    #[cfg(feature = "tensorrt")]
    fn tensorrt(&self, index: i32) -> Result<ExecutionProviderDispatch> {
        let tensorrt = ort::ep::TensorRT::default()
            .with_device_id(index)
            .with_fp16(self.tensorrt.fp16);
        let Some(folder) = &self.tensorrt.engine_cache else {
            return Ok(tensorrt.build());
        };
        let folder = folder.to_str().ok_or_else(|| Error::InvalidOption {
            option: "tensorrt.engine_cache",
            found: folder.display().to_string(),
            expected: "a path of Unicode characters",
        })?;
        Ok(tensorrt
            .with_engine_cache(true)
            .with_engine_cache_path(folder)
            // Of what was measured for one size, much serves the next.
            .with_timing_cache(true)
            .with_timing_cache_path(folder)
            .build())
    }

    #[cfg(any(feature = "cuda", feature = "directml"))]
    fn checked(&self, index: u32, graph: &str) -> Result<i32> {
        i32::try_from(index).map_err(|error| Error::DeviceUnavailable {
            device: self.device.to_string(),
            graph: graph.into(),
            reason: "there is no such device".into(),
            source: Some(error.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(not(feature = "coreml"))]
    #[test]
    fn a_device_whose_feature_is_off_names_the_feature() {
        use super::*;

        let options = SessionOptions::default().with_device(Device::CoreMl);

        let error = options.execution_providers("head").err().unwrap();

        assert!(matches!(error, Error::DeviceUnavailable { .. }));
        for part in ["graph head", "feature `coreml`"] {
            assert!(
                error.to_string().contains(part),
                "{part} is not in: {error}"
            );
        }
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn an_index_that_no_device_can_have_is_an_error() {
        use super::*;

        let options = SessionOptions::default().with_device(Device::Cuda(u32::MAX));

        let error = options.execution_providers("head").err().unwrap();

        assert!(error.to_string().contains("cuda:4294967295"), "{error}");
    }
}
