//! The model.

use std::{ffi::c_char, mem::offset_of};

use glip::{
    CudaOptions, Detector, DetectorBuilder, GroundOptions, Runtime, TensorRtOptions,
    parts::{Arena, ConvolutionSearch, CpuOptions},
};

use crate::{
    arguments::{give, list, optional_text, place, take_back},
    extensible::{self, Extensible},
    fault::{Fault, Result, guard},
    status::glip_status,
};

/// A loaded model. Any number of threads may use it at the same time; what they ask runs one after another, or side by side
/// with `callers` of `glip_detector_options`. Prompts, detections and live detections made with it may outlive it.
pub struct glip_detector(pub(crate) Detector);

/// What becomes of the memory that a run on the processor took.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum glip_arena {
    /// It is kept for the next run: fastest.
    Kept = 0,
    /// What is not in use is given back after every run.
    Shrunk = 1,
    /// Every tensor is the system's to take and to give back.
    None = 2,
}

/// How cuDNN chooses the algorithm of a convolution.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum glip_convolution_search {
    /// By rules of thumb.
    Heuristic = 0,
    /// By trying all: the first call of each size is slow and takes more memory.
    Exhaustive = 1,
}

/// Options of a detector. Zero is the default of each.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct glip_detector_options {
    /// `sizeof(glip_detector_options)`.
    pub struct_size: usize,
    /// The model's folder. NULL: the small model in the library, which finds the 80 things of COCO.
    pub model_dir: *const c_char,
    /// The file of ONNX Runtime, 1.25 or later. NULL: what the environment variable ORT_DYLIB_PATH says; if it says nothing,
    /// the first that is found beside the program, in Python environments that have the package onnxruntime, or by
    /// the system's loader. A process has one, which the first detector loads.
    pub onnxruntime: *const c_char,
    /// What to run on: "cpu", "cuda:0", "tensorrt:0", "coreml", "directml:0" or "openvino", as the library was built. NULL:
    /// "cpu".
    pub device: *const c_char,
    /// 1: if the device cannot be used, the CPU is, and a warning is logged. 0: that is an error.
    pub allow_cpu_fallback: u32,
    /// Threads of one call. 0: one for each core.
    pub threads: u32,
    /// How many calls run at the same time; each has a copy of the weights. 0: 1.
    pub callers: u32,
    /// 1: threads sleep while they wait for one another, and leave the processor to others. 0: they spin.
    pub no_spinning: u32,
    /// 1: memory is taken as it is needed, for images whose sizes change without end. 0: it is planned for each size.
    pub no_memory_pattern: u32,
    /// A `glip_arena`.
    pub arena: u32,
    /// Cores that threads are bound to, one for each, in place of `threads`; the first is the calling thread's, which is the
    /// caller's to bind; a live detection binds its own. NULL: none.
    pub cores: *const u32,
    /// How many cores there are in `cores`.
    pub core_count: usize,
    /// The shorter side that images are resized to, with `long_side`. 0: the model's.
    pub short_side: u32,
    /// The longest that the longer side may be then.
    pub long_side: u32,
    /// The score that detections must be over. 0: what the model recommends.
    pub score_threshold: f32,
    /// The most detections in an image. 0: what the model recommends.
    pub max_detections: u32,
    /// 1: the GPU's work is recorded once for each size of input and replayed from then on (device "cuda" and models exported for a
    /// GPU alone). The first call of a size takes several times as long, and its buffers are kept: right for a camera of one
    /// resolution, wrong for a folder of photographs. While a size is recorded, code of your own must not use CUDA.
    pub cuda_graphs: u32,
    /// 1: float32 products may be rounded to the 10 bits of TF32, which tensor cores multiply several times faster. 0: a float32 model
    /// gives on the GPU what it gives on the CPU.
    pub cuda_tf32: u32,
    /// A `glip_convolution_search`.
    pub cuda_convolutions: u32,
    /// 1: TensorRT may compute a float32 model in float16: accuracy is lost, and a float16 model does not need it.
    pub tensorrt_fp16: u32,
    /// A folder that keeps what TensorRT compiled, which takes minutes, for the next start, made if it is not there. NULL: none.
    pub tensorrt_engine_cache: *const c_char,
}

// SAFETY: it is `repr(C)`, begins with its size, and is of numbers and pointers.
unsafe impl Extensible for glip_detector_options {
    const NAME: &'static str = "glip_detector_options";
    const FIRST: usize = offset_of!(Self, cuda_graphs);
}

impl glip_detector_options {
    /// # Safety
    /// Its pointers are NULL, or to what the header says.
    unsafe fn builder(&self) -> Result<DetectorBuilder> {
        // SAFETY: as the caller promises.
        let (folder, runtime, device, cores, engine_cache) = unsafe {
            (
                optional_text(self.model_dir, "model_dir")?,
                optional_text(self.onnxruntime, "onnxruntime")?,
                optional_text(self.device, "device")?,
                list(self.cores, self.core_count, "cores")?,
                optional_text(self.tensorrt_engine_cache, "tensorrt_engine_cache")?,
            )
        };
        let mut builder = Detector::builder()
            .cpu(self.cpu(cores)?)
            .cuda(self.cuda()?)
            .tensorrt(self.tensorrt(engine_cache));
        builder = match folder {
            Some(folder) => builder.dir(folder),
            None => small_model(builder)?,
        };
        if let Some(file) = runtime {
            builder = builder.runtime(load_runtime(file)?);
        }
        if let Some(device) = device {
            builder = builder.device(device.parse()?);
        }
        if self.allow_cpu_fallback != 0 {
            builder = builder.allow_cpu_fallback();
        }
        if self.callers > 1 {
            builder = builder.for_callers(self.callers as usize);
        }
        if self.threads > 0 {
            builder = builder.threads(self.threads as usize);
        }
        if (self.short_side, self.long_side) != (0, 0) {
            builder = builder.sides(self.short_side, self.long_side);
        }
        let options = ground_options(self.score_threshold, self.max_detections);
        Ok(builder.options(options))
    }

    fn cpu(&self, cores: &[u32]) -> Result<CpuOptions> {
        let mut options = CpuOptions::default();
        options.spinning = self.no_spinning == 0;
        options.memory_pattern = self.no_memory_pattern == 0;
        options.cores = cores.iter().map(|&core| core as usize).collect();
        options.arena = match self.arena {
            0 => Arena::Kept,
            1 => Arena::Shrunk,
            2 => Arena::None,
            other => return Err(Fault::option("arena", other, "a glip_arena, 0 to 2")),
        };
        Ok(options)
    }

    fn cuda(&self) -> Result<CudaOptions> {
        let mut options = CudaOptions::default();
        options.graphs = self.cuda_graphs != 0;
        options.tf32 = self.cuda_tf32 != 0;
        options.convolutions = match self.cuda_convolutions {
            0 => ConvolutionSearch::Heuristic,
            1 => ConvolutionSearch::Exhaustive,
            other => {
                let expected = "a glip_convolution_search, 0 or 1";
                return Err(Fault::option("cuda_convolutions", other, expected));
            }
        };
        Ok(options)
    }

    fn tensorrt(&self, engine_cache: Option<&str>) -> TensorRtOptions {
        let mut options = TensorRtOptions::default();
        options.fp16 = self.tensorrt_fp16 != 0;
        options.engine_cache = engine_cache.map(Into::into);
        options
    }
}

#[cfg(feature = "nano")]
fn small_model(builder: DetectorBuilder) -> Result<DetectorBuilder> {
    Ok(builder.bundle(glip::Bundle::nano()?))
}

#[cfg(not(feature = "nano"))]
fn small_model(_: DetectorBuilder) -> Result<DetectorBuilder> {
    Err(Fault::argument(
        "model_dir is NULL, and this library was built without the small model (feature `nano`): \
         name a model's folder",
    ))
}

#[cfg(feature = "load-dynamic")]
fn load_runtime(file: &str) -> Result<Runtime> {
    Ok(Runtime::load_from(file)?)
}

#[cfg(not(feature = "load-dynamic"))]
fn load_runtime(file: &str) -> Result<Runtime> {
    Err(Fault::option(
        "onnxruntime",
        file,
        "to be NULL: this library has ONNX Runtime linked in",
    ))
}

/// Zeros leave what was set before.
pub(crate) fn ground_options(score_threshold: f32, max_detections: u32) -> GroundOptions {
    let mut options = GroundOptions::default();
    options.score_threshold = (score_threshold != 0.0).then_some(score_threshold);
    options.max_detections = (max_detections != 0).then_some(max_detections as usize);
    options
}

/// Loads a model. `options` may be NULL, which is all defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_detector_new(
    options: *const glip_detector_options,
    detector: *mut *mut glip_detector,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to.
        let (detector, builder) = unsafe {
            let detector = place(detector, "detector")?;
            (detector, extensible::read_or_default(options)?.builder()?)
        };
        give(detector, glip_detector(builder.build()?));
        Ok(())
    })
}

/// Gives a detector back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_detector_free(detector: *mut glip_detector) {
    guard(|| {
        // SAFETY: it is NULL, or one that was not given back yet, as the header asks of the caller.
        unsafe { take_back(detector) };
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;

    fn zeros() -> glip_detector_options {
        // SAFETY: zeros are a value, as `Extensible` promises.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }

    #[test]
    fn options_of_gpus_are_those_of_the_library() {
        let mut options = zeros();
        options.tensorrt_engine_cache = c"engines".as_ptr();
        assert_eq!(options.cuda().unwrap(), CudaOptions::default());
        assert_eq!(options.tensorrt(None), TensorRtOptions::default());
        options.cuda_graphs = 1;
        options.cuda_convolutions = glip_convolution_search::Exhaustive as u32;
        let cuda = CudaOptions::default().with_graphs();
        let cuda = cuda.with_convolutions(ConvolutionSearch::Exhaustive);
        assert_eq!(options.cuda().unwrap(), cuda);
        options.cuda_tf32 = 1;
        let cuda = cuda.with_tf32();
        assert_eq!(options.cuda().unwrap(), cuda);
        let tensorrt = TensorRtOptions::default().with_engine_cache("engines");
        assert_eq!(options.tensorrt(Some("engines")), tensorrt);
        options.tensorrt_fp16 = 1;
        let tensorrt = tensorrt.with_fp16();
        assert_eq!(options.tensorrt(Some("engines")), tensorrt);

        // SAFETY: its one pointer that is not NULL is to a string.
        let builder = format!("{:?}", unsafe { options.builder() }.unwrap());
        for expected in [format!("{cuda:?}"), format!("{tensorrt:?}")] {
            assert!(
                builder.contains(&expected),
                "{expected} is not in {builder}"
            );
        }
    }
}
