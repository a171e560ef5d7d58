//! The command `glip label`, as people and programs use it, on glip-drawn and small pictures.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // It is all tests.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
    thread,
    time::Duration,
};

use image::DynamicImage;
use serde_json::Value;

/// A model that knows coloured shapes.
const DRAWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/glip-drawn");

/// A segmenter of random weights: that there are masks is what matters.
const SEGMENTER: [&str; 2] = [
    "--segmenter",
    concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/golden/segmenter/sam"
    ),
];

const WORDS: [&str; 8] = [
    "--category",
    "red circle",
    "--category",
    "green ring",
    "--threads",
    "1",
    "--model",
    DRAWN,
];

/// Where the red circle is in the scene that pictures are cut from.
const CIRCLE: [f64; 4] = [156.0, 43.0, 326.0, 224.0];

/// How many pixels of it are one of a picture.
const SCALE: f64 = 480.0 / 256.0;

/// A part of that scene with the red circle, cut out at a place that depends on the number.
fn picture(path: &Path, number: u32) {
    static SCENE: LazyLock<DynamicImage> = LazyLock::new(|| {
        image::open(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/fixtures/drawn/scene.png"
        ))
        .unwrap()
    });
    let [left, top] = corner(number);
    let picture = SCENE
        .crop_imm(left, top, 480, 480)
        .thumbnail_exact(256, 256);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

fn corner(number: u32) -> [u32; 2] {
    [3 * (number % 8), 2 * (number % 6)]
}

/// A folder of pictures, some with names that are hard to write.
fn pictures(count: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("the pictures");
    for number in 0..count {
        picture(
            &images.join(format!("day {}/bild ü {number:03}.png", number % 3)),
            number,
        );
    }
    (folder, images)
}

fn glip() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glip"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("label");
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let code = output.status.code();
    assert!(
        matches!(code, Some(0..=3)),
        "{code:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_folder_becomes_labels_in_every_format() {
    let (folder, images) = pictures(4);
    fs::write(
        images.join("cut off.png"),
        &fs::read(images.join("day 0/bild ü 000.png")).unwrap()[..90],
    )
    .unwrap();
    let out = folder.path().join("out put");
    let formats = "grounding,coco,yolo,gligen,label-studio,cvat";
    let output = run(glip()
        .arg(&images)
        .args(WORDS)
        .arg("--out")
        .arg(&out)
        .args(["--format", formats]));
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "4 images, 4 boxes, 1 failed (errors.jsonl)\n"
    );

    let errors = lines(&out.join("errors.jsonl"));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["image"], "cut off.png");
    let labels = lines(&out.join("labels.jsonl"));
    assert_eq!(labels[0]["format"], "glip-grounding");
    assert_eq!(labels[0]["format_version"], 2);
    assert_eq!(labels[1]["image"], "../the pictures/day 0/bild ü 000.png");
    let [red, blue] = [0, 1].map(|index| &labels[1]["categories"][index]);
    assert_eq!(
        (red["name"].as_str(), red["boxes"].as_array().unwrap().len()),
        (Some("red circle"), 1)
    );
    assert_eq!(
        (
            blue["name"].as_str(),
            blue["boxes"].as_array().unwrap().len()
        ),
        (Some("green ring"), 0)
    );
    let bbox: Vec<f64> = red["boxes"][0]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect();
    let [left, top] = corner(0).map(f64::from);
    let expected = [
        CIRCLE[0] - left,
        CIRCLE[1] - top,
        CIRCLE[2] - left,
        CIRCLE[3] - top,
    ];
    let expected = expected.map(|edge| edge / SCALE);
    for (edge, expected) in bbox.iter().zip(expected) {
        assert!((edge - expected).abs() < 4.0, "{bbox:?}");
    }

    let coco: Value = serde_json::from_slice(&fs::read(out.join("coco.json")).unwrap()).unwrap();
    assert_eq!(coco["images"][0]["file_name"], "day 0/bild ü 000.png");
    assert_eq!(coco["annotations"].as_array().unwrap().len(), 4);
    let categories: Vec<_> = coco["categories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["id"].as_u64(), c["name"].as_str()))
        .collect();
    assert_eq!(
        categories,
        [(Some(1), Some("red circle")), (Some(2), Some("green ring"))]
    );
    let width = coco["annotations"][0]["bbox"][2].as_f64().unwrap();
    assert!((width - (bbox[2] - bbox[0])).abs() < 0.02, "{width}");

    let yolo = fs::read_to_string(out.join("yolo/labels/day 0/bild ü 000.txt")).unwrap();
    let numbers: Vec<f64> = yolo
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    assert_eq!(numbers.len(), 5);
    assert!((numbers[3] - width / 256.0).abs() < 0.001, "{yolo}");
    assert!(image::open(out.join("yolo/images/day 0/bild ü 000.png")).is_ok());
    assert!(
        fs::read_to_string(out.join("yolo/data.yaml"))
            .unwrap()
            .contains("0: \"red circle\"\n")
    );

    let tasks: Value =
        serde_json::from_slice(&fs::read(out.join("label_studio.json")).unwrap()).unwrap();
    assert_eq!(
        tasks[0]["data"]["image"],
        "/data/local-files/?d=day%200/bild%20%C3%BC%20000.png"
    );
    let cvat = fs::read_to_string(out.join("cvat.xml")).unwrap();
    assert_eq!(cvat.matches("<box label=\"red circle\"").count(), 4);
    assert_eq!(
        lines(&out.join("gligen.jsonl"))[0]["phrases"][0],
        "red circle"
    );

    // What was made can be made again without the model, and nothing half-written is left.
    let before = fs::read(out.join("coco.json")).unwrap();
    fs::remove_file(out.join("coco.json")).unwrap();
    run(glip().arg("--out").arg(&out).args(["--format", "coco"]));
    assert_eq!(fs::read(out.join("coco.json")).unwrap(), before);
    let names: BTreeSet<String> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = [
        "coco.json",
        "cvat.xml",
        "errors.jsonl",
        "gligen.jsonl",
        "journal.jsonl",
        "label_studio.json",
        "label_studio.xml",
        "labels.jsonl",
        "yolo",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
}

#[test]
fn things_have_masks_in_every_format_that_has_a_place_for_them() {
    let (folder, images) = pictures(2);
    let out = folder.path().join("out");
    let formats = ["--format", "grounding,coco,yolo,gligen,label-studio,cvat"];
    let label = |options: &[&str]| {
        let output = run(glip()
            .arg(&images)
            .args(WORDS)
            .arg("--out")
            .arg(&out)
            .args(options));
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = label(&[&SEGMENTER[..], &formats].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("gligen has no place for masks"), "{said}");

    let labels = lines(&out.join("labels.jsonl"));
    let red = &labels[1]["categories"][0];
    let mask: glip::Mask = serde_json::from_value(red["masks"][0].clone()).unwrap();
    assert_eq!(red["masks"].as_array().unwrap().len(), 1);
    assert_eq!(mask.size(), glip::ImageSize::new(256, 256));
    assert!(mask.area() > 0 && (0.0..=1.0).contains(&mask.score()));
    let json = |file: &str| -> Value {
        serde_json::from_slice(&fs::read(out.join(file)).unwrap()).unwrap()
    };
    let annotation = json("coco.json")["annotations"][0].clone();
    assert_eq!(annotation["area"], mask.area());
    assert_eq!(annotation["iscrowd"], 0);
    let rle: glip::parts::Rle = serde_json::from_value(annotation["segmentation"].clone()).unwrap();
    assert_eq!(rle, mask.rle());
    let region = json("label_studio.json")[0]["predictions"][0]["result"][0].clone();
    assert_eq!(region["type"], "brushlabels");
    assert_eq!(region["value"]["brushlabels"][0], "red circle");
    let read = |file: &str| fs::read_to_string(out.join(file)).unwrap();
    assert!(read("label_studio.xml").contains("<BrushLabels name=\"label\""));
    assert_eq!(
        read("cvat.xml")
            .matches("<mask label=\"red circle\"")
            .count(),
        2
    );
    let yolo = read("yolo/labels/day 0/bild ü 000.txt");
    let numbers: Vec<f64> = yolo
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    assert!(numbers.len() > 6 && numbers.len() % 2 == 1, "{yolo}");
    assert!(
        numbers[1..].iter().all(|share| (0.0..=1.0).contains(share)),
        "{yolo}"
    );

    // As polygons, without a model.
    run(glip()
        .arg("--out")
        .arg(&out)
        .args(formats)
        .args(["--masks", "polygon"]));
    let polygons = json("coco.json")["annotations"][0]["segmentation"].clone();
    assert!(polygons[0].as_array().unwrap().len() >= 6, "{polygons}");
    let region = json("label_studio.json")[0]["predictions"][0]["result"][0].clone();
    assert_eq!(region["type"], "polygonlabels");
    assert!(read("label_studio.xml").contains("<PolygonLabels"));
    assert!(read("cvat.xml").contains("<polygon label=\"red circle\""));
    assert_eq!(read("yolo/labels/day 0/bild ü 000.txt"), yolo);

    // The segmenter is what a run was begun with.
    let (code, said) = label(&[]);
    assert_eq!(code, Some(3));
    assert!(
        said.contains("(--segmenter none, before: tiny-sam ("),
        "{said}"
    );
    let (code, said) = label(&["--masks", "polygon", "--overwrite"]);
    assert_eq!(code, Some(3));
    assert!(
        said.contains("masks is polygon") && said.contains("--segmenter DIR"),
        "{said}"
    );
    assert_eq!(lines(&out.join("labels.jsonl")).len(), 3, "discarded");
    assert_eq!(label(&["--overwrite"]).0, Some(0));
    let output = run(glip().arg("--out").arg(&out).args(["--masks", "rle"]));
    assert_eq!(output.status.code(), Some(3));
    let labels = fs::read_to_string(out.join("labels.jsonl")).unwrap();
    assert!(!labels.contains("masks"), "{labels}");
}

/// Numbers that look random, 0 to 1: a linear congruential generator's.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1 << 24) as f64
    }
}

#[test]
fn a_run_that_is_killed_goes_on_with_nothing_lost_or_doubled() {
    const PICTURES: u32 = 20;
    let (folder, images) = pictures(PICTURES);
    fs::write(images.join("day 1/no picture.png"), "no picture").unwrap();
    let label = |out: &Path| {
        let mut command = glip();
        command.arg(&images).args(WORDS).arg("--out").arg(out);
        command.args(SEGMENTER);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    run(&mut label(&whole));
    assert_eq!(
        lines(&whole.join("journal.jsonl")).len() as u32,
        1 + PICTURES + 1
    );
    let check = |code: Option<i32>| {
        assert_eq!(code, Some(1));
        for file in ["journal.jsonl", "labels.jsonl", "coco.json", "errors.jsonl"] {
            let read = |folder: &Path| fs::read_to_string(folder.join(file)).unwrap();
            assert!(read(&killed) == read(&whole), "{file} differs");
        }
    };
    let journal = killed.join("journal.jsonl");
    let bytes = || fs::metadata(&journal).map_or(0, |journal| journal.len());
    let (mut random, mut continued) = (Random(12345), 0);
    for kills in 0..20 {
        let before = bytes();
        let mut process = label(&killed).spawn().unwrap();
        // A few records later, or while it starts, and then at any moment.
        let growth = (random.next() * 1200.0) as u64;
        while kills % 5 > 0 && bytes() < before + growth && process.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_secs_f64(random.next() * 0.03));
        let ended = process.try_wait().unwrap();
        kill(&mut process);
        continued += usize::from(before > 1000 && bytes() > before);
        if let Some(status) = ended {
            // It was done before it was killed.
            check(status.code());
            fs::remove_dir_all(&killed).unwrap();
        } else if kills % 3 == 0 && bytes() > 2000 {
            // A process may also die within a line.
            let journal = File::options().write(true).open(&journal).unwrap();
            journal.set_len(bytes() - 7).unwrap();
        }
    }
    assert!(
        continued > 3,
        "{continued} runs went on with another's work"
    );
    check(run(&mut label(&killed)).status.code());
}

/// As `kill -9` does.
fn kill(process: &mut Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_run_does_not_go_on_with_something_else() {
    let (folder, images) = pictures(2);
    let out = folder.path().join("out");
    let label = |arguments: &[&str]| {
        let output = run(glip()
            .arg(&images)
            .args(WORDS)
            .arg("--out")
            .arg(&out)
            .args(arguments));
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(label(&[]).0, Some(0));
    let (code, error) = label(&["--keep", "0.9"]);
    assert_eq!(code, Some(3));
    assert!(
        error.contains("(--keep 0.9, before: none)") && error.contains("--overwrite"),
        "{error}"
    );
    for (options, expected) in [
        (
            &["--band", "red circle=0.7:0.5"][..],
            "(--band red circle=0.7:0.5, before: none)",
        ),
        (
            &["--tiles", "100:20", "--tiles-only"],
            "(--tiles 100:20 --tiles-only, before: none)",
        ),
        (&["--resize", "128:256"], "(--resize 128:256, before: "),
        (
            &["--category", "dog"],
            "(--category or --categories red circle, green ring, dog, before: red circle, green ring)",
        ),
    ] {
        let error = label(options).1;
        assert!(error.contains(expected), "{error}");
    }
    picture(&images.join("a new one.png"), 3);
    let (code, error) = label(&[]);
    assert_eq!(code, Some(3));
    assert!(
        error.contains("day 0/bild ü 000.png") && error.contains("a new one.png"),
        "{error}"
    );
    assert_eq!(label(&["--overwrite"]).0, Some(0));
    assert_eq!(lines(&out.join("labels.jsonl")).len(), 1 + 3);
    let (code, error) = label(&["--band", "cat=0.5", "--overwrite"]);
    assert_eq!(code, Some(3));
    assert!(error.contains("cat"), "{error}");
}

#[test]
fn a_filter_answers_each_line_before_it_needs_the_next() {
    let (_folder, images) = pictures(3);
    let mut filter = glip()
        .args(["-", "--inline-errors", "--threads", "1", "--model", DRAWN])
        .current_dir(&images)
        .env("ORT_DYLIB_PATH", library())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (filter.stdin.take().unwrap(), filter.stdout.take().unwrap());
    let mut answers = BufReader::new(output).lines();
    let mut ask = |line: &str| -> Value {
        writeln!(input, "{line}").unwrap();
        serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap()
    };
    let found =
        ask(r#"{"image": "day 0/bild ü 000.png", "categories": ["red circle", "green ring"]}"#);
    assert_eq!(found["image"], "day 0/bild ü 000.png");
    assert_eq!(found["source"], "glip-drawn");
    assert_eq!(found["categories"][0]["boxes"].as_array().unwrap().len(), 1);
    let failed = ask(r#"{"image": "missing.png", "categories": ["red circle"]}"#);
    assert!(
        failed["error"].as_str().unwrap().contains("missing.png"),
        "{failed}"
    );
    let failed = ask("nonsense");
    assert_eq!(failed["image"], "standard input, line 3");
    let caption = ask(r#"{"image": "day 1/bild ü 001.png", "text": "ein rotes: a red circle"}"#);
    assert_eq!(caption["text"], "ein rotes: a red circle");
    let phrases = caption["phrases"].as_array().unwrap();
    assert_eq!(
        phrases.last().unwrap()["spans"][0],
        serde_json::json!([11, 23])
    );
    drop(input);
    assert_eq!(filter.wait().unwrap().code(), Some(0));
}

/// The runtime of the checkout, which is found relative to where tests run only.
fn library() -> PathBuf {
    let path = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    fs::canonicalize(path.unwrap_or_default()).unwrap_or_default()
}

#[test]
fn a_filter_without_inline_errors_says_it_by_its_code() {
    let (_folder, images) = pictures(1);
    let output = run(glip()
        .arg(images.join("day 0/*.png"))
        .arg(images.join("day 0"))
        .args(WORDS));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        2
    );
    fs::write(images.join("day 0/a.png"), "no picture").unwrap();
    let output = run(glip().arg(images.join("day 0")).args(WORDS));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        1
    );
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .starts_with("a.png: ")
    );
    let strict = run(glip().arg(images.join("day 0")).args(WORDS).arg("--strict"));
    assert_eq!(strict.status.code(), Some(3));
    assert!(strict.stdout.is_empty());
}

/// Whatever it knows.
#[cfg(feature = "nano")]
#[test]
fn without_a_model_it_is_the_one_in_the_box() {
    let (_folder, images) = pictures(1);
    let output = run(glip().arg(&images).args(["--category", "thing"]));
    assert_eq!(output.status.code(), Some(0));
    let labels = String::from_utf8(output.stdout).unwrap();
    let label: Value = serde_json::from_str(labels.lines().last().unwrap()).unwrap();
    assert_eq!(label["source"], "glip-nano");
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let (_folder, images) = pictures(1);
    // 30,000 x 30,000 pixels of one colour in a file of a megabyte or less.
    let mut bomb = png_header(30_000, 30_000);
    bomb.extend([0; 64]);
    fs::write(images.join("bomb.png"), bomb).unwrap();
    let output = run(glip().arg(&images).args(WORDS));
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("bomb.png") && error.contains("30000 x 30000"),
        "{error}"
    );
}

/// The signature and the first chunk of a PNG of this size, 8-bit RGB.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(13_u32.to_be_bytes());
    png.extend(&chunk);
    png.extend(crc32(&chunk).to_be_bytes());
    // A data chunk has to follow, or the size is never looked at.
    png.extend(0_u32.to_be_bytes());
    png.extend(b"IDAT");
    png.extend(crc32(b"IDAT").to_be_bytes());
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

#[test]
fn an_image_that_a_format_cannot_hold_is_named() {
    let (folder, images) = pictures(1);
    fs::copy(
        images.join("day 0/bild ü 000.png"),
        images.join("day 0/bild ü 000.PNG.jpg"),
    )
    .unwrap();
    picture(&images.join("day 0/bild ü 000.bmp"), 1);
    let listed = folder.path().join("twice.jsonl");
    let line = r#"{"image": "the pictures/day 0/bild ü 000.png", "categories": ["red circle"]}"#;
    fs::write(&listed, format!("{line}\n{line}\n")).unwrap();
    let label = |input: &Path, format: &str, words: &[&str]| {
        let out = folder.path().join(format!("{format}{}", words.len()));
        let output = run(glip()
            .arg(input)
            .args(words)
            .arg("--out")
            .arg(&out)
            .args(["--format", format]));
        (output.status.code(), lines(&out.join("errors.jsonl")), out)
    };
    let (code, errors, _) = label(&images, "yolo", &WORDS);
    assert_eq!((code, errors.len()), (Some(1), 1), "{errors:?}");
    assert_eq!(errors[0]["image"], "day 0/bild ü 000.png");
    let (code, errors, out) = label(&listed, "coco", &["--model", DRAWN]);
    assert_eq!((code, errors.len()), (Some(1), 1));
    assert!(
        errors[0]["error"]
            .as_str()
            .unwrap()
            .contains("more than once")
    );
    let coco: Value = serde_json::from_slice(&fs::read(out.join("coco.json")).unwrap()).unwrap();
    assert_eq!(coco["images"].as_array().unwrap().len(), 1);
    let (code, errors, out) = label(&listed, "grounding", &["--model", DRAWN]);
    assert_eq!((code, errors.len()), (Some(0), 0));
    assert_eq!(lines(&out.join("labels.jsonl")).len(), 1 + 2);
}

#[test]
fn a_review_holds_the_images_with_boxes_in_review() {
    let (folder, images) = pictures(6);
    let out = folder.path().join("out");
    let formats = "grounding,coco,label-studio,cvat";
    let found = |keep: &str| {
        let arguments = [
            "--overwrite",
            "--keep",
            keep,
            "--review",
            "0.1",
            "--format",
            formats,
        ];
        run(glip()
            .arg(&images)
            .args(WORDS)
            .arg("--out")
            .arg(&out)
            .args(arguments));
        let labels = lines(&out.join("labels.jsonl"));
        let tasks: Value =
            serde_json::from_slice(&fs::read(out.join("label_studio.json")).unwrap()).unwrap();
        let cvat = fs::read_to_string(out.join("cvat.xml")).unwrap();
        let review = out.join("review.jsonl");
        let review = if review.exists() {
            lines(&review)
        } else {
            Vec::new()
        };
        (labels, review, tasks.as_array().unwrap().len(), cvat)
    };
    let (labels, review, tasks, cvat) = found("0.99");
    // Whatever is found is in review, so it is neither there nor absent.
    assert!(labels[1..].iter().all(|record| {
        record["categories"]
            .as_array()
            .unwrap()
            .iter()
            .all(|category| category["name"] != "red circle")
    }));
    assert_eq!((review.len() - 1, tasks), (6, 6));
    assert!(cvat.contains("<attribute name=\"verdict\">review</attribute>"));
    // Nothing is in review where both scores are the same.
    let (labels, review, tasks, _) = found("0.1");
    assert!(
        labels[1..]
            .iter()
            .all(|record| record["categories"][0]["name"] == "red circle")
    );
    assert_eq!((review.len(), tasks), (0, 6));
}

#[test]
fn two_processes_do_not_write_into_one_folder() {
    let (folder, images) = pictures(48);
    let out = folder.path().join("out");
    let label = || {
        let mut command = glip();
        command.arg(&images).args(WORDS).arg("--out").arg(&out);
        command
    };
    let mut first = label()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !out.join("journal.jsonl").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    let second = run(&mut label());
    kill(&mut first);
    assert_eq!(second.status.code(), Some(3));
    assert!(
        String::from_utf8(second.stderr)
            .unwrap()
            .contains("another run writes")
    );
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// As people's folders are: with links that lead round, what a Mac leaves beside files, other formats, a pipe, and the
/// run's own output.
#[cfg(unix)]
#[test]
fn a_folder_is_taken_as_people_have_it() {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("pictures");
    picture(&images.join("a.png"), 0);
    picture(&images.join("x/b.png"), 1);
    fs::rename(images.join("x/b.png"), images.join("x/b.jfif")).unwrap();
    symlink(".", images.join("loop")).unwrap();
    symlink("../../pictures", images.join("x/up")).unwrap();
    for name in [
        "._a.png",
        "__MACOSX/._a.png",
        "__MACOSX/a.png",
        ".thumbs/a.png",
        "d.heic",
        "e.avif",
    ] {
        let path = images.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let out = images.join("labels");
    let label = || {
        let output = run(glip()
            .arg(&images)
            .args(WORDS)
            .arg("--out")
            .arg(&out)
            .args(["--format", "yolo", "--copy-images"]));
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, stdout, stderr) = label();
    assert_eq!(
        (code, &*stdout),
        (Some(0), "2 images, 2 boxes\n"),
        "{stderr}"
    );
    assert_eq!(stderr.matches("left out").count(), 1, "{stderr}");
    assert!(
        stderr.contains("2 files left out: ") && stderr.contains("d.heic"),
        "{stderr}"
    );
    assert_eq!(label().1, stdout);
    // What cannot be read is named and waited for by nobody, and no name reaches a terminal as it is.
    let made = Command::new("mkfifo").arg(images.join("pipe.png")).status();
    assert!(made.unwrap().success());
    symlink("/dev/zero", images.join("zero.png")).unwrap();
    fs::write(images.join("\u{1b}[31mred.png"), "x").unwrap();
    fs::write(
        images.join(std::ffi::OsStr::from_bytes(b"caf\xe9.png")),
        "x",
    )
    .unwrap();
    fs::remove_dir_all(&out).unwrap();
    let (code, stdout, stderr) = label();
    assert_eq!(
        (code, &*stdout),
        (Some(1), "2 images, 2 boxes, 4 failed (errors.jsonl)\n")
    );
    assert!(
        !stderr.contains('\u{1b}') && stderr.contains("\\u001b[31mred.png"),
        "{stderr}"
    );
    let errors = lines(&out.join("errors.jsonl"));
    let error = |name: &str| {
        let mut errors = errors.iter();
        let failed = errors.find(|failed| failed["image"] == name).unwrap();
        failed["error"].as_str().unwrap().to_owned()
    };
    for name in ["pipe.png", "zero.png"] {
        assert!(
            error(name).contains("a pipe or a device, not a regular file"),
            "{}",
            error(name)
        );
    }
    assert!(error("caf\u{fffd}.png").contains("not Unicode"));
}

#[test]
fn a_picture_that_was_replaced_is_labelled_again() {
    let (folder, images) = pictures(3);
    let broken = images.join("broken.png");
    fs::write(&broken, "no picture").unwrap();
    let label = |out: &str, code: i32| {
        let out = folder.path().join(out);
        let output = run(glip().arg(&images).args(WORDS).arg("--out").arg(&out));
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        fs::read_to_string(out.join("journal.jsonl")).unwrap()
    };
    let before = label("out", 1);
    assert_eq!(label("out", 1), before);
    // Another picture, and a copy of one, which has its content and not its time.
    let [first, second, last] = [0, 1, 2].map(|n| images.join(format!("day {n}/bild ü 00{n}.png")));
    picture(&broken, 5);
    fs::copy(&second, &first).unwrap();
    let copied = fs::read(&last).unwrap();
    fs::remove_file(&last).unwrap();
    fs::write(&last, copied).unwrap();
    let after = label("out", 0);
    let changed = before.lines().zip(after.lines());
    let changed: Vec<bool> = changed.map(|(before, after)| before != after).collect();
    assert_eq!(changed, [false, true, true, false, false]);
    let afresh = label("afresh", 0);
    let boxes = |journal: &str| -> Vec<Value> {
        let lines = journal.lines().skip(1);
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| line["labelled"]["labels"].clone())
            .collect()
    };
    assert_eq!(boxes(&after), boxes(&afresh));
    assert_eq!(lines(&folder.path().join("out/errors.jsonl")).len(), 0);
    // A line that asks for something else is answered again, too.
    let [listed, out] = ["lines.jsonl", "lines"].map(|name| folder.path().join(name));
    let ask = |words: [&str; 2]| {
        let line = |(number, word)| {
            format!(
                r#"{{"image": "the pictures/day {number}/bild ü 00{number}.png", "categories": ["{word}"]}}"#
            ) + "\n"
        };
        let text: String = (1..).zip(words).map(line).collect();
        fs::write(&listed, text).unwrap();
        let output = run(glip()
            .arg(&listed)
            .args(["--threads", "1", "--model", DRAWN])
            .arg("--out")
            .arg(&out));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            self::text(&output.stderr)
        );
        let labels = lines(&out.join("labels.jsonl"));
        [1, 2].map(|line| {
            labels[line]["categories"][0]["name"]
                .as_str()
                .unwrap()
                .to_owned()
        })
    };
    assert_eq!(
        ask(["red circle", "red circle"]),
        ["red circle", "red circle"]
    );
    assert_eq!(
        ask(["red circle", "green ring"]),
        ["red circle", "green ring"]
    );
}

#[test]
fn a_data_set_of_yolo_and_its_lists_are_labelled() {
    let (folder, images) = pictures(3);
    let list = images.join("train.txt");
    fs::write(
        &list,
        "\u{feff}day 1/bild ü 001.png\r\n./day 0/bild ü 000.png\r\n",
    )
    .unwrap();
    let data = images.join("data.yaml");
    fs::write(
        &data,
        "train: train.txt\nval: day 2\nnames:\n  0: red circle\n  1: green ring\n",
    )
    .unwrap();
    let names = images.join("classes.txt");
    fs::write(&names, "red circle\ngreen ring\n").unwrap();
    let label = |arguments: &[&Path]| {
        let out = tempfile::tempdir_in(folder.path()).unwrap();
        let output = run(glip()
            .args(arguments)
            .args(["--threads", "1", "--model", DRAWN])
            .arg("--out")
            .arg(out.path()));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let mut labels = lines(&out.path().join("labels.jsonl"));
        assert_eq!(labels[1]["categories"].as_array().unwrap().len(), 2);
        labels.remove(0);
        let images = labels.iter().map(|label| label["image"].as_str().unwrap());
        images
            .map(|name| name[name.len() - 7..].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(label(&[&data]), ["001.png", "000.png", "002.png"]);
    for words in [&data, &names] {
        assert_eq!(
            label(&[&list, Path::new("--categories"), words]),
            ["001.png", "000.png"]
        );
    }
}

/// As Ctrl-C and a service's manager do it.
#[cfg(unix)]
#[test]
fn a_run_that_is_stopped_says_how_to_go_on() {
    let (folder, images) = pictures(120);
    let out = folder.path().join("out");
    let label = || {
        let mut command = glip();
        command.arg(&images).args(WORDS).arg("--out").arg(&out);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let journal = out.join("journal.jsonl");
    let bytes = || fs::metadata(&journal).map_or(0, |journal| journal.len());
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let before = bytes();
        let process = label().spawn().unwrap();
        while bytes() < before + 1500 {
            thread::sleep(Duration::from_millis(1));
        }
        let number = process.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &number]).status();
        assert!(sent.unwrap().success());
        let output = process.wait_with_output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(
            stderr.contains("stopped: the same command goes on from here"),
            "{stderr}"
        );
    }
    assert!(!out.join("labels.jsonl").exists());
    let output = run(&mut label());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(lines(&journal).len(), 121);
}

/// As `| head -n 1` does it.
#[test]
fn a_reader_that_goes_ends_the_filter() {
    let (_folder, images) = pictures(8);
    let mut filter = glip()
        .arg(&images)
        .args(WORDS)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(filter.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("bild ü 000.png"), "{first}");
    let output = filter.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(141), "")
    );
}
