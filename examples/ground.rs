//! Finds phrases in a picture, from the command line.
//!
//!     cargo run --release --example ground -- photo.jpg "person . dog . bicycle"

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use common::Result;
use glip::{
    Bundle, Detection, Detector, Device, ImageSize, Mask, Prompt, Segmenter, draw_detections,
    draw_masks,
};
use lexopt::{Arg, Parser, ValueExt};
use serde::{Serialize, Serializer};

const USAGE: &str = "\
Finds phrases in a picture.

ground [OPTIONS] IMAGE PROMPT
ground [OPTIONS] IMAGE --category NAME...
ground [OPTIONS] IMAGE --caption TEXT [--phrase TEXT]... [--span BEGIN:END]...

PROMPT is a list of phrases separated by dots. Phrases of a caption are given by their words or by
their bytes in it.

  --model DIR          the model folder; without it, the small model in the box
  --device DEVICE      cpu, cuda[:N], tensorrt[:N], coreml, directml[:N] or openvino [cpu]
  --threshold S        the least score to show, 0 to 1 [the model's own]
  --short-side N --long-side N
                       the size that pictures are resized to [the model's own]
  --segmenter DIR      a segmenter's folder: the pixels of what is found too
  --json FILE          writes what was found as JSON; - is the standard output
  --draw FILE          writes the picture with the boxes and pixels drawn
";

fn main() -> ExitCode {
    common::run(USAGE, Arguments::parse, run)
}

fn run(arguments: Arguments) -> Result<()> {
    let mut stages = Stages::default();
    let detector = stages.time("load_model", || arguments.detector())?;
    let segmenter = arguments.segmenter(&mut stages)?;
    let picture = stages.time("read_image", || common::read_picture(&arguments.image))?;
    let prompt = stages.time("encode_prompt", || {
        Ok(detector.encode_prompt(&arguments.prompt)?)
    })?;
    let encoded = stages.time("encode_image", || Ok(detector.encode_image(&picture)?))?;
    let found = stages.time("ground", || Ok(detector.ground(&encoded, &prompt)?))?;
    let masks = match &segmenter {
        Some(segmenter) => {
            stages.time("segment", || Ok(segmenter.masks(&picture, found.boxes())?))?
        }
        None => Vec::new(),
    };

    // Without a segmenter there are no masks.
    let things = found.iter().enumerate();
    let things = things.map(|(index, detection)| Thing {
        detection,
        mask: masks.get(index),
    });
    let report = Report {
        image: encoded.geometry().original,
        detections: things.collect(),
        timings_ms: stages,
    };

    let json_on_stdout = arguments.json.as_deref() == Some(Path::new("-"));
    if !json_on_stdout {
        report.print();
    }
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report)?;
        if json_on_stdout {
            println!("{json}");
        } else {
            fs::write(file, json + "\n")?;
        }
    }
    if let Some(file) = &arguments.draw {
        let mut drawing = picture.into_rgb8();
        if segmenter.is_some() {
            draw_masks(&mut drawing, &found, &masks)?;
        }
        draw_detections(&mut drawing, &found);
        drawing.save(file)?;
    }
    Ok(())
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    image: ImageSize,
    detections: Vec<Thing<'a>>,
    timings_ms: Stages,
}

#[derive(Serialize)]
struct Thing<'a> {
    #[serde(flatten)]
    detection: &'a Detection,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<&'a Mask>,
}

impl Report<'_> {
    /// As a table.
    fn print(&self) {
        println!(
            "{:30} {:>5}  {:>7} {:>7} {:>7} {:>7}",
            "phrase", "score", "x1", "y1", "x2", "y2"
        );
        for Thing { detection, mask } in &self.detections {
            let [x1, y1, x2, y2] = detection.bbox.into();
            let (phrase, score) = (&detection.phrase, detection.score);
            let pixels = mask.map_or(String::new(), |mask| format!(", {} pixels", mask.area()));
            println!("{phrase:30} {score:5.2}  {x1:7.1} {y1:7.1} {x2:7.1} {y2:7.1}{pixels}");
        }
        let times = self.timings_ms.0.iter();
        let times = times.map(|(stage, time)| format!("{stage} {:.0}", milliseconds(*time)));
        println!(
            "{} found; ms: {}",
            self.detections.len(),
            times.collect::<Vec<_>>().join(", ")
        );
    }
}

/// How long each stage took, in order.
#[derive(Default)]
struct Stages(Vec<(&'static str, Duration)>);

impl Stages {
    fn time<T>(&mut self, stage: &'static str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = run();
        self.0.push((stage, start.elapsed()));
        result
    }
}

impl Serialize for Stages {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|(stage, time)| (stage, milliseconds(*time))),
        )
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The command line.
struct Arguments {
    image: PathBuf,
    prompt: Prompt,
    model: Option<PathBuf>,
    device: Device,
    threshold: Option<f32>,
    sides: Option<(u32, u32)>,
    segmenter: Option<PathBuf>,
    json: Option<PathBuf>,
    draw: Option<PathBuf>,
}

impl Arguments {
    /// `None` if help was asked for.
    fn parse(mut parser: Parser) -> Result<Option<Self>> {
        let (mut image, mut list, mut caption) = (None, None, None);
        let (mut categories, mut phrases, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        let (mut model, mut device, mut threshold) = (None, Device::Cpu, None);
        let (mut short_side, mut long_side, mut segmenter) = (None, None, None);
        let (mut json, mut draw) = (None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Value(value) if image.is_none() => image = Some(PathBuf::from(value)),
                Arg::Value(value) if list.is_none() => list = Some(value.string()?),
                Arg::Long("category") => {
                    for name in parser.values()? {
                        categories.push(name.string()?);
                    }
                }
                Arg::Long("caption") => caption = Some(parser.value()?.string()?),
                Arg::Long("phrase") => phrases.push(parser.value()?.string()?),
                Arg::Long("span") => spans.push(parser.value()?.parse_with(parse_span)?),
                Arg::Long("model") => model = Some(PathBuf::from(parser.value()?)),
                Arg::Long("device") => device = parser.value()?.string()?.parse()?,
                Arg::Long("threshold") => threshold = Some(parser.value()?.parse()?),
                Arg::Long("short-side") => short_side = Some(parser.value()?.parse()?),
                Arg::Long("long-side") => long_side = Some(parser.value()?.parse()?),
                Arg::Long("segmenter") => segmenter = Some(PathBuf::from(parser.value()?)),
                Arg::Long("json") => json = Some(PathBuf::from(parser.value()?)),
                Arg::Long("draw") => draw = Some(PathBuf::from(parser.value()?)),
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        let prompt = match (list, categories.is_empty(), caption) {
            (Some(list), true, None) => Prompt::from(list.as_str()),
            (None, false, None) => Prompt::categories(categories),
            (None, true, Some(caption)) => Prompt::caption(caption).phrases(&phrases).spans(spans),
            _ => return Err("give one of PROMPT, --category and --caption; see --help".into()),
        };
        let sides = match (short_side, long_side) {
            (Some(short), Some(long)) => Some((short, long)),
            (None, None) => None,
            _ => return Err("give --short-side and --long-side together".into()),
        };
        Ok(Some(Self {
            image: image.ok_or("give an image; see --help")?,
            prompt,
            model,
            device,
            threshold,
            sides,
            segmenter,
            json,
            draw,
        }))
    }

    fn detector(&self) -> Result<Detector> {
        let mut builder = Detector::builder()
            .bundle(Bundle::from_dir_or_nano(self.model.as_deref())?)
            .device(self.device);
        if let Some((short_side, long_side)) = self.sides {
            builder = builder.sides(short_side, long_side);
        }
        if let Some(score) = self.threshold {
            builder = builder.score_threshold(score);
        }
        Ok(builder.build()?)
    }

    fn segmenter(&self, stages: &mut Stages) -> Result<Option<Segmenter>> {
        let load = |folder| {
            stages.time("load_segmenter", || {
                let builder = Segmenter::builder().dir(folder).device(self.device);
                Ok(builder.build()?)
            })
        };
        self.segmenter.as_ref().map(load).transpose()
    }
}

fn parse_span(text: &str) -> Result<std::ops::Range<usize>> {
    let (begin, end) = text
        .split_once(':')
        .ok_or("a span is BEGIN:END, in bytes")?;
    Ok(begin.parse()?..end.parse()?)
}
