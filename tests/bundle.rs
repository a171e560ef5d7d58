//! Model folders: a good one opens, and every way to spoil one is an error that says what is wrong.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::{error::Error as _, fs};

use common::{copy_in_format_2, copy_of, edit_manifest, fixture};
use glip::{
    Bundle, Error, ErrorKind, Runtime,
    manifest::Precision,
    parts::{Fusion, GroundingHead, SessionOptions},
    postprocess::{AnchorOptions, HeadSpec},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

#[test]
fn a_model_folder_opens() {
    let bundle = Bundle::from_dir(fixture("colour")).unwrap();

    let manifest = bundle.manifest();
    assert_eq!(manifest.format_version(), 1);
    assert_eq!((manifest.name(), manifest.variant()), ("colour", "GLIP-T"));
    assert_eq!(manifest.family(), "glip");
    assert_eq!(manifest.precision(), Precision::Fp32);
    assert_eq!((manifest.max_tokens(), manifest.hidden_size()), (12, 4));
    assert_eq!(manifest.levels(), 5);
    let HeadSpec::Anchors { anchors, .. } = manifest.head() else {
        panic!("{:?}", manifest.head());
    };
    assert_eq!(*anchors, AnchorOptions::default());
    assert_eq!(manifest.source().weights, "made by hand for tests");
}

#[test]
fn a_model_without_fusion_says_so() {
    let bundle = Bundle::from_dir(fixture("colour_without_fusion")).unwrap();

    assert_eq!(bundle.manifest().variant(), "GLIP-T (A)");
    let runtime = Runtime::load().unwrap();
    let fusion = Fusion::load(&runtime, &bundle, &SessionOptions::default()).unwrap();
    assert_eq!(fusion.device(), None);
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
    let owned = files.map(|name| (name.to_owned(), fs::read(folder.join(name)).unwrap()));
    let embedded = files.map(|name| (name, &*fs::read(folder.join(name)).unwrap().leak()));

    let of_owned = Bundle::from_bytes(owned).unwrap();
    let of_embedded = Bundle::from_bytes(embedded).unwrap();

    let from_dir = Bundle::from_dir(&folder).unwrap();
    for bundle in [of_owned, of_embedded] {
        let (found, expected) = (bundle.manifest(), from_dir.manifest());
        assert_eq!(found.identity(), expected.identity());
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }
    let error = Bundle::from_bytes(embedded.into_iter().take(4)).unwrap_err();
    assert!(matches!(&error, Error::BundleFile { path, .. } if path.ends_with("head.onnx")));
}

#[test]
fn a_missing_folder_names_the_manifest() {
    let error = Bundle::from_dir("no/such/folder").unwrap_err();

    assert!(matches!(error, Error::BundleFile { .. }), "{error}");
    assert!(error.to_string().contains("glip.json"), "{error}");
    assert!(error.source().is_some());
    assert_eq!(error.kind(), ErrorKind::Model);
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
    for garbage in [
        "",
        "{",
        "[]",
        "{\"format_version\": 1}",
        "{\"format_version\": 2}",
        "\u{0}",
    ] {
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
        r#"{"format_version": 3, "new": []}"#,
    )
    .unwrap();

    let error = Bundle::from_dir(folder.path()).unwrap_err();

    let expected = matches!(
        error,
        Error::ManifestVersion {
            found: 3,
            supported: 2,
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
        ("/precision", json!("fp8"), "precision"),
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
        ("/anchors/strides", json!([8, 16, 32, 64]), "anchors"),
        (
            "/anchors/strides",
            json!([8, 16, 16, 64, 128]),
            "anchors.strides",
        ),
        ("/anchors/sizes/0", json!(0), "anchors"),
        ("/box_coder/weights/3", json!(-5), "box_coder"),
        ("/box_coder/max_log_scale", json!(0), "box_coder"),
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
        ("/graphs/image_encoder", json!(null), "graphs.image_encoder"),
        ("/graphs/head", json!(null), "graphs.head"),
        ("/graphs/head/file", json!("other.onnx"), "graphs.head.file"),
        (
            "/files/head.onnx/sha256",
            json!("abc"),
            "files.head.onnx.sha256",
        ),
        (
            "/files",
            json!({"../x": {"bytes": 1, "sha256": hash}}),
            "files",
        ),
    ] {
        check_is_named(&copy_of("colour"), pointer, &value, field);
    }
}

/// That a manifest with this value there is an error that names the field.
fn check_is_named(folder: &TempDir, pointer: &str, value: &Value, field: &str) {
    edit_manifest(folder.path(), |manifest| {
        *manifest.pointer_mut(pointer).unwrap() = value.clone();
    });

    let error = Bundle::from_dir(folder.path()).unwrap_err();

    let named = matches!(&error, Error::ManifestValue { field: found, .. } if found == field);
    assert!(named, "{pointer} = {value}: {error}");
    assert!(error.to_string().contains(field), "{error}");
}

#[test]
fn the_newest_format_opens_as_the_same_model() {
    let folder = copy_in_format_2("colour");

    let new = Bundle::from_dir(folder.path()).unwrap();

    let old = Bundle::from_dir(fixture("colour")).unwrap();
    let (new, old) = (new.manifest(), old.manifest());
    assert_eq!((new.format_version(), new.family()), (2, "glip"));
    assert_eq!((new.name(), new.variant()), (old.name(), old.variant()));
    assert_eq!(new.precision(), old.precision());
    assert_eq!(new.image(), old.image());
    assert_eq!(new.prompt(), old.prompt());
    assert_eq!(new.max_tokens(), old.max_tokens());
    assert_eq!(new.hidden_size(), old.hidden_size());
    assert_eq!(new.levels(), old.levels());
    assert_eq!(new.head(), old.head());
    assert_eq!(new.postprocess(), old.postprocess());
    assert_eq!(new.source(), old.source());
    // The files are the same.
    assert_eq!(new.identity(), old.identity());
}

#[test]
fn values_that_make_no_sense_are_named_in_the_newest_format() {
    for (pointer, value, field) in [
        ("/family", json!("another"), "family"),
        ("/head", json!({"kind": "queries"}), "head.kind"),
        ("/precision", json!("fp8"), "precision"),
        (
            "/image/resize",
            json!({"kind": "square", "side": 0}),
            "image.resize.side",
        ),
        (
            "/image/padding",
            json!({"multiple_of": 16}),
            "image.padding",
        ),
        ("/image/padding", json!({"square": 0}), "image.padding"),
        ("/image/padding", json!({"square": 100}), "image.padding"),
        ("/features/levels", json!(0), "features.levels"),
        ("/features/levels", json!(4), "head.strides"),
        ("/features/levels", json!(6), "head.strides"),
        ("/features/type", json!("int64"), "features.type"),
        ("/features/type", json!("bfloat16"), "features.type"),
        ("/head/strides", json!([8, 16, 32, 64]), "head.strides"),
        ("/head/strides", json!([8, 16, 16, 64, 128]), "head.strides"),
        ("/head/sizes/0", json!(0), "head"),
        ("/head/box_coder/weights/3", json!(-5), "head.box_coder"),
        (
            "/postprocess/score_threshold",
            json!(1.5),
            "postprocess.score_threshold",
        ),
        ("/graphs/head", json!(null), "graphs.head"),
    ] {
        check_is_named(&copy_in_format_2("colour"), pointer, &value, field);
    }
}

/// The graph of what depends on the size of images alone gives what the image encoder then reads.
#[test]
fn outputs_of_a_grid_that_nobody_could_read_are_named() {
    let port = |name: &str, element: &str| json!({"name": name, "shape": ["windows", 49], "type": element});
    for outputs in [
        json!([]),
        json!([port("grid_mask", "bfloat16")]),
        json!([port("pixels", "float32")]),
        json!([port("grid_into", "int64"), port("grid_into", "int64")]),
    ] {
        let grid = json!({"file": "head.onnx", "outputs": outputs});
        let folder = copy_in_format_2("colour");
        edit_manifest(folder.path(), |manifest| {
            manifest["graphs"]["grid"] = json!(null)
        });
        check_is_named(&folder, "/graphs/grid", &grid, "graphs.grid.outputs");
    }
}

#[test]
fn kinds_that_are_unknown_are_an_error() {
    for (pointer, value) in [
        ("/head/kind", json!("masks")),
        ("/image/resize/kind", json!("crop")),
        ("/image/padding", json!("reflect")),
        ("/prompt", json!({"language": "en"})),
    ] {
        let folder = copy_in_format_2("colour");
        edit_manifest(folder.path(), |manifest| {
            *manifest.pointer_mut(pointer).unwrap() = value.clone();
        });

        let error = Bundle::from_dir(folder.path()).unwrap_err();

        assert!(
            matches!(error, Error::ManifestSyntax { .. }),
            "{pointer} = {value}: {error}"
        );
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

/// Such a file would be read by ONNX Runtime, whatever is in it.
#[test]
fn weights_beside_a_graph_are_listed_or_refused() {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let entry = |key: &str, value: &str| {
        field(
            13,
            &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat(),
        )
    };
    // A tensor of one float whose number is elsewhere, in a second part of the graph.
    let tensor = [
        vec![1 << 3, 1, 2 << 3, 1, 14 << 3, 1],
        field(8, b"unused"),
        entry("location", "w.bin"),
    ]
    .concat();
    let folder = copy_of("colour");
    let path = folder.path().join("head.onnx");
    let graph = [fs::read(&path).unwrap(), field(7, &field(5, &tensor))].concat();
    fs::write(&path, &graph).unwrap();
    fs::write(folder.path().join("w.bin"), [0; 4]).unwrap();
    let entry = |bytes: &[u8]| {
        let hash = Sha256::digest(bytes);
        let digits = hash.iter().map(|byte| format!("{byte:02x}"));
        json!({"bytes": bytes.len(), "sha256": digits.collect::<String>()})
    };
    edit_manifest(folder.path(), |manifest| {
        manifest["files"]["head.onnx"] = entry(&graph);
    });
    let runtime = Runtime::load().unwrap();
    let load = |bundle: &Bundle| GroundingHead::load(&runtime, bundle, &SessionOptions::default());
    let opened = || Bundle::from_dir(folder.path()).unwrap();
    let refused = |bundle: &Bundle| match load(bundle) {
        Err(Error::ExternalData { location, .. }) => assert_eq!(location, "w.bin"),
        other => panic!("{:?}", other.err()),
    };
    refused(&opened());

    edit_manifest(folder.path(), |manifest| {
        manifest["files"]["w.bin"] = entry(&[0; 4]);
    });
    assert!(load(&opened()).is_ok());
    let files = fs::read_dir(folder.path()).unwrap().map(|file| {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap())
    });
    refused(&Bundle::from_bytes(files).unwrap());
}

#[test]
fn wrong_types_are_an_error() {
    for pointer in [
        "/graphs",
        "/graphs/head/file",
        "/image",
        "/files",
        "/text/max_tokens",
    ] {
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
