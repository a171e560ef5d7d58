//! What users of open-vocabulary detectors suffer from, and that it cannot happen here.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::sync::LazyLock;

use common::{drawn, drawn_picture};
use glip::{
    BBox, Category, Detections, Detector, EncodedImage, Error, GroundOptions, LearnedPrompt,
    Prompt, Vocabulary,
    parts::{PromptRule, TokenizedPhrase},
};
use image::RgbImage;
use ndarray::ArrayView3;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;

static DRAWN: LazyLock<Detector> = LazyLock::new(drawn);
/// A red and a yellow circle, a blue square, an orange star, a purple and a pink triangle.
static IMAGE: LazyLock<EncodedImage> =
    LazyLock::new(|| DRAWN.encode_image(&drawn_picture("scene.png")).unwrap());

/// Everything however unsure, so that a wrong label has every chance to show.
fn everything() -> GroundOptions {
    GroundOptions::default()
        .with_candidate_threshold(0.01)
        .with_score_threshold(0.0)
}

/// Labels and boxes, to compare whatever the index.
fn labelled(found: &Detections) -> Vec<(String, BBox)> {
    found.iter().map(|d| (d.phrase.clone(), d.bbox)).collect()
}

/// "car . taxi" that comes back as "car taxi", "tri" or "##van".
#[test]
fn labels_are_not_merged_cut_or_mangled() {
    let names = [
        "red_circle",
        "plus sign (thick)",
        "bluish-green ring",
        "flügelrad",
        "U.S. star",
        "yellow circle",
        "crescent moon",
        "xyzzy",
    ];
    for prompt in [
        Prompt::categories(names),
        Prompt::from(names.join(" . ").as_str()),
    ] {
        let rendered = DRAWN.tokenizer().rule().render(&prompt).unwrap();
        let found = DRAWN.ground_with(&*IMAGE, &prompt, &everything()).unwrap();
        assert!(found.len() > 50);
        for detection in &found {
            let given = rendered
                .phrases()
                .iter()
                .find(|p| p.index == detection.phrase_index)
                .unwrap();
            assert_eq!(detection.phrase, given.label);
        }
    }
    let found = DRAWN
        .ground_with(&*IMAGE, Prompt::categories(names), &everything())
        .unwrap();
    assert!(found.iter().all(|d| d.phrase == names[d.phrase_index]));
}

/// Class ids that come back empty: the phrase does not map back to a class.
#[test]
fn every_detection_has_the_index_of_its_category() {
    let categories = ["circle", "square", "triangle"].map(|name| {
        Category::labelled(
            format!("class {name}"),
            format!("A {}", name.to_uppercase()).as_str(),
        )
        .with_synonym(name)
    });
    // The triangles cover each other, and score less.
    let options = GroundOptions::default().with_score_threshold(0.6);
    let found = DRAWN
        .ground_with(&*IMAGE, Prompt::categories(&categories), &options)
        .unwrap();
    let mut seen = [0; 3];
    for detection in &found {
        assert_eq!(detection.phrase, categories[detection.phrase_index].label());
        seen[detection.phrase_index] += 1;
    }
    assert_eq!(seen, [2, 1, 2], "{found:?}");
}

/// One class more, and every label is off by one.
#[test]
fn another_name_does_not_shift_labels() {
    let names = ["red circle", "blue square", "orange star"];
    let expected = DRAWN.ground(&*IMAGE, Prompt::categories(names)).unwrap();
    assert_eq!(expected.len(), 3);
    for place in 0..=names.len() {
        let mut more = names.to_vec();
        more.insert(place, "green heart");
        let found = DRAWN.ground(&*IMAGE, Prompt::categories(&more)).unwrap();
        for detection in &expected {
            let same = found
                .iter()
                .find(|d| d.bbox.iou(&detection.bbox) > 0.8)
                .unwrap();
            assert_eq!(same.phrase, detection.phrase);
            assert_eq!(more[same.phrase_index], detection.phrase);
        }
    }
}

/// Phrases that stand in other words, or twice, whose labels shift (official's `run_ner`).
#[test]
fn phrases_inside_other_words_are_not_taken() {
    let prompt = Prompt::caption("encircled things: a circle, and a square circle-free square")
        .phrases(["circle", "square", "square"]);
    let rendered = PromptRule::default().render(&prompt).unwrap();
    let spans: Vec<_> = rendered.phrases().iter().map(|p| p.spans.clone()).collect();
    assert_eq!(spans, [[20..26], [34..40], [53..59]]);
}

/// More than 256 tokens: NaN, no boxes, or classes that are lost without a word.
#[test]
fn long_lists_are_an_error_or_a_vocabulary_that_loses_nothing() {
    let there = [
        "red circle",
        "blue square",
        "orange star",
        "purple triangle",
    ];
    // Numbers are spelled, so that these are some 1300 tokens.
    let mut names: Vec<_> = (0..200).map(|number| format!("widget {number}")).collect();
    for (place, name) in there.iter().enumerate() {
        names.insert(50 * place + 7, (*name).to_owned());
    }
    let error = DRAWN
        .ground(&*IMAGE, Prompt::categories(&names))
        .unwrap_err();
    assert!(
        matches!(error, Error::PromptTooLong { limit: 256, .. }),
        "{error}"
    );

    let vocabulary = Vocabulary::new(&names).with_names_per_prompt(40);
    let prompts = vocabulary.prompts(DRAWN.tokenizer()).unwrap();
    let rule = DRAWN.tokenizer().rule();
    let packed = prompts
        .iter()
        .map(|p| rule.render(p).unwrap().phrases().len());
    assert_eq!(packed.sum::<usize>(), names.len());
    // Among so many words a thing that is there scores a little less.
    let options = GroundOptions::default().with_score_threshold(0.5);
    let found = DRAWN.ground_with(&*IMAGE, &vocabulary, &options).unwrap();
    assert!(found.iter().all(|d| names[d.phrase_index] == d.phrase));
    for name in there {
        assert!(found.iter().any(|d| d.phrase == name), "{name}: {found:?}");
    }
}

/// An object that comes out once for every prompt of a long list.
#[test]
fn prompts_of_a_vocabulary_do_not_report_an_object_twice() {
    let circle = Category::new("circle")
        .with_synonym("disc")
        .with_synonym("disk");
    let square = Category::new("square").with_synonym("box");
    let apart = Vocabulary::new([circle, square]).with_names_per_prompt(1);
    assert_eq!(apart.prompts(DRAWN.tokenizer()).unwrap().len(), 5);
    let found = DRAWN.ground(&*IMAGE, &apart).unwrap();
    assert_eq!(found.of_phrase(0).count(), 2, "{found:?}");
    assert_eq!(found.of_phrase(1).count(), 1, "{found:?}");

    // Labels that mean the same are the caller's to keep; the best of each object on request.
    let both = Vocabulary::new(["circle", "red circle"]).with_names_per_prompt(1);
    assert_eq!(DRAWN.ground(&*IMAGE, &both).unwrap().len(), 3);
    let best = GroundOptions::default().with_nms_across_phrases(true);
    assert_eq!(DRAWN.ground_with(&*IMAGE, &both, &best).unwrap().len(), 2);
}

/// Results that depend on the order of a list, or on what was asked before.
#[test]
fn a_vocabulary_is_deterministic_whatever_its_order() {
    let names: Vec<_> = ["red", "yellow", "blue", "orange", "purple", "pink"]
        .iter()
        .flat_map(|colour| ["circle", "star", "square"].map(|shape| format!("{colour} {shape}")))
        .collect();
    let expected = labelled(&DRAWN.ground(&*IMAGE, Vocabulary::new(&names)).unwrap());
    assert!(expected.len() >= 4);
    for turn in [1, 7, 13] {
        let mut turned = names.clone();
        turned.rotate_left(turn);
        turned.reverse();
        let found = DRAWN.ground(&*IMAGE, Vocabulary::new(&turned)).unwrap();
        assert!(found.iter().all(|d| turned[d.phrase_index] == d.phrase));
        assert_eq!(labelled(&found), expected);
    }
}

/// Detections on a blank image.
#[test]
fn a_blank_image_shows_nothing() {
    let names = ["red circle", "blue square", "green ring", "thing"];
    for grey in [0, 90, 128, 200, 255] {
        let blank = RgbImage::from_pixel(320, 256, image::Rgb([grey; 3]));
        let found = DRAWN.ground(&blank, Prompt::categories(names)).unwrap();
        assert!(found.is_empty(), "{grey}: {found:?}");
    }
}

/// Text states in a file find what the text finds.
#[test]
fn a_learned_prompt_takes_the_place_of_its_text() {
    let names = Prompt::categories(["yellow circle", "blue square"]);
    let prompt = DRAWN.encode_prompt(&names).unwrap();
    let text = &prompt.texts()[0];
    let (hidden, embedded) = (text.features().hidden(), text.features().embedded());
    let (hidden, embedded) = (hidden.unwrap(), embedded.unwrap());
    let states = |states: ArrayView3<'_, f32>| -> Vec<u8> {
        states
            .iter()
            .flat_map(|state| state.to_le_bytes())
            .collect()
    };
    let (_, tokens, width) = hidden.dim();
    let mask = vec![1i64; tokens];
    let mask: Vec<u8> = mask.iter().flat_map(|one| one.to_le_bytes()).collect();
    let (hidden, embedded) = (states(hidden), states(embedded));
    let tensors = [
        ("hidden", Dtype::F32, vec![tokens, width], &hidden),
        ("embedded", Dtype::F32, vec![tokens, width], &embedded),
        ("attention_mask", Dtype::I64, vec![tokens], &mask),
    ];
    let phrases: Vec<_> = text
        .phrases()
        .iter()
        .map(|TokenizedPhrase { phrase, tokens }| {
            let spans: Vec<_> = phrase
                .spans
                .iter()
                .map(|span| [span.start, span.end])
                .collect();
            let (label, index) = (&phrase.label, phrase.index);
            json!({"label": label, "index": index, "spans": spans, "tokens": tokens})
        })
        .collect();
    let fingerprint = DRAWN.manifest().source().fingerprint.clone().unwrap();
    let rendered = DRAWN.tokenizer().rule().render(&names).unwrap();
    let metadata = [
        ("format", "glip-learned-prompt".to_owned()),
        ("format_version", "1".to_owned()),
        ("model", fingerprint),
        ("text", rendered.text().to_owned()),
        ("phrases", json!(phrases).to_string()),
    ];
    let views = tensors
        .into_iter()
        .map(|(name, dtype, shape, data)| (name, TensorView::new(dtype, shape, data).unwrap()));
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
    let file = safetensors::serialize(views, Some(metadata.into_iter().collect())).unwrap();

    let learned = LearnedPrompt::from_bytes(&file).unwrap();

    let expected = DRAWN.ground(&*IMAGE, &names).unwrap();
    assert_eq!(expected.len(), 2);
    assert_eq!(DRAWN.ground(&*IMAGE, &learned).unwrap(), expected);
}

/// The file that `glip_torch.tune` wrote, of glip-drawn.
#[test]
fn a_learned_prompt_of_the_python_side_is_read() {
    let learned = Prompt::learned("tests/fixtures/learned_prompt.safetensors").unwrap();
    let labels: Vec<_> = learned.phrases().iter().map(|p| &*p.phrase.label).collect();
    for TokenizedPhrase { phrase, tokens } in learned.phrases() {
        assert_eq!(&learned.text()[phrase.spans[0].clone()], phrase.label);
        assert!(!tokens.is_empty());
    }
    let found = DRAWN.ground_with(&*IMAGE, &learned, &everything()).unwrap();
    assert!(!found.is_empty());
    assert!(found.iter().all(|d| labels[d.phrase_index] == d.phrase));

    let other = Detector::from_dir("tests/fixtures/colour").unwrap();
    let error = other.ground(RgbImage::new(64, 64), &learned).unwrap_err();
    assert!(matches!(error, Error::LearnedPromptModel { .. }), "{error}");
}

/// The mean, the highest and the geometric mean are in that order, and chosen by the call.
#[test]
fn aggregation_is_chosen_by_the_call() {
    use glip::postprocess::Aggregation;
    let score = |aggregation| {
        let options = GroundOptions::default()
            .with_aggregation(aggregation)
            .with_max_per_phrase(1);
        let found = DRAWN
            .ground_with(&*IMAGE, "yellow circle", &options)
            .unwrap();
        assert_eq!(found.len(), 1);
        let best = &found[0];
        // Before and after centerness.
        assert!(best.score * best.score < best.phrase_score);
        best.phrase_score
    };
    let (mean, max) = (score(Aggregation::Mean), score(Aggregation::Max));
    let geometric = score(Aggregation::GeometricMean);
    assert!(geometric < mean && mean < max, "{geometric} {mean} {max}");
}
