//! The command, as people run it: on glip-drawn and pictures drawn here.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.
#![cfg(feature = "cli")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use glip_tools::eval::ResultFolder;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

const RED: Rgb<u8> = Rgb([220, 40, 40]);
const BLUE: Rgb<u8> = Rgb([40, 70, 210]);

fn glip(arguments: &[&str]) -> Output {
    // Paths such as ONNX Runtime's are relative to the repository's root.
    Command::new(env!("CARGO_BIN_EXE_glip"))
        .args(arguments)
        .output()
        .unwrap()
}

/// With a model that knows coloured shapes.
fn glip_drawn(arguments: &[&str]) -> Output {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/glip-drawn");
    glip(&[arguments, &["--model", model]].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
}

/// A light picture with a red circle around one place and a blue square around another.
fn picture(circle: (i32, i32), square: (i32, i32)) -> RgbImage {
    RgbImage::from_fn(256, 256, |x, y| {
        let (x, y) = (x as i32, y as i32);
        let from_circle = (x - circle.0).pow(2) + (y - circle.1).pow(2);
        match () {
            () if from_circle <= 35 * 35 => RED,
            () if (x - square.0).abs() <= 30 && (y - square.1).abs() <= 30 => BLUE,
            () => Rgb([235, 235, 230]),
        }
    })
}

/// A data set on disk, in a folder whose name has a space and a letter beyond ASCII.
struct DataSet {
    _folder: TempDir,
    root: PathBuf,
    content: Value,
}

impl DataSet {
    /// Pictures with a red circle and a blue square each, and their boxes.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("bilder für tests");
        fs::create_dir_all(&root).unwrap();
        let mut content = json!({
            "images": [], "annotations": [],
            "categories": [{"id": 4, "name": "red_circle"}, {"id": 2, "name": "blue_square"}],
        });
        let places = [
            ((70, 80), (180, 170)),
            ((180, 70), (60, 190)),
            ((128, 60), (128, 190)),
        ];
        for (number, (circle, square)) in (1..).zip(places) {
            let name = format!("bild {number} ü.png");
            picture(circle, square).save(root.join(&name)).unwrap();
            add(
                &mut content,
                "images",
                json!({"id": number, "file_name": name, "width": 256, "height": 256}),
            );
            for (category, (x, y), half) in [(4, circle, 35), (2, square, 30)] {
                add(
                    &mut content,
                    "annotations",
                    json!({"id": number * 10 + category, "image_id": number, "category_id": category,
                           "bbox": [x - half, y - half, 2 * half + 1, 2 * half + 1], "iscrowd": 0}),
                );
            }
        }
        Self {
            _folder: folder,
            root,
            content,
        }
    }

    fn add(&mut self, list: &str, entry: Value) {
        add(&mut self.content, list, entry);
    }

    fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().unwrap().to_owned()
    }

    fn evaluate(&self, out: &str, more: &[&str]) -> Output {
        let annotations = self.path("annotations.json");
        fs::write(&annotations, self.content.to_string()).unwrap();
        let (images, out) = (self.path(""), self.path(out));
        let arguments = [
            "evaluate",
            "coco",
            &annotations,
            "--images",
            &images,
            "--out",
            &out,
        ];
        if more.contains(&"--model") {
            return glip(&[&arguments, more].concat());
        }
        glip_drawn(&[&arguments, more].concat())
    }

    /// A run in the background, on many copies of the pictures.
    fn spawn(&self, out: &str) -> Child {
        let annotations = self.path("annotations.json");
        fs::write(&annotations, self.content.to_string()).unwrap();
        let (images, out) = (self.path(""), self.path(out));
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/glip-drawn");
        Command::new(env!("CARGO_BIN_EXE_glip"))
            .args(["evaluate", "coco", &annotations, "--images", &images])
            .args(["--out", &out, "--model", model, "--threads", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Lists every picture so many times.
    fn repeat(&mut self, times: u64) {
        let images = self.content["images"].as_array().unwrap().clone();
        for copy in 1..times {
            for image in &images {
                let mut image = image.clone();
                image["id"] = json!(image["id"].as_u64().unwrap() + copy * 100);
                self.add("images", image);
            }
        }
    }

    fn result(&self, out: &str) -> Value {
        read_json(&self.root.join(out).join("result.json"))
    }
}

fn add(content: &mut Value, list: &str, entry: Value) {
    content[list].as_array_mut().unwrap().push(entry);
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn ground_finds_and_draws() {
    let set = DataSet::new();
    let image = set.path("bild 1 ü.png");
    let drawn = set.path("boxes.png");
    let output = glip_drawn(&[
        "ground",
        &image,
        "red circle . blue square",
        "--json",
        "--draw",
        &drawn,
    ]);
    assert_exit(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["image"], json!({"width": 256, "height": 256}));
    let phrases: Vec<_> = report["detections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["phrase"])
        .collect();
    assert!(phrases.contains(&&json!("red circle")) && phrases.contains(&&json!("blue square")));
    assert_ne!(
        image::open(&drawn).unwrap().into_rgb8(),
        image::open(&image).unwrap().into_rgb8()
    );
    let output = glip_drawn(&["ground", &image, "--category", "red_circle"]);
    assert_exit(&output, 0);
    assert!(text(&output.stdout).contains("red_circle"));
}

/// A SAM of random weights: its masks are of any shape, and of the picture's size.
#[test]
fn ground_gives_the_pixels_of_what_it_finds() {
    let segmenter = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/golden/segmenter/sam"
    );
    let set = DataSet::new();
    let image = set.path("bild 1 ü.png");
    let drawn = set.path("masks.png");
    let ground = ["ground", &image, "red circle . blue square", "--segmenter"];
    let options = [segmenter, "--json", "--draw", &drawn];
    let output = glip_drawn(&[&ground[..], &options].concat());
    assert_exit(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = report["detections"].as_array().unwrap();
    assert!(!found.is_empty());
    for detection in found {
        let mask: glip::Mask = serde_json::from_value(detection["mask"].clone()).unwrap();
        assert_eq!(mask.size(), glip::ImageSize::new(256, 256));
        let score = detection["mask"]["score"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&score), "{score}");
    }
    assert!(Path::new(&drawn).exists());

    let output = glip_drawn(&[&ground[..], &[segmenter]].concat());
    assert_exit(&output, 0);
    assert!(
        text(&output.stdout)
            .lines()
            .next()
            .unwrap()
            .ends_with("pixels  mask")
    );

    let output = glip_drawn(&[&ground[..], &["no such folder"]].concat());
    assert_exit(&output, 3);
    assert!(text(&output.stderr).contains("segmenter.json"));
}

/// Grounding DINO of random weights: what it finds is no matter, and the commands ask no model for its name.
#[test]
fn a_model_of_another_family_is_used_like_any() {
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/golden/grounding_dino/four_levels/bundle"
    );
    let options = ["--model", model, "--resize", "64:107"];
    let set = DataSet::new();
    let image = set.path("bild 1 ü.png");
    let ground = [
        "ground",
        &image,
        "red cell . cat",
        "--threshold",
        "0",
        "--json",
    ];
    let output = glip(&[&ground[..], &options].concat());
    assert_exit(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = report["detections"].as_array().unwrap();
    assert_eq!(
        found.len(),
        2 * 24,
        "every query with every phrase: {report}"
    );

    let (out, folder) = (set.path("labels"), set.path(""));
    let label = [
        "label",
        &folder,
        "--out",
        &out,
        "--category",
        "red cell",
        "--keep",
        "0",
    ];
    assert_exit(&glip(&[&label[..], &options].concat()), 0);
    let coco = read_json(&set.root.join("labels/coco.json"));
    assert_eq!(coco["images"].as_array().unwrap().len(), 3);
    assert_eq!(coco["annotations"].as_array().unwrap().len(), 3 * 24);

    // Nothing would be found of a category of whose name the model knows no word.
    let unknown = set.evaluate("unknown", &options);
    assert_exit(&unknown, 3);
    assert!(text(&unknown.stderr).contains("\"blue square\" cannot be found"));
    let prompts = set.path("prompts.json");
    fs::write(&prompts, r#"["cat", "red cell"]"#).unwrap();
    let prompts = ["--prompts", &prompts];
    assert_exit(&set.evaluate("out", &[&options[..], &prompts].concat()), 0);
    assert_eq!(set.result("out")["images"], 3);
}

#[test]
fn words_are_taken_as_they_were_typed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scene.png");
    picture((70, 80), (180, 170)).save(&path).unwrap();
    let scene = path.to_str().unwrap();
    let found = |words: &[&str]| -> Vec<(String, u64)> {
        let output = glip_drawn(&[&["ground", scene, "--json"], words].concat());
        assert_exit(&output, 0);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let detections = report["detections"].as_array().unwrap().iter();
        let phrase = |found: &Value| {
            let phrase = found["phrase"].as_str().unwrap().to_owned();
            (phrase, found["phrase_index"].as_u64().unwrap())
        };
        let mut found: Vec<_> = detections.map(phrase).collect();
        found.sort();
        found
    };
    let square = ("blue square".to_owned(), 1);
    assert!(found(&["1.5 inch red circle . blue square"]).contains(&square));
    let both = [
        ("a blue square".to_owned(), 1),
        ("a red circle".to_owned(), 0),
    ];
    assert_eq!(
        found(&["--caption", "a red circle above a blue square"]),
        both
    );

    let refused = |words: &[&str], expected: &str| {
        let output = glip_drawn(&[&["ground", scene], words].concat());
        assert_exit(&output, 3);
        let message = text(&output.stderr);
        assert!(
            message.contains(expected) && !message.contains("::"),
            "{message}"
        );
    };
    refused(
        &["red circle . red circle"],
        "\"red circle\" is asked for twice",
    );
    refused(&["--category", "cat", "--category", "cat"], "twice");
    refused(&["--caption", "over and under"], "--phrase");
    refused(
        &["--caption", "a red circle", "--phrase", "square"],
        "--phrase \"square\"",
    );
    refused(&["\u{1f534}"], "\"\u{1f534}\" cannot be found");
    refused(&["red circle . 红色圆圈"], "\"红色圆圈\" cannot be found");
    refused(&[&"red circle . ".repeat(9_000)], "--category");
    let label = ["label", scene, "--category", "圆圈"];
    let label = glip_drawn(&label);
    assert_exit(&label, 3);
    assert!(text(&label.stdout).is_empty() && text(&label.stderr).contains("圆圈"));

    let output = glip_drawn(&["ground", scene, "red circle . \u{1f534}", "--describe"]);
    assert_exit(&output, 3);
    let tokens = text(&output.stdout);
    assert!(
        tokens.contains("  1  red     0 \"red circle\"") && tokens.contains("[UNK]"),
        "{tokens}"
    );
    let output = glip_drawn(&["ground", scene, "--category", "red_circle", "--describe"]);
    assert_exit(&output, 0);
    let tokens = text(&output.stdout);
    assert!(
        tokens.contains("[CLS]") && tokens.contains("score"),
        "{tokens}"
    );
}

#[test]
fn exit_codes_say_what_happened() {
    assert_exit(&glip(&["ground", "no such picture.png", "cat"]), 3);
    assert_exit(&glip(&["ground", "picture.png"]), 2);
    assert_exit(
        &glip(&[
            "evaluate",
            "coco",
            "none.json",
            "--images",
            "none",
            "--predictions",
            "none.json",
        ]),
        3,
    );
    let output = glip(&["completions", "bash"]);
    assert_exit(&output, 0);
    assert!(text(&output.stdout).contains("--names-per-prompt"));
    let help = text(&glip(&["evaluate", "--help"]).stdout);
    assert!(
        help.contains("Examples:") && help.contains("predictions.jsonl"),
        "{help}"
    );
}

#[test]
fn a_data_set_is_measured() {
    let set = DataSet::new();
    let output = set.evaluate("out", &[]);
    assert_exit(&output, 0);
    assert!(text(&output.stdout).contains("red_circle"));
    let result = set.result("out");
    let ap_50 = result["scores"]["averages"]["AP50"].as_f64().unwrap();
    assert!(ap_50 > 0.6, "{ap_50}");
    assert_eq!(result["images"], 3);
    let out = set.root.join("out");
    for class in ["2 blue_square.png", "4 red_circle.png"] {
        assert_eq!(
            image::open(out.join("curves").join(class)).unwrap().width(),
            560
        );
    }
    assert!(
        fs::read_to_string(out.join("mistakes.html"))
            .unwrap()
            .contains("false positives")
    );

    // What the model found, measured again without it, is the same.
    let detections = out.join("detections.json");
    let detections = detections.to_str().unwrap();
    assert_exit(&set.evaluate("again", &["--predictions", detections]), 0);
    assert_eq!(set.result("again")["scores"], result["scores"]);
}

/// A SAM of random weights: its masks are of any shape.
#[test]
fn masks_are_measured_with_a_segmenter() {
    let segmenter = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/golden/segmenter/sam"
    );
    let mut set = DataSet::new();
    let masks = ["--segmenter", segmenter];
    let output = set.evaluate("none", &masks);
    assert_exit(&output, 3);
    let said = text(&output.stderr);
    assert!(
        said.contains("no segmentation: give polygons") && said.contains("--iou bbox"),
        "{said}"
    );

    for object in set.content["annotations"].as_array_mut().unwrap() {
        let [x, y, width, height] =
            [0, 1, 2, 3].map(|place| object["bbox"][place].as_u64().unwrap());
        let (right, below) = (x + width, y + height);
        object["segmentation"] = json!([[x, y, right, y, right, below, x, below]]);
    }
    assert_exit(&set.evaluate("masks", &masks), 0);
    let result = set.result("masks");
    assert_eq!(result["scores"]["iou"], "segm");
    let folder = set.root.join("masks");
    let detections = folder.join("detections.json");
    let entries = read_json(&detections);
    for entry in entries.as_array().unwrap() {
        assert_eq!(entry["segmentation"]["size"], json!([256, 256]), "{entry}");
        assert!(entry.get("bbox").is_none(), "{entry}");
    }

    // What was found, measured again without the models, is the same, and a stopped run goes on.
    let again = [
        "--iou",
        "segm",
        "--predictions",
        detections.to_str().unwrap(),
    ];
    assert_exit(&set.evaluate("again", &again), 0);
    assert_eq!(set.result("again")["scores"], result["scores"]);
    let file = folder.join("predictions.jsonl");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 9]).unwrap();
    assert_exit(&set.evaluate("masks", &masks), 0);
    assert_eq!(fs::read(&file).unwrap(), whole);
    assert_eq!(read_json(&detections), entries);

    // Pixels that are those of the objects are right, of whatever box.
    let truth = set.content["annotations"].as_array().unwrap();
    let found = truth.iter().map(|object| {
        let size = glip::ImageSize::new(256, 256);
        let [x, y, width, height] =
            [0, 1, 2, 3].map(|place| object["bbox"][place].as_u64().unwrap() as u32);
        let inside = |at: u32, from: u32, length: u32| (from..from + length).contains(&at);
        let mask = glip::Mask::from_fn(size, |at, row| {
            inside(at, x, width) && inside(row, y, height)
        });
        json!({"image_id": object["image_id"], "category_id": object["category_id"], "score": 0.5,
               "segmentation": mask.unwrap().rle(), "bbox": [0, 0, 1, 1]})
    });
    let file = set.path("right.json");
    fs::write(&file, json!(found.collect::<Vec<_>>()).to_string()).unwrap();
    assert_exit(
        &set.evaluate("right", &["--iou", "segm", "--predictions", &file]),
        0,
    );
    let ap = set.result("right")["scores"]["averages"]["AP"]
        .as_f64()
        .unwrap();
    assert!(ap > 0.999, "{ap}");

    for (out, options, code, part) in [
        ("others", &["--iou", "segm"][..], 2, "--segmenter <DIR>"),
        (
            "others",
            &["--iou", "keypoints"],
            2,
            "expected bbox or segm",
        ),
        (
            "others",
            &["--segmenter", "no such folder"],
            3,
            "segmenter.json",
        ),
        ("masks", &[], 3, "--segmenter"),
    ] {
        let output = set.evaluate(out, options);
        assert_exit(&output, code);
        let said = text(&output.stderr);
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn results_depend_neither_on_threads_nor_on_stops() {
    let set = DataSet::new();
    assert_exit(&set.evaluate("one", &["--jobs", "1"]), 0);
    assert_exit(&set.evaluate("many", &["--jobs", "3"]), 0);
    let detections = |out: &str| fs::read(set.root.join(out).join("detections.json")).unwrap();
    assert_eq!(detections("one"), detections("many"));
    assert_eq!(set.result("one"), set.result("many"));

    // Stopped within the second image.
    let file = set.root.join("one/predictions.jsonl");
    let whole = fs::read(&file).unwrap();
    let lines: Vec<_> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    let kept = lines[0].len() + lines[1].len() + lines[2].len() / 2;
    fs::write(&file, &whole[..kept]).unwrap();
    let expected = detections("one");
    assert_exit(&set.evaluate("one", &["--jobs", "1"]), 0);
    assert_eq!(fs::read(&file).unwrap(), whole);
    assert_eq!(detections("one"), expected);

    // With other options it is another run.
    let output = set.evaluate("one", &["--max-detections", "7"]);
    assert_exit(&output, 3);
    assert!(
        text(&output.stderr).contains("--overwrite"),
        "{}",
        text(&output.stderr)
    );
    assert_exit(
        &set.evaluate("one", &["--max-detections", "7", "--overwrite"]),
        0,
    );
}

#[test]
fn what_cannot_be_used_is_named_and_left_out() {
    let mut set = DataSet::new();
    assert_exit(&set.evaluate("good", &[]), 0);
    let expected = set.result("good");

    let mut jpeg = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
    encoder
        .encode_image(&picture((70, 80), (180, 170)))
        .unwrap();
    fs::write(set.path("cut off.jpg"), &jpeg[..jpeg.len() / 2]).unwrap();
    fs::write(set.path("bomb.png"), bomb()).unwrap();
    fs::write(set.path("text.jpg"), "no picture").unwrap();
    picture((70, 80), (180, 170))
        .save(set.path("small.png"))
        .unwrap();
    for (id, name) in [
        (11, "cut off.jpg"),
        (12, "bomb.png"),
        (13, "text.jpg"),
        (14, "missing.jpg"),
    ] {
        set.add(
            "images",
            json!({"id": id, "file_name": name, "width": 256, "height": 256}),
        );
    }
    set.add(
        "images",
        json!({"id": 15, "file_name": "small.png", "width": 999, "height": 256}),
    );
    set.add(
        "images",
        json!({"id": 1, "file_name": "again.png", "width": 256, "height": 256}),
    );
    let bad = [
        json!({"id": 14, "image_id": 1, "category_id": 4, "bbox": [1, 1, 5, 5]}),
        json!({"id": 90, "image_id": 1, "category_id": 77, "bbox": [1, 1, 5, 5]}),
        json!({"id": 91, "image_id": 66, "category_id": 4, "bbox": [1, 1, 5, 5]}),
        json!({"id": 92, "image_id": 1, "category_id": 4, "bbox": [20, 20, -5, 5]}),
        json!({"id": 93, "image_id": 1, "category_id": 4, "bbox": [300, 20, 5, 5]}),
        json!({"id": 94, "image_id": 1, "category_id": 4}),
    ];
    bad.into_iter()
        .for_each(|entry| set.add("annotations", entry));
    let output = set.evaluate("bad", &[]);
    assert_exit(&output, 1);
    let result = set.result("bad");
    assert_eq!(result["scores"], expected["scores"]);
    assert_eq!(result["images"], 3);
    let problems = result["problems"].as_array().unwrap();
    let named = |kind: &str, part: &str| {
        problems.iter().any(|problem| {
            problem["kind"] == kind && problem["subject"].as_str().unwrap().ends_with(part)
        })
    };
    let kinds = [
        ("duplicate", "image 1"),
        ("duplicate", "annotation 14"),
        ("unknown_category", "annotation 90"),
        ("unknown_image", "annotation 91"),
        ("inverted_box", "annotation 92"),
        ("box_outside", "annotation 93"),
        ("malformed", "annotation 94"),
        ("picture", "cut off.jpg"),
        ("picture", "bomb.png"),
        ("picture", "text.jpg"),
        ("picture", "missing.jpg"),
        ("picture_size", "small.png"),
    ];
    for (kind, part) in kinds {
        assert!(named(kind, part), "{kind} {part} is not in {problems:#?}");
    }
    assert_eq!(problems.len(), kinds.len());
    assert_exit(&set.evaluate("strict", &["--strict"]), 3);
}

#[test]
fn annotations_of_other_tools_are_measured() {
    let good = DataSet::new();
    assert_exit(&good.evaluate("out", &[]), 0);
    let expected = good.result("out")["scores"].clone();

    // As an exporter on Windows writes them: no sizes, backslashes, ids and flags as strings, a root.
    let mut set = DataSet::new();
    for image in set.content["images"].as_array_mut().unwrap() {
        let name = format!("C:\\data\\{}", image["file_name"].as_str().unwrap());
        *image = json!({"id": image["id"].to_string(), "file_name": name, "width": null, "height": null});
    }
    for annotation in set.content["annotations"].as_array_mut().unwrap() {
        annotation["image_id"] = json!(annotation["image_id"].to_string());
        annotation["iscrowd"] = json!("0");
    }
    for category in set.content["categories"].as_array_mut().unwrap() {
        category["supercategory"] = json!("shapes");
    }
    set.add(
        "categories",
        json!({"id": 0, "name": "shapes", "supercategory": "none"}),
    );
    let output = set.evaluate("out", &[]);
    assert_exit(&output, 0);
    assert!(text(&output.stderr).contains("not asked for: category 0, \"shapes\""));
    assert_eq!(set.result("out")["scores"], expected);
}

#[test]
fn boxes_that_look_like_corners_are_told() {
    let mut set = DataSet::new();
    for annotation in set.content["annotations"].as_array_mut().unwrap() {
        let [x, y, width, height] =
            [0, 1, 2, 3].map(|place| annotation["bbox"][place].as_i64().unwrap());
        annotation["bbox"] = json!([x, y, x + width, y + height]);
    }
    let output = set.evaluate("out", &[]);
    assert_exit(&output, 1);
    let told = text(&output.stderr);
    assert!(
        told.contains("boxes reach beyond their image: x1 y1 x2 y2?"),
        "{told}"
    );
    assert_eq!(set.result("out")["problems"][0]["kind"], "doubtful");
    assert_exit(&set.evaluate("strict", &["--strict"]), 3);
}

/// A PNG of 60 bytes that says it has 60,000 x 60,000 pixels.
fn bomb() -> Vec<u8> {
    let mut bytes = Vec::new();
    let small = RgbImage::new(1, 1);
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    small.write_with_encoder(encoder).unwrap();
    bytes[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut checksum = u32::MAX;
    for byte in bytes {
        checksum ^= u32::from(*byte);
        for _ in 0..8 {
            checksum = (checksum >> 1) ^ (0xedb8_8320 * (checksum & 1));
        }
    }
    !checksum
}

#[test]
fn sets_of_odinw_are_found_in_their_layouts() {
    let set = DataSet::new();
    let odinw = set.root.join("odinw");
    let layouts = [
        (
            "Pistols/export",
            "test_annotations_without_background.json",
            "",
        ),
        (
            "Aqua rium/v2.coco",
            "test/annotations_without_background.json",
            "test",
        ),
        ("raccoon", "test/_annotations.coco.json", "test"),
    ];
    for (folder, annotations, images) in layouts {
        let folder = odinw.join(folder);
        fs::create_dir_all(folder.join("test")).unwrap();
        fs::write(folder.join(annotations), set.content.to_string()).unwrap();
        for entry in set.content["images"].as_array().unwrap() {
            let name = entry["file_name"].as_str().unwrap();
            fs::copy(set.root.join(name), folder.join(images).join(name)).unwrap();
        }
    }
    let prompts = set.root.join("prompts");
    fs::create_dir_all(&prompts).unwrap();
    // By ascending id: 2 is the square. A set asked for other things finds nothing.
    let swapped = r#"["green star", "purple ring"]"#;
    fs::write(prompts.join("Aqua_rium_v2.coco.json"), swapped).unwrap();
    let (root, prompts, out) = (
        odinw.to_str().unwrap(),
        prompts.to_str().unwrap(),
        set.path("out"),
    );
    let output = glip_drawn(&[
        "evaluate",
        "odinw",
        root,
        "--prompts",
        prompts,
        "--out",
        &out,
    ]);
    assert_exit(&output, 0);
    let result = set.result("out");
    let sets = result["sets"].as_array().unwrap();
    let names: Vec<_> = sets
        .iter()
        .map(|set| set["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Aqua rium/v2.coco", "Pistols", "raccoon"]);
    let aps: Vec<_> = sets
        .iter()
        .map(|set| set["scores"]["averages"]["AP"].as_f64().unwrap())
        .collect();
    assert!(aps[0] < 0.1 && aps[1] > 0.3 && aps[1] == aps[2], "{aps:?}");
    let mean = result["mean_ap"].as_f64().unwrap();
    assert!((mean - aps.iter().sum::<f64>() / 3.0).abs() < 1e-12);
}

#[test]
fn phrases_of_captions_are_measured() {
    let set = DataSet::new();
    let entities = set.root.join("entities");
    for folder in ["Sentences", "Annotations"] {
        fs::create_dir_all(entities.join(folder)).unwrap();
    }
    let images = set.root.join("flickr30k-images");
    fs::create_dir_all(&images).unwrap();
    picture((70, 80), (180, 170))
        .save(images.join("17.jpg"))
        .unwrap();
    fs::write(
        entities.join("Sentences/17.txt"),
        "[/EN#1/other A red circle] and [/EN#2/other/clothing a blue square] .\nNothing is marked here .\n",
    )
    .unwrap();
    fs::write(
        entities.join("Annotations/17.xml"),
        "<annotation><size><width>256</width><height>256</height></size>
         <object><name>1</name><bndbox><xmin>36</xmin><ymin>46</ymin><xmax>106</xmax><ymax>116</ymax></bndbox></object>
         <object><name>2</name><bndbox><xmin>151</xmin><ymin>141</ymin><xmax>211</xmax><ymax>201</ymax></bndbox></object>
         </annotation>",
    )
    .unwrap();
    let (folder, images, out) = (
        entities.to_str().unwrap(),
        images.to_str().unwrap(),
        set.path("out"),
    );
    let ids = set.path("test.txt");
    fs::write(&ids, "17\n18\n").unwrap();
    let output = glip_drawn(&[
        "evaluate",
        "flickr30k",
        folder,
        "--images",
        images,
        "--ids",
        &ids,
        "--out",
        &out,
    ]);
    assert_exit(&output, 1);
    assert!(
        text(&output.stderr).contains("image 18"),
        "{}",
        text(&output.stderr)
    );
    let recall = &set.result("out")["recall"][0];
    assert_eq!(recall["all"]["phrases"], 2);
    assert_eq!(recall["kinds"]["clothing"]["phrases"], 1);
    assert!(recall["all"]["at_10"].as_f64().unwrap() >= 0.5, "{recall}");

    // Without a picture there is no recall.
    let nowhere = set.path("nowhere");
    let out = set.path("none");
    let arguments = [
        "evaluate",
        "flickr30k",
        folder,
        "--images",
        &nowhere,
        "--out",
        &out,
    ];
    let output = glip_drawn(&arguments);
    assert_exit(&output, 3);
    let table = text(&output.stdout);
    let all = table.lines().find(|line| line.starts_with("all"));
    assert_eq!(
        all.unwrap().split_whitespace().collect::<Vec<_>>(),
        ["all", "0", "-", "-", "-", "-"]
    );
}

#[test]
fn a_run_that_is_killed_gives_what_it_would_have_given() {
    let mut set = DataSet::new();
    set.repeat(8);
    assert_exit(&set.evaluate("whole", &["--threads", "1"]), 0);
    let read = |out: &str, file: &str| fs::read(set.root.join(out).join(file)).unwrap_or_default();
    let predictions = set.root.join("killed/predictions.jsonl");
    let bytes = || fs::metadata(&predictions).map_or(0, |file| file.len());
    let whole = read("whole", "predictions.jsonl").len() as u64;
    for kill in 0..6_u64 {
        let before = bytes();
        let mut process = set.spawn("killed");
        // After some images; the last one after the model has run, while results are written.
        let enough = if kill == 5 {
            whole
        } else {
            before + whole / 8 + kill
        };
        while bytes() < enough.min(whole) && process.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(7 * kill));
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(kill == 5 || bytes() > before, "it went on with nothing");
        // What is there is whole.
        for file in ["detections.json", "result.json"] {
            let content = read("killed", file);
            assert!(content.is_empty() || serde_json::from_slice::<Value>(&content).is_ok());
        }
        if kill == 2 {
            let file = fs::File::options().write(true).open(&predictions).unwrap();
            file.set_len(bytes() - 7).unwrap();
        }
    }
    assert_exit(&set.evaluate("killed", &["--threads", "1"]), 0);
    for file in [
        "predictions.jsonl",
        "detections.json",
        "result.json",
        "mistakes.html",
    ] {
        assert!(
            read("killed", file) == read("whole", file),
            "{file} differs"
        );
    }
    let left = fs::read_dir(set.root.join("killed")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.ends_with(".partial")));
}

#[cfg(unix)]
#[test]
fn a_run_that_is_stopped_says_how_to_go_on() {
    let mut set = DataSet::new();
    set.repeat(40); // far more than are measured before a signal is there, on any machine
    let predictions = set.root.join("out/predictions.jsonl");
    let bytes = || fs::metadata(&predictions).map_or(0, |file| file.len());
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let before = bytes();
        let process = set.spawn("out");
        while bytes() == before {
            thread::sleep(Duration::from_millis(1));
        }
        let number = process.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &number]).status();
        assert!(sent.unwrap().success());
        let output = process.wait_with_output().unwrap();
        assert_exit(&output, code);
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("stopped: the same command goes on from here"),
            "{stderr}"
        );
    }
    assert_exit(&set.evaluate("out", &["--threads", "1"]), 0);
    assert_eq!(set.result("out")["images"], 120);
}

#[test]
fn two_runs_do_not_share_a_folder() {
    let set = DataSet::new();
    let first = ResultFolder::create(set.path("out")).unwrap();
    let output = set.evaluate("out", &["--overwrite"]);
    assert_exit(&output, 3);
    assert!(
        text(&output.stderr).contains("another run writes"),
        "{}",
        text(&output.stderr)
    );
    drop(first);
    assert_exit(&set.evaluate("out", &[]), 0);
}

#[test]
fn a_picture_that_was_replaced_is_measured_again() {
    let set = DataSet::new();
    assert_exit(&set.evaluate("out", &[]), 0);
    let file = set.root.join("out/predictions.jsonl");
    let before = fs::read_to_string(&file).unwrap();
    picture((20, 20), (200, 200))
        .save(set.path("bild 2 ü.png"))
        .unwrap();
    let copy = fs::read(set.path("bild 3 ü.png")).unwrap();
    fs::write(set.path("bild 3 ü.png"), copy).unwrap();
    assert_exit(&set.evaluate("out", &[]), 0);
    let after = fs::read_to_string(&file).unwrap();
    let added = after.strip_prefix(&before).unwrap();
    assert!(
        added.starts_with("{\"image\":\"2\"") && added.lines().count() == 1,
        "{added}"
    );
    assert_exit(&set.evaluate("afresh", &[]), 0);
    assert_eq!(set.result("out"), set.result("afresh"));
    // What took its place may be none.
    fs::write(set.path("bild 2 ü.png"), "no picture").unwrap();
    assert_exit(&set.evaluate("out", &[]), 1);
    assert_eq!(set.result("out")["images"], 2);
    assert_eq!(fs::read_to_string(&file).unwrap(), after);
}

#[test]
fn a_data_set_of_yolo_is_measured_like_cocos() {
    let set = DataSet::new();
    assert_exit(&set.evaluate("coco", &[]), 0);
    let yolo = set.root.join("yolo");
    for folder in ["images/val", "labels/val"] {
        fs::create_dir_all(yolo.join(folder)).unwrap();
    }
    // Categories by ascending id, as numbers from 0.
    let names = "names: {0: blue_square, 1: red_circle}\n";
    fs::write(
        yolo.join("data.yaml"),
        format!("train: images/train\nval: images/val\n{names}"),
    )
    .unwrap();
    for image in set.content["images"].as_array().unwrap() {
        let name = image["file_name"].as_str().unwrap();
        fs::copy(set.root.join(name), yolo.join("images/val").join(name)).unwrap();
        let objects = set.content["annotations"].as_array().unwrap().iter();
        let objects = objects.filter(|object| object["image_id"] == image["id"]);
        let line = |object: &Value| {
            let class = u8::from(object["category_id"] == 4);
            let [x, y, w, h] = [0, 1, 2, 3].map(|place| object["bbox"][place].as_f64().unwrap());
            let [x, y] = [x + w / 2.0, y + h / 2.0];
            let shares = [x, y, w, h].map(|length| (length / 256.0).to_string());
            format!("{class} {}\n", shares.join(" "))
        };
        let label = Path::new(name).with_extension("txt");
        fs::write(
            yolo.join("labels/val").join(label),
            objects.map(line).collect::<String>(),
        )
        .unwrap();
    }
    let (data, out) = (set.path("yolo/data.yaml"), set.path("out"));
    let evaluate = |data: &str| glip_drawn(&["evaluate", "yolo", data, "--out", &out]);
    assert_exit(&evaluate(&data), 0);
    assert_eq!(
        set.result("out")["scores"]["averages"],
        set.result("coco")["scores"]["averages"]
    );
    assert_eq!(set.result("out")["images"], 3);
    // Other boxes are another run; the folder's own file is found.
    fs::write(
        yolo.join("labels/val/bild 1 ü.txt"),
        "1 0.5 0.5 0.1 0.1\n9 1 1 1 1\n",
    )
    .unwrap();
    let output = evaluate(&set.path("yolo"));
    assert_exit(&output, 3);
    assert!(
        text(&output.stderr).contains("(the annotations "),
        "{}",
        text(&output.stderr)
    );
    let output = glip_drawn(&["evaluate", "yolo", &data, "--out", &out, "--overwrite"]);
    assert_exit(&output, 1);
    assert!(text(&output.stderr).contains("bild 1 ü.txt, line 2: unknown category (9)"));
    let output = glip_drawn(&["evaluate", "yolo", &data, "--split", "test", "--out", &out]);
    assert_exit(&output, 3);
    assert!(text(&output.stderr).contains("no split \"test\", but: train, val"));
}

#[test]
fn a_drawing_that_cannot_be_written_is_refused_before_the_model_runs() {
    let set = DataSet::new();
    let image = set.path("bild 1 ü.png");
    for (name, reason) in [
        ("boxes.xyz", "cannot write"),
        ("boxes", "cannot write"),
        ("missing/boxes.png", "its folder does not exist"),
    ] {
        let drawing = set.path(name);
        let output = glip(&[
            "ground",
            &image,
            "cat",
            "--draw",
            &drawing,
            "--model",
            "no such model",
        ]);
        assert_exit(&output, 3);
        let stderr = text(&output.stderr);
        assert!(stderr.contains(name) && stderr.contains(reason), "{stderr}");
    }
}

/// As `| true` does it.
#[test]
fn a_reader_that_has_gone_is_told_by_the_exit_code() {
    let set = DataSet::new();
    let image = set.path("bild 1 ü.png");
    let mut process = Command::new(env!("CARGO_BIN_EXE_glip"))
        .args(["ground", &image, "cat"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(process.stdout.take());
    let output = process.wait_with_output().unwrap();
    assert_exit(&output, 141);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_waited_for() {
    let set = DataSet::new();
    let [pipe, image] = ["pipe", "bild 1 ü.png"].map(|name| set.path(name));
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let drawn = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/glip-drawn");
    let model = set.root.join("model");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(drawn).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
    }
    fs::remove_file(model.join("tokenizer.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", model.join("tokenizer.json")).unwrap();
    let (model, yaml) = (model.to_str().unwrap(), set.path("names.yaml"));
    std::os::unix::fs::symlink(&pipe, &yaml).unwrap();
    let out = set.path("out");
    let cases: [&[&str]; 7] = [
        &["ground", &pipe, "cat"],
        &["ground", &image, "cat", "--model", model],
        &["ground", &image, "--categories", &yaml],
        &["label", &pipe, "--category", "cat"],
        &["evaluate", "coco", &pipe, "--images", ".", "--out", &out],
        &[
            "evaluate",
            "coco",
            "/dev/zero",
            "--images",
            ".",
            "--out",
            &out,
        ],
        &["evaluate", "yolo", &pipe, "--out", &out],
    ];
    for arguments in cases {
        let output = glip(arguments);
        assert_exit(&output, 3);
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("a pipe or a device, not a regular file"),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn names_are_shown_without_what_a_terminal_obeys() {
    let mut set = DataSet::new();
    let name = "\u{1b}]0;title\u{7}red\u{9b}2J";
    set.content["categories"][0]["name"] = json!(name);
    set.add(
        "images",
        json!({"id": 7, "file_name": "\u{1b}[2J.png", "width": 9, "height": 9}),
    );
    for more in [&["--overwrite"][..], &["--json", "--overwrite"]] {
        let output = set.evaluate("out", more);
        assert_exit(&output, 1);
        for shown in [text(&output.stdout), text(&output.stderr)] {
            assert!(
                shown.chars().all(|c| !c.is_control() || c == '\n'),
                "{shown:?}"
            );
        }
        if more[0] == "--json" {
            let result: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(result["scores"]["classes"][1]["name"], name);
        }
    }
}
