//! Which module may use which: data flows one way, and no files go round in a circle.

#![allow(clippy::unwrap_used, clippy::panic)] // It is all tests.
#![allow(dead_code)] // The reader has its own tests where it lives.

#[path = "../../glip-tools/tests/common/imports.rs"]
mod imports;
#[path = "../../glip-tools/tests/common/layers.rs"]
mod layers;

use std::path::Path;

use layers::{Allowed, assert_layers, assert_no_circle};

/// From what everyone may use to what uses everything.
const ARROWS: &Allowed = &[
    ("error", ""),
    ("faults", ""),
    ("messages", ""),
    ("picture", "error messages"),
    ("detections", "messages"),
    ("diagnostics", "faults messages"),
    ("looker", "error messages picture"),
    ("parameters", "error looker"),
    ("arguments", "looker"),
    (
        "node",
        "arguments detections diagnostics error faults looker messages parameters picture",
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
