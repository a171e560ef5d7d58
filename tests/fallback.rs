//! What happens where the device that was asked for cannot be used.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::sync::Mutex;

use common::{copy_of, fixture};
use glip::{CudaOptions, Detector, DetectorBuilder, Device, Error, ErrorKind};
use image::{Rgb, RgbImage};
use log::{Level, Log, Metadata, Record};

/// No machine has this many GPUs, whatever ONNX Runtime was built with.
const MISSING: Device = Device::Cuda(250);

/// Keeps what this crate logs. Libraries below it tell what they do while another test finds something.
struct Memory(Mutex<Vec<(Level, String)>>);

static MEMORY: Memory = Memory(Mutex::new(Vec::new()));

impl Log for Memory {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().split("::").next() == Some("glip")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = (record.level(), record.args().to_string());
            self.0.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

/// What a closure returns, and what was logged meanwhile. Tests of one process share the log, and so
/// they take turns.
fn logged<T>(run: impl FnOnce() -> T) -> (T, Vec<(Level, String)>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap();
    // Only the first call of the process can, and needs to.
    let _ = log::set_logger(&MEMORY).map(|()| log::set_max_level(log::LevelFilter::Trace));
    MEMORY.0.lock().unwrap().clear();
    let result = run();
    let lines = MEMORY.0.lock().unwrap().drain(..).collect();
    (result, lines)
}

fn builder() -> DetectorBuilder {
    Detector::builder().dir(fixture("colour")).device(MISSING)
}

#[test]
fn a_missing_device_is_an_error_and_nothing_is_logged() {
    let (result, lines) = logged(|| builder().build());

    let error = result.unwrap_err();
    assert!(matches!(error, Error::DeviceUnavailable { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Device);
    for part in ["cuda:250", "graph image_encoder", "allow_cpu_fallback"] {
        assert!(
            error.to_string().contains(part),
            "{part} is not in: {error}"
        );
    }
    // Without the feature, ONNX Runtime is not even asked.
    let source = std::error::Error::source(&error);
    assert_eq!(source.is_some(), cfg!(feature = "cuda"), "{error}");
    assert_eq!(lines, []);
}

#[test]
fn with_the_cpu_allowed_one_warning_says_why_and_results_are_those_of_the_cpu() {
    let (result, lines) = logged(|| builder().allow_cpu_fallback().build());

    let detector = result.unwrap();
    assert_eq!(detector.device(), Device::Cpu);
    assert_eq!(detector.text_encoder().device(), Some(Device::Cpu));
    assert_eq!(detector.fusion().device(), Some(Device::Cpu));
    assert_eq!(detector.head().device(), Device::Cpu);
    let [(level, line)] = &lines[..] else {
        panic!("one line was expected: {lines:?}");
    };
    assert_eq!(*level, Level::Warn);
    let reason = match cfg!(feature = "cuda") {
        true => "ONNX Runtime refuses it: ",
        false => "built without the feature `cuda`",
    };
    for part in ["cuda:250", "graph image_encoder", "CPU", reason] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }

    let red = RgbImage::from_pixel(160, 128, Rgb([255, 0, 0]));
    let on_cpu = Detector::from_dir(fixture("colour")).unwrap();
    let found = detector.ground(&red, "red").unwrap();
    assert!(!found.is_empty());
    assert_eq!(found, on_cpu.ground(&red, "red").unwrap());
}

#[test]
fn cuda_graphs_do_not_stand_in_the_way_of_the_cpu() {
    let options = CudaOptions::default().with_graphs();

    let (result, lines) = logged(|| builder().cuda(options).allow_cpu_fallback().build());

    assert_eq!(result.unwrap().device(), Device::Cpu);
    assert_eq!(lines.len(), 1);
}

#[test]
fn what_is_no_fault_of_the_device_is_still_an_error() {
    let model = copy_of("colour");
    std::fs::remove_file(model.path().join("head.onnx")).unwrap();
    let builder = Detector::builder().dir(model.path()).device(MISSING);

    let (result, lines) = logged(|| builder.allow_cpu_fallback().build());

    let error = result.unwrap_err();
    assert!(matches!(error, Error::BundleFile { .. }), "{error}");
    assert_eq!(lines, []);
}

#[test]
fn a_fallback_that_is_not_needed_is_not_logged() {
    let builder = Detector::builder().dir(fixture("colour"));

    let (result, lines) = logged(|| builder.allow_cpu_fallback().build());

    assert_eq!(result.unwrap().device(), Device::Cpu);
    assert_eq!(lines, []);
}
