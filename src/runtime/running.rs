//! What every builder of a model says of what its graphs run on.

use super::{fallback::load_or_fall_back, options::SessionOptions, runtime::Runtime};
use crate::error::Result;

/// What a model's graphs run on, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running {
    /// `None` is the one that is found.
    pub(crate) runtime: Option<Runtime>,
    pub(crate) sessions: SessionOptions,
    pub(crate) cpu_fallback: bool,
}

impl Running {
    /// Loads the graphs of a model.
    pub(crate) fn load<T>(
        &self,
        load: impl Fn(&Runtime, &SessionOptions) -> Result<T>,
    ) -> Result<T> {
        let runtime = self.runtime.clone().map_or_else(Runtime::load, Ok)?;
        load_or_fall_back(&self.sessions, self.cpu_fallback, |options| {
            load(&runtime, options)
        })
    }
}

/// Methods of a builder with the field `running: Running`, where the types of their arguments are imported.
macro_rules! running_methods {
    () => {
        /// Uses this ONNX Runtime. Default: the one that [`Runtime::load`](crate::Runtime::load) finds.
        pub fn runtime(mut self, runtime: Runtime) -> Self {
            self.running.runtime = Some(runtime);
            self
        }

        /// Runs on this device. Default: the CPU.
        pub fn device(mut self, device: Device) -> Self {
            self.running.sessions = self.running.sessions.with_device(device);
            self
        }

        /// Runs on the CPU if the device cannot be used, which is an error otherwise.
        ///
        /// One graph that cannot run on the device takes all of the model's to the CPU, because what is in the memory of
        /// a GPU cannot go into a graph elsewhere. A warning through the [`log`](https://docs.rs/log) crate says which
        /// and why; `device` of what is built tells what it came to.
        pub fn allow_cpu_fallback(mut self) -> Self {
            self.running.cpu_fallback = true;
            self
        }

        /// Sets the options of what runs on the processor: whether threads wait busily, on which cores, and how
        /// memory is kept.
        pub fn cpu(mut self, options: CpuOptions) -> Self {
            self.running.sessions = self.running.sessions.with_cpu(options);
            self
        }

        /// Sets the options of NVIDIA GPUs, for [`Device::Cuda`](crate::Device::Cuda).
        pub fn cuda(mut self, options: CudaOptions) -> Self {
            self.running.sessions = self.running.sessions.with_cuda(options);
            self
        }

        /// Sets the options of TensorRT, for [`Device::TensorRt`](crate::Device::TensorRt).
        pub fn tensorrt(mut self, options: TensorRtOptions) -> Self {
            self.running.sessions = self.running.sessions.with_tensorrt(options);
            self
        }

        /// Sets the threads of one session. Default: 0, which lets ONNX Runtime choose.
        pub fn threads(mut self, threads: usize) -> Self {
            self.running.sessions = self.running.sessions.with_threads(threads);
            self
        }

        /// Sets how many calls can run a graph at the same time; each has its own copy of the weights.
        /// Default: 1.
        pub fn sessions(mut self, sessions: usize) -> Self {
            self.running.sessions = self.running.sessions.with_sessions(sessions);
            self
        }

        /// Is ready for so many callers at the same time, as in a server: one session for each of them, which
        /// share the processor's cores. Default: one caller, who has all cores. Each session has a copy of the
        /// weights.
        ///
        /// With one session, callers queue, and a graph that is spread over all cores does not run as much
        /// faster as there are cores: several callers get more done with a session each.
        pub fn for_callers(self, callers: usize) -> Self {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let threads = (cores / callers.max(1)).max(1);
            self.sessions(callers).threads(threads)
        }
    };
}

pub(crate) use running_methods;
