//! Each stage around the network against numbers of the official implementation, stage by stage.
//!
//! `tests/fixtures/README.md` says where the numbers are from.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{collections::HashMap, fs, fs::File, path::PathBuf};

use glip::{
    BBox, Detection, GridSize, HeadOutput, ImageSize, PostprocessOptions, Postprocessor,
    PreprocessOptions, Preprocessor, Prompt, ResizeRule, TokenizedPrompt, Tokenizer,
    postprocess::{AnchorOptions, BoxCoder},
};
use image::RgbImage;
use ndarray::{Array, Array1, Array2, Axis, Dimension, Ix1, Ix2};
use ndarray_npy::{NpzReader, ReadableElement};
use serde::Deserialize;

/// One image and prompt that the official implementation was run on.
#[derive(Deserialize)]
struct Case {
    #[serde(skip)]
    model: String,
    name: String,
    caption: String,
    phrase_spans: Vec<[usize; 2]>,
    /// The indices of each phrase's tokens; phrases are counted from 1.
    positive_map: HashMap<usize, Vec<usize>>,
    min_size: u32,
    max_size: u32,
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(fixtures().join("tokenizer.json"), 256).unwrap()
}

impl Case {
    fn all() -> Vec<Self> {
        let models = ["glip_a_small", "glip_t_small"];
        let cases: Vec<_> = models.into_iter().flat_map(Self::of_model).collect();
        assert_eq!(cases.len(), 5);
        cases
    }

    fn of_model(model: &str) -> Vec<Self> {
        let path = fixtures().join("golden").join(model).join("cases.json");
        let mut cases: Vec<Self> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for case in &mut cases {
            case.model = model.to_owned();
        }
        cases
    }

    fn array<A: ReadableElement, D: Dimension>(&self, name: &str) -> Array<A, D> {
        let path = fixtures()
            .join("golden")
            .join(&self.model)
            .join(format!("{}.npz", self.name));
        NpzReader::new(File::open(path).unwrap())
            .unwrap()
            .by_name(name)
            .unwrap()
    }

    fn image(&self, suffix: &str) -> RgbImage {
        let path = fixtures()
            .join("images")
            .join(format!("{}{suffix}.png", self.name));
        image::open(path).unwrap().into_rgb8()
    }

    fn head_output(&self) -> HeadOutput {
        let level_sizes: Array2<i64> = self.array("level_sizes");
        let grid = |size: ndarray::ArrayView1<'_, i64>| GridSize {
            width: size[1] as usize,
            height: size[0] as usize,
        };
        HeadOutput {
            logits: self.array::<f32, Ix2>("logits").insert_axis(Axis(0)),
            deltas: self.array::<f32, Ix2>("deltas").insert_axis(Axis(0)),
            centerness: self.array::<f32, Ix1>("centerness").insert_axis(Axis(0)),
            level_sizes: level_sizes.rows().into_iter().map(grid).collect(),
        }
    }

    /// Index of the phrase, score and box of each detection of the official implementation.
    fn expected_detections(&self) -> Vec<(usize, f32, BBox)> {
        let labels: Array1<i64> = self.array("labels");
        let scores: Array1<f32> = self.array("scores");
        let boxes: Array2<f32> = self.array("boxes");
        let corners = |row: ndarray::ArrayView1<'_, f32>| [row[0], row[1], row[2], row[3]];
        (0..labels.len())
            .map(|i| {
                (
                    labels[i] as usize - 1,
                    scores[i],
                    corners(boxes.row(i)).try_into().unwrap(),
                )
            })
            .collect()
    }

    fn tokens(&self) -> TokenizedPrompt {
        let spans = self.phrase_spans.iter().map(|&[begin, end]| begin..end);
        tokenizer()
            .tokenize(&Prompt::caption(&self.caption).spans(spans))
            .unwrap()
    }

    fn preprocessor(&self) -> Preprocessor {
        let resize = ResizeRule {
            short_side: self.min_size,
            long_side: self.max_size,
        };
        Preprocessor::new(PreprocessOptions::default().with_resize(resize)).unwrap()
    }
}

/// Closeness rule: the right size, no value more than one level of 255 off, and at most one in 500 off.
#[test]
fn pixels_are_those_of_official() {
    let options = PreprocessOptions::default();
    for case in Case::all() {
        let batch = case.preprocessor().run(&case.image("")).unwrap();
        let expected = case.image(".resized");
        let size = batch.geometries()[0].resized;
        assert_eq!(
            (size.width, size.height),
            expected.dimensions(),
            "{}",
            case.name
        );
        let mut off = 0;
        for (x, y, rgb) in expected.enumerate_pixels() {
            for channel in 0..3 {
                let value = batch.pixels()[[0, channel, y as usize, x as usize]];
                let level = value * options.std[channel] + options.mean[channel];
                let difference = (level - f32::from(rgb.0[2 - channel])).abs();
                let name = &case.name;
                assert!(
                    difference < 1.01,
                    "{name}: {difference} off at ({x}, {y}, {channel})"
                );
                off += usize::from(difference > 0.01);
            }
        }
        assert!(
            off * 500 <= expected.len(),
            "{}: {off} values are a level off",
            case.name
        );
    }
}

#[test]
fn token_ids_and_phrase_tokens_are_those_of_official() {
    for case in Case::all() {
        let tokens = case.tokens();
        let expected: Array1<i64> = case.array("input_ids");
        let ids: Vec<i64> = tokens.ids().iter().map(|&id| i64::from(id)).collect();
        assert_eq!(ids, expected.to_vec(), "{}", case.caption);
        assert_eq!(tokens.phrases().len(), case.positive_map.len());
        for found in tokens.phrases() {
            let found_tokens: Vec<usize> = found.tokens.clone().collect();
            assert_eq!(found_tokens, case.positive_map[&(found.phrase.index + 1)]);
        }
    }
}

#[test]
fn the_same_phrases_can_be_given_in_any_way() {
    for case in Case::all() {
        let expected = case.tokens();
        let words = case
            .phrase_spans
            .iter()
            .map(|&[begin, end]| &case.caption[begin..end]);
        let mut prompts = vec![Prompt::caption(&case.caption).phrases(words.clone())];
        if case.caption.contains(". ") {
            prompts.push(Prompt::from(&case.caption));
            prompts.push(Prompt::categories(words));
        }
        for prompt in prompts {
            assert_eq!(
                tokenizer().tokenize(&prompt).unwrap(),
                expected,
                "{}",
                case.caption
            );
        }
    }
}

/// Closeness rule: the same set, each of the same phrase with IoU over 0.99 and a score within 1e-4.
#[test]
fn detections_from_the_heads_outputs_are_those_of_official() {
    let options = PostprocessOptions::default().with_score_threshold(0.0);
    let (anchors, box_coder) = (AnchorOptions::default(), BoxCoder::default());
    let postprocessor = Postprocessor::new(options, anchors, box_coder).unwrap();
    for case in Case::all() {
        let (width, height) = case.image("").dimensions();
        let geometry = case
            .preprocessor()
            .geometry(ImageSize { width, height })
            .unwrap();
        let output = case.head_output();
        let found = postprocessor
            .run(&output, case.tokens().phrases(), &[geometry])
            .unwrap();
        let mut found: Vec<Detection> = found.into_iter().flatten().collect();
        let expected = case.expected_detections();
        assert_eq!(found.len(), expected.len(), "{} {}", case.model, case.name);
        for (phrase_index, score, bbox) in expected {
            let same = |found: &Detection| {
                found.phrase_index == phrase_index
                    && (found.score - score).abs() < 1e-4
                    && found.bbox.iou(&bbox) > 0.99
            };
            let matching = found.iter().position(same);
            let name = &case.name;
            let matching = matching.unwrap_or_else(|| panic!("{name}: no {score} at {bbox:?}"));
            found.remove(matching);
        }
    }
}
