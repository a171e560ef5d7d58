//! From the picture to the boxes, against the official implementation.
//!
//! The models are exported by `make golden`, which needs the Python side; `make test` then runs
//! these tests too.

mod common;

use std::{env, path::PathBuf};

use common::golden::Case;
use glip::{Detector, parts::CpuOptions};

/// Where `make golden` puts the exported models.
fn exported(model: &str) -> PathBuf {
    let folder = env::var_os("GLIP_GOLDEN_MODELS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/golden"),
        PathBuf::from,
    );
    folder.join(model)
}

/// The case's model at its image size, reporting every detection as official does.
fn detector_for(case: &Case, cpu: CpuOptions) -> glip::Result<Detector> {
    Detector::builder()
        .dir(exported(&case.model))
        .cpu(cpu)
        .resize(case.resize_rule())
        .score_threshold(0.0)
        .build()
}

/// Closeness rule: the same set of detections, IoU over 0.99, scores within 2e-4.
#[test]
#[ignore = "needs the models that `make golden` exports"]
fn detections_are_those_of_official() {
    for case in Case::all() {
        for native_kernels in [false, true] {
            let cpu = CpuOptions::default().with_native_kernels(native_kernels);
            let detector = detector_for(&case, cpu).unwrap();

            let found = detector.ground(case.image(""), case.prompt()).unwrap();

            case.assert_same(found, 2e-4);
        }
    }
}

/// The same picture twice and another between them, in one batch.
#[test]
#[ignore = "needs the models that `make golden` exports"]
fn batches_and_prepared_inputs_find_the_same() {
    for case in Case::all() {
        let detector = detector_for(&case, CpuOptions::default()).unwrap();
        let picture = case.image("");
        let mut other = picture.clone();
        image::imageops::invert(&mut other);
        let encoded = detector.encode_image(&picture).unwrap();
        let prompt = detector.encode_prompt(case.prompt()).unwrap();

        let prepared = detector.ground(&encoded, &prompt).unwrap();
        let batch = detector
            .ground_batch([&picture, &other, &picture], &prompt)
            .unwrap();

        assert_eq!(batch.len(), 3);
        for found in [prepared, batch[0].clone(), batch[2].clone()] {
            case.assert_same(found, 2e-4);
        }
    }
}
