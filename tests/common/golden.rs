//! The cases that the official implementation was run on; `tests/fixtures/README.md` says how.

use std::{
    collections::HashMap,
    fs::{self, File},
};

use glip::{
    BBox, Detection, Prompt, ResizeRule,
    parts::{
        GridSize, HeadBoxes, HeadOutput, PreprocessOptions, Preprocessor, TokenizedPrompt,
        Tokenizer,
    },
};
use image::RgbImage;
use ndarray::{Array, Array1, Array2, ArrayView1, Axis, Dimension, Ix1, Ix2};
use ndarray_npy::{NpzReader, ReadableElement};
use serde::Deserialize;

use super::fixture;

/// One image and prompt that the official implementation was run on.
#[derive(Deserialize)]
pub(crate) struct Case {
    #[serde(skip)]
    pub(crate) model: String,
    pub(crate) name: String,
    pub(crate) caption: String,
    pub(crate) phrase_spans: Vec<[usize; 2]>,
    /// The indices of each phrase's tokens; phrases are counted from 1.
    pub(crate) positive_map: HashMap<usize, Vec<usize>>,
    pub(crate) min_size: u32,
    pub(crate) max_size: u32,
}

pub(crate) fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(fixture("tokenizer.json"), 256).unwrap()
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        let models = ["glip_a_small", "glip_t_small"];
        let cases: Vec<_> = models.into_iter().flat_map(Self::of_model).collect();
        assert_eq!(cases.len(), 5);
        cases
    }

    pub(crate) fn of_model(model: &str) -> Vec<Self> {
        let path = fixture("golden").join(model).join("cases.json");
        let mut cases: Vec<Self> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for case in &mut cases {
            case.model = model.to_owned();
        }
        cases
    }

    pub(crate) fn array<A: ReadableElement, D: Dimension>(&self, name: &str) -> Array<A, D> {
        let path = fixture("golden")
            .join(&self.model)
            .join(format!("{}.npz", self.name));
        NpzReader::new(File::open(path).unwrap())
            .unwrap()
            .by_name(name)
            .unwrap()
    }

    pub(crate) fn image(&self, suffix: &str) -> RgbImage {
        let path = fixture("images").join(format!("{}{suffix}.png", self.name));
        image::open(path).unwrap().into_rgb8()
    }

    pub(crate) fn head_output(&self) -> HeadOutput {
        let level_sizes: Array2<i64> = self.array("level_sizes");
        let grid = |size: ArrayView1<'_, i64>| GridSize::new(size[1] as usize, size[0] as usize);
        let boxes = HeadBoxes::Anchors {
            deltas: self.array::<f32, Ix2>("deltas").insert_axis(Axis(0)),
            centerness: self.array::<f32, Ix1>("centerness").insert_axis(Axis(0)),
            level_sizes: level_sizes.rows().into_iter().map(grid).collect(),
        };
        HeadOutput::new(self.array::<f32, Ix2>("logits").insert_axis(Axis(0)), boxes).unwrap()
    }

    /// Index of the phrase, score and box of each detection of the official implementation, whose corners
    /// are the first and the last pixel: the edge is one beyond.
    pub(crate) fn expected_detections(&self) -> Vec<(usize, f32, BBox)> {
        let labels: Array1<i64> = self.array("labels");
        let scores: Array1<f32> = self.array("scores");
        let boxes: Array2<f32> = self.array("boxes");
        let edges = |row: ArrayView1<'_, f32>| [row[0], row[1], row[2] + 1.0, row[3] + 1.0];
        (0..labels.len())
            .map(|i| {
                (
                    labels[i] as usize - 1,
                    scores[i],
                    edges(boxes.row(i)).try_into().unwrap(),
                )
            })
            .collect()
    }

    pub(crate) fn prompt(&self) -> Prompt {
        let spans = self.phrase_spans.iter().map(|&[begin, end]| begin..end);
        Prompt::caption(&self.caption).spans(spans)
    }

    pub(crate) fn tokens(&self) -> TokenizedPrompt {
        tokenizer().tokenize(&self.prompt()).unwrap()
    }

    pub(crate) fn resize_rule(&self) -> ResizeRule {
        ResizeRule::short_side(self.min_size, self.max_size)
    }

    pub(crate) fn preprocessor(&self) -> Preprocessor {
        let options = PreprocessOptions::default().with_resize(self.resize_rule());
        Preprocessor::new(options).unwrap()
    }

    /// Checks that the detections are those of the official implementation: the same set, each of
    /// the same phrase with IoU over 0.99 and a score within `tolerance`.
    pub(crate) fn assert_same(&self, found: impl IntoIterator<Item = Detection>, tolerance: f32) {
        let name = format!("{} {}", self.model, self.name);
        let mut found: Vec<Detection> = found.into_iter().collect();
        let expected = self.expected_detections();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (phrase_index, score, bbox) in expected {
            let same = |found: &Detection| {
                found.phrase_index == phrase_index
                    && (found.score - score).abs() < tolerance
                    && found.bbox.iou(&bbox) > 0.99
            };
            let matching = found.iter().position(same);
            let matching = matching.unwrap_or_else(|| panic!("{name}: no {score} at {bbox:?}"));
            found.remove(matching);
        }
    }
}
