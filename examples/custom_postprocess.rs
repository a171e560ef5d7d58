//! Something of one's own from the head's raw output: not boxes, but a map of where a phrase is.
//!
//!     cargo run --release --example custom_postprocess -- IMAGE PHRASE OUTPUT.png [MODEL_FOLDER]

mod common;

use std::{env, path::Path, process::ExitCode};

use common::Result;
use glip::{
    Bundle, Detector,
    parts::RawOutput,
    postprocess::{Aggregation, Anchors, BoxesView, Corners, HeadSpec, HeadView, phrase_scores},
};
use image::{Rgb, RgbImage};
use ndarray::{Array2, s};

fn main() -> ExitCode {
    common::report(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (image, phrase, output, folder) = match &arguments[..] {
        [image, phrase, output] => (image, phrase, output, None),
        [image, phrase, output, folder] => (image, phrase, output, Some(Path::new(folder))),
        _ => return Err("usage: custom_postprocess IMAGE PHRASE OUTPUT.png [MODEL_FOLDER]".into()),
    };
    let detector = Detector::builder()
        .bundle(Bundle::from_dir_or_nano(folder)?)
        .build()?;
    let picture = common::read_picture(Path::new(image))?;
    let raw = &detector.head_outputs(&picture, [phrase.as_str()])?[0];

    // Up to here the detector's own way; from here on ours.
    let map = score_map(raw, detector.manifest().head())?;
    let best = map.iter().copied().fold(0.0, f32::max);
    println!("the best score for {phrase:?} is {best:.2}");

    paint(&picture.into_rgb8(), &map).save(output)?;
    println!("wrote {output}");
    Ok(())
}

/// For every pixel of the original image the best score of all anchors whose middle half covers it:
/// `[height, width]`, 0 to 1.
fn score_map(raw: &RawOutput, head: &HeadSpec) -> Result<Array2<f32>> {
    let view = HeadView::new(&raw.head, 0)?;
    let (HeadSpec::Anchors { anchors, .. }, BoxesView::Anchors { level_sizes, .. }) =
        (head, view.boxes())
    else {
        return Err("the model's head has no anchors".into());
    };
    let tokens = [&raw.phrases[0].tokens];
    let scores = phrase_scores(view.logits(), &tokens, Aggregation::Mean)?;
    let size = raw.geometry.original;
    let mut map = Array2::<f32>::zeros((size.height as usize, size.width as usize));
    for level in Anchors::new(anchors, level_sizes)?.levels() {
        for anchor in level.range() {
            let score = scores[[anchor, 0]];
            let middle = raw
                .geometry
                .to_original(middle_half(level.anchor(anchor)))?;
            if let Some(pixels) = middle.to_pixels(size) {
                let [x, y, width, height] = pixels.map(|pixels| pixels as usize);
                map.slice_mut(s![y..y + height, x..x + width])
                    .mapv_inplace(|best| best.max(score));
            }
        }
    }
    Ok(map)
}

/// The edges of the middle half of an anchor, whose corners are its first and last pixels.
fn middle_half([x1, y1, x2, y2]: Corners) -> Corners {
    let (width, height) = (x2 - x1 + 1.0, y2 - y1 + 1.0);
    [
        x1 + 0.25 * width,
        y1 + 0.25 * height,
        x1 + 0.75 * width,
        y1 + 0.75 * height,
    ]
}

/// The picture in grey, and red where the scores are high.
fn paint(picture: &RgbImage, map: &Array2<f32>) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let Rgb([red, green, blue]) = *picture.get_pixel(x, y);
        let grey = (f32::from(red) + f32::from(green) + f32::from(blue)) / 3.0;
        let score = map[[y as usize, x as usize]];
        let mixed = |colour: f32| (grey * (1.0 - score) + colour * score) as u8;
        Rgb([mixed(255.0), mixed(0.0), mixed(0.0)])
    })
}
