//! The committed header is the one that the source makes.

#![allow(clippy::unwrap_used, clippy::panic)] // It is all tests.

use std::{env, fs, path::Path};

const HEADER: &str = "include/glip/glip.h";

fn made() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new()
        .with_crate(root)
        .with_config(config)
        .generate()
        .unwrap();
    let mut header = Vec::new();
    bindings.write(&mut header);
    String::from_utf8(header).unwrap()
}

/// With GLIP_UPDATE_HEADER in the environment, keeps what the source makes.
#[test]
fn the_header_is_of_this_source() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(HEADER);
    let made = made();
    if env::var_os("GLIP_UPDATE_HEADER").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    for (line, (kept, made)) in kept.lines().zip(made.lines()).enumerate() {
        assert_eq!(
            kept,
            made,
            "line {} of {HEADER}: make capi-header",
            line + 1
        );
    }
    assert_eq!(kept.len(), made.len(), "{HEADER}: make capi-header");
}
