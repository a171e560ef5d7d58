//! Hostile bytes for everything that reads what strangers send.
//!
//! A *target* takes any bytes, hands them to one reader of the project, and checks what every result
//! must hold: sorted scores, boxes inside pictures, lines that come back as they were written. Errors
//! are fine, panics are findings. `README.md` says how to run them.

use std::{
    fs,
    path::{Path, PathBuf},
};

mod boxes;
mod data;
mod input;
mod masks;
mod models;
mod pixels;
mod tokens;
mod words;

/// What a target does with an input. It panics if something is wrong.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its folder of seeds.
pub const TARGETS: [(&str, Target); 29] = [
    ("camera", pixels::camera),
    ("categories_json", words::categories_json),
    ("categories_yaml", words::categories_yaml),
    ("coco", data::coco),
    ("detections", boxes::detections),
    ("draw", pixels::draw),
    ("flickr", data::flickr),
    ("geometry", pixels::geometry),
    ("grounding_records", data::grounding_records),
    ("journal", data::journal),
    ("learned_prompt", models::learned_prompt),
    ("manifest", models::manifest),
    ("nms", boxes::suppression),
    ("noun_phrases", words::noun_phrases),
    ("perceptron", models::perceptron),
    ("picture", pixels::picture),
    ("polygons", masks::polygons),
    ("postprocess", boxes::postprocess),
    ("predictions", data::predictions),
    ("preprocess", pixels::preprocess),
    ("prompt", words::prompt),
    ("request_lines", data::request_lines),
    ("results", data::results),
    ("run_lengths", masks::run_lengths),
    ("segmenter_manifest", models::segmenter_manifest),
    ("shard", data::shard),
    ("tiling", boxes::tiling),
    ("tokenizer", models::tokenizer),
    ("upsampling", masks::upsampling),
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, run)| *run)
}

/// The seeds of a target, in the order of their names: inputs that reach far, and those that were
/// findings once.
///
/// # Panics
/// The folder of the seeds is missing or unreadable.
pub fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a seed").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(&path).expect("a seed"));
    paths.into_iter().map(read).collect()
}
