//! Small random models of the Grounding DINO family against numbers of transformers, stage by stage, from
//! the picture to the boxes.
//!
//! `tests/fixtures/README.md` says where the numbers are from.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::fs::{self, File};

use common::{copy_in_format_2, copy_of, edit_manifest, fixture};
use glip::{
    BBox, Bundle, Detections, Detector, Error, GroundOptions, LearnedPrompt, Prompt, ResizeRule,
    Runtime, Vocabulary,
    manifest::Manifest,
    parts::{
        CpuOptions, Fusion, GroundingHead, HeadBoxes, ImageEncoder, Preprocessor, TextEncoder,
        Tokenizer,
    },
    postprocess::{Aggregation, HeadSpec},
};
use image::RgbImage;
use ndarray::{Array, ArrayBase, ArrayD, Axis, Data, Dimension, Ix1, Ix2};
use ndarray_npy::{NpzReader, ReadableElement};
use serde::Deserialize;

/// Of every tensor's largest magnitude.
const TOLERANCE: f32 = 1e-4;
const KINDS: [(&str, usize); 2] = [("four_levels", 4), ("five_levels", 5)];

/// One picture and text that transformers was run on.
#[derive(Deserialize)]
struct Case {
    #[serde(skip)]
    kind: String,
    name: String,
    image: String,
    text: String,
    spans: Vec<[usize; 2]>,
    short_side: u32,
    long_side: u32,
}

fn folder() -> std::path::PathBuf {
    fixture("golden").join("grounding_dino")
}

fn bundle(kind: &str) -> Bundle {
    Bundle::from_dir(folder().join(kind).join("bundle")).unwrap()
}

impl Case {
    fn all_of(kind: &str) -> Vec<Self> {
        let mut cases: Vec<Self> =
            serde_json::from_slice(&fs::read(folder().join("cases.json")).unwrap()).unwrap();
        assert_eq!(cases.len(), 3);
        for case in &mut cases {
            case.kind = kind.to_owned();
        }
        cases
    }

    fn expected<A: ReadableElement, D: Dimension>(&self, name: &str) -> Array<A, D> {
        let path = folder().join(&self.kind).join(format!("{}.npz", self.name));
        let mut file = NpzReader::new(File::open(path).unwrap()).unwrap();
        file.by_name(name).unwrap()
    }

    fn picture(&self) -> RgbImage {
        let path = fixture("images").join(format!("{}.png", self.image));
        image::open(path).unwrap().into_rgb8()
    }

    /// A caption; the lists of the cases are written as a model of this family reads lists.
    fn prompt(&self) -> Prompt {
        let spans = self.spans.iter().map(|&[begin, end]| begin..end);
        Prompt::caption(&self.text).spans(spans)
    }

    /// A list of the names, if that is what the text is.
    fn list(&self) -> Option<Prompt> {
        let names = self
            .spans
            .iter()
            .map(|&[begin, end]| &self.text[begin..end]);
        (self.name != "caption").then(|| Prompt::categories(names))
    }

    fn resize(&self, manifest: &Manifest) -> ResizeRule {
        match manifest.image().resize {
            ResizeRule::ShortSide { rounding, .. } => ResizeRule::ShortSide {
                short_side: self.short_side,
                long_side: self.long_side,
                rounding,
            },
            other => panic!("{other:?}"),
        }
    }

    fn preprocessor(&self, manifest: &Manifest) -> Preprocessor {
        let options = manifest.image().clone().with_resize(self.resize(manifest));
        Preprocessor::new(options).unwrap()
    }

    /// Checks a stage's tensor, which has a batch of one that the expected one lacks.
    fn check<S: Data<Elem = f32>, D: Dimension>(&self, name: &str, found: &ArrayBase<S, D>) {
        let expected: ArrayD<f32> = self.expected(name);
        let found = found.view().into_dyn().index_axis_move(Axis(0), 0);
        assert_eq!(found.shape(), expected.shape(), "{}: {name}", self.name);
        let largest = expected
            .iter()
            .fold(0.0f32, |most, value| most.max(value.abs()));
        assert!(found.iter().all(|value| value.is_finite()), "{name}");
        let pairs = found.iter().zip(&expected);
        let worst = pairs.fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
        assert!(
            worst <= TOLERANCE * largest,
            "{} {}: {name} is {worst} off, where the largest is {largest}",
            self.kind,
            self.name
        );
    }
}

#[test]
fn every_stage_gives_what_transformers_gives() {
    for (kind, levels) in KINDS {
        let bundle = bundle(kind);
        let manifest = bundle.manifest();
        let runtime = Runtime::load().unwrap();
        let options = &Default::default();
        let tokenizer = bundle.tokenizer().unwrap();
        let image_encoder = ImageEncoder::load(&runtime, &bundle, options).unwrap();
        let text_encoder = TextEncoder::load(&runtime, &bundle, options).unwrap();
        let fusion = Fusion::load(&runtime, &bundle, options).unwrap();
        let head = GroundingHead::load(&runtime, &bundle, options).unwrap();
        for case in Case::all_of(kind) {
            let pixels = case.preprocessor(manifest).run(&case.picture()).unwrap();
            case.check("pixels", &pixels.pixels());

            check_tokens(&case, &tokenizer);
            let tokens = tokenizer.tokenize(&case.prompt()).unwrap();
            let text = text_encoder.run(&tokens).unwrap();
            case.check("hidden", &text.hidden().unwrap());

            let pyramid = image_encoder.run(&pixels).unwrap();
            assert_eq!(pyramid.level_sizes().len(), levels);
            let fused = fusion.run(&pyramid, &text).unwrap();
            for level in 0..levels {
                case.check(&format!("pyramid_{level}"), &pyramid.level(level).unwrap());
                case.check(&format!("fused_{level}"), &fused.level(level).unwrap());
            }

            let output = head.run(&fused).unwrap();
            case.check("logits", output.logits());
            let HeadBoxes::Queries { boxes } = output.boxes() else {
                panic!("{:?}", output.boxes());
            };
            case.check("boxes", boxes);
        }
    }
}

/// Ids, the block that each token sees, and where it stands in it: all made on the host.
fn check_tokens(case: &Case, tokenizer: &Tokenizer) {
    for prompt in [Some(case.prompt()), case.list()].into_iter().flatten() {
        let tokens = tokenizer.tokenize(&prompt).unwrap();
        let of_u32 = |numbers: &[u32]| numbers.iter().map(|&n| i64::from(n)).collect::<Vec<_>>();
        let ids: Array<i64, Ix1> = case.expected("input_ids");
        assert_eq!(of_u32(tokens.ids()), ids.to_vec(), "{}", case.name);
        let positions: Array<i64, Ix1> = case.expected("position_ids");
        assert_eq!(of_u32(&tokens.position_ids()), positions.to_vec());
        let blocks: Array<bool, Ix2> = case.expected("block_mask");
        assert_eq!(tokens.block_mask(), blocks);
    }
}

#[test]
fn detections_are_those_that_transformers_boxes_and_mean_scores_make() {
    for (kind, _) in KINDS {
        let manifest = bundle(kind).manifest().clone();
        assert_eq!(manifest.head(), &HeadSpec::Queries);
        let cases = Case::all_of(kind);
        // By ONNX Runtime's kernels and by those of this crate.
        for (case, native) in cases.iter().flat_map(|case| [(case, false), (case, true)]) {
            let detector = Detector::builder()
                .bundle(bundle(kind))
                .cpu(CpuOptions::default().with_native_kernels(native))
                .resize(case.resize(&manifest))
                .score_threshold(0.0)
                .build()
                .unwrap();
            let scores: Array<f32, Ix1> = case.expected("scores");
            let labels: Array<i64, Ix1> = case.expected("labels");
            let boxes: Array<f32, Ix2> = case.expected("found_boxes");
            for prompt in [Some(case.prompt()), case.list()].into_iter().flatten() {
                let found = detector.ground(case.picture(), &prompt).unwrap();
                assert_eq!(found.len(), scores.len());
                let mut rest: Vec<_> = found.iter().collect();
                for ((&score, &label), edges) in scores.iter().zip(&labels).zip(boxes.rows()) {
                    let bbox: BBox = [0, 1, 2, 3].map(|i| edges[i]).try_into().unwrap();
                    let same = rest.iter().position(|found| {
                        found.phrase_index == label as usize
                            && (found.score - score).abs() < 2e-4
                            && (found.bbox.iou(&bbox) > 0.99 || bbox.area() < 1e-3)
                    });
                    let same = same.unwrap_or_else(|| {
                        panic!("{kind} {}: no {score} of {label} at {bbox:?}", case.name)
                    });
                    rest.remove(same);
                }
            }
        }
    }
}

/// As IDEA's own script scores: by the best token.
#[test]
fn scores_may_be_those_of_the_best_token() {
    let (kind, _) = KINDS[0];
    let manifest = bundle(kind).manifest().clone();
    let case = &Case::all_of(kind)[1];
    let detector = Detector::builder()
        .bundle(bundle(kind))
        .resize(case.resize(&manifest))
        .options(
            GroundOptions::default()
                .with_score_threshold(0.0)
                .with_aggregation(Aggregation::Max),
        )
        .build()
        .unwrap();
    let found = detector.ground(case.picture(), case.prompt()).unwrap();
    let logits: Array<f32, Ix2> = case.expected("logits");
    let tokens = detector.tokenizer().tokenize(&case.prompt()).unwrap();
    let of_phrases = tokens.phrases().iter().flat_map(|phrase| &phrase.tokens);
    let best = of_phrases.flat_map(|&token| logits.column(token).to_vec());
    let best = best.fold(f32::MIN, f32::max);
    assert!((found[0].score - 1.0 / (1.0 + (-best).exp())).abs() < 2e-4);
}

/// A detector of small pictures, which shows everything.
fn small(kind: &str) -> Detector {
    Detector::builder()
        .bundle(bundle(kind))
        .resize(ResizeRule::longest_side(100))
        .score_threshold(0.0)
        .build()
        .unwrap()
}

/// As long as rounding does not change which cell becomes which query.
fn assert_close(found: &Detections, expected: &Detections) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found.score - expected.score).abs() < 1e-4,
            "{found:?} {expected:?}"
        );
    }
}

#[test]
fn pictures_and_prompts_are_encoded_once_and_used_often() {
    let detector = small("four_levels");
    let case = &Case::all_of("four_levels")[1];
    let (picture, prompt) = (case.picture(), case.prompt());
    let direct = detector.ground(&picture, &prompt).unwrap();
    let picture = detector.encode_image(&picture).unwrap();
    let prompt = detector.encode_prompt(&prompt).unwrap();
    assert_eq!(detector.ground(&picture, &prompt).unwrap(), direct);
    let other = small("five_levels").ground(&picture, "a cat").unwrap_err();
    assert!(matches!(other, Error::OtherModel { .. }), "{other}");
}

#[test]
fn a_picture_in_a_batch_is_what_it_is_alone() {
    let detector = small("five_levels");
    let [one, many, caption] = &Case::all_of("five_levels")[..] else {
        panic!("three cases");
    };
    // Two of one size, which share a run, and two others.
    let pictures = [one, many, caption, many].map(Case::picture);
    let prompt = Prompt::from("red cell . raccoon");
    let together = detector.ground_batch(&pictures, &prompt).unwrap();
    for (found, picture) in together.iter().zip(&pictures) {
        assert_close(found, &detector.ground(picture, &prompt).unwrap());
    }
    assert_eq!(together[1], together[3]);
}

#[test]
fn a_long_vocabulary_is_asked_for_in_several_texts() {
    let detector = small("four_levels");
    let names: Vec<String> = (0..150).map(|number| format!("cat {number}")).collect();
    let encoded = detector.encode_prompt(Vocabulary::new(&names)).unwrap();
    assert!(encoded.texts().len() > 1);
    let picture = Case::all_of("four_levels")[0].picture();
    let found = detector.ground(&picture, &encoded).unwrap();
    assert_eq!(found.len(), 300, "the best of all texts");
    assert!(found.iter().any(|found| found.phrase_index > 100));
}

#[test]
fn what_is_not_this_familys_is_named() {
    let file = fs::read(fixture("learned_prompt.safetensors")).unwrap();
    let learned = LearnedPrompt::from_bytes(&file).unwrap();
    let picture = Case::all_of("four_levels")[0].picture();
    let error = small("four_levels").ground(&picture, learned).unwrap_err();
    assert!(matches!(error, Error::LearnedPromptModel { .. }), "{error}");

    let load = |folder: &tempfile::TempDir, change: fn(&mut serde_json::Value)| {
        edit_manifest(folder.path(), change);
        Detector::from_dir(folder.path()).unwrap_err()
    };
    let own = "golden/grounding_dino/four_levels/bundle";
    let unknown = load(&copy_of(own), |manifest| {
        manifest["family"] = "owl-vit".into()
    });
    assert_eq!(
        unknown.to_string().split_once("family").unwrap().1,
        " is \"owl-vit\", expected one of: glip, grounding-dino: export the bundle again"
    );
    let head = load(&copy_of(own), |manifest| manifest["family"] = "glip".into());
    assert!(
        matches!(&head, Error::ManifestValue { field, .. } if field == "head.kind"),
        "{head}"
    );
    // The graphs of another family, under this one's name.
    let graphs = load(&copy_in_format_2("colour"), |manifest| {
        manifest["family"] = "grounding-dino".into();
        manifest["head"] = serde_json::json!({"kind": "queries"});
    });
    match &graphs {
        Error::GraphSignature { graph, tensor, .. } => {
            assert_eq!(
                (graph.as_str(), tensor.as_str()),
                ("text_encoder", "position_ids")
            );
        }
        other => panic!("{other}"),
    }
    let levels = load(&copy_of(own), |manifest| {
        manifest["features"]["levels"] = 5.into()
    });
    assert!(matches!(levels, Error::GraphSignature { .. }), "{levels}");
}
