//! Masks of small random segmenters, compared with those of the libraries' own code, end to end.
//!
//! `python python/tests/segmenter_cases.py tests/fixtures/golden/segmenter` made them: segment-anything's `SamPredictor`, and
//! transformers' `Sam2Model` on pictures that Pillow resized.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::{fs, path::PathBuf};

use common::fixture;
use glip::{BBox, Control, Error, ErrorKind, ImageSize, Mask, MaskPrompt, Segmenter};
use image::{Rgb, RgbImage};
use ndarray::Array2;
use serde::Deserialize;

/// Folders, and the cases that they answer: two that were exported by this project, and three pairs of files as others publish them,
/// segment-anything's own decoder with samexporter's encoder, those of the Hugging Face hub, and EfficientSAM's.
const SEGMENTERS: [(&str, &str); 5] = [
    ("sam", "sam"),
    ("sam2", "sam2"),
    ("sam-official", "sam"),
    ("sam2-hf", "sam2-hf"),
    ("efficient-sam", "efficient-sam"),
];

/// A picture, boxes and points, and the mask of each.
#[derive(Deserialize)]
struct Case {
    name: String,
    size: (u32, u32),
    boxes: Vec<BBox>,
    points: Vec<(f32, f32)>,
    masks: Vec<CaseMask>,
}

#[derive(Deserialize)]
struct CaseMask {
    #[serde(flatten)]
    mask: Mask,
    /// Logits in the middles of five by five fields of the image.
    logits: [[f32; 5]; 5],
}

impl Case {
    fn all_of(kind: &str) -> Vec<Self> {
        let path = folder().join(format!("{kind}.json"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn prompts(&self) -> Vec<MaskPrompt> {
        let points = self.points.iter().map(|&(x, y)| MaskPrompt::at(x, y));
        let boxes = self.boxes.iter().map(MaskPrompt::from);
        boxes.chain(points).collect()
    }

    /// As the cases' program draws it.
    fn picture(&self) -> RgbImage {
        let (width, height) = self.size;
        RgbImage::from_fn(width, height, |x, y| {
            let field = (x * 8 / width + y * 6 / height) % 2;
            Rgb([x * 255 / width, y * 255 / height, field * 200 + 20].map(|level| level as u8))
        })
    }
}

fn folder() -> PathBuf {
    fixture("golden/segmenter")
}

fn segmenter(kind: &str) -> Segmenter {
    Segmenter::from_dir(folder().join(kind)).unwrap()
}

/// At most one pixel of a thousand may differ, where a logit is next to 0.
fn assert_same(found: &Mask, expected: &Mask, what: &str) {
    assert!(
        (found.score() - expected.score()).abs() < 1e-4,
        "{what}: score {}, expected {}",
        found.score(),
        expected.score()
    );
    assert_eq!(found.size(), expected.size(), "{what}");
    let differing = found.union(expected).unwrap().area() - found.overlap(expected).unwrap();
    let pixels = found.size().pixels();
    assert!(
        differing * 1000 <= pixels,
        "{what}: {differing} of {pixels} pixels differ"
    );
}

/// Within 1e-3.
fn assert_near(found: Array2<f32>, expected: [[f32; 5]; 5], what: &str) {
    let (height, width) = found.dim();
    for (row, logits) in expected.iter().enumerate() {
        for (column, logit) in logits.iter().enumerate() {
            let (y, x) = ((2 * row + 1) * height / 10, (2 * column + 1) * width / 10);
            let difference = (found[[y, x]] - logit).abs();
            assert!(
                difference < 1e-3,
                "{what}: logit ({x}, {y}) differs by {difference}"
            );
        }
    }
}

#[test]
fn masks_are_those_of_the_libraries() {
    for (kind, cases) in SEGMENTERS {
        let segmenter = segmenter(kind);
        let is_first = kind == cases;
        // Twelve megapixels take seconds without optimisation, once for each kind of case.
        let cases = Case::all_of(cases).into_iter();
        for case in cases.filter(|case| is_first || case.name != "large") {
            let scene = segmenter.encode_image(&case.picture()).unwrap();
            let masks = segmenter.masks(&scene, case.prompts()).unwrap();
            let logits = segmenter.mask_logits(&scene, case.prompts()).unwrap();
            assert_eq!((masks.len(), logits.len()), (case.masks.len(), masks.len()));
            for (index, expected) in case.masks.iter().enumerate() {
                let what = format!("{kind} {} {index}", case.name);
                assert_same(&masks[index], &expected.mask, &what);
                let logits = &logits[index];
                assert_eq!(masks[index], logits.mask(logits.best()).unwrap(), "{what}");
                assert_near(
                    logits.upsampled(logits.best()).unwrap(),
                    expected.logits,
                    &what,
                );
            }
        }
    }
}

#[test]
fn a_scene_is_asked_many_times_and_prompts_do_not_depend_on_one_another() {
    for (kind, cases) in SEGMENTERS {
        let one_at_a_time = Segmenter::builder().dir(folder().join(kind)).max_prompts(1);
        let one_at_a_time = one_at_a_time.build().unwrap();
        let case = &Case::all_of(cases)[0];
        let scene = segmenter(kind).encode_image(&case.picture()).unwrap();
        assert_eq!(scene.size(), ImageSize::from(case.size));
        // The same model, though loaded twice.
        for (index, prompt) in case.prompts().iter().enumerate() {
            let masks = one_at_a_time.masks(&scene, [prompt]).unwrap();
            assert_same(
                &masks[0],
                &case.masks[index].mask,
                &format!("{kind} {index}"),
            );
        }
        assert_eq!(one_at_a_time.masks(&scene, [] as [BBox; 0]).unwrap(), []);
    }
}

#[test]
fn what_cannot_be_answered_is_an_error_that_says_why() {
    let (sam, sam2) = (segmenter("sam"), segmenter("sam2"));
    let picture = RgbImage::new(40, 30);
    let scene = sam.encode_image(&picture).unwrap();
    let inside = BBox::new(1.0, 1.0, 20.0, 20.0).unwrap();
    let beside = BBox::new(50.0, 1.0, 60.0, 20.0).unwrap();

    let other = sam2.masks(&scene, [inside]).unwrap_err();
    assert!(
        matches!(other, Error::OtherModel { what: "scene", .. }),
        "{other}"
    );
    let other = sam2.masks(&scene, [] as [BBox; 0]).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Value);

    let outside = sam.masks(&scene, [inside, beside]).unwrap_err();
    assert!(
        outside
            .to_string()
            .contains("prompt 1 is not on the image of 40 x 30"),
        "{outside}"
    );

    // Of a decoder that was exported for boxes.
    let hub = segmenter("sam2-hf");
    let point = MaskPrompt::at(10.0, 10.0);
    let boxless = hub.masks(&picture, [&MaskPrompt::from(inside), &point]);
    let boxless = boxless.unwrap_err();
    assert!(
        boxless
            .to_string()
            .starts_with("prompt 1 has no box, which "),
        "{boxless}"
    );
    assert_eq!(boxless.kind(), ErrorKind::Value);
    let with_box = [MaskPrompt::from(inside).and_at(10.0, 10.0)];
    assert_eq!(hub.masks(&picture, with_box).unwrap().len(), 1);

    let seven = (0..4).fold(MaskPrompt::from(inside), |prompt, x| {
        prompt.and_at(x as f32, 9.0)
    });
    let seven = seven.and_not_at(30.0, 9.0);
    let many = segmenter("efficient-sam")
        .masks(&picture, [seven])
        .unwrap_err();
    assert!(many.to_string().contains("prompt 0 has 7 points"), "{many}");

    let empty = sam.masks(RgbImage::new(0, 4), [inside]).unwrap_err();
    assert!(matches!(empty, Error::EmptyImage { .. }), "{empty}");

    let control = Control::new();
    control.stop();
    let stopped = sam
        .controlled(&control)
        .masks(&scene, [inside])
        .unwrap_err();
    assert!(matches!(stopped, Error::Stopped), "{stopped}");

    let none = Segmenter::builder().build().unwrap_err();
    assert!(matches!(none, Error::NoModel), "{none}");
    let zero = Segmenter::builder().max_prompts(0).build().unwrap_err();
    assert!(zero.to_string().contains("max_prompts"), "{zero}");
}

/// A copy of the segmenter `sam`, whose manifest was edited.
fn edited(edit: impl FnOnce(&mut serde_json::Value)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["encoder.onnx", "decoder.onnx"] {
        fs::copy(folder().join("sam").join(name), copy.path().join(name)).unwrap();
    }
    let manifest = fs::read(folder().join("sam/segmenter.json")).unwrap();
    let mut manifest = serde_json::from_slice(&manifest).unwrap();
    edit(&mut manifest);
    fs::write(copy.path().join("segmenter.json"), manifest.to_string()).unwrap();
    copy
}

#[test]
fn a_manifest_or_a_graph_of_another_kind_is_refused_by_name() {
    type Edit = fn(&mut serde_json::Value);
    let cases: [(Edit, &str); 9] = [
        (|m| m["format_version"] = 9.into(), "format version 9"),
        (
            |m| m["family"] = "sam3".into(),
            "sam, sam2, sam2-hf, efficient-sam",
        ),
        (|m| m["precision"] = "fp7".into(), "precision"),
        (|m| m["features"] = serde_json::json!([]), "features"),
        (
            |m| m["decoder"]["inputs"] = serde_json::json!(["mask_input"]),
            "takes boxes",
        ),
        (
            |m| m["decoder"]["inputs"][0] = "points".into(),
            "point_coords",
        ),
        (|m| m["image"]["std"][0] = 0.into(), "image.std"),
        (
            |m| m["encoder"]["file"] = "other.onnx".into(),
            "encoder.file",
        ),
        // A decoder of SAM 2 gives `masks`, which this one does not.
        (|m| m["family"] = "sam2".into(), "masks"),
    ];
    for (edit, expected) in cases {
        let copy = edited(edit);
        let error = Segmenter::from_dir(copy.path()).unwrap_err();
        assert!(
            format!("{error:?}").contains(expected),
            "{expected}: {error:?}"
        );
        assert_eq!(error.kind(), ErrorKind::Model, "{error}");
    }
    assert!(Segmenter::from_dir(edited(|_| {}).path()).is_ok());
}
