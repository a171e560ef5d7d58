//! The model in the box on the picture of the demo.
#![cfg(feature = "nano")]

use glip::{BBox, Detection, Detector, Prompt};

/// What the renderer drew, in pixels of `examples/images/scene.png`.
const DRAWN: [(&str, [f32; 4]); 6] = [
    ("pink triangle", [498.0, 132.0, 674.0, 310.0]),
    ("blue square", [288.0, 263.0, 451.0, 432.0]),
    ("red circle", [153.0, 43.0, 330.0, 230.0]),
    ("orange star", [305.0, 51.0, 501.0, 258.0]),
    ("purple triangle", [483.0, 166.0, 562.0, 241.0]),
    ("yellow circle", [53.0, 327.0, 235.0, 511.0]),
];
/// What is not there.
const ABSENT: [&str; 3] = ["green ring", "yellow star", "red square"];

#[test]
fn it_finds_what_is_there_and_nothing_else() {
    let image = image::open("examples/images/scene.png").unwrap();
    let detector = Detector::nano().unwrap();
    let names: Vec<_> = ABSENT
        .into_iter()
        .chain(DRAWN.map(|(name, _)| name))
        .collect();

    let found = detector.ground(&image, Prompt::categories(&names)).unwrap();

    for (phrase, [x1, y1, x2, y2]) in DRAWN {
        let drawn = BBox::new(x1, y1, x2, y2).unwrap();
        let matches = |d: &Detection| d.phrase == phrase && d.bbox.iou(&drawn) > 0.7;
        assert!(found.iter().any(matches), "{phrase} is not in {found:?}");
    }
    assert_eq!(found.len(), DRAWN.len(), "{found:?}");
    assert!(found.iter().all(|d| names[d.phrase_index] == d.phrase));
}

/// GLIP reads the words: what is asked for decides what is found.
#[test]
fn what_is_found_is_what_was_asked_for() {
    let image = image::open("examples/images/scene.png").unwrap();
    let detector = Detector::nano().unwrap();
    let scene = detector.encode_image(&image).unwrap();

    for (phrase, _) in DRAWN {
        let found = detector.ground(&scene, phrase).unwrap();
        assert_eq!(found.len(), 1, "{phrase}: {found:?}");
    }
    for phrase in ABSENT {
        let found = detector.ground(&scene, phrase).unwrap();
        assert!(found.is_empty(), "{phrase}: {found:?}");
    }
}
