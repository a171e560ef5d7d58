//! Model folders: a good one opens, and every way to spoil one is an error that says what is wrong.

mod common;

use std::{error::Error as _, fs};

use common::{copy_of, edit_manifest, fixture};
use glip::{Bundle, Error};
use serde_json::{Value, json};

#[test]
fn a_model_folder_opens() {
    let bundle = Bundle::from_dir(fixture("colour")).unwrap();

    let manifest = bundle.manifest();
    assert_eq!(manifest.name, "colour");
    assert_eq!(manifest.text.max_tokens, 12);
    assert_eq!(manifest.anchors.strides, [8, 16, 32, 64, 128]);
    let fusion = manifest.graphs.fusion.as_ref().unwrap();
    assert_eq!(fusion.file, "fusion.onnx");
    assert_eq!(fusion.inputs[5].name, "hidden");
}

#[test]
fn a_model_without_fusion_says_so() {
    let bundle = Bundle::from_dir(fixture("colour_without_fusion")).unwrap();

    assert_eq!(bundle.manifest().graphs.fusion, None);
}

#[test]
fn a_model_in_memory_is_the_same_as_its_folder() {
    let files = [
        "glip.json",
        "tokenizer.json",
        "image_encoder.onnx",
        "text_encoder.onnx",
        "head.onnx",
    ];
    let folder = fixture("colour_without_fusion");
    let bytes = files.map(|name| (name, &*fs::read(folder.join(name)).unwrap().leak()));

    let bundle = Bundle::from_bytes(bytes).unwrap();

    let from_dir = Bundle::from_dir(&folder).unwrap();
    assert_eq!(bundle.manifest(), from_dir.manifest());
    let error = Bundle::from_bytes(bytes.into_iter().take(4)).unwrap_err();
    assert!(matches!(&error, Error::BundleFile { path, .. } if path.ends_with("head.onnx")));
}

#[test]
fn a_missing_folder_names_the_manifest() {
    let error = Bundle::from_dir("no/such/folder").unwrap_err();

    assert!(matches!(error, Error::BundleFile { .. }), "{error}");
    assert!(error.to_string().contains("glip.json"), "{error}");
    assert!(error.source().is_some());
}

#[test]
fn a_missing_file_is_named() {
    let folder = copy_of("colour");
    fs::remove_file(folder.path().join("head.onnx")).unwrap();

    let error = Bundle::from_dir(folder.path()).unwrap_err();

    assert!(matches!(error, Error::BundleFile { .. }), "{error}");
    assert!(error.to_string().contains("head.onnx"), "{error}");
}

#[test]
fn a_garbled_manifest_is_an_error() {
    let folder = copy_of("colour");
    for garbage in ["", "{", "[]", "{\"format_version\": 1}", "\u{0}"] {
        fs::write(folder.path().join("glip.json"), garbage).unwrap();

        let error = Bundle::from_dir(folder.path()).unwrap_err();

        assert!(
            matches!(error, Error::ManifestSyntax { .. }),
            "{garbage:?}: {error}"
        );
        assert!(error.source().is_some());
    }
}

#[test]
fn an_unknown_version_is_an_error_whatever_else_the_manifest_holds() {
    let folder = copy_of("colour");
    fs::write(
        folder.path().join("glip.json"),
        r#"{"format_version": 2, "new": []}"#,
    )
    .unwrap();

    let error = Bundle::from_dir(folder.path()).unwrap_err();

    let expected = matches!(
        error,
        Error::ManifestVersion {
            found: 2,
            supported: 1,
            ..
        }
    );
    assert!(expected, "{error}");
}

#[test]
fn a_cut_off_file_is_an_error() {
    let folder = copy_of("colour");
    let path = folder.path().join("fusion.onnx");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..100]).unwrap();

    let error = Bundle::from_dir(folder.path()).unwrap_err();

    assert!(
        matches!(error, Error::BundleSize { found: 100, .. }),
        "{error}"
    );
}

#[test]
fn a_changed_file_is_an_error() {
    let folder = copy_of("colour");
    let path = folder.path().join("fusion.onnx");
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, &bytes).unwrap();

    let error = Bundle::from_dir(folder.path()).unwrap_err();

    assert!(matches!(error, Error::BundleHash { .. }), "{error}");
    assert!(error.to_string().contains("fusion.onnx"), "{error}");
}

#[test]
fn values_that_make_no_sense_are_named() {
    let hash = "0".repeat(64);
    for (pointer, value, field) in [
        ("/image/std/1", json!(0.0), "image.std"),
        ("/image/size_divisor", json!(16), "image.size_divisor"),
        ("/image/size_divisor", json!(0), "image.size_divisor"),
        (
            "/image/resize/short_side",
            json!(0),
            "image.resize.short_side",
        ),
        ("/text/max_tokens", json!(2), "text.max_tokens"),
        ("/text/hidden_size", json!(0), "text.hidden_size"),
        ("/text/tokenizer", json!("other.json"), "text.tokenizer"),
        ("/anchors/strides", json!([]), "anchors.strides"),
        (
            "/anchors/strides",
            json!([8, 16, 32, 64]),
            "postprocess.anchors",
        ),
        (
            "/anchors/strides",
            json!([8, 16, 16, 64, 128]),
            "anchors.strides",
        ),
        ("/anchors/sizes/0", json!(0), "postprocess.anchors"),
        ("/box_coder/weights/3", json!(-5), "postprocess.box_coder"),
        (
            "/box_coder/max_log_scale",
            json!(0),
            "postprocess.box_coder",
        ),
        (
            "/postprocess/candidate_threshold",
            json!(1.5),
            "postprocess.candidate_threshold",
        ),
        (
            "/postprocess/score_threshold",
            json!(-0.1),
            "postprocess.score_threshold",
        ),
        (
            "/postprocess/nms_iou_threshold",
            json!(2),
            "postprocess.nms_iou_threshold",
        ),
        (
            "/postprocess/candidates_per_level",
            json!(0),
            "postprocess.candidates_per_level",
        ),
        (
            "/postprocess/max_detections",
            json!(0),
            "postprocess.max_detections",
        ),
        ("/graphs/head/file", json!("other.onnx"), "graphs.head.file"),
        (
            "/files/head.onnx/sha256",
            json!("abc"),
            "files.head.onnx.sha256",
        ),
        (
            "/files",
            json!({"../x": {"bytes": 1, "sha256": hash}}),
            "text.tokenizer",
        ),
    ] {
        let folder = copy_of("colour");
        edit_manifest(folder.path(), |manifest| {
            *manifest.pointer_mut(pointer).unwrap() = value.clone();
        });

        let error = Bundle::from_dir(folder.path()).unwrap_err();

        let named = matches!(&error, Error::ManifestValue { field: found, .. } if found == field);
        assert!(named, "{pointer} = {value}: {error}");
    }
}

#[test]
fn files_outside_the_folder_are_refused() {
    for name in ["../head.onnx", "/etc/passwd", "a/b", "."] {
        let folder = copy_of("colour");
        edit_manifest(folder.path(), |manifest| {
            let entry = manifest["files"]["head.onnx"].clone();
            manifest["files"][name] = entry;
        });

        let error = Bundle::from_dir(folder.path()).unwrap_err();

        assert!(
            matches!(error, Error::ManifestValue { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn wrong_types_are_an_error() {
    for pointer in ["/graphs/head", "/image", "/files", "/text/max_tokens"] {
        let folder = copy_of("colour");
        edit_manifest(folder.path(), |manifest| {
            *manifest.pointer_mut(pointer).unwrap() = Value::Null;
        });

        let error = Bundle::from_dir(folder.path()).unwrap_err();

        assert!(
            matches!(error, Error::ManifestSyntax { .. }),
            "{pointer}: {error}"
        );
    }
}
