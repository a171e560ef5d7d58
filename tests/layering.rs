//! What the source promises about itself.

use std::{fs, path::Path};

/// Only the graphs and the runtime know ONNX Runtime, so that the rest can be used and tested without it.
#[test]
fn only_graphs_and_runtime_use_ort() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&source).unwrap();
            if name.starts_with("graph") || name.starts_with("runtime") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("ort::"), "{} uses ort", name.display());
            }
        }
    }
}
