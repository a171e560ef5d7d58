//! glip-nano: a small GLIP that sees photographs, as the bytes of its files.
//!
//! `glip-rs` has it as `glip::Detector::nano()` (feature `nano`). It is a crate of its own, with the
//! model's version, so that releases of the library do not carry it each time. Its card, README.md, says
//! what it knows and what it does not; NOTICE says whose work the weights are made of.

/// The files of the model's folder by name: the manifest `glip.json`, and all that it lists.
///
/// `glip::Bundle::from_bytes(glip_nano::FILES)` opens them.
// A static is in a program once; a constant might be copied into every crate that uses it.
pub static FILES: [(&str, &[u8]); 6] = [
    ("glip.json", include_bytes!("../glip.json")),
    ("tokenizer.json", include_bytes!("../tokenizer.json")),
    (
        "image_encoder.onnx",
        include_bytes!("../image_encoder.onnx"),
    ),
    ("text_encoder.onnx", include_bytes!("../text_encoder.onnx")),
    ("fusion.onnx", include_bytes!("../fusion.onnx")),
    ("head.onnx", include_bytes!("../head.onnx")),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

    use std::collections::BTreeSet;

    use super::FILES;

    #[test]
    fn the_files_are_those_of_the_manifest() {
        let (_, manifest) = FILES[0];
        let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        let listed = manifest["files"].as_object().unwrap();
        let mut expected: BTreeSet<&str> = listed.keys().map(String::as_str).collect();
        expected.insert("glip.json");

        let names: BTreeSet<&str> = FILES.iter().map(|(name, _)| *name).collect();

        assert_eq!(names, expected);
    }

    #[test]
    fn the_model_is_small() {
        let bytes: usize = FILES.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= 8_000_000, "{bytes} bytes");
    }
}
