//! What several test files need.

#![allow(dead_code)] // Each test file uses a part of it.
#![allow(clippy::unwrap_used, clippy::panic)] // Clippy does not see that helpers of tests are tests.

pub(crate) mod golden;

use std::{
    fs,
    path::{Path, PathBuf},
};

use glip::Detector;
use image::DynamicImage;
use serde_json::Value;

/// A model folder under tests/fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A model that knows coloured shapes and 130 drawn things. `drawn_picture` has pictures for it.
pub(crate) fn drawn() -> Detector {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/glip-drawn");
    Detector::from_dir(folder).unwrap()
}

/// A picture under tests/fixtures/drawn.
pub(crate) fn drawn_picture(file: &str) -> DynamicImage {
    image::open(fixture("drawn").join(file)).unwrap()
}

/// A copy of a model folder, to be spoilt.
pub(crate) fn copy_of(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Changes the manifest of a model folder.
pub(crate) fn edit_manifest(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join("glip.json");
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
}
