//! The boxes of the picture wired by hand: what `Detector::ground` does, step by step.
//!
//!     cargo run --release --example compose -- IMAGE PROMPT [MODEL_FOLDER]

mod common;

use std::{env, path::Path, process::ExitCode};

use common::Result;
use glip::{
    Bundle, Prompt, Runtime,
    parts::{Fusion, GroundingHead, ImageEncoder, SessionOptions, TextEncoder},
};

fn main() -> ExitCode {
    common::report(run())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (image, prompt, folder) = match &arguments[..] {
        [image, prompt] => (image, prompt, None),
        [image, prompt, folder] => (image, prompt, Some(Path::new(folder))),
        _ => return Err("usage: compose IMAGE PROMPT [MODEL_FOLDER]".into()),
    };

    // Loading: each part takes from the model what it needs, and from the options where it runs.
    let runtime = Runtime::load()?;
    let model = Bundle::from_dir_or_nano(folder)?;
    let manifest = model.manifest();
    let options = SessionOptions::default();
    let preprocessor = manifest.preprocessor()?;
    let tokenizer = model.tokenizer()?;
    let image_encoder = ImageEncoder::load(&runtime, &model, &options)?;
    let text_encoder = TextEncoder::load(&runtime, &model, &options)?;
    let fusion = Fusion::load(&runtime, &model, &options)?;
    let head = GroundingHead::load(&runtime, &model, &options)?;
    let postprocessor = manifest.postprocessor()?;

    // The image side.
    let picture = common::read_picture(Path::new(image))?;
    let pixels = preprocessor.run(&picture)?;
    println!("pixels    {:?}", pixels.pixels().shape());
    let pyramid = image_encoder.run(&pixels)?;
    for (level, size) in pyramid.level_sizes().iter().enumerate() {
        println!(
            "P{}        {} x {} cells",
            level + 3,
            size.width,
            size.height
        );
    }

    // The text side.
    let tokens = tokenizer.tokenize(&Prompt::from(prompt.as_str()))?;
    println!("tokens    {:?}", tokens.ids());
    let text = text_encoder.run(&tokens)?;
    if let Some(hidden) = text.hidden() {
        println!("text      {:?}", hidden.shape());
    }

    // Where they meet.
    let fused = fusion.run(&pyramid, &text)?;
    let output = head.run(&fused)?;
    println!("logits    {:?}", output.logits().shape());

    let found = postprocessor.run(&output, tokens.phrases(), pixels.geometries())?;
    for detection in &found[0] {
        println!(
            "{} {:.2} {:?}",
            detection.phrase, detection.score, detection.bbox
        );
    }
    Ok(())
}
