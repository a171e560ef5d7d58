//! The numbers are those of pycocotools, lvis and official GLIP's Flickr30K evaluation, on random cases
//! that `python/tools/evaluation_cases.py` wrote.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
};

use flate2::read::GzDecoder;
use glip_tools::{
    coco::{Annotation, Category, Dataset, Frequency, Image, Segmentation},
    eval::{
        Averages, Detection, Overlap, PhraseProtocol, PhraseResult, Protocol, average_precision,
        mistakes, phrase_recall, read_detections,
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

const TOLERANCE: f64 = 1e-6;

fn cases<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let file = File::open(folder.join(file)).unwrap();
    BufReader::new(GzDecoder::new(file))
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

/// Image, category, box, area, whether it is a crowd.
type ObjectRow = (u64, u64, f64, f64, f64, f64, f64, u8);
/// Image, category, box, score.
type FoundRow = (u64, u64, f64, f64, f64, f64, f64);

#[derive(Deserialize)]
struct DetectionCase {
    images: Vec<(u64, Vec<u64>, Vec<u64>)>,
    categories: Vec<u64>,
    truth: Vec<ObjectRow>,
    found: Vec<FoundRow>,
    coco: Vec<f64>,
    coco_classes: Vec<[f64; 3]>,
    lvis: Option<Vec<f64>>,
    lvis_classes: Option<Vec<f64>>,
    fixed: Option<FixedCase>,
}

#[derive(Deserialize)]
struct FixedCase {
    limit: usize,
    numbers: Vec<f64>,
}

impl DetectionCase {
    fn dataset(&self) -> Dataset {
        let frequency = |id: u64| match id % 3 {
            0 => Frequency::Rare,
            1 => Frequency::Common,
            _ => Frequency::Frequent,
        };
        let images = self
            .images
            .iter()
            .map(|(id, absent, not_exhaustive)| Image {
                id: *id,
                file_name: format!("{id}.jpg").into(),
                width: 0,
                height: 0,
                absent: absent.clone(),
                not_exhaustive: not_exhaustive.clone(),
            });
        let annotations = self.truth.iter().zip(1..).map(|(row, id)| Annotation {
            id,
            image: row.0,
            category: row.1,
            bbox: [row.2, row.3, row.4, row.5],
            area: row.6,
            is_crowd: row.7 == 1,
            segmentation: None,
        });
        let categories = self.categories.iter().map(|&id| Category {
            id,
            name: id.to_string(),
            supercategory: None,
            frequency: Some(frequency(id)),
        });
        Dataset {
            images: images.collect(),
            annotations: annotations.collect(),
            categories: categories.collect(),
            root: None,
        }
    }

    fn found(&self) -> Vec<Detection> {
        let detection =
            |row: &FoundRow| Detection::of_box(row.0, row.1, [row.2, row.3, row.4, row.5], row.6);
        self.found.iter().map(detection).collect()
    }
}

/// References have -1 where there is nothing to average.
fn assert_close(found: Option<f64>, expected: f64, what: &str) {
    let found = found.unwrap_or(-1.0);
    assert!(
        (found - expected).abs() <= TOLERANCE,
        "{what}: {found}, expected {expected}"
    );
}

fn assert_averages(averages: &Averages, protocol: Protocol, expected: &[f64], case: usize) {
    let named = averages.named(protocol);
    assert_eq!(named.len(), expected.len());
    for ((name, found), &expected) in named.into_iter().zip(expected) {
        assert_close(
            found,
            expected,
            &format!("case {case}, {protocol:?}, {name}"),
        );
    }
}

#[test]
fn coco_and_its_classes_equal_pycocotools() {
    let cases: Vec<DetectionCase> = cases("detection.jsonl.gz");
    assert!(cases.len() >= 2000);
    for (number, case) in cases.iter().enumerate() {
        let scores = average_precision(
            &case.dataset(),
            &case.found(),
            Protocol::Coco,
            Overlap::Boxes,
        )
        .unwrap();
        assert_averages(&scores.averages, Protocol::Coco, &case.coco, number);
        for (class, [ap, ap_50, ar]) in scores.classes.iter().zip(&case.coco_classes) {
            let what = |name| format!("case {number}, category {}, {name}", class.name);
            assert_close(class.ap, *ap, &what("AP"));
            assert_close(class.ap_50, *ap_50, &what("AP50"));
            assert_close(class.ar, *ar, &what("AR"));
        }
    }
}

#[derive(Deserialize)]
struct MaskCase {
    truth: Value,
    found: Value,
    /// The compressed run lengths of every object.
    counts: Vec<String>,
    coco: Vec<f64>,
    coco_classes: Vec<[f64; 3]>,
}

impl MaskCase {
    fn dataset(&self) -> Dataset {
        let (truth, problems) = Dataset::parse_with_masks(&self.truth.to_string()).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        truth
    }
}

#[test]
fn masks_and_their_classes_equal_pycocotools() {
    let cases: Vec<MaskCase> = cases("masks.jsonl.gz");
    assert!(cases.len() >= 800);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("detections.json");
    for (number, case) in cases.iter().enumerate() {
        let truth = case.dataset();
        fs::write(&file, case.found.to_string()).unwrap();
        let (found, problems) = read_detections(&file, &truth, Overlap::Masks).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let scores = average_precision(&truth, &found, Protocol::Coco, Overlap::Masks).unwrap();
        assert_averages(&scores.averages, Protocol::Coco, &case.coco, number);
        for (class, [ap, ap_50, ar]) in scores.classes.iter().zip(&case.coco_classes) {
            let what = |name| format!("case {number}, category {}, {name}", class.name);
            assert_close(class.ap, *ap, &what("AP"));
            assert_close(class.ap_50, *ap_50, &what("AP50"));
            assert_close(class.ar, *ar, &what("AR"));
        }
        // Written, they are what other programs measure alike.
        if found.iter().all(|found| {
            found
                .mask
                .as_ref()
                .is_some_and(|mask| mask.area() as f64 == found.area)
        }) {
            let written: Vec<Detection> =
                serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
            assert_eq!(written, found, "case {number}");
        }
    }
}

/// Thousands of polygons, among them such as cross themselves or reach beyond their image.
#[test]
fn pixels_of_polygons_are_those_of_pycocotools() {
    let mut polygons = 0;
    for (number, case) in cases::<MaskCase>("masks.jsonl.gz").iter().enumerate() {
        let truth = case.dataset();
        assert_eq!(truth.annotations.len(), case.counts.len());
        for (object, counts) in truth.annotations.iter().zip(&case.counts) {
            let image = truth.images.iter().find(|image| image.id == object.image);
            let segmentation = object.segmentation.as_ref().unwrap();
            let rle = segmentation.rle(image.unwrap().size().unwrap()).unwrap();
            assert_eq!(
                &rle.to_compressed(),
                counts,
                "case {number}, object {}",
                object.id
            );
            if let Segmentation::Polygons(parts) = segmentation {
                polygons += parts.len();
            }
        }
    }
    assert!(polygons >= 4000, "{polygons}");
}

#[test]
fn masks_are_measured_of_what_has_them() {
    let read = |segmentation: &str, size: &str| {
        let text = format!(
            r#"{{"images": [{{"id": 1, "file_name": "a.jpg"{size}}}], "categories": [{{"id": 1, "name": "cat"}}],
                "annotations": [{{"id": 7, "image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4]{segmentation}}}]}}"#
        );
        text
    };
    let outline = r#", "segmentation": [[0, 0, 4, 0, 4, 4]]"#;
    let size = r#", "width": 8, "height": 8"#;
    let whole = |text: &str| Dataset::parse_with_masks(text).unwrap().0;
    let boxes = Dataset::parse(&read(outline, size)).unwrap().0;
    let box_alone = [Detection::of_box(1, 1, [0.0, 0.0, 4.0, 4.0], 0.5)];
    for (truth, found, part) in [
        (
            boxes,
            &[][..],
            "annotation 7 has no mask to measure: read the data set with its masks",
        ),
        (
            whole(&read(outline, "")),
            &[],
            "annotation 7 has no mask to measure: a mask of 0 x 0 pixels",
        ),
        (
            whole(&read(outline, size)),
            &box_alone,
            "detection 0 has no mask to measure: give its pixels",
        ),
    ] {
        let error = average_precision(&truth, found, Protocol::Coco, Overlap::Masks).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("annotations.json");
    for segmentation in ["", r#", "segmentation": []"#] {
        fs::write(&file, read(segmentation, size)).unwrap();
        let error = Dataset::read_with_masks(&file).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("annotation 7: malformed") && text.contains("--iou bbox"),
            "{text}"
        );
    }
}

#[test]
fn lvis_and_its_classes_equal_the_package_lvis() {
    let mut compared = 0;
    for (number, case) in cases::<DetectionCase>("detection.jsonl.gz")
        .iter()
        .enumerate()
    {
        let (Some(expected), Some(classes)) = (&case.lvis, &case.lvis_classes) else {
            continue;
        };
        let scores = average_precision(
            &case.dataset(),
            &case.found(),
            Protocol::Lvis,
            Overlap::Boxes,
        )
        .unwrap();
        assert_averages(&scores.averages, Protocol::Lvis, expected, number);
        for (class, ap) in scores.classes.iter().zip(classes) {
            assert_close(
                class.ap,
                *ap,
                &format!("case {number}, category {}", class.name),
            );
        }
        compared += 1;
    }
    assert!(compared >= 1900, "{compared}");
}

#[test]
fn fixed_ap_is_the_package_lvis_after_officials_cut() {
    let mut compared = 0;
    for (number, case) in cases::<DetectionCase>("detection.jsonl.gz")
        .iter()
        .enumerate()
    {
        let Some(fixed) = &case.fixed else { continue };
        let protocol = Protocol::LvisFixed {
            per_category: fixed.limit,
        };
        let scores =
            average_precision(&case.dataset(), &case.found(), protocol, Overlap::Boxes).unwrap();
        assert_averages(&scores.averages, protocol, &fixed.numbers, number);
        compared += 1;
    }
    assert!(compared >= 1900, "{compared}");
}

/// Recall at IoU 0.5 follows from what was missed.
#[test]
fn mistakes_agree_with_the_numbers() {
    for case in cases::<DetectionCase>("detection.jsonl.gz") {
        let (truth, found) = (case.dataset(), case.found());
        let wrong = mistakes(&truth, &found, Protocol::Coco, Overlap::Boxes).unwrap();
        let objects = truth
            .annotations
            .iter()
            .filter(|object| !object.is_crowd)
            .count();
        assert!(wrong.missed.len() <= objects);
        assert!(
            wrong
                .missed
                .iter()
                .all(|&place| !truth.annotations[place].is_crowd)
        );
        let scores = average_precision(&truth, &found, Protocol::Coco, Overlap::Boxes).unwrap();
        if scores.averages.ap_50 == Some(1.0) {
            assert!(wrong.missed.is_empty());
        }
        if scores.averages.ar == Some(0.0) && scores.averages.ap_50 == Some(0.0) {
            assert_eq!(wrong.missed.len(), objects);
        }
    }
}

type PhraseRow = (Vec<String>, Vec<[f64; 4]>, Vec<[f64; 5]>);

#[derive(Deserialize)]
struct RecallCase {
    phrases: Vec<PhraseRow>,
    separate: std::collections::BTreeMap<String, [f64; 4]>,
    merged: std::collections::BTreeMap<String, [f64; 4]>,
}

#[test]
fn phrase_recall_equals_officials_rules() {
    let phrase = |(kinds, truth, found): &PhraseRow| {
        let mut found = found.clone();
        found.sort_by(|a, b| b[4].total_cmp(&a[4]));
        PhraseResult {
            kinds: kinds.clone(),
            truth: truth.clone(),
            found: found
                .iter()
                .map(|&[x1, y1, x2, y2, _]| [x1, y1, x2, y2])
                .collect(),
        }
    };
    for (number, case) in cases::<RecallCase>("recall.jsonl.gz").iter().enumerate() {
        let phrases: Vec<_> = case.phrases.iter().map(phrase).collect();
        let protocols = [
            (PhraseProtocol::AnyBox, &case.separate),
            (PhraseProtocol::MergedBoxes, &case.merged),
        ];
        for (protocol, expected) in protocols {
            let recall = phrase_recall(protocol, &phrases);
            assert_eq!(recall.kinds.len() + 1, expected.len());
            for (kind, expected) in expected {
                let found = match kind.as_str() {
                    "all" => recall.all,
                    kind => recall.kinds[kind],
                };
                let found = [found.at_1, found.at_5, found.at_10, found.at_any]
                    .map(Option::unwrap_or_default);
                for (found, expected) in found.into_iter().zip(expected) {
                    assert_close(Some(found), *expected, &format!("case {number}, {kind}"));
                }
            }
        }
    }
}
