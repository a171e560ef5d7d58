//! Frames of a camera, looked at as they come: always the newest. The camera here is a folder.
//!
//!     cargo run --release --example live -- FOLDER PROMPT
//!
//! Frames are the pictures of the folder in the order of their names, again and again, at the rate that is given.

mod common;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::Result;
use glip::{
    Bundle, Detector, ImageSize,
    live::{Frame, FrameResult, Latency, Live, LiveOptions, LiveStats, Outcome},
    parts::CpuOptions,
};
use lexopt::{Arg, Parser, ValueExt};

const USAGE: &str = "\
Looks for a prompt in the pictures of a folder as if they came from a camera.

live [OPTIONS] FOLDER PROMPT

  --model DIR      the model folder; without it, the small model in the box
  --rate N         frames a second [10]
  --frames N       how many come [50]
  --then PROMPT    another prompt for the second half
  --deadline MS    results that come later are of no use [none]
  --threads N      threads of the network [one a core]
  --no-spinning    they sleep while they wait, and leave the processor to others
";

fn main() -> ExitCode {
    common::run(USAGE, Arguments::parse, run)
}

fn run(arguments: Arguments) -> Result<()> {
    let cpu = match arguments.spinning {
        true => CpuOptions::default(),
        false => CpuOptions::default().without_spinning(),
    };
    let detector = Detector::builder()
        .bundle(Bundle::from_dir_or_nano(arguments.model.as_deref())?)
        .threads(arguments.threads)
        .cpu(cpu)
        .build()?;
    let pictures = common::pictures_in(&arguments.folder)?;
    let pictures = pictures.iter().map(|path| common::read_picture(path));
    let pictures = pictures.collect::<Result<Vec<_>>>()?;

    let mut options = LiveOptions::default().on_result(print);
    options.deadline = arguments.deadline;
    let live = Live::new(&detector, arguments.prompt.as_str(), options)?;
    let mut sizes: Vec<_> = pictures
        .iter()
        .map(|picture| ImageSize::new(picture.width(), picture.height()))
        .collect();
    sizes.sort_by_key(|size| (size.width, size.height));
    sizes.dedup();
    for (size, time) in sizes.iter().zip(live.warm_up(&sizes)?) {
        println!("{size}: {time:.1?} a frame");
    }

    let begin = Instant::now();
    for (id, picture) in (0..arguments.frames).zip(pictures.iter().cycle()) {
        if let Some(prompt) = &arguments.then
            && id == arguments.frames / 2
        {
            live.set_prompt(prompt.as_str())?;
        }
        let due = Duration::from_secs_f64(id as f64 / arguments.rate);
        thread::sleep(due.saturating_sub(begin.elapsed()));
        let frame = Frame::from(picture.clone());
        live.push(frame.with_id(id).with_stamp(due));
    }
    report(&live.finish());
    Ok(())
}

/// A robot would do something.
fn print(result: Arc<FrameResult>) {
    let FrameResult {
        id, stamp, latency, ..
    } = &*result;
    match &result.outcome {
        Outcome::Found(found) => {
            println!(
                "frame {id} of {stamp:.1?}, after {latency:.1?}: {} found",
                found.len()
            );
            for found in found {
                println!("  {} {:.2} {:?}", found.phrase, found.score, found.bbox);
            }
        }
        Outcome::NotStarted { expected } => {
            println!("frame {id}: not begun, it would have taken {expected:.1?}");
        }
        Outcome::Failed(error) => println!("frame {id}: {error}"),
        other => println!("frame {id}: {other:?}"),
    }
}

fn report(stats: &LiveStats) {
    let LiveStats {
        pushed,
        done,
        dropped,
        late,
        failed,
        ..
    } = stats;
    println!("{pushed} frames: {done} done, {dropped} dropped, {late} late, {failed} failed");
    for (name, latency) in stats.stages() {
        let Latency {
            p50, p95, p99, max, ..
        } = latency;
        println!("{name:>14}: p50 {p50:.1?}, p95 {p95:.1?}, p99 {p99:.1?}, max {max:.1?}");
    }
    if let Some(bytes) = stats.resident_bytes {
        println!("{} MB of memory", bytes >> 20);
    }
}

/// The command line.
struct Arguments {
    folder: PathBuf,
    prompt: String,
    model: Option<PathBuf>,
    rate: f64,
    frames: u64,
    then: Option<String>,
    deadline: Option<Duration>,
    threads: usize,
    spinning: bool,
}

impl Arguments {
    /// `None` if help was asked for.
    fn parse(mut parser: Parser) -> Result<Option<Self>> {
        let mut values = Vec::new();
        let mut arguments = Self {
            folder: PathBuf::new(),
            prompt: String::new(),
            model: None,
            rate: 10.0,
            frames: 50,
            then: None,
            deadline: None,
            threads: 0,
            spinning: true,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("model") => arguments.model = Some(PathBuf::from(parser.value()?)),
                Arg::Long("rate") => arguments.rate = parser.value()?.parse()?,
                Arg::Long("frames") => arguments.frames = parser.value()?.parse()?,
                Arg::Long("then") => arguments.then = Some(parser.value()?.string()?),
                Arg::Long("deadline") => {
                    let milliseconds = parser.value()?.parse()?;
                    arguments.deadline = Some(Duration::from_millis(milliseconds));
                }
                Arg::Long("threads") => arguments.threads = parser.value()?.parse()?,
                Arg::Long("no-spinning") => arguments.spinning = false,
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Value(value) => values.push(value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        if !(arguments.rate > 0.0 && arguments.rate.is_finite()) {
            let rate = arguments.rate;
            return Err(format!("--rate is {rate}, frames a second are more than 0").into());
        }
        let [folder, prompt] = <[String; 2]>::try_from(values)
            .map_err(|_| "give a folder and a prompt; --help lists the options")?;
        Ok(Some(Self {
            folder: folder.into(),
            prompt,
            ..arguments
        }))
    }
}
