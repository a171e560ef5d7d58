//! What a robot wants to know: whether memory stays what it is over hours, what others on the same processor lose, and how long
//! a frame takes from the camera to its result.
//!
//!     cargo bench --bench robot -- soak --minutes 30
//!     cargo bench --bench robot -- neighbour --seconds 10
//!     cargo bench --bench robot -- latency --frames 2000 --cores 0,1
//!
//! Runs on the model in the box (feature `nano`), or on another with `GLIP_MODEL=FOLDER`.

#[path = "../examples/common/mod.rs"]
mod common;
#[path = "common/picture.rs"]
mod picture;

use std::{
    env,
    hint::black_box,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use common::Result;
use glip::{
    Bundle, Detector, ImageSize, PixelFormat,
    live::{Frame, Live, LiveOptions},
    parts::{Arena, CpuOptions},
};
use lexopt::{Arg, Parser, ValueExt};

const USAGE: &str = "\
robot soak [--minutes N] [--arena kept|shrunk|none] [--no-memory-pattern]
robot neighbour [--seconds N]
robot latency [--frames N] [--cores A,B] [--no-spinning]

soak        frames of changing sizes, formats, rates and prompts; the memory every so often
neighbour   what another thread's work loses while frames are looked at, with and without spinning
latency     from a frame of 640 x 480 to its result, beside the same image in `ground` and threads that
            only compute, in turn; with --cores all but these and the caller of `ground` are bound
";

fn main() -> ExitCode {
    common::run(USAGE, Arguments::parse, |arguments| {
        match arguments.subject {
            Subject::Soak => soak(&arguments),
            Subject::Neighbour => neighbour(&arguments),
            Subject::Latency => latency(&arguments),
        }
    })
}

fn detector(threads: usize, cpu: CpuOptions) -> Result<Detector> {
    let folder = env::var_os("GLIP_MODEL");
    let model = Bundle::from_dir_or_nano(folder.as_deref().map(Path::new))?;
    let builder = Detector::builder().bundle(model).threads(threads).cpu(cpu);
    Ok(builder.build()?)
}

/// What cameras there are, and what they give.
const CAMERAS: [(u32, u32, PixelFormat); 6] = [
    (1920, 1080, PixelFormat::Nv12),
    (640, 480, PixelFormat::Yuyv),
    (848, 480, PixelFormat::Bgr8),
    (1280, 720, PixelFormat::I420),
    (1280, 960, PixelFormat::BayerRggb8),
    (480, 640, PixelFormat::Mono8),
];

/// Names of one to many tokens; one is a list that needs several prompts.
const NAMES: [&str; 8] = [
    "cup",
    "traffic light",
    "person",
    "dining table",
    "dog",
    "wine glass",
    "bicycle",
    "sports ball",
];

/// Frames a second, of which some are more than can be looked at.
const RATES: [f64; 4] = [5.0, 30.0, 15.0, 60.0];

/// How long sizes, rates and prompts stay.
const SHIFT: Duration = Duration::from_secs(5);

fn soak(arguments: &Arguments) -> Result<()> {
    let live = Live::new(
        &detector(0, arguments.cpu.clone())?,
        NAMES[0],
        LiveOptions::default().with_deadline(Duration::from_millis(500)),
    )?;
    let pictures = CAMERAS.map(|(width, height, format)| {
        let (size, picture) = (
            ImageSize::new(width, height),
            picture::picture(width, height, 0),
        );
        // Levels as they come: what is in the picture makes no difference to memory.
        (size, format, picture.into_raw())
    });
    let begin = Instant::now();
    let mut next_report = Duration::ZERO;
    println!("minutes, frames, done, dropped, late, failed, p50 ms, p99 ms, resident MB");
    for (shift, (size, format, bytes)) in pictures.iter().cycle().enumerate() {
        let names = &NAMES[..1 + shift % NAMES.len()];
        live.set_prompt(names)?;
        let rate = RATES[shift % RATES.len()];
        let shift_begin = Instant::now();
        for number in 0.. {
            if shift_begin.elapsed() >= SHIFT.min(arguments.duration) {
                break;
            }
            let mut buffer = live.spare_buffer();
            buffer.extend_from_slice(bytes);
            let stride = format.packed_stride(size.width);
            live.push(Frame::new(*size, stride, *format, buffer)?.with_id(number));
            thread::sleep(Duration::from_secs_f64(1.0 / rate));
        }
        let elapsed = begin.elapsed();
        if elapsed >= next_report || elapsed >= arguments.duration {
            next_report = elapsed + arguments.duration / 30;
            let stats = live.stats();
            let milliseconds = |time: Duration| 1e3 * time.as_secs_f64();
            println!(
                "{:.1}, {}, {}, {}, {}, {}, {:.1}, {:.1}, {:.1}",
                elapsed.as_secs_f64() / 60.0,
                stats.pushed,
                stats.done,
                stats.dropped,
                stats.late,
                stats.failed,
                milliseconds(stats.total.p50),
                milliseconds(stats.total.p99),
                stats.resident_bytes.unwrap_or_default() as f64 / f64::from(1 << 20),
            );
        }
        if elapsed >= arguments.duration {
            return Ok(());
        }
    }
    Ok(())
}

/// Frames a second that the neighbour has to bear.
const NEIGHBOURS_RATE: f64 = 15.0;

fn neighbour(arguments: &Arguments) -> Result<()> {
    let alone = pieces_done(arguments.duration, None)?;
    println!("alone: {alone}");
    let cores = thread::available_parallelism()?.get();
    for threads in [1, cores] {
        for (name, cpu) in [
            ("spinning", CpuOptions::default()),
            ("without spinning", CpuOptions::default().without_spinning()),
        ] {
            let detector = detector(threads, cpu)?;
            let live = Live::new(&detector, NAMES[0], LiveOptions::default())?;
            live.warm_up(&[ImageSize::new(640, 480)])?;
            let beside = pieces_done(arguments.duration, Some(&live))?;
            let stats = live.finish();
            println!(
                "{threads} threads, {name}: {beside}; {} frames, p50 {:.1?}, p99 {:.1?}",
                stats.done, stats.total.p50, stats.total.p99
            );
        }
    }
    Ok(())
}

/// Keeps a core busy, without memory: a million of steps for about a millisecond.
fn compute(steps: u64) {
    black_box((0..steps).fold(0, |sum: u64, i| black_box(sum.wrapping_mul(31) ^ i)));
}

/// How another thread gets on with pieces of work, a millisecond each if it is alone.
fn pieces_done(duration: Duration, live: Option<&Live>) -> Result<String> {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let worker = thread::spawn(move || {
        let mut times = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let begin = Instant::now();
            compute(1_000_000);
            times.push(begin.elapsed());
        }
        times
    });
    let begin = Instant::now();
    let picture = picture::picture(640, 480, 0);
    while begin.elapsed() < duration {
        if let Some(live) = live {
            live.push(Frame::from(picture.clone()));
        }
        thread::sleep(Duration::from_secs_f64(1.0 / NEIGHBOURS_RATE));
    }
    is_over.store(true, Ordering::Relaxed);
    let mut times = worker.join().map_err(|_| "the neighbour panicked")?;
    times.sort();
    let at = |percent: usize| percentile(&times, percent);
    let rate = times.len() as f64 / duration.as_secs_f64();
    Ok(format!(
        "{rate:.0} pieces a second, p50 {:.2?}, p99 {:.2?}, max {:.2?}",
        at(50),
        at(99),
        at(100)
    ))
}

fn latency(arguments: &Arguments) -> Result<()> {
    let detector = detector(0, arguments.cpu.clone())?;
    let picture = picture::picture(640, 480, 0);
    let prompt = detector.encode_prompt(NAMES[0])?;
    let (sender, results) = mpsc::channel();
    let options = LiveOptions::default().on_result(move |_| {
        // The receiver is there as long as there are frames.
        let _ = sender.send(Instant::now());
    });
    let live = Live::new(&detector, &prompt, options)?;
    live.warm_up(&[ImageSize::new(640, 480)])?;
    let machine = Machine::of_the_pace(|| detector.ground(&picture, &prompt).map(drop))?;
    let (mut grounded, mut lived, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.frames {
        bare.push(machine.time());
        let begin = Instant::now();
        black_box(detector.ground(&picture, &prompt)?);
        grounded.push(begin.elapsed());
        let frame = Frame::from(picture.clone());
        let begin = Instant::now();
        live.push(frame);
        lived.push(results.recv()?.duration_since(begin));
    }
    let contenders = [
        ("every core computing", &mut bare),
        ("ground", &mut grounded),
        ("push to result", &mut lived),
    ];
    for (name, times) in contenders {
        times.sort();
        let (p50, p99) = (percentile(times, 50), percentile(times, 99));
        let ratio = p99.as_secs_f64() / p50.as_secs_f64();
        println!("{name}: p50 {p50:.2?}, p99 {p99:.2?}, p99 / p50 {ratio:.2}");
    }
    let ratio = percentile(&lived, 50).as_secs_f64() / percentile(&grounded, 50).as_secs_f64();
    println!("push to result / ground, p50: {ratio:.3}");
    Ok(())
}

/// What the machine itself does to those who compute: as many threads as it has cores, each with as much to do as keeps it
/// busy for about a frame's time.
struct Machine {
    threads: usize,
    steps: u64,
}

impl Machine {
    fn of_the_pace(mut frame: impl FnMut() -> glip::Result<()>) -> Result<Self> {
        let fastest = |work: &mut dyn FnMut() -> glip::Result<()>| {
            let mut fastest = Duration::MAX;
            for _ in 0..10 {
                let begin = Instant::now();
                work()?;
                fastest = fastest.min(begin.elapsed());
            }
            glip::Result::Ok(fastest)
        };
        let million = fastest(&mut || {
            compute(1_000_000);
            Ok(())
        })?;
        let frame = fastest(&mut frame)?;
        Ok(Self {
            threads: thread::available_parallelism()?.get(),
            steps: (1e6 * frame.as_secs_f64() / million.as_secs_f64()) as u64,
        })
    }

    fn time(&self) -> Duration {
        let begin = Instant::now();
        thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(|| compute(self.steps));
            }
            compute(self.steps);
        });
        begin.elapsed()
    }
}

/// Of times in order.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

#[derive(Clone, Copy)]
enum Subject {
    Soak,
    Neighbour,
    Latency,
}

struct Arguments {
    subject: Subject,
    duration: Duration,
    frames: usize,
    cpu: CpuOptions,
}

impl Arguments {
    /// `None` if help was asked for.
    fn parse(mut parser: Parser) -> Result<Option<Self>> {
        let mut arguments = Self {
            subject: Subject::Soak,
            duration: Duration::from_secs(10),
            frames: 2000,
            cpu: CpuOptions::default(),
        };
        let seconds = |seconds: f64| {
            let duration = Duration::try_from_secs_f64(seconds);
            duration.map_err(|error| format!("{seconds} seconds: {error}"))
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Value(value) => {
                    arguments.subject = match &*value.string()? {
                        "soak" => Subject::Soak,
                        "neighbour" => Subject::Neighbour,
                        "latency" => Subject::Latency,
                        other => {
                            return Err(format!("{other}: soak, neighbour or latency").into());
                        }
                    };
                }
                Arg::Long("minutes") => {
                    let minutes: f64 = parser.value()?.parse()?;
                    arguments.duration = seconds(60.0 * minutes)?;
                }
                Arg::Long("seconds") => arguments.duration = seconds(parser.value()?.parse()?)?,
                Arg::Long("frames") => arguments.frames = parser.value()?.parse()?,
                Arg::Long("no-memory-pattern") => {
                    arguments.cpu = arguments.cpu.without_memory_pattern();
                }
                Arg::Long("no-spinning") => arguments.cpu = arguments.cpu.without_spinning(),
                Arg::Long("cores") => {
                    let cores = parser.value()?.string()?;
                    let cores = cores.split(',').map(str::parse::<usize>);
                    let cores: Vec<_> = cores.collect::<std::result::Result<_, _>>()?;
                    arguments.cpu = arguments.cpu.with_cores(cores);
                }
                Arg::Long("arena") => {
                    let arena = match &*parser.value()?.string()? {
                        "kept" => Arena::Kept,
                        "shrunk" => Arena::Shrunk,
                        "none" => Arena::None,
                        other => return Err(format!("{other}: kept, shrunk or none").into()),
                    };
                    arguments.cpu = arguments.cpu.with_arena(arena);
                }
                Arg::Long("bench") => {} // cargo adds it
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(arguments))
    }
}
