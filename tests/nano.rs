//! The model in the box on the picture of the demo.
#![cfg(feature = "nano")]

use glip::{BBox, Detection, Detector, Prompt};

/// What the renderer drew, in pixels of `examples/images/scene.png`.
const DRAWN: [(&str, [f32; 4]); 5] = [
    ("blue square", [300.0, 354.0, 439.0, 491.0]),
    ("red circle", [227.0, 46.0, 450.0, 275.0]),
    ("green diamond", [78.0, 86.0, 181.0, 237.0]),
    ("purple diamond", [503.0, 348.0, 579.0, 478.0]),
    ("purple diamond", [340.0, 179.0, 388.0, 254.0]),
];

#[test]
fn it_finds_what_is_there_and_nothing_else() {
    let image = image::open("examples/images/scene.png").unwrap();
    let detector = Detector::nano().unwrap();
    let names = [
        "yellow star",
        "red circle",
        "blue square",
        "green diamond",
        "purple diamond",
    ];

    let found = detector.ground(&image, Prompt::categories(names)).unwrap();

    for (phrase, [x1, y1, x2, y2]) in DRAWN {
        let drawn = BBox::new(x1, y1, x2, y2).unwrap();
        let matches = |d: &Detection| d.phrase == phrase && d.bbox.iou(&drawn) > 0.7;
        assert!(found.iter().any(matches), "{phrase} is not in {found:?}");
    }
    assert!(found.iter().all(|d| names[d.phrase_index] == d.phrase));
    assert!(found.iter().all(|d| d.phrase != "yellow star"), "{found:?}");
}
