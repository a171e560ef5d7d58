//! What the source promises about itself: which module of a crate may use which, and that no files go
//! round in a circle.

#![allow(clippy::unwrap_used, clippy::panic)] // It is all tests.

mod imports;
mod layers;
mod tables;

use std::{
    fs,
    path::{Path, PathBuf},
};

use layers::{Allowed, assert_layers, assert_no_circle};
use tables::{CAPI, COMMAND, LIBRARY, ROS2, TOOLS};

/// The folders with the crates' sources.
const CRATES: [(&str, &Allowed); 5] = [
    ("src", LIBRARY),
    ("glip-tools/src", TOOLS),
    ("glip-tools/src/bin/command", COMMAND),
    ("glip-capi/src", CAPI),
    ("glip-ros2/src", ROS2),
];

fn source(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

#[test]
fn modules_use_those_that_they_may() {
    for (folder, allowed) in CRATES {
        assert_layers(&source(folder), allowed);
    }
}

#[test]
fn no_files_go_round_in_a_circle() {
    for (folder, _) in CRATES {
        assert_no_circle(&source(folder));
    }
}

/// Only sessions and the runtime know ONNX Runtime, so that the rest can be used and tested without it.
#[test]
fn only_sessions_and_runtime_use_ort() {
    let source = source("src");
    let mut folders = vec![source.clone()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&source).unwrap();
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
