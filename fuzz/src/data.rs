//! Annotations, results, records, shards, and the files that a run goes on from.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use glip_tools::{
    PictureLimits,
    coco::{Dataset, Segmentation},
    eval::{
        Detection, Overlap, PredictionFile, Protocol, RunKey, average_precision, mistakes,
        read_detections, read_sentences, report,
    },
    grounding::{FormatVersion, Record, Records},
    label::{Format, ImageBytes, Inputs, Journal, OutputOptions, Request, Run, Subject},
};

const PROTOCOLS: [Protocol; 3] = [Protocol::Coco, Protocol::Lvis, Protocol::LVIS_FIXED];

/// A folder of this process for the files of one target.
pub fn folder(name: &str) -> PathBuf {
    static ROOT: OnceLock<tempfile::TempDir> = OnceLock::new();
    // Where there is one, in memory: it is written to thousands of times a second.
    let root = ROOT.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        }
        .expect("a temporary folder")
    });
    let folder = root.path().join(name);
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

fn written(folder_name: &str, name: &str, data: &[u8]) -> PathBuf {
    let path = folder(folder_name).join(name);
    fs::write(&path, data).expect("a temporary folder");
    path
}

/// Annotations that can be read can be evaluated, with scores from 0 to 1.
pub fn coco(data: &[u8]) {
    let path = written("coco", "truth.json", data);
    for (overlap, read) in [
        (Overlap::Boxes, Dataset::read(&path)),
        (Overlap::Masks, Dataset::read_with_masks(&path)),
    ] {
        let Ok((truth, problems)) = read else {
            continue;
        };
        problems
            .iter()
            .for_each(|problem| drop(problem.to_string()));
        let places = truth.annotations.iter().enumerate();
        let found = places.map(|(place, annotation)| {
            let (image, category) = (annotation.image, annotation.category);
            let score = place as f64 * 0.1;
            match &annotation.segmentation {
                Some(Segmentation::Rle(rle)) => {
                    Detection::of_mask(image, category, rle.clone(), score)
                }
                _ => Detection::of_box(image, category, annotation.bbox, score),
            }
        });
        evaluate(&truth, &found.collect::<Vec<_>>(), overlap);
    }
}

/// The same of results, for a small truth.
pub fn results(data: &[u8]) {
    let (truth, _) = Dataset::parse(
        r#"{"images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48},
                       {"id": 2, "file_name": "b.jpg"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 2, "bbox": [8, 8, 20, 30]},
                {"id": 2, "image_id": 2, "category_id": 3, "bbox": [8, 8, 20, 30], "iscrowd": 1}],
            "categories": [{"id": 2, "name": "dog", "frequency": "r"},
                           {"id": 3, "name": "cat", "frequency": "c"}]}"#,
    )
    .expect("it is a data set");
    let path = written("results", "found.json", data);
    for overlap in [Overlap::Boxes, Overlap::Masks] {
        if let Ok((found, _)) = read_detections(&path, &truth, overlap) {
            evaluate(&truth, &found, overlap);
        }
    }
}

fn evaluate(truth: &Dataset, found: &[Detection], overlap: Overlap) {
    for protocol in PROTOCOLS {
        if let Ok(scores) = average_precision(truth, found, protocol, overlap) {
            for (name, value) in scores.averages.named(protocol) {
                assert!(
                    value.is_none_or(|value| (0.0..=1.0).contains(&value)),
                    "{name}: {value:?}"
                );
            }
            let _ = mistakes(truth, found, protocol, overlap);
            let _ = report::detection_table(&scores);
        }
    }
}

/// Sentences whose phrases lie in their text; the bytes are annotations, a null byte, and sentences.
pub fn flickr(data: &[u8]) {
    let end = data
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(data.len());
    let sentences = data
        .get(end + 1..)
        .unwrap_or(b"[/EN#1/people A man] and [/EN#2/x y]");
    written("flickr/Annotations", "1.xml", &data[..end]);
    written("flickr/Sentences", "1.txt", sentences);
    if let Ok((sentences, _)) = read_sentences(folder("flickr"), Some(&["1".to_owned()])) {
        for sentence in sentences {
            for phrase in sentence.phrases {
                assert!(sentence.text.get(phrase.span).is_some());
            }
        }
    }
}

/// Records that can be read are written and read again as they were.
pub fn grounding_records(data: &[u8]) {
    let Ok(records) = Records::new(data, "x") else {
        return;
    };
    for record in records.flatten() {
        let line = record.to_line().expect("a record that was read");
        let again = Record::parse(&line, FormatVersion::default())
            .unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(again.to_line().expect("the same"), line);
    }
}

/// Any bytes as lines that ask for pictures to be labelled.
pub fn request_lines(data: &[u8]) {
    drain(&written("lines", "requests.jsonl", data));
}

/// Any bytes as a shard of pictures and captions.
pub fn shard(data: &[u8]) {
    drain(&written("shard", "shard.tar", data));
}

fn drain(path: &Path) {
    let Ok(inputs) = Inputs::find([path]) else {
        return;
    };
    let limits = PictureLimits::default().with_max_pixels(10_000);
    for subject in [None, Some(Arc::new(Subject::categories(["a", "b"])))] {
        let Ok(requests) = inputs.requests(subject) else {
            continue;
        };
        for (place, request) in requests.enumerate() {
            assert!(place < 100_000, "requests without an end");
            if let Ok(request) = request {
                let _ = request.subject.phrases();
                if let ImageBytes::Section { .. } = request.bytes {
                    let _ = request.picture(limits);
                }
            }
        }
    }
}

/// Any bytes as the journal of a run: it is refused, or read, written out and gone on with.
pub fn journal(data: &[u8]) {
    let folder = folder("journal");
    written("journal", "journal.jsonl", data);
    let Ok(journal) = Journal::read(&folder) else {
        return;
    };
    if let Ok(outcomes) = journal.outcomes() {
        outcomes.for_each(drop);
    }
    let header = journal.header().clone();
    drop(journal);
    if let Ok(run) = Run::reopen(&folder) {
        let _ = run.write(&OutputOptions::default().with_formats([
            Format::Grounding,
            Format::Coco,
            Format::Gligen,
            Format::LabelStudio,
            Format::Cvat,
        ]));
    }
    if let Ok(mut journal) = Journal::open(&folder, header) {
        let subject = Arc::new(Subject::categories(["a"]));
        let mut requests = ["a.jpg", "b.jpg", "c.jpg"].into_iter().map(|image| {
            Ok(Request {
                image: image.to_owned(),
                bytes: ImageBytes::Memory(Vec::new()),
                subject: subject.clone(),
                source: None,
            })
        });
        let _ = journal.skip_done(&mut requests, PictureLimits::default(), |_| Ok(()));
    }
}

/// Any bytes as the predictions of a run: what is added to them can be read again.
pub fn predictions(data: &[u8]) {
    let path = written("predictions", "predictions.jsonl", data);
    let key = RunKey {
        data: "d".to_owned(),
        model: "m".to_owned(),
        options: "o".into(),
    };
    if let Ok(mut file) = PredictionFile::open(&path, &key) {
        file.append("z", &[]).expect("a temporary folder");
        drop(file);
        let again = PredictionFile::open(&path, &key).expect("its own lines");
        assert!(again.get("z").is_some());
    }
}
