//! Which module may use which: data flows one way, and no files go round in a circle.

#![allow(clippy::unwrap_used, clippy::panic)] // It is all tests.

#[path = "common/imports.rs"]
mod imports;
#[path = "common/layers.rs"]
mod layers;

use std::{
    fs,
    path::{Path, PathBuf},
};

use imports::{circle, dependencies};
use layers::{Allowed, assert_layers, assert_no_circle};

const LIBRARY: &Allowed = &[
    ("causes", ""),
    ("ordered", ""),
    ("problem", ""),
    ("terminal", ""),
    ("progress", "terminal"),
    ("failure", "causes"),
    ("error", "failure problem"),
    ("files", "error"),
    ("atomic", "error files"),
    ("stamp", "error files"),
    ("text", "error files"),
    ("values", "text"),
    ("walk", "error files"),
    ("pictures", "atomic error files walk"),
    ("run_file", "atomic error files"),
    ("segmentation", "values"),
    ("coco", "error pictures problem segmentation text values"),
    ("yolo", "causes coco error files pictures problem text walk"),
    ("grounding", "error files segmentation text values"),
    (
        "eval",
        "atomic causes coco error files ordered pictures problem run_file segmentation stamp text values walk",
    ),
    (
        "label",
        "atomic error failure files grounding ordered pictures run_file segmentation stamp text values walk yolo",
    ),
];

const COMMAND: &Allowed = &[
    ("model", ""),
    ("output", ""),
    ("pictures", ""),
    ("remedies", ""),
    ("signals", ""),
    ("ground", "model output pictures"),
    ("label", "model output pictures signals"),
    ("evaluate", "model output pictures signals"),
];

fn crates() -> [(PathBuf, &'static Allowed); 2] {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    [
        (source.clone(), LIBRARY),
        (source.join("bin/command"), COMMAND),
    ]
}

#[test]
fn modules_use_those_that_they_may() {
    for (folder, allowed) in crates() {
        assert_layers(&folder, allowed);
    }
}

#[test]
fn no_files_go_round_in_a_circle() {
    for (folder, _) in crates() {
        assert_no_circle(&folder);
    }
}

// ---- The reader ----

/// What the files of a crate with these sources use: line, from, to.
fn read(files: &[(&str, &str)]) -> Vec<(usize, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    for (name, source) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
    }
    let edges = dependencies(folder.path()).into_iter();
    edges.map(|edge| (edge.line, edge.from, edge.to)).collect()
}

/// What the file `a/b.rs` of a crate with the modules `a`, `a::b`, `a::c` and `d` uses.
fn read_b(source: &str) -> Vec<(usize, String)> {
    let files = [
        ("lib.rs", "mod a; mod d;"),
        ("a/mod.rs", "mod b; mod c;"),
        ("a/b.rs", source),
        ("a/c.rs", ""),
        ("d.rs", ""),
    ];
    let edges = read(&files).into_iter();
    edges
        .filter(|(_, from, _)| from == "a::b")
        .map(|(line, _, to)| (line, to))
        .collect()
}

fn owned(edges: &[(usize, &str)]) -> Vec<(usize, String)> {
    let edges = edges.iter();
    edges.map(|(line, to)| (*line, (*to).to_owned())).collect()
}

#[test]
fn imports_are_seen_in_every_form() {
    let cases: [(&str, &[(usize, &str)]); 10] = [
        ("use crate::d::Thing;", &[(1, "d")]),
        (
            "\nuse crate::{\n    a::c::{self, Thing},\n    d,\n    Error,\n};",
            &[(3, "a::c"), (3, "a::c"), (4, "d"), (5, "crate")],
        ),
        (
            "use super::{c::Thing as Other, Of};",
            &[(1, "a::c"), (1, "a")],
        ),
        ("use super::super::d::*;", &[(1, "d")]),
        ("pub use crate::a::c::Thing;", &[(1, "a::c")]),
        (
            "fn f() -> crate::d::Thing {\n    super::c::g()\n}",
            &[(1, "d"), (2, "a::c")],
        ),
        (
            "fn f() { assert!(matches!(x, crate::d::Kind::One)) }",
            &[(1, "d")],
        ),
        // A module within the file is one deeper.
        (
            "mod inner { use super::super::c::Thing; use super::f; }",
            &[(1, "a::c")],
        ),
        (
            "use std::fmt; use serde::d::Thing; use other::{crate_, super_};",
            &[],
        ),
        (
            "//! [crate::d]\n/* use crate::d; */\nconst TEXT: &str = \"use crate::d;\";\npub(in crate::a) fn f() {}",
            &[],
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(read_b(source), owned(expected), "{source}");
    }
}

#[test]
fn what_is_for_tests_is_not_seen() {
    let source = "\
        #[cfg(test)] use crate::d::A;
        #[cfg(test)]
        mod tests { use crate::d::B; fn f() { super::super::c::g() } }
        #[cfg(all(test, unix))] #[allow(dead_code)] fn f() { crate::d::h() }
        fn last() -> impl Fn() + use<> { crate::a::c::g() }";
    assert_eq!(read_b(source), owned(&[(5, "a::c")]));
    // Files of tests too.
    let files = [
        ("lib.rs", "mod a;\n#[cfg(test)]\nmod tests;"),
        ("a.rs", ""),
        ("tests.rs", "use crate::a;"),
    ];
    assert_eq!(read(&files), [(1, "crate".to_owned(), "a".to_owned())]);
}

#[test]
fn a_module_uses_those_that_it_declares_or_names() {
    let files = [
        (
            "main.rs",
            "mod a;\nfn main() { a::b::run() }\nuse a::Thing;",
        ),
        ("a.rs", "mod b;"),
        ("a/b.rs", "use super::helper;"),
    ];
    let found = read(&files);
    let found: Vec<_> = found
        .iter()
        .map(|(line, from, to)| (*line, from.as_str(), to.as_str()))
        .collect();
    let expected = [
        (1, "a", "a::b"),
        (1, "a::b", "a"),
        (1, "crate", "a"),
        (2, "crate", "a::b"),
        (3, "crate", "a"),
    ];
    assert_eq!(found, expected);
    let pairs = found.iter().map(|(_, from, to)| (*from, *to));
    assert_eq!(circle(pairs), Some(vec!["a", "a::b"]));
    assert_eq!(circle([("a", "b"), ("b", "c"), ("a", "c")]), None);
}
