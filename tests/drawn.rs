//! A trained model, glip-drawn, on pictures of its world.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use common::{drawn, drawn_picture};
use glip::{BBox, Detection, Prompt};
use image::DynamicImage;

/// What the renderer drew into a picture, in its pixels, and what is not there.
struct Picture {
    file: &'static str,
    drawn: &'static [(&'static str, [f32; 4])],
    absent: &'static [&'static str],
}

const PICTURES: [Picture; 2] = [
    Picture {
        file: "things.jpg",
        drawn: &[
            ("key", [166.0, 263.0, 442.0, 465.0]),
            ("dog", [420.0, 211.0, 572.0, 352.0]),
            ("giraffe", [569.0, 466.0, 615.0, 548.0]),
            ("red diamond", [78.0, 0.0, 195.0, 199.0]),
            ("blue diamond", [565.0, 209.0, 702.0, 434.0]),
            ("green triangle", [228.0, 111.0, 380.0, 276.0]),
        ],
        absent: &["cat", "elephant", "purple star"],
    },
    Picture {
        file: "scene.png",
        drawn: &[
            ("pink triangle", [498.0, 132.0, 674.0, 310.0]),
            ("blue square", [288.0, 263.0, 451.0, 432.0]),
            ("red circle", [153.0, 43.0, 330.0, 230.0]),
            ("orange star", [305.0, 51.0, 501.0, 258.0]),
            ("purple triangle", [483.0, 166.0, 562.0, 241.0]),
            ("yellow circle", [53.0, 327.0, 235.0, 511.0]),
        ],
        absent: &["green ring", "yellow star", "red square", "dog"],
    },
];

impl Picture {
    fn open(&self) -> DynamicImage {
        drawn_picture(self.file)
    }
}

#[test]
fn it_finds_what_is_there_and_nothing_else() {
    let detector = drawn();
    for picture in &PICTURES {
        let drawn = picture.drawn.iter().map(|&(name, _)| name);
        let names: Vec<_> = picture.absent.iter().copied().chain(drawn).collect();

        let found = detector
            .ground(picture.open(), Prompt::categories(&names))
            .unwrap();

        for &(phrase, [x1, y1, x2, y2]) in picture.drawn {
            let drawn = BBox::new(x1, y1, x2, y2).unwrap();
            let matches = |d: &Detection| d.phrase == phrase && d.bbox.iou(&drawn) > 0.7;
            assert!(found.iter().any(matches), "{phrase} is not in {found:?}");
        }
        assert_eq!(found.len(), picture.drawn.len(), "{found:?}");
        assert!(found.iter().all(|d| names[d.phrase_index] == d.phrase));
    }
}

/// GLIP reads the words: what is asked for decides what is found.
#[test]
fn what_is_found_is_what_was_asked_for() {
    let detector = drawn();
    for picture in &PICTURES {
        let encoded = detector.encode_image(&picture.open()).unwrap();
        for (phrase, _) in picture.drawn {
            let found = detector.ground(&encoded, *phrase).unwrap();
            assert_eq!(found.len(), 1, "{phrase}: {found:?}");
        }
        for phrase in picture.absent {
            let found = detector.ground(&encoded, *phrase).unwrap();
            assert!(found.is_empty(), "{phrase}: {found:?}");
        }
    }
}

/// Of `python/glip_torch/data/nouns.py`: training never said "puppy dog".
#[test]
fn it_knows_a_thing_by_a_name_it_was_never_told() {
    let detector = drawn();
    let [things, _] = &PICTURES;
    let encoded = detector.encode_image(&things.open()).unwrap();
    let found = detector.ground(&encoded, "puppy dog . kitty cat").unwrap();
    let dog = detector.ground(&encoded, "dog").unwrap();
    assert_eq!((found.len(), dog.len()), (1, 1), "{found:?}");
    let (found, dog) = (&found[0], &dog[0]);
    assert_eq!(found.phrase, "puppy dog");
    assert!(found.bbox.iou(&dog.bbox) > 0.9);
}
