//! From words to pixels, in the fewest lines: finds phrases in a picture, then the pixels of each thing. The example
//! `ground` does it with options, and writes the pixels as JSON (`--segmenter`).
//!
//!     cargo run --release --example segment -- IMAGE PROMPT SEGMENTER_FOLDER OUTPUT.png [MODEL_FOLDER]

mod common;

use std::{env, path::Path, process::ExitCode};

use common::Result;
use glip::{Bundle, Detector, Segmenter, draw_detections, draw_masks};

fn main() -> ExitCode {
    common::report(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (image, prompt, segmenter, output, folder) = match &arguments[..] {
        [image, prompt, segmenter, output] => (image, prompt, segmenter, output, None),
        [image, prompt, segmenter, output, folder] => {
            (image, prompt, segmenter, output, Some(Path::new(folder)))
        }
        _ => {
            let usage = "usage: segment IMAGE PROMPT SEGMENTER_FOLDER OUTPUT.png [MODEL_FOLDER]";
            return Err(usage.into());
        }
    };
    let detector = Detector::builder()
        .bundle(Bundle::from_dir_or_nano(folder)?)
        .build()?;
    let segmenter = Segmenter::from_dir(segmenter)?;
    let picture = common::read_picture(Path::new(image))?;

    let found = detector.ground(&picture, prompt)?;
    let masks = segmenter.masks(&picture, found.boxes())?;

    for (detection, mask) in found.iter().zip(&masks) {
        let share = mask.area() as f32 / detection.bbox.area().max(1.0);
        println!(
            "{} {:.2}: {} pixels, {:.0} % of its box, held to be right by {:.2}",
            detection.phrase,
            detection.score,
            mask.area(),
            100.0 * share,
            mask.score()
        );
    }
    let mut drawing = picture.into_rgb8();
    draw_masks(&mut drawing, &found, &masks)?;
    draw_detections(&mut drawing, &found);
    drawing.save(output)?;
    println!("wrote {output}");
    Ok(())
}
