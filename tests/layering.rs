//! What the source promises about itself: which module may use which, and that no files go round in a
//! circle.

#![allow(clippy::unwrap_used, clippy::panic)] // It is all tests.
#![allow(dead_code)] // The reader has its own tests where it lives.

#[path = "../glip-tools/tests/common/imports.rs"]
mod imports;
#[path = "../glip-tools/tests/common/layers.rs"]
mod layers;

use std::{fs, path::Path};

use layers::{Allowed, assert_layers, assert_no_circle};

/// From what everyone may use to what uses everything.
const ARROWS: &Allowed = &[
    ("error", ""),
    ("regular_file", ""),
    ("geometry", "error"),
    ("head_output", "error geometry"),
    ("detection", "geometry"),
    ("mask", "detection error geometry"),
    ("tracks", "detection error geometry"),
    ("control", "error"),
    ("files", "error regular_file"),
    ("runtime", "error regular_file"),
    ("prompt", "error regular_file"),
    ("preprocess", "error geometry"),
    (
        "postprocess",
        "detection error geometry head_output mask prompt",
    ),
    ("draw", "detection error geometry mask"),
    ("spare", ""),
    ("kernels", "spare"),
    ("session", "control error files kernels runtime spare"),
    ("family", "session"),
    (
        "bundle",
        "error family files postprocess preprocess prompt session",
    ),
    (
        "graph",
        "bundle control error files geometry head_output preprocess prompt runtime session spare",
    ),
    (
        "detector",
        "bundle control detection error geometry graph head_output postprocess preprocess prompt runtime spare",
    ),
    (
        "segmenter",
        "bundle control error family geometry mask postprocess preprocess runtime session",
    ),
    (
        "live",
        "control detection detector error geometry postprocess preprocess tracks",
    ),
];

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

#[test]
fn modules_use_those_that_they_may() {
    assert_layers(source(), ARROWS);
}

#[test]
fn no_files_go_round_in_a_circle() {
    assert_no_circle(source());
}

/// Only sessions and the runtime know ONNX Runtime, so that the rest can be used and tested without it.
#[test]
fn only_sessions_and_runtime_use_ort() {
    let mut folders = vec![source().to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(source()).unwrap();
            if name.starts_with("session") || name.starts_with("runtime") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("ort::"), "{} uses ort", name.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen} files");
}
