//! What the crate adds to a segmenter's decoder: many boxes of one scene, beside the decoder alone on the same numbers of prompts.
//!
//!     cargo bench --bench segmenter -- models/sam --boxes 100
//!
//! The folder is one of SAM or MobileSAM that `python -m glip_torch.export_segmenter` made of a checkpoint. Weights
//! may be random: times are the same.

#[path = "../examples/common/mod.rs"]
mod common;
#[path = "common/picture.rs"]
mod picture;

use std::{hint::black_box, path::PathBuf, process::ExitCode, time::Instant};

use common::Result;
use glip::{BBox, Runtime, Segmenter};
use lexopt::{Arg, Parser, ValueExt};
use ort::{
    session::Session,
    value::{Tensor, ValueType},
};

const USAGE: &str = "segmenter DIR [--boxes N] [--runs N]";
/// As `SegmenterBuilder::max_prompts` is by default.
const PROMPTS_IN_RUN: usize = 16;
const WIDTH: u32 = 1920;
const HEIGHT: u32 = 1080;

struct Arguments {
    folder: PathBuf,
    boxes: usize,
    runs: usize,
}

impl Arguments {
    fn parse(mut parser: Parser) -> Result<Option<Self>> {
        let (mut folder, mut boxes, mut runs) = (None, 100, 5);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("boxes") => boxes = parser.value()?.parse()?,
                Arg::Long("runs") => runs = parser.value()?.parse()?,
                Arg::Long("bench") => {} // Cargo's own
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Value(value) => folder = Some(PathBuf::from(value)),
                _ => return Err(argument.unexpected().into()),
            }
        }
        let folder = folder.ok_or("which segmenter? Give its folder")?;
        Ok(Some(Self {
            folder,
            boxes,
            runs,
        }))
    }
}

fn main() -> ExitCode {
    common::run(USAGE, Arguments::parse, |arguments| {
        let segmenter = Segmenter::from_dir(&arguments.folder)?;
        let mut alone = Alone::load(&arguments)?;
        let scene = segmenter.encode_image(&picture::picture(WIDTH, HEIGHT, 0))?;
        let boxes = boxes(arguments.boxes)?;
        println!("boxes    masks, ms    decoder alone, ms    with run lengths, ms");
        for run in 0..=arguments.runs {
            let (masks, ms) = timed(|| Ok(segmenter.masks(&scene, &boxes)?))?;
            let ((), alone_ms) = timed(|| alone.run(boxes.len()))?;
            let (_, rle_ms) = timed(|| {
                let lengths = masks.iter().map(|mask| mask.rle().to_compressed().len());
                Ok(black_box(lengths.sum::<usize>()))
            })?;
            // The first run takes memory and chooses kernels.
            if run > 0 {
                println!(
                    "{:5} {ms:12.1} {alone_ms:20.1} {:23.1}",
                    boxes.len(),
                    ms + rle_ms
                );
            }
        }
        Ok(())
    })
}

/// What something returns, and the milliseconds that it took.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let made = work()?;
    Ok((made, start.elapsed().as_secs_f64() * 1e3))
}

/// Boxes of many sizes all over the image.
fn boxes(count: usize) -> Result<Vec<BBox>> {
    let (width, height) = (WIDTH as f32, HEIGHT as f32);
    let boxes = (0..count).map(|index| {
        let share = |step: f32| (index as f32 * step).fract();
        let (x, y) = (share(0.618) * 0.7 * width, share(0.414) * 0.7 * height);
        let (w, h) = (
            (0.05 + 0.25 * share(0.271)) * width,
            (0.05 + 0.25 * share(0.732)) * height,
        );
        BBox::new(x, y, x + w, y + h)
    });
    Ok(boxes.collect::<glip::Result<_>>()?)
}

/// The decoder in a session of its own, without anything of this crate around it.
struct Alone {
    session: Session,
    features: Tensor<f32>,
}

impl Alone {
    fn load(arguments: &Arguments) -> Result<Self> {
        let runtime = Runtime::load()?;
        let builder = Session::builder(runtime.environment());
        let session = builder?.commit_from_file(arguments.folder.join("decoder.onnx"))?;
        let features = session
            .inputs()
            .iter()
            .find(|input| input.name() == "image_embeddings");
        let shape = match features.map(|input| input.dtype()) {
            Some(ValueType::Tensor { shape, .. }) => {
                shape.iter().map(|&side| side.max(1) as usize).collect()
            }
            _ => Vec::new(),
        };
        if shape.len() != 4 || session.inputs().len() != 3 {
            return Err(
                "this is for a SAM or MobileSAM that was exported from a checkpoint".into(),
            );
        }
        let numbers = (0..shape.iter().product()).map(|index: usize| (index as f32).sin());
        let features = Tensor::from_array((shape, numbers.collect::<Vec<_>>()))?;
        Ok(Self { session, features })
    }

    fn run(&mut self, boxes: usize) -> Result<()> {
        for first in (0..boxes).step_by(PROMPTS_IN_RUN) {
            let prompts = PROMPTS_IN_RUN.min(boxes - first);
            let corners = [100.0f32, 100.0, 400.0, 300.0].repeat(prompts);
            let outputs = self.session.run(ort::inputs![
                "image_embeddings" => &self.features,
                "point_coords" => Tensor::from_array(([prompts, 2, 2], corners))?,
                "point_labels" => Tensor::from_array(([prompts, 2], [2.0f32, 3.0].repeat(prompts)))?,
            ])?;
            black_box(&outputs);
        }
        Ok(())
    }
}
