//! Each stage around the network against numbers of the official implementation, stage by stage.
//!
//! `tests/fixtures/README.md` says where the numbers are from.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::HashMap, fs, fs::File, path::PathBuf};

use glip::{PreprocessOptions, Preprocessor, Prompt, ResizeRule, TokenizedPrompt, Tokenizer};
use image::RgbImage;
use ndarray::{Array, Array1, Dimension};
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
