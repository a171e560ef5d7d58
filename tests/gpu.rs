//! What a GPU computes is what the CPU does, also from many threads and from recordings.
//!
//! Needs a GPU, and an ONNX Runtime that can use it: `benches/gpu.sh` runs it there. GLIP_MODEL is a
//! bundle that was exported for a GPU (those for CPUs work in pieces, which cannot be recorded).
//! GLIP_DEVICE names another device than `cuda:0`; with `cpu`, the tests themselves can be tried.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::{env, thread};

use common::{drawn_picture, of_anchors};
use glip::{
    CudaOptions, Detector, Device,
    parts::{FeaturePyramid, HeadOutput, PixelBatch},
};
use image::{RgbImage, imageops};
use ndarray::{ArrayView, Axis, Dimension};

/// The largest difference, relative to the largest number: twice what rounding to half makes of it.
const TOLERANCE: f32 = 0.02;

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
        .dir(env::var_os("GLIP_MODEL").unwrap())
        .device(device)
        .cuda(options)
        .sides(192, 320)
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
    let scene = drawn_picture("scene.png").into_rgb8();
    let mirrored = imageops::flip_horizontal(&scene);
    let turned = imageops::rotate90(&scene);
    [scene, mirrored, turned]
}

fn pixels(detector: &Detector, pictures: &[RgbImage]) -> PixelBatch {
    detector.preprocessor().run_batch(pictures).unwrap()
}

fn encode(detector: &Detector, picture: &RgbImage) -> FeaturePyramid {
    let pixels = pixels(detector, std::slice::from_ref(picture));
    detector.image_encoder().run(&pixels).unwrap()
}

fn answer(detector: &Detector, pyramid: &FeaturePyramid, prompt: &str) -> HeadOutput {
    let prompt = detector.encode_prompt(prompt).unwrap();
    let text = prompt.texts()[0].features();
    let fused = detector.fusion().run(pyramid, text).unwrap();
    detector.head().run(&fused).unwrap()
}

/// Every picture with every prompt, on the CPU.
fn expected(pictures: &[RgbImage]) -> Vec<Vec<HeadOutput>> {
    let detector = detector(Device::Cpu, CudaOptions::default());
    let all = |picture| {
        let pyramid = encode(&detector, picture);
        let answers = PROMPTS.map(|prompt| answer(&detector, &pyramid, prompt));
        Vec::from(answers)
    };
    let expected: Vec<Vec<_>> = pictures.iter().map(all).collect();
    // Or else a picture in another's place would not be seen.
    let [first, second] = [0, 1].map(|picture| of_anchors(&expected[picture][0]).0);
    assert!(
        difference(first, second) > 5.0 * TOLERANCE,
        "{}",
        difference(first, second)
    );
    expected
}

fn assert_close(found: &HeadOutput, expected: &HeadOutput) {
    assert_arrays_close("logits", found.logits().view(), expected.logits().view());
    let (deltas, centerness, level_sizes) = of_anchors(found);
    let expected = of_anchors(expected);
    assert_arrays_close("deltas", deltas, expected.0);
    assert_arrays_close("centerness", centerness, expected.1);
    assert_eq!(level_sizes, expected.2);
}

fn assert_arrays_close<D: Dimension>(
    name: &str,
    found: ArrayView<'_, f32, D>,
    expected: ArrayView<'_, f32, D>,
) {
    assert_eq!(found.shape(), expected.shape(), "{name}");
    let worst = difference(found, expected);
    assert!(worst < TOLERANCE, "{name} differs by {worst}");
}

/// The largest difference, relative to the largest number.
fn difference<D: Dimension>(found: ArrayView<'_, f32, D>, expected: ArrayView<'_, f32, D>) -> f32 {
    let largest = expected.fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / largest
}

/// Twice in turn, so that a recording is replayed, and others between.
fn check(detector: &Detector, pictures: &[RgbImage], expected: &[Vec<HeadOutput>]) {
    for _ in 0..2 {
        for (picture, expected) in pictures.iter().zip(expected) {
            let pyramid = encode(detector, picture);
            for (prompt, expected) in PROMPTS.iter().zip(expected) {
                assert_close(&answer(detector, &pyramid, prompt), expected);
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn a_device_computes_what_the_cpu_does() {
    let pictures = pictures();
    let detector = detector(device(), CudaOptions::default());
    assert_eq!(detector.device(), device());

    check(&detector, &pictures, &expected(&pictures));
}

#[test]
#[ignore = "needs a GPU"]
fn a_picture_is_in_a_batch_what_it_is_alone() {
    let pictures = pictures();
    let of_one_size = &pictures[..2];
    let expected = expected(of_one_size);
    let detector = detector(device(), CudaOptions::default());
    let pixels = pixels(&detector, of_one_size);
    let pyramid = detector.image_encoder().run(&pixels).unwrap();

    for (prompt, index) in PROMPTS.iter().zip(0..) {
        let together = answer(&detector, &pyramid, prompt);
        for (picture, expected) in expected.iter().enumerate() {
            let alone = &expected[index];
            let found = together.logits().index_axis(Axis(0), picture);
            let logits = alone.logits().index_axis(Axis(0), 0);
            assert_arrays_close("logits", found, logits);
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn a_recording_computes_what_the_cpu_does() {
    let pictures = pictures();
    let detector = detector(device(), recording());

    check(&detector, &pictures, &expected(&pictures));
}

/// Features of one thread are read by others, and freed by whoever is last.
#[test]
#[ignore = "needs a GPU"]
fn threads_share_a_detector_and_its_features() {
    let pictures = pictures();
    let expected = expected(&pictures);
    for options in [CudaOptions::default(), recording()] {
        let detector = detector(device(), options);
        let pyramids = pictures
            .each_ref()
            .map(|picture| encode(&detector, picture));
        thread::scope(|scope| {
            for start in 0..4 {
                let (detector, pyramids) = (detector.clone(), pyramids.clone());
                let (pictures, expected) = (&pictures, &expected);
                scope.spawn(move || {
                    for round in start..start + 12 {
                        let (picture, prompt) = (round % 3, round / 3 % 3);
                        let expected = &expected[picture][prompt];
                        let shared = answer(&detector, &pyramids[picture], PROMPTS[prompt]);
                        assert_close(&shared, expected);
                        let own = encode(&detector, &pictures[picture]);
                        assert_close(&answer(&detector, &own, PROMPTS[prompt]), expected);
                    }
                });
            }
        });
    }
}
