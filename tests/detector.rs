//! The whole detector over ONNX Runtime, on hand-made models that find colours.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use common::{copy_in_format_2, copy_of, edit_manifest, fixture};
use glip::{
    BBox, Control, Detection, Detector, Device, Error, GroundOptions, ImageInput, Prompt,
    PromptInput, ResizeRule, Vocabulary,
};
use image::{DynamicImage, Rgb, RgbImage, imageops};

const GREY: Rgb<u8> = Rgb([90; 3]);
const RED: Rgb<u8> = Rgb([255, 0, 0]);
const BLUE: Rgb<u8> = Rgb([0, 0, 255]);

/// A grey picture with dots of 8 pixels at these corners.
fn picture(width: u32, height: u32, dots: &[(Rgb<u8>, i64, i64)]) -> RgbImage {
    let mut picture = RgbImage::from_pixel(width, height, GREY);
    for &(colour, x, y) in dots {
        imageops::replace(&mut picture, &RgbImage::from_pixel(8, 8, colour), x, y);
    }
    picture
}

/// Checks that a detection is the box of 64 pixels around the dot at this corner.
fn assert_around(detection: &Detection, x: i64, y: i64, scale: f32) {
    // The last pixel is 63 pixels of the resized picture after the first, and the edge one pixel beyond it.
    let [left, top] = [x, y].map(|corner| (corner as f32 + 3.5 - 31.5) * scale);
    let side = 63.0 * scale + 1.0;
    let square = BBox::new(left, top, left + side, top + side).unwrap();
    assert!(
        detection.bbox.iou(&square) > 0.95,
        "{detection:?} is not at {square:?}"
    );
}

#[test]
fn each_colour_is_found_where_it_is() {
    for name in ["colour", "colour_without_fusion"] {
        let detector = Detector::from_dir(fixture(name)).unwrap();
        let small = picture(160, 128, &[(RED, 48, 64), (BLUE, 96, 40)]);
        // The model resizes it back to that size.
        let picture = imageops::resize(&small, 320, 256, imageops::Nearest);

        let found = detector.ground(&picture, "blue . red . green").unwrap();

        assert_around(found.of_phrase(0).next().unwrap(), 96, 40, 2.0);
        assert_around(found.of_phrase(1).next().unwrap(), 48, 64, 2.0);
        assert_eq!(found.of_phrase(2).count(), 0, "{name}: {found:?}");
    }
}

#[test]
fn captions_keep_the_callers_phrases() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let picture = picture(160, 128, &[(RED, 48, 32)]);
    let prompt = Prompt::caption("blue beside red").phrases(["red", "blue"]);

    let found = detector.ground(&picture, prompt).unwrap();

    assert!(
        found
            .iter()
            .all(|d| (d.phrase_index, &*d.phrase) == (0, "red"))
    );
    assert_around(&found[0], 48, 32, 1.0);
}

/// GLIP does not mask padding: an image must come out of a batch as it comes out alone.
#[test]
fn neighbours_in_a_batch_do_not_change_an_image() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let pictures = [
        picture(160, 128, &[(RED, 16, 32)]),
        picture(128, 160, &[(RED, 32, 64)]),
        picture(150, 128, &[(BLUE, 40, 24), (RED, 80, 60)]),
        picture(256, 128, &[]),
        picture(160, 128, &[(BLUE, 64, 64)]),
    ];
    let encoded = detector.encode_image(&pictures[2]).unwrap();
    let mut images: Vec<ImageInput<'_>> = pictures.iter().map(Into::into).collect();
    images.insert(1, (&encoded).into());

    let together = detector.ground_batch(images, "red . blue").unwrap();

    let order = [0, 2, 1, 2, 3, 4];
    assert_eq!(together.len(), order.len());
    assert!(together[4].is_empty());
    for (together, index) in together.iter().zip(order) {
        let alone = detector.ground(&pictures[index], "red . blue").unwrap();
        assert_eq!(together, &alone, "picture {index}");
    }
}

#[test]
fn a_prompt_is_encoded_once_for_many_images() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let prompt = detector
        .encode_prompt(Prompt::categories(["blue", "red"]))
        .unwrap();

    for (x, y) in [(32, 40), (80, 56)] {
        let picture = picture(160, 128, &[(RED, x, y)]);
        let found = detector.ground(&picture, &prompt).unwrap();
        assert_eq!((found.len(), &*found[0].phrase), (1, "red"));
        assert_around(&found[0], x, y, 1.0);
    }
}

#[test]
fn one_detector_serves_many_threads() {
    let builder = Detector::builder().dir(fixture("colour"));
    for builder in [
        builder.clone().sessions(2).threads(1),
        builder.for_callers(3),
    ] {
        check_many_threads(&builder.build().unwrap());
    }
}

fn check_many_threads(detector: &Detector) {
    let prompts = ["red", "blue", "red . blue", "blue . green . red"];
    let picture = picture(160, 128, &[(RED, 16, 32), (BLUE, 88, 48)]);
    let expected = prompts.map(|prompt| detector.ground(&picture, prompt).unwrap());

    thread::scope(|scope| {
        for start in 0..6 {
            let (detector, picture, expected) = (detector.clone(), &picture, &expected);
            scope.spawn(move || {
                for round in start..start + 12 {
                    let index = round % prompts.len();
                    let found = detector.ground(picture, prompts[index]).unwrap();
                    assert_eq!(found, expected[index]);
                }
            });
        }
    });
}

#[test]
fn a_bundle_without_a_text_encoder_takes_no_words() {
    let folder = copy_of("colour");
    edit_manifest(folder.path(), |manifest| {
        manifest["graphs"]["text_encoder"] = serde_json::Value::Null;
        manifest["files"]
            .as_object_mut()
            .unwrap()
            .remove("text_encoder.onnx");
    });
    std::fs::remove_file(folder.path().join("text_encoder.onnx")).unwrap();
    let detector = Detector::from_dir(folder.path()).unwrap();
    let picture = picture(160, 128, &[(RED, 48, 32)]);

    let error = detector.ground(&picture, "red").unwrap_err();

    assert!(matches!(error, Error::NoTextEncoder), "{error}");
    assert_eq!(detector.text_encoder().device(), None);
}

#[test]
fn options_of_the_builder_reach_their_parts() {
    let rule = ResizeRule::short_side(64, 100);
    let detector = Detector::builder()
        .dir(fixture("colour"))
        .resize(rule)
        .options(GroundOptions::default().with_max_detections(7))
        .score_threshold(0.999)
        .build()
        .unwrap();
    let recommended = detector.manifest().postprocess().clone();
    let expected = recommended
        .with_max_detections(7)
        .with_score_threshold(0.999);

    assert_eq!(detector.preprocessor().options().resize, rule);
    assert_eq!(*detector.postprocessor().options(), expected);
    let picture = picture(160, 128, &[(RED, 16, 32)]);
    let encoded = detector.encode_image(&picture).unwrap();
    assert_eq!(encoded.geometry().resized.width, 80);
    assert!(detector.ground(&encoded, "red").unwrap().is_empty());
    assert_eq!(detector.device(), Device::Cpu);
}

#[test]
fn nan_is_an_error_and_the_detector_goes_on() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let picture = picture(160, 128, &[(RED, 16, 32)]);

    let error = detector.ground(&picture, "red . nan").unwrap_err();

    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    assert!(!detector.ground(&picture, "red").unwrap().is_empty());
}

#[test]
fn extreme_pictures_work_or_say_why_not() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    for (width, height) in [(1, 1), (1, 10_000), (10_000, 1)] {
        let picture = RgbImage::from_pixel(width, height, RED);

        let found = detector.ground(&picture, "red").unwrap();

        // Of the thin ones, padding fills most of every cell.
        assert_eq!(found.is_empty(), width != height);
        // The last pixel of a box is one of the resized picture, and its edge is a whole pixel of the
        // original beyond: where a picture was enlarged, edges reach up to a pixel beyond its own.
        let (right, bottom) = (width as f32 + 1.0, height as f32 + 1.0);
        let inside = |bbox: BBox| {
            bbox.x1() >= 0.0 && bbox.y1() >= 0.0 && bbox.x2() < right && bbox.y2() < bottom
        };
        assert!(found.boxes().all(inside), "{width} x {height}: {found:?}");
    }
    let error = detector.ground(RgbImage::new(0, 0), "red").unwrap_err();
    assert!(matches!(error, Error::EmptyImage { .. }), "{error}");
}

#[test]
fn a_model_of_the_newest_format_finds_the_same() {
    let folder = copy_in_format_2("colour");
    let [old, new] = [fixture("colour"), folder.path().to_owned()]
        .map(|folder| Detector::from_dir(folder).unwrap());
    let picture = picture(160, 128, &[(RED, 16, 32), (BLUE, 88, 48)]);

    let found = new.ground(&picture, "red . blue").unwrap();

    assert_eq!(found.len(), 2);
    assert_eq!(found, old.ground(&picture, "red . blue").unwrap());
}

#[test]
fn images_and_prompts_may_be_owned() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let picture = picture(160, 128, &[(RED, 48, 32), (BLUE, 96, 56)]);
    let expected = detector.ground(&picture, "red . blue").unwrap();
    assert_eq!(expected.len(), 2);
    let encoded = detector.encode_image(&picture).unwrap();
    let prompt = detector.encode_prompt(["red", "blue"]).unwrap();
    let images: [ImageInput<'_>; 3] = [
        DynamicImage::from(picture.clone()).into(),
        picture.into(),
        encoded.into(),
    ];
    let prompts: [PromptInput<'_>; 5] = [
        "red . blue".to_owned().into(),
        ["red", "blue"].into(),
        vec!["red".to_owned(), "blue".to_owned()].into(),
        Prompt::categories(["red", "blue"]).into(),
        prompt.into(),
    ];

    for image in &images {
        for prompt in &prompts {
            let found = detector.ground(image.clone(), prompt.clone()).unwrap();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn options_of_a_call_are_for_that_call() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let picture = picture(160, 128, &[(RED, 48, 32)]);
    let options = GroundOptions::default().with_score_threshold(1.0);

    let strict = detector.ground_with(&picture, "red", &options).unwrap();
    let all_strict = detector
        .ground_batch_with([&picture, &picture], "red", &options)
        .unwrap();

    assert!(strict.is_empty());
    assert!(all_strict.len() == 2 && all_strict.iter().all(|found| found.is_empty()));
    assert!(!detector.ground(&picture, "red").unwrap().is_empty());
    let options = GroundOptions::default().with_score_threshold(1.5);
    let error = detector.ground_with(&picture, "red", &options).unwrap_err();
    assert!(matches!(error, Error::InvalidOption { .. }), "{error}");
}

#[test]
fn the_heads_outputs_lead_to_the_same_detections() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let picture = picture(160, 128, &[(RED, 48, 32), (BLUE, 96, 56)]);

    let outputs = detector.head_outputs(&picture, "red . blue").unwrap();

    let [raw] = &outputs[..] else {
        panic!("one output was expected: {outputs:?}");
    };
    // All cells of the five levels; two words, a dot and the two special tokens.
    assert_eq!((raw.head.rows(), raw.head.tokens()), (428, 5));
    let found = detector
        .postprocessor()
        .run(&raw.head, &raw.phrases, &[raw.geometry])
        .unwrap();
    assert_eq!(found, [detector.ground(&picture, "red . blue").unwrap()]);
}

#[test]
fn a_control_tells_how_far_calls_are_and_ends_them() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let picture = picture(160, 128, &[(RED, 48, 32)]);
    let vocabulary = Vocabulary::new(["red", "blue"]).with_names_per_prompt(1);
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let control = Control::new().with_progress(move |step| {
        seen.lock().unwrap().push((step.done, step.total));
    });
    let controlled = detector.controlled(&control);

    let found = controlled.ground(&picture, &vocabulary).unwrap();
    control.stop();
    let stopped = controlled.ground(&picture, "red").unwrap_err();
    let late = detector.controlled(&Control::new().with_timeout(Duration::ZERO));
    let late = late.ground(&picture, "red").unwrap_err();

    assert!(matches!(stopped, Error::Stopped), "{stopped}");
    assert!(matches!(late, Error::DeadlinePassed), "{late}");
    assert_eq!(steps.lock().unwrap()[..3], [(0, 2), (1, 2), (2, 2)]);
    // The detector itself has no control.
    assert_eq!(found, detector.ground(&picture, &vocabulary).unwrap());
}

#[test]
fn what_another_model_encoded_is_refused() {
    let load = |name| Detector::from_dir(fixture(name)).unwrap();
    let (detector, again, other) = (
        load("colour"),
        load("colour"),
        load("colour_without_fusion"),
    );
    let picture = picture(160, 128, &[(RED, 48, 32)]);
    let encoded = detector.encode_image(&picture).unwrap();
    let prompt = detector.encode_prompt("red").unwrap();

    assert_eq!(again.ground(&encoded, &prompt).unwrap().len(), 1);
    for (what, result) in [
        ("image", other.ground(&encoded, "red")),
        ("prompt", other.ground(&picture, &prompt)),
        (
            "image",
            other
                .ground_batch([&encoded], "red")
                .map(|mut all| all.remove(0)),
        ),
    ] {
        let error = result.unwrap_err();
        let named = matches!(&error, Error::OtherModel { what: found, .. } if *found == what);
        assert!(named, "{error}");
    }
}
