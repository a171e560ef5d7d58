//! What several test files need.

#![allow(dead_code)] // Each test file uses a part of it.
#![allow(clippy::unwrap_used, clippy::panic)] // Clippy does not see that helpers of tests are tests.

pub(crate) mod golden;

use std::{
    fs,
    path::{Path, PathBuf},
};

use glip::{
    Detector,
    parts::{GridSize, HeadBoxes, HeadOutput},
};
use image::DynamicImage;
use ndarray::{ArrayView2, ArrayView3};
use serde_json::{Value, json};

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

/// A copy of a model folder whose manifest, of format 1, is written as one of format 2.
pub(crate) fn copy_in_format_2(name: &str) -> tempfile::TempDir {
    let copy = copy_of(name);
    edit_manifest(copy.path(), |manifest| {
        let old = manifest.take();
        let (image, anchors) = (&old["image"], &old["anchors"]);
        *manifest = json!({
            "format_version": 2,
            "family": "glip",
            "name": old["name"],
            "variant": old["variant"],
            "precision": old["precision"],
            "image": {
                "resize": {
                    "kind": "short_side",
                    "short_side": image["resize"]["short_side"],
                    "long_side": image["resize"]["long_side"],
                },
                "channel_order": image["channel_order"],
                "mean": image["mean"],
                "std": image["std"],
                "padding": {"multiple_of": image["size_divisor"]},
            },
            "prompt": {"separator": ". ", "closing": ""},
            "text": old["text"],
            "features": {
                "levels": anchors["strides"].as_array().unwrap().len(),
                "type": "float32",
            },
            "head": {
                "kind": "anchors",
                "strides": anchors["strides"],
                "sizes": anchors["sizes"],
                "box_coder": old["box_coder"],
            },
            "postprocess": old["postprocess"],
            "graphs": old["graphs"],
            "files": old["files"],
            "source": old["source"],
        });
    });
    copy
}

/// What a head of anchors says of boxes: deltas, centerness and the levels' sizes.
pub(crate) fn of_anchors(
    output: &HeadOutput,
) -> (ArrayView3<'_, f32>, ArrayView2<'_, f32>, &[GridSize]) {
    match output.boxes() {
        HeadBoxes::Anchors {
            deltas,
            centerness,
            level_sizes,
        } => (deltas.view(), centerness.view(), level_sizes.as_slice()),
        other => panic!("not of anchors: {other:?}"),
    }
}
