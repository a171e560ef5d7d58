//! What a GPU computes is what the CPU does, also from many threads and from recordings.
//!
//! Needs a GPU, and an ONNX Runtime that can use it: `benches/gpu.sh` runs it there. GLIP_DEVICE names
//! another device than `cuda:0`; with `cpu`, the tests themselves can be tried anywhere.

#![cfg(feature = "nano")]
#![allow(clippy::unwrap_used, clippy::panic)] // Clippy does not see that helpers of tests are tests.

use std::{env, thread};

use glip::{Bundle, CudaOptions, Detections, Detector, Device, ResizeRule};
use image::{RgbImage, imageops};

const PROMPTS: [&str; 3] = [
    "red circle . blue square",
    "yellow circle",
    "purple triangle . orange star . green ring",
];

fn device() -> Device {
    let name = env::var("GLIP_DEVICE").unwrap_or_else(|_| "cuda:0".into());
    name.parse().unwrap()
}

fn detector(device: Device, options: CudaOptions) -> Detector {
    Detector::builder()
        .bundle(Bundle::nano().unwrap())
        .device(device)
        .cuda(options)
        .resize(ResizeRule {
            short_side: 256,
            long_side: 416,
        })
        .build()
        .unwrap()
}

/// Recording is for CUDA.
fn recording() -> CudaOptions {
    match device() {
        Device::Cuda(_) => CudaOptions::default().with_graphs(),
        _ => CudaOptions::default(),
    }
}

/// The scene as it is, as a mirror shows it, and turned: two sizes, three contents.
fn pictures() -> [RgbImage; 3] {
    let scene = image::open("examples/images/scene.png")
        .unwrap()
        .into_rgb8();
    let mirrored = imageops::flip_horizontal(&scene);
    let turned = imageops::rotate90(&scene);
    [scene, mirrored, turned]
}

/// The same things in the same places, up to rounding.
fn assert_same(found: &Detections, expected: &Detections) {
    assert_eq!(found.len(), expected.len(), "{found:?}\n{expected:?}");
    for expected in expected {
        let same = found.iter().any(|found| {
            found.phrase_index == expected.phrase_index
                && (found.score - expected.score).abs() < 0.01
                && found.bbox.iou(&expected.bbox) > 0.98
        });
        assert!(same, "{expected:?} is not in {found:?}");
    }
}

/// Every picture with every prompt, on the CPU.
fn expected(pictures: &[RgbImage]) -> Vec<Vec<Detections>> {
    let detector = detector(Device::Cpu, CudaOptions::default());
    let all = |picture| PROMPTS.map(|prompt| detector.ground(picture, prompt).unwrap());
    let expected: Vec<Vec<_>> = pictures.iter().map(|picture| all(picture).into()).collect();
    assert!(!expected[0][0].is_empty());
    expected
}

/// Twice in turn, so that a recording is replayed, and others between.
fn check(detector: &Detector, pictures: &[RgbImage], expected: &[Vec<Detections>]) {
    for _ in 0..2 {
        for (picture, expected) in pictures.iter().zip(expected) {
            let scene = detector.encode_image(picture).unwrap();
            for (prompt, expected) in PROMPTS.iter().zip(expected) {
                assert_same(&detector.ground(picture, *prompt).unwrap(), expected);
                assert_same(&detector.ground(&scene, *prompt).unwrap(), expected);
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn a_device_finds_what_the_cpu_finds() {
    let pictures = pictures();
    let detector = detector(device(), CudaOptions::default());
    assert_eq!(detector.device(), device());

    check(&detector, &pictures, &expected(&pictures));
}

#[test]
#[ignore = "needs a GPU"]
fn a_batch_finds_what_its_pictures_find_alone() {
    let pictures = pictures();
    let expected = expected(&pictures);
    let detector = detector(device(), CudaOptions::default());

    for (index, prompt) in PROMPTS.iter().enumerate() {
        let found = detector.ground_batch(&pictures, *prompt).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_same(found, &expected[index]);
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn recorded_work_finds_what_the_cpu_finds() {
    let pictures = pictures();

    check(
        &detector(device(), recording()),
        &pictures,
        &expected(&pictures),
    );
}

/// Features of one thread are read by others, and freed by whoever is last.
#[test]
#[ignore = "needs a GPU"]
fn threads_share_a_detector_and_its_features() {
    let pictures = pictures();
    let expected = expected(&pictures);
    for options in [CudaOptions::default(), recording()] {
        let detector = detector(device(), options);
        let scenes = pictures
            .each_ref()
            .map(|picture| detector.encode_image(picture).unwrap());
        thread::scope(|scope| {
            for start in 0..4 {
                let (detector, scenes) = (detector.clone(), scenes.clone());
                let (pictures, expected) = (&pictures, &expected);
                scope.spawn(move || {
                    for round in start..start + 12 {
                        let (picture, prompt) = (round % 3, round / 3 % 3);
                        let expected = &expected[picture][prompt];
                        let prompt = PROMPTS[prompt];
                        assert_same(
                            &detector.ground(&scenes[picture], prompt).unwrap(),
                            expected,
                        );
                        assert_same(
                            &detector.ground(&pictures[picture], prompt).unwrap(),
                            expected,
                        );
                    }
                });
            }
        });
    }
}
