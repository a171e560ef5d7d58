//! Ids that stay from frame to frame, drawn with the ways that their things have come.
//!
//!     cargo run --release --example tracks -- FRAMES PROMPT OUT
//!
//! Frames are the pictures of the folder in the order of their names, as `ffmpeg -i video.mp4 frames/%05d.png`
//! writes them. They are written to the folder `OUT` with boxes and trails.

mod common;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use common::Result;
use glip::{
    Bundle, Detections, Detector, draw_detections,
    tracks::{Track, TrackOptions, Tracker},
};
use image::{Rgb, RgbImage};
use lexopt::{Arg, Parser, ValueExt};

const USAGE: &str = "\
Follows what is found through the pictures of a folder, and draws it.

tracks [OPTIONS] FRAMES PROMPT OUT

  --model DIR      the model folder; without it, the small model in the box
  --rate N         frames a second that the pictures are of [10]
  --start N        the least score that begins a track; lower ones only continue some [0]
";

fn main() -> ExitCode {
    common::run(USAGE, Arguments::parse, run)
}

fn run(arguments: Arguments) -> Result<()> {
    let detector = Detector::builder()
        .bundle(Bundle::from_dir_or_nano(arguments.model.as_deref())?)
        .build()?;
    let prompt = detector.encode_prompt(arguments.prompt.as_str())?;
    let options = TrackOptions::default().with_start_score(arguments.start);
    let mut tracker = Tracker::new(options)?;
    let mut trails = Trails::default();
    let out = &arguments.out;
    let unwritable = |path: &Path, error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(out).map_err(|error| unwritable(out, error.into()))?;

    let frames = common::pictures_in(&arguments.frames)?;
    for (frame, path) in frames.iter().enumerate() {
        let mut picture = common::read_picture(path)?.into_rgb8();
        let found = detector.ground(&picture, &prompt)?;
        let stamp = Duration::from_secs_f64(frame as f64 / arguments.rate);
        let tracks = tracker.update(&found, stamp)?;

        let name = path.file_stem().unwrap_or_default();
        println!("{}: {} found", name.to_string_lossy(), tracks.len());
        for track in &tracks {
            let [right, down] = track.velocity;
            println!(
                "  {} for {:.1?}, moves by {right:.0}, {down:.0} pixels a second",
                name_of(track),
                track.age
            );
        }
        trails.draw(&mut picture, &tracks);
        let path = out.join(name).with_extension("png");
        picture
            .save(&path)
            .map_err(|error| unwritable(&path, error))?;
    }
    println!("{} tracks, drawn in {}", trails.0.len(), out.display());
    Ok(())
}

/// The phrase with the number, as on a label.
fn name_of(track: &Track) -> String {
    format!("{} #{}", track.detection.phrase, track.id)
}

/// Where each track has been, as points in pixels.
#[derive(Default)]
struct Trails(HashMap<u64, Vec<(f32, f32)>>);

impl Trails {
    /// Goes on with each, and draws them under the boxes.
    fn draw(&mut self, picture: &mut RgbImage, tracks: &[Track]) {
        for track in tracks {
            let trail = self.0.entry(track.id).or_default();
            trail.push(track.detection.bbox.center());
            for ends in trail.windows(2) {
                draw_line(picture, ends[0], ends[1], colour(track.id));
            }
        }
        let named = tracks.iter().map(|track| {
            let mut detection = track.detection.clone();
            detection.phrase = name_of(track);
            detection
        });
        draw_detections(picture, &named.collect::<Detections>());
    }
}

/// Colours that differ well, for six tracks in turn.
fn colour(id: u64) -> Rgb<u8> {
    const COLOURS: [[u8; 3]; 6] = [
        [230, 60, 60],
        [60, 180, 75],
        [70, 110, 230],
        [245, 200, 30],
        [200, 60, 200],
        [60, 200, 210],
    ];
    Rgb(COLOURS[(id % 6) as usize])
}

/// Draws a line three pixels wide, as far as it is on the picture.
fn draw_line(picture: &mut RgbImage, from: (f32, f32), to: (f32, f32), colour: Rgb<u8>) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let steps = dx.abs().max(dy.abs()).ceil().max(1.0) as u32;
    for step in 0..=steps {
        let share = step as f32 / steps as f32;
        let (x, y) = (from.0 + share * dx, from.1 + share * dy);
        for (beside, below) in
            (-1..=1).flat_map(|beside| (-1..=1).map(move |below| (beside, below)))
        {
            let (x, y) = (x as i64 + beside, y as i64 + below);
            if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
                && let Some(pixel) = picture.get_pixel_mut_checked(x, y)
            {
                *pixel = colour;
            }
        }
    }
}

/// The command line.
struct Arguments {
    frames: PathBuf,
    prompt: String,
    out: PathBuf,
    model: Option<PathBuf>,
    rate: f64,
    start: f32,
}

impl Arguments {
    /// `None` if help was asked for.
    fn parse(mut parser: Parser) -> Result<Option<Self>> {
        let mut values = Vec::new();
        let (mut model, mut rate, mut start) = (None, 10.0, 0.0);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("model") => model = Some(PathBuf::from(parser.value()?)),
                Arg::Long("rate") => rate = parser.value()?.parse()?,
                Arg::Long("start") => start = parser.value()?.parse()?,
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Value(value) => values.push(value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        // Frames have times of their own in nanoseconds.
        if !(1e-6..=1e6).contains(&rate) {
            return Err(
                format!("--rate is {rate}, give frames a second from 0.000001 to 1000000").into(),
            );
        }
        let [frames, prompt, out] = <[String; 3]>::try_from(values).map_err(|_| {
            "give a folder of frames, a prompt and a folder to write to; --help lists the options"
        })?;
        Ok(Some(Self {
            frames: frames.into(),
            prompt,
            out: out.into(),
            model,
            rate,
            start,
        }))
    }
}
