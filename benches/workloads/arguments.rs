//! The command line.

use std::path::PathBuf;

use glip::{
    Bundle, CudaOptions, Detector, DetectorBuilder, Device, ImageSize, TensorRtOptions,
    parts::CpuOptions,
};
use lexopt::{Arg, Parser, ValueExt};

use crate::common::Result;

pub(crate) const USAGE: &str = "\
Times what a detector is used for; prints one JSON object a line: first what is timed, then one for
each workload, with the milliseconds of every run.

workloads [OPTIONS] WORKLOAD...
workloads [OPTIONS] -

  components   each stage on a batch, and the whole
  reuse        the whole, a second prompt on an encoded image, a next frame with a prepared prompt
  ground       the whole alone
  vocabulary   1203 names on one encoded image, and as 31 separate calls of 40
  names        one of each that `vocabulary` repeats: a call, an encoding, a prompt that is full
  callers      16 pictures from one caller and from four, with detectors ready for one, two and four
  batch        a batch of frames together, and one by one
  pipelined    a batch of frames on one thread, and on two that share the detector
  load         loading the model once more
  -            takes workloads from the standard input, one a line and with a number of tokens
               after it if that shall change, and answers each before the next: so that another
               program can take turns with this one

  --model DIR      the model folder; without it, the small model in the box
  --device DEVICE  cpu, cuda[:N], tensorrt[:N], ... [cpu]
  --size HxW       the network's input, multiples of the model's divisor [800x1248]
  --batch N        images in a batch [1]
  --tokens N       tokens of the prompt, special ones included [10]
  --threads N      threads of a session; 0 lets ONNX Runtime choose [0]
  --sessions N     sessions of each graph [1]
  --without-native-kernels
                   leaves all operators to ONNX Runtime
  --cuda-graphs    records the GPU's work once and replays it
  --tensorrt-cache DIR
                   keeps what TensorRT compiles
  --runs N         runs that are timed [5]
  --warm-up N      runs before them that are not [1]
";

/// What to time, and how often.
pub(crate) struct Arguments {
    pub(crate) model: Option<PathBuf>,
    pub(crate) device: Device,
    pub(crate) size: ImageSize,
    pub(crate) batch: usize,
    pub(crate) tokens: usize,
    pub(crate) threads: usize,
    pub(crate) sessions: usize,
    pub(crate) cpu: CpuOptions,
    pub(crate) cuda: CudaOptions,
    pub(crate) tensorrt: TensorRtOptions,
    pub(crate) runs: usize,
    pub(crate) warm_up: usize,
    pub(crate) workloads: Vec<String>,
    pub(crate) from_stdin: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            model: None,
            device: Device::Cpu,
            size: ImageSize {
                width: 1248,
                height: 800,
            },
            batch: 1,
            tokens: 10,
            threads: 0,
            sessions: 1,
            cpu: CpuOptions::default(),
            cuda: CudaOptions::default(),
            tensorrt: TensorRtOptions::default(),
            runs: 5,
            warm_up: 1,
            workloads: Vec::new(),
            from_stdin: false,
        }
    }
}

impl Arguments {
    /// `None` if help was asked for.
    pub(crate) fn parse(mut parser: Parser) -> Result<Option<Self>> {
        let mut arguments = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Long("bench") => {} // cargo adds it
                Arg::Long("without-native-kernels") => arguments.cpu.native_kernels = false,
                Arg::Long("cuda-graphs") => arguments.cuda.graphs = true,
                Arg::Long(name) => {
                    let name = name.to_owned();
                    arguments.set(&name, &parser.value()?.string()?)?;
                }
                Arg::Value(name) if name == "-" => arguments.from_stdin = true,
                Arg::Value(name) => arguments.workloads.push(name.string()?),
                _ => return Err(argument.unexpected().into()),
            }
        }
        if arguments.workloads.is_empty() && !arguments.from_stdin {
            arguments.workloads.push("components".into());
        }
        Ok(Some(arguments))
    }

    pub(crate) fn set(&mut self, option: &str, value: &str) -> Result<()> {
        let named = |error| format!("--{option} {value:?}: {error}");
        let number = || value.parse().map_err(|error| named(format!("{error}")));
        match option {
            "model" => self.model = Some(value.into()),
            "device" => self.device = value.parse()?,
            "size" => self.size = size(value).ok_or_else(|| named("write HxW".into()))?,
            "batch" => self.batch = number()?,
            "tokens" => self.tokens = number()?,
            "threads" => self.threads = number()?,
            "sessions" => self.sessions = number()?,
            "tensorrt-cache" => self.tensorrt.engine_cache = Some(value.into()),
            "runs" => self.runs = number()?,
            "warm-up" => self.warm_up = number()?,
            _ => return Err(format!("there is no option --{option}").into()),
        }
        Ok(())
    }

    /// Opens and loads the model: what a program does once.
    pub(crate) fn detector(&self) -> Result<Detector> {
        Ok(self.builder()?.build()?)
    }

    pub(crate) fn builder(&self) -> Result<DetectorBuilder> {
        let ImageSize { width, height } = self.size;
        Ok(Detector::builder()
            .bundle(Bundle::from_dir_or_nano(self.model.as_deref())?)
            .device(self.device)
            .cpu(self.cpu.clone())
            .cuda(self.cuda.clone())
            .tensorrt(self.tensorrt.clone())
            .threads(self.threads)
            .sessions(self.sessions)
            .max_batch(self.batch)
            .sides(width.min(height), width.max(height)))
    }
}

fn size(text: &str) -> Option<ImageSize> {
    let (height, width) = text.split_once('x')?;
    Some(ImageSize::new(width.parse().ok()?, height.parse().ok()?))
}
