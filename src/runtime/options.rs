//! The options of the sessions that run graphs.

use std::{io, num::NonZero, path::PathBuf, thread};

use super::device::Device;
use crate::{
    affinity::bind_thread,
    error::{Error, Result},
};

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
    /// Options of what runs on the processor.
    pub cpu: CpuOptions,
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
            cpu: CpuOptions::default(),
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

    /// Sets the options of what runs on the processor.
    #[must_use]
    pub fn with_cpu(mut self, options: CpuOptions) -> Self {
        self.cpu = options;
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

    /// The same without recordings.
    pub(crate) fn unrecorded(&self) -> Self {
        let mut options = self.clone();
        options.cuda.graphs = false;
        options
    }

    /// The same for a float16 model: ONNX Runtime takes cuDNN's algorithms for tensor cores from float16
    /// convolutions too where TF32 is off, and then searches in vain; and native kernels calculate in float32.
    pub(crate) fn in_half(&self) -> Self {
        let mut options = self.clone();
        options.cuda.tf32 = true;
        options.cpu.native_kernels = false;
        options
    }

    /// The threads of one session; 0 lets ONNX Runtime choose.
    pub(crate) fn thread_count(&self) -> usize {
        match self.cpu.cores.len() {
            0 => self.threads,
            cores => cores,
        }
    }

    /// The threads for work on the host beside graphs: as many as a session has.
    pub(crate) fn host_threads(&self) -> usize {
        match self.thread_count() {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        }
    }

    /// Refuses what cannot be, before anything is loaded.
    pub(crate) fn check(&self) -> Result<()> {
        Error::if_zero("sessions", self.sessions)?;
        let invalid = |option, found, expected| Error::InvalidOption {
            option,
            found,
            expected,
        };
        if self.cuda.graphs && !matches!(self.device, Device::Cuda(_)) {
            let found = format!("set for {}", self.device);
            return Err(invalid("cuda.graphs", found, "to be set for cuda only"));
        }
        let cores = self.cpu.cores.len();
        if cores > 0 && self.threads != 0 && self.threads != cores {
            let found = format!("{cores} cores for {} threads", self.threads);
            return Err(invalid("cpu.cores", found, "a core for each thread"));
        }
        if let Some((core, error)) = self.cpu.missing_core() {
            let found = format!("core {core}: {error}");
            return Err(invalid(
                "cpu.cores",
                found,
                "cores that this process may use",
            ));
        }
        Ok(())
    }
}

/// Options of what runs on the processor, for programs that share it: robots, servers.
///
/// ```
/// use glip::{Bundle, Detector, parts::{Arena, CpuOptions}};
///
/// let cpu = CpuOptions::default().without_spinning().with_arena(Arena::Shrunk);
/// let detector = Detector::builder().bundle(Bundle::nano()?).threads(2).cpu(cpu).build()?;
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuOptions {
    /// Whether a session's threads wait busily for their next piece of work while the session runs.
    ///
    /// Default: `true`, which is fastest on cores that nobody else needs. Where others do, such as a control
    /// loop, they lose time to threads that do nothing. Between runs no thread spins, whatever this is.
    pub spinning: bool,
    /// Whether a session plans its memory for each size of input that it has seen, and takes it at once.
    ///
    /// Default: `true`. Each size of picture and length of prompt adds a plan, which is small, and memory at once is
    /// memory for the largest: turn it off if sizes change without end.
    pub memory_pattern: bool,
    /// What becomes of a run's memory. Default: it is kept.
    pub arena: Arena,
    /// Whether deformable convolutions, deformable attention, GLIP's DyConv and the blocks of Swin are calculated by this
    /// crate's own kernels, which are faster than ONNX Runtime's. Bundles that were exported before have only the first of
    /// these as nodes of their own: exporting them again makes them faster. Float16 graphs are left to ONNX Runtime.
    ///
    /// Default: `true` in programs that are built with optimisation, `false` where `debug_assertions` are on, since
    /// there these kernels are slow.
    pub native_kernels: bool,
    /// Cores that a session's threads are bound to, from 0, one for each, in place of
    /// [`SessionOptions::threads`]. Default: none, which leaves it to the system.
    ///
    /// The first is of the thread that calls, which is part of every run: [`Live`](crate::live::Live) binds its own to it
    /// (on Linux), and others are the caller's to bind. All four graphs of a model share the cores, as they run one
    /// after another.
    pub cores: Vec<usize>,
}

/// What becomes of the memory that a run on the processor took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Arena {
    /// It is kept for the next run: fastest. It is as much as the largest run so far took, and often more, as
    /// it grows by doubling.
    #[default]
    Kept,
    /// What is not in use is given back after every run.
    Shrunk,
    /// There is no arena: every tensor is the system's to take and to give back.
    None,
}

impl Default for CpuOptions {
    fn default() -> Self {
        Self {
            spinning: true,
            memory_pattern: true,
            arena: Arena::default(),
            native_kernels: !cfg!(debug_assertions),
            cores: Vec::new(),
        }
    }
}

impl CpuOptions {
    /// Lets threads sleep while they wait.
    #[must_use]
    pub fn without_spinning(mut self) -> Self {
        self.spinning = false;
        self
    }

    /// Takes memory as it is needed.
    #[must_use]
    pub fn without_memory_pattern(mut self) -> Self {
        self.memory_pattern = false;
        self
    }

    /// Sets what becomes of a run's memory.
    #[must_use]
    pub fn with_arena(mut self, arena: Arena) -> Self {
        self.arena = arena;
        self
    }

    /// Sets whether this crate's own kernels are used.
    #[must_use]
    pub fn with_native_kernels(mut self, used: bool) -> Self {
        self.native_kernels = used;
        self
    }

    /// Binds threads to these cores, from 0: a session's to all but the first, which is of the thread that calls.
    #[must_use]
    pub fn with_cores(mut self, cores: impl IntoIterator<Item = usize>) -> Self {
        self.cores = cores.into_iter().collect();
        self
    }

    /// A core that no thread can be bound to, where that can be told.
    fn missing_core(&self) -> Option<(usize, io::Error)> {
        let tried = self.cores.clone();
        // Threads that are bound stay so: one that ends.
        let try_all = move || {
            let mut tried = tried.into_iter();
            tried.find_map(|core| Some((core, bind_thread(core).err()?)))
        };
        let found = match self.cores.is_empty() {
            true => None,
            false => thread::spawn(try_all).join().ok().flatten(),
        };
        found.filter(|(_, error)| error.kind() != io::ErrorKind::Unsupported)
    }

    /// In ONNX Runtime's words: the cores from 1, of all threads but the first. `None` if there is nothing to say.
    pub(crate) fn affinities(&self) -> Option<String> {
        let cores = self.cores.iter().skip(1);
        let cores: Vec<_> = cores
            .map(|core| core.saturating_add(1).to_string())
            .collect();
        (!cores.is_empty()).then(|| cores.join(";"))
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
    /// gives on the CPU. A float16 model is faster still, and always allowed it: there, it keeps few small
    /// products in float32, and without it ONNX Runtime runs convolutions without tensor cores.
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

    #[test]
    fn there_is_a_thread_for_each_core() {
        let on =
            |cores| SessionOptions::default().with_cpu(CpuOptions::default().with_cores(cores));
        let options = on([4, 5, 7]);
        assert_eq!(options.thread_count(), 3);
        assert_eq!(options.cpu.affinities().as_deref(), Some("6;8"));
        let error = options.with_threads(2).check().unwrap_err();
        assert!(
            error.to_string().contains("3 cores for 2 threads"),
            "{error}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn cores_that_are_not_there_are_named() {
        let core = crate::affinity::tests::last_core();
        let on =
            |cores| SessionOptions::default().with_cpu(CpuOptions::default().with_cores(cores));
        assert!(on([core, core]).check().is_ok());
        assert!(on([core, core]).with_threads(2).check().is_ok());
        let error = on([core, 1023]).check().unwrap_err().to_string();
        assert!(error.contains("core 1023"), "{error}");
    }
}
