//! What every builder of a model says of ONNX Runtime.

/// Methods of a builder with the fields `runtime: Option<Runtime>` and `sessions: SessionOptions`, where the types of their
/// arguments are imported.
macro_rules! runtime_methods {
    () => {
        /// Uses this ONNX Runtime. Default: the one that [`Runtime::load`](crate::Runtime::load) finds.
        pub fn runtime(mut self, runtime: Runtime) -> Self {
            self.runtime = Some(runtime);
            self
        }

        /// Runs on this device. Default: the CPU.
        pub fn device(mut self, device: Device) -> Self {
            self.sessions = self.sessions.with_device(device);
            self
        }

        /// Sets the options of what runs on the processor: whether threads wait busily, on which cores, and how
        /// memory is kept.
        pub fn cpu(mut self, options: CpuOptions) -> Self {
            self.sessions = self.sessions.with_cpu(options);
            self
        }

        /// Sets the options of NVIDIA GPUs, for [`Device::Cuda`](crate::Device::Cuda).
        pub fn cuda(mut self, options: CudaOptions) -> Self {
            self.sessions = self.sessions.with_cuda(options);
            self
        }

        /// Sets the options of TensorRT, for [`Device::TensorRt`](crate::Device::TensorRt).
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

pub(crate) use runtime_methods;
