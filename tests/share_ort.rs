//! A program that also runs its own model with ort: both share the one environment of the process.
#![cfg(all(feature = "share-ort", feature = "load-dynamic", feature = "nano"))]

use glip::{Detector, Error, Runtime, image::RgbImage, ort};

#[test]
fn an_environment_that_was_there_first_is_shared() {
    let library = std::env::var("ORT_DYLIB_PATH").expect("cargo's configuration sets it");
    let own = ort::init_from(library.as_str()).unwrap().build().unwrap();

    // Without a word the second one is refused, and the error says what to do.
    let error = Runtime::load().unwrap_err();
    assert!(error.to_string().contains("from_environment"), "{error}");

    let runtime = Runtime::from_environment(&own, &library).unwrap();
    let detector = Detector::nano().unwrap();
    let image = RgbImage::new(64, 64);
    detector.ground(&image, "cat").unwrap();

    assert_eq!(runtime.path(), Runtime::load().unwrap().path());
    assert!(ort::session::Session::builder(runtime.environment()).is_ok());
    let again = Runtime::from_environment(&own, &library).unwrap_err();
    assert!(matches!(again, Error::RuntimeStart { .. }), "{again}");
}
