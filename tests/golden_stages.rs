//! Each stage around the network against numbers of the official implementation, stage by stage.
//!
//! `tests/fixtures/README.md` says where the numbers are from.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use common::golden::{Case, tokenizer};
use glip::{
    Prompt,
    parts::PreprocessOptions,
    postprocess::{HeadSpec, PostprocessOptions, Postprocessor},
};
use ndarray::Array1;

/// Closeness rule: the right size and every level equal, up to the rounding of normalised floats.
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
        for (x, y, rgb) in expected.enumerate_pixels() {
            for channel in 0..3 {
                let value = batch.pixels()[[0, channel, y as usize, x as usize]];
                let level = value * options.std[channel] + options.mean[channel];
                let difference = (level - f32::from(rgb.0[2 - channel])).abs();
                let name = &case.name;
                assert!(
                    difference < 0.01,
                    "{name}: {difference} off at ({x}, {y}, {channel})"
                );
            }
        }
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
            let expected = &case.positive_map[&(found.phrase.index + 1)];
            assert_eq!(&found.tokens, expected);
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

#[test]
fn detections_from_the_heads_outputs_are_those_of_official() {
    let options = PostprocessOptions::default().with_score_threshold(0.0);
    let postprocessor = Postprocessor::new(options, HeadSpec::default()).unwrap();
    for case in Case::all() {
        let size = case.image("").dimensions().into();
        let geometry = case.preprocessor().geometry(size).unwrap();
        let output = case.head_output();
        let found = postprocessor
            .run(&output, case.tokens().phrases(), &[geometry])
            .unwrap();
        case.assert_same(found.into_iter().flatten(), 1e-4);
    }
}
