//! The model in the box, on photographs that it has never seen.

#![cfg(feature = "nano")]
#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

use std::path::Path;

use glip::{BBox, Category, Detection, Detections, Detector, Prompt};
use image::{DynamicImage, GenericImageView};

/// What a photograph of `examples/images` shows, in its pixels, by every name here; and what it does not show.
struct Photograph {
    file: &'static str,
    shown: &'static [(&'static [&'static str], [f32; 4])],
    absent: &'static [&'static str],
}

const PHOTOGRAPHS: [Photograph; 4] = [
    Photograph {
        file: "astronaut.jpg",
        shown: &[(
            &[
                "person",
                "woman",
                "astronaut",
                "a photo of a person",
                "PERSON",
                "human",
            ],
            [15.0, 0.0, 390.0, 512.0],
        )],
        absent: &["dog", "bicycle", "toilet", "zebra", "banana", "piano"],
    },
    Photograph {
        file: "cat.jpg",
        shown: &[(
            &["cat", "cats", "kitten", "a photo of a cat", "a small cat"],
            [20.0, 0.0, 435.0, 300.0],
        )],
        absent: &["person", "car", "pizza", "airplane", "guitar"],
    },
    Photograph {
        file: "coffee.jpg",
        shown: &[
            (
                &["cup", "coffee cup", "cup of coffee"],
                [165.0, 25.0, 415.0, 300.0],
            ),
            (&["dining table", "table"], [0.0, 0.0, 600.0, 400.0]),
        ],
        absent: &["person", "elephant", "truck", "tie", "castle"],
    },
    // Grey: a single channel.
    Photograph {
        file: "cameraman.jpg",
        shown: &[(&["person", "man", "guy"], [5.0, 60.0, 300.0, 510.0])],
        absent: &["cat", "pizza", "bed", "toilet"],
    },
];

impl Photograph {
    fn open(&self) -> DynamicImage {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images");
        image::open(folder.join(self.file)).unwrap()
    }
}

fn shows(found: &Detections, phrase: &str, corners: [f32; 4]) -> bool {
    let [x1, y1, x2, y2] = corners;
    let shown = BBox::new(x1, y1, x2, y2).unwrap();
    let matches = |d: &Detection| d.phrase == phrase && d.bbox.iou(&shown) > 0.7;
    found.iter().any(matches)
}

#[test]
fn it_finds_what_is_there_by_any_of_its_names() {
    let detector = Detector::nano().unwrap();
    for photograph in &PHOTOGRAPHS {
        let encoded = detector.encode_image(&photograph.open()).unwrap();
        for (names, corners) in photograph.shown {
            for &name in *names {
                let found = detector.ground(&encoded, name).unwrap();
                assert!(
                    shows(&found, name, *corners),
                    "{}: no {name} in {found:?}",
                    photograph.file
                );
            }
        }
    }
}

#[test]
fn it_says_no_to_what_is_absent() {
    let detector = Detector::nano().unwrap();
    for photograph in &PHOTOGRAPHS {
        let encoded = detector.encode_image(&photograph.open()).unwrap();
        for &name in photograph.absent {
            let found = detector.ground(&encoded, name).unwrap();
            assert!(found.is_empty(), "{}, {name}: {found:?}", photograph.file);
        }
    }
}

/// Many names in a prompt do not hide what one of them finds.
#[test]
fn a_long_list_finds_what_a_short_one_does() {
    let detector = Detector::nano().unwrap();
    for photograph in &PHOTOGRAPHS {
        let encoded = detector.encode_image(&photograph.open()).unwrap();
        let all: Vec<_> = photograph.absent.iter().chain(ALL_NAMES).copied().collect();
        let mut names: Vec<_> = Vec::new();
        for name in all
            .into_iter()
            .chain(photograph.shown.iter().map(|(names, _)| names[0]))
        {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let found = detector
            .ground(&encoded, Prompt::categories(&names))
            .unwrap();
        for (said, corners) in photograph.shown {
            assert!(
                shows(&found, said[0], *corners),
                "{}: {found:?}",
                photograph.file
            );
        }
        assert!(found.iter().all(|d| names[d.phrase_index] == d.phrase));
    }
}

const ALL_NAMES: &[&str] = &[
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "keyboard",
    "book",
    "clock",
    "vase",
];

/// A photograph turned as a camera turns it, in colours of another depth, tiny or large: all are photographs.
#[test]
fn any_kind_of_photograph_works() {
    let detector = Detector::nano().unwrap();
    let cat = PHOTOGRAPHS[1].open();
    let forms = [
        DynamicImage::ImageRgba8(cat.to_rgba8()),
        DynamicImage::ImageRgb16(cat.to_rgb16()),
        DynamicImage::ImageLuma8(cat.to_luma8()),
        cat.resize(1800, 1200, image::imageops::FilterType::Triangle),
        cat.resize(160, 120, image::imageops::FilterType::Triangle),
    ];
    for form in forms {
        let found = detector.ground(&form, "cat").unwrap();
        let (width, height) = form.dimensions();
        let area = found.first().map_or(0.0, |best| best.bbox.area());
        assert!(
            area > 0.4 * (width * height) as f32,
            "{:?} {width} x {height}: {found:?}",
            form.color()
        );
    }
    // One pixel, and a line of them, have nothing to find and are no error.
    for (width, height) in [(1, 1), (700, 1), (1, 700)] {
        let line = DynamicImage::new_rgb8(width, height);
        assert!(detector.ground(&line, "cat").unwrap().is_empty());
    }
}

/// Synonyms of one category, and a sentence.
#[test]
fn categories_and_sentences_work_on_photographs() {
    let detector = Detector::nano().unwrap();
    let coffee = detector.encode_image(&PHOTOGRAPHS[2].open()).unwrap();
    let drink = Category::labelled("drink", "cup").with_synonym("mug");
    let found = detector
        .ground(&coffee, Prompt::categories([drink]))
        .unwrap();
    assert_eq!(found.len(), 1, "one cup, whatever it is called: {found:?}");

    let caption = "a cup of coffee on a wooden table";
    let prompt = Prompt::caption(caption).phrases(["a cup of coffee", "a wooden table"]);
    let found = detector.ground(&coffee, prompt).unwrap();
    let [cup, table] = [0, 1].map(|phrase| found.of_phrase(phrase).count());
    assert!(cup == 1 && table >= 1, "{found:?}");
}
