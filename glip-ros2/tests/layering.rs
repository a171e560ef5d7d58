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
    ("loader", "error"),
    ("threads", "error"),
    ("picture", "error messages"),
    ("ros", "error threads"),
    ("diagnostics", "faults messages"),
    ("looker", "error loader messages picture"),
    ("outputs", "error faults looker messages ros threads"),
    ("service", "error messages outputs picture threads"),
    ("parameters", "error looker"),
    ("arguments", "loader"),
    (
        "node",
        "arguments diagnostics error faults looker messages outputs parameters picture ros service threads",
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
