//! One prompt over the frames of a video: the prompt is encoded once, and the next frame is read
//! while the current one is looked at.
//!
//!     cargo run --release --example video_frames -- FOLDER PROMPT [MODEL_FOLDER]
//!
//! Frames are the pictures of the folder in the order of their names, as `ffmpeg -i video.mp4
//! frames/%05d.png` writes them.

mod common;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Instant,
};

use common::Result;
use glip::{Bundle, Detector};
use image::DynamicImage;

/// Frames that are read ahead: more would only take memory.
const READ_AHEAD: usize = 2;

fn main() -> ExitCode {
    common::report(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (frames, prompt, folder) = match &arguments[..] {
        [frames, prompt] => (frames, prompt, None),
        [frames, prompt, folder] => (frames, prompt, Some(Path::new(folder))),
        _ => return Err("usage: video_frames FOLDER PROMPT [MODEL_FOLDER]".into()),
    };
    let detector = Detector::builder()
        .bundle(Bundle::from_dir_or_nano(folder)?)
        .build()?;
    let prompt = detector.encode_prompt(prompt.as_str())?;
    let frames = common::pictures_in(Path::new(frames))?;

    let start = Instant::now();
    let (send, receive) = mpsc::sync_channel(READ_AHEAD);
    thread::scope(|scope| {
        scope.spawn(|| read_all(&frames, send));
        for (path, picture) in receive {
            let found = detector.ground(picture?, &prompt)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            println!("{name}: {} found", found.len());
            for detection in &found {
                println!(
                    "  {} {:.2} {:?}",
                    detection.phrase, detection.score, detection.bbox
                );
            }
        }
        Result::Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let rate = frames.len() as f64 / seconds;
    println!(
        "{} frames in {seconds:.1} s: {rate:.1} frames per second",
        frames.len()
    );
    Ok(())
}

/// A frame's file and its picture, or why it cannot be read.
type Frame<'a> = (&'a Path, Result<DynamicImage>);

/// Reads frames until nobody takes them any more.
fn read_all<'a>(frames: &'a [PathBuf], send: mpsc::SyncSender<Frame<'a>>) {
    for path in frames {
        if send.send((path, common::read_picture(path))).is_err() {
            return;
        }
    }
}
