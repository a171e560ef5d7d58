//! Something of one's own from the head's raw output: not boxes, but a map of where a phrase is.
//!
//!     cargo run --release --example custom_postprocess -- IMAGE PHRASE OUTPUT.png [MODEL_FOLDER]

mod common;

use std::{env, path::Path, process::ExitCode};

use common::Result;
use glip::{
    Detector, HeadOutput, ImageGeometry, Prompt, TokenizedPhrase,
    postprocess::{Aggregation, Anchors, Corners, HeadView, phrase_scores},
};
use image::{Rgb, RgbImage};
use ndarray::Array2;

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
    let detector = Detector::builder().bundle(common::model(folder)?).build()?;
    let picture = common::read_picture(Path::new(image))?;
    let scene = detector.encode_image(&picture)?;
    let query = detector.encode_prompt(Prompt::categories([phrase]))?;

    // Up to here the detector's own way; from here on ours.
    let prompt = &query.prompts()[0];
    let fused = detector.fusion().run(scene.pyramid(), prompt.text())?;
    let raw = detector.head().run(&fused)?;
    let anchors = Anchors::new(&detector.manifest().anchors, &raw.level_sizes)?;
    let geometry = scene.geometry();
    let map = score_map(&raw, &prompt.phrases()[0], &anchors, &geometry)?;
    let best = map.iter().copied().fold(0.0, f32::max);
    println!("the best score for {phrase:?} is {best:.2}");

    paint(&picture.into_rgb8(), &map).save(output)?;
    println!("wrote {output}");
    Ok(())
}

/// For every pixel of the original image the best score of all anchors whose middle half covers it:
/// `[height, width]`, 0 to 1.
fn score_map(
    raw: &HeadOutput,
    phrase: &TokenizedPhrase,
    anchors: &Anchors,
    geometry: &ImageGeometry,
) -> Result<Array2<f32>> {
    let view = HeadView::new(raw, 0)?;
    let scores = phrase_scores(
        view.logits(),
        std::slice::from_ref(&phrase.tokens),
        Aggregation::Mean,
    )?;
    let mut map = Array2::zeros((
        geometry.original.height as usize,
        geometry.original.width as usize,
    ));
    for level in anchors.levels() {
        for anchor in level.range() {
            let score = scores[[anchor, 0]];
            let [left, top, right, bottom] = middle_half(level.anchor(anchor), geometry);
            for y in top..bottom.min(map.nrows()) {
                for x in left..right.min(map.ncols()) {
                    map[[y, x]] = score.max(map[[y, x]]);
                }
            }
        }
    }
    Ok(map)
}

/// The pixels of the original image under the middle half of an anchor. Edges left of or above the
/// image become 0.
fn middle_half([x1, y1, x2, y2]: Corners, geometry: &ImageGeometry) -> [usize; 4] {
    let x_scale = geometry.original.width as f32 / geometry.resized.width as f32;
    let y_scale = geometry.original.height as f32 / geometry.resized.height as f32;
    let (width, height) = (x2 - x1, y2 - y1);
    [
        (x1 + 0.25 * width) * x_scale,
        (y1 + 0.25 * height) * y_scale,
        (x2 - 0.25 * width) * x_scale,
        (y2 - 0.25 * height) * y_scale,
    ]
    .map(|edge| edge as usize)
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
