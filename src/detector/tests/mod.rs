//! The whole detector on graphs that are plain functions, without ONNX Runtime.

mod fakes;
mod third_family;

use std::sync::{Arc, Mutex};

use image::{DynamicImage, Rgb, RgbImage, imageops};
use ndarray::{Array3, Array4, ArrayD, Axis, concatenate, s};

use self::fakes::{Fake, checked, fake_of_floats};
use super::{
    detector::{Detector, Parts},
    inputs::{EncodedImage, EncodedPrompt, ImageInput},
    options::GroundOptions,
};
use crate::{
    bundle::{Bundle, Manifest, Precision},
    control::{Control, Progress},
    detection::Detections,
    error::Error,
    family::GLIP,
    geometry::GridSize,
    graph::{Fusion, GroundingHead, ImageEncoder, TextEncoder},
    postprocess::{HeadSpec, PostprocessOptions, Postprocessor},
    preprocess::Preprocessor,
    preprocess::ResizeRule,
    prompt::Tokenizer,
    prompt::{Category, LearnedPrompt, Prompt, Vocabulary},
    session::Element,
    spare::Spare,
};

/// One channel: the first of the network input (red), at the first pixel of each cell.
fn encode_pixels<const LEVELS: usize>(inputs: &[ArrayD<f32>]) -> Vec<ArrayD<f32>> {
    let pixels = &inputs[0];
    let level = |stride: usize| {
        let (batch, height, width) = (pixels.shape()[0], pixels.shape()[2], pixels.shape()[3]);
        let size = (batch, 1, height.div_ceil(stride), width.div_ceil(stride));
        let cell = |(b, _, y, x)| pixels[[b, 0, y * stride, x * stride]];
        Array4::from_shape_fn(size, cell).into_dyn()
    };
    (0..LEVELS).map(|index| level(8 << index)).collect()
}

fn encode_tokens(inputs: &[ArrayD<f32>]) -> Vec<ArrayD<f32>> {
    let states = inputs[0].clone().insert_axis(Axis(2));
    vec![states.clone(), states]
}

/// Every level with a second channel, and the text as it is.
fn widen(inputs: &[ArrayD<f32>]) -> Vec<ArrayD<f32>> {
    let (levels, text) = inputs.split_at(inputs.len() - 2);
    let wide = levels
        .iter()
        .map(|map| concatenate![Axis(1), map.view(), map.view()]);
    wide.chain([text[0].clone()]).collect()
}

/// Every token is aligned with red cells. A red brighter than 2 becomes NaN.
fn align(inputs: &[ArrayD<f32>]) -> Vec<ArrayD<f32>> {
    let (text, levels) = inputs.split_last().unwrap();
    let (batch, tokens) = (text.shape()[0], text.shape()[1]);
    let red = |image: usize| {
        levels
            .iter()
            .flat_map(move |map| map.slice(s![image, 0, .., ..]).to_owned())
    };
    let anchors = red(0).count();
    let red: Vec<Vec<f32>> = (0..batch).map(|image| red(image).collect()).collect();
    let logit = |(image, anchor, _): (usize, usize, usize)| match red[image][anchor] {
        red if red > 2.0 => f32::NAN,
        red => 8.0 * red,
    };
    vec![
        Array3::from_shape_fn((batch, anchors, tokens), logit).into_dyn(),
        Array3::zeros((batch, anchors, 4)).into_dyn(),
        ArrayD::from_elem(vec![batch, anchors], 9.0),
    ]
}

/// What the encoders of a detector have been given, by the shapes.
struct Seen {
    image_encoder: Arc<Fake>,
    text_encoder: Arc<Fake>,
}

impl Seen {
    fn images(&self) -> Vec<Vec<usize>> {
        self.image_encoder.shapes()
    }

    fn texts(&self) -> Vec<Vec<usize>> {
        self.text_encoder.shapes()
    }
}

/// A detector of red things, without fusion.
fn detector(max_batch: usize) -> (Detector, Seen) {
    detector_of_levels::<5>(max_batch)
}

fn detector_of_levels<const LEVELS: usize>(max_batch: usize) -> (Detector, Seen) {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/colour_without_fusion"
    );
    let mut manifest = Bundle::from_dir(folder).unwrap().manifest().clone();
    manifest.levels = LEVELS;
    if let HeadSpec::Anchors { anchors, .. } = &mut manifest.head {
        anchors.strides.truncate(LEVELS);
        anchors.sizes.truncate(LEVELS);
    }
    manifest.image.resize = ResizeRule::short_side(96, 160);
    let tokenizer = std::fs::read(format!("{folder}/tokenizer.json")).unwrap();
    let seen = Seen {
        image_encoder: fake_of_floats(encode_pixels::<LEVELS>),
        text_encoder: fake_of_floats(encode_tokens),
    };
    let signatures = (GLIP.signatures)(LEVELS, Element::F32);
    let parts = Parts {
        preprocessor: manifest.preprocessor().unwrap(),
        tokenizer: Tokenizer::from_bytes(&tokenizer, manifest.max_tokens).unwrap(),
        image_encoder: ImageEncoder::from_graph(checked(
            signatures.image_encoder,
            &seen.image_encoder,
        )),
        text_encoder: TextEncoder::from_graph(checked(signatures.text_encoder, &seen.text_encoder)),
        fusion: Fusion::none(),
        head: GroundingHead::from_graph(checked(signatures.head, &fake_of_floats(align))),
        postprocessor: Postprocessor::new(PostprocessOptions::default(), manifest.head.clone())
            .unwrap(),
        max_batch,
        spare: Spare::default(),
        manifest: Arc::new(manifest),
    };
    let detector = Detector {
        parts: Arc::new(parts),
        control: Control::default(),
    };
    (detector, seen)
}

/// A fusion tower that gives every level a second channel.
fn widening(levels: usize) -> Fusion {
    let signature = (GLIP.signatures)(levels, Element::F32).fusion;
    Fusion::from_graph(checked(signature, &fake_of_floats(widen)))
}

fn parts(detector: &mut Detector) -> &mut Parts {
    Arc::get_mut(&mut detector.parts).unwrap()
}

/// Puts another manifest into a detector that has encoded nothing yet.
fn manifest(detector: &mut Detector) -> &mut Manifest {
    Arc::get_mut(&mut parts(detector).manifest).unwrap()
}

/// A black picture with one red cell of 8 x 8 pixels.
fn picture(width: u32, height: u32, cell: (i64, i64)) -> RgbImage {
    let mut picture = RgbImage::new(width, height);
    let red = RgbImage::from_pixel(8, 8, Rgb([255, 0, 0]));
    imageops::replace(&mut picture, &red, 8 * cell.0, 8 * cell.1);
    picture
}

/// Where the best detection is, by the centre of its box in cells.
fn cell(found: &Detections) -> Option<(i64, i64)> {
    let best = found.iter().next()?.bbox;
    let centre = |low: f32, high: f32| ((low + high) / 16.0_f32).floor() as i64;
    Some((centre(best.x1(), best.x2()), centre(best.y1(), best.y2())))
}

#[test]
fn the_four_kinds_of_input_find_the_same() {
    let (detector, _) = detector(4);
    let picture = picture(160, 96, (9, 5));

    let found = detector.ground(&picture, "red").unwrap();
    assert_eq!(cell(&found), Some((9, 5)));
    assert_eq!(found[0].phrase, "red");

    let encoded = detector.encode_image(&picture).unwrap();
    let prompt = detector.encode_prompt("red").unwrap();
    assert_eq!(detector.ground(&encoded, "red").unwrap(), found);
    assert_eq!(detector.ground(&encoded, &prompt).unwrap(), found);
    assert_eq!(detector.ground(&picture, &prompt).unwrap(), found);
    let owned = DynamicImage::from(picture.clone());
    assert_eq!(detector.ground(&owned, Prompt::from("red")).unwrap(), found);
    assert_eq!(detector.ground(owned, ["red"]).unwrap(), found);
    assert_eq!(detector.ground(picture, "red".to_owned()).unwrap(), found);
    assert_eq!(detector.ground(encoded, prompt).unwrap(), found);
}

#[test]
fn a_model_has_the_levels_of_its_manifest() {
    let (mut detector, _) = detector_of_levels::<3>(4);
    let picture = picture(160, 96, (9, 5));

    let encoded = detector.encode_image(&picture).unwrap();
    let sizes = [(20, 12), (10, 6), (5, 3)].map(|(width, height)| GridSize::new(width, height));
    assert_eq!(encoded.pyramid().level_sizes(), sizes);
    let error = encoded.pyramid().level(3).unwrap_err();
    assert!(error.to_string().contains("0 to 2"), "{error}");
    let found = detector.ground(&encoded, "red").unwrap();
    assert_eq!(cell(&found), Some((9, 5)));

    // Fused features may have other channels than the pyramid.
    drop(encoded);
    parts(&mut detector).fusion = widening(3);
    let encoded = detector.encode_image(&picture).unwrap();
    let prompt = detector.encode_prompt("red").unwrap();
    let fused = detector
        .fusion()
        .run(encoded.pyramid(), prompt.texts()[0].features())
        .unwrap();
    assert_eq!((encoded.pyramid().channels(), fused.channels()), (1, 2));
    assert_eq!(detector.ground(&encoded, &prompt).unwrap(), found);
    assert_eq!(detector.ground_batch([&picture], "red").unwrap(), [found]);
}

#[test]
fn an_image_of_other_levels_is_an_error() {
    let (mut detector, _) = detector(4);
    let (other, _) = detector_of_levels::<3>(4);
    let encoded = other.encode_image(&picture(160, 96, (9, 5))).unwrap();

    // Both are of one bundle as far as they say.
    let head = detector.ground(&encoded, "red").unwrap_err();
    parts(&mut detector).fusion = widening(5);
    let fusion = detector.ground(&encoded, "red").unwrap_err();

    for (graph, error) in [("head", head), ("fusion", fusion)] {
        let named = matches!(&error, Error::GraphSignature { graph: named, .. } if named == graph);
        assert!(named, "{error}");
    }
}

#[test]
fn what_another_model_encoded_is_an_error() {
    let (one, _) = detector(4);
    let (mut other, _) = detector(4);
    let picture = picture(160, 96, (9, 5));
    let (image, prompt) = (one.encode_image(&picture), one.encode_prompt("red"));
    let (image, prompt) = (image.unwrap(), prompt.unwrap());
    assert!(
        other.ground(&image, &prompt).is_ok(),
        "the same model, loaded twice"
    );
    let manifest = manifest(&mut other);
    manifest.identity = "another".to_owned();
    manifest.name = "another model".to_owned();
    for (what, error) in [
        ("image", other.ground(&image, "red").map(drop)),
        ("prompt", other.ground(&picture, &prompt).map(drop)),
        ("image", other.ground_batch([&image], "red").map(drop)),
        ("prompt", other.ground_batch([&picture], &prompt).map(drop)),
        ("prompt", other.encode_prompt(&prompt).map(drop)),
        ("image", other.head_outputs(&image, "red").map(drop)),
    ] {
        let error = error.unwrap_err();
        assert!(
            matches!(&error, Error::OtherModel { what: named, .. } if *named == what),
            "{error}"
        );
        assert!(error.to_string().contains("another model"), "{error}");
    }
}

#[test]
fn head_outputs_are_what_is_found_in() {
    let (detector, _) = detector(4);
    let picture = picture(160, 96, (9, 5));
    let vocabulary = Vocabulary::new(["red", "green"]).with_names_per_prompt(1);
    let raw = detector.head_outputs(&picture, &vocabulary).unwrap();
    let labels: Vec<_> = raw
        .iter()
        .map(|raw| raw.phrases[0].phrase.label.as_str())
        .collect();
    assert_eq!(labels, ["green", "red"]);
    let postprocessor = detector.postprocessor();
    let found = postprocessor
        .run(&raw[1].head, &raw[1].phrases, &[raw[1].geometry])
        .unwrap();
    assert_eq!(found, [detector.ground(&picture, "red").unwrap()]);
}

#[test]
fn a_second_prompt_does_not_touch_the_image_encoder() {
    let (detector, seen) = detector(4);
    let encoded = detector.encode_image(&picture(160, 96, (9, 5))).unwrap();
    let images = seen.images();

    for prompt in ["red", "green . blue"] {
        detector.ground(&encoded, prompt).unwrap();
        detector.ground_batch([&encoded, &encoded], prompt).unwrap();
    }

    assert_eq!(seen.images(), images);
    assert_eq!(seen.texts().len(), 4);
}

#[test]
fn a_next_frame_does_not_touch_the_text_encoder() {
    let (detector, seen) = detector(4);
    let prompt = detector.encode_prompt("red").unwrap();
    let texts = seen.texts();

    for cell in [(9, 5), (3, 3)] {
        let frame = picture(160, 96, cell);
        detector.ground(&frame, &prompt).unwrap();
        detector.ground_batch([&frame, &frame], &prompt).unwrap();
    }

    assert_eq!(seen.texts(), texts);
    assert_eq!(seen.images().len(), 4);
}

/// A control that keeps what is reported.
fn reporting() -> (Control, Arc<Mutex<Vec<Progress>>>) {
    let steps = Arc::<Mutex<Vec<_>>>::default();
    let kept = Arc::clone(&steps);
    let control = Control::new().with_progress(move |step| kept.lock().unwrap().push(step));
    (control, steps)
}

/// A control that stops when so many texts are done.
fn stopping_after(done: usize) -> Control {
    let control = Arc::new(Mutex::new(Control::default()));
    let own = Arc::clone(&control);
    let stopping = Control::new().with_progress(move |step| {
        if step.done == done {
            own.lock().unwrap().stop();
        }
    });
    *control.lock().unwrap() = stopping.clone();
    stopping
}

/// As many names as LVIS has, for a model that takes 12 tokens.
#[test]
fn a_vocabulary_fills_its_prompts_and_shares_one_encoded_image() {
    let (detector, seen) = detector(4);
    let names: Vec<_> = (0..1203)
        .map(|i| Category::labelled(i.to_string(), ["red", "blue red", "green"][i % 3]))
        .collect();
    let vocabulary = Vocabulary::new(&names);
    let (control, steps) = reporting();
    let options = GroundOptions::default().with_max_detections(2000);
    let image = picture(160, 96, (9, 5));
    let controlled = detector.controlled(&control);
    let found = controlled
        .ground_with(&image, &vocabulary, &options)
        .unwrap();

    // The fake aligns every word with red: every name is found once, by its place in the list.
    let mut found = Vec::from(found);
    found.sort_by_key(|detection| detection.phrase_index);
    assert_eq!(found.len(), names.len());
    for (index, detection) in found.iter().enumerate() {
        assert_eq!(detection.phrase_index, index);
        assert_eq!(detection.phrase, index.to_string());
    }
    assert_eq!(seen.images().len(), 1);
    // 401 names of two tokens and 802 of one, each with a dot but the last, into 10: few gaps are left.
    let total = seen.texts().len();
    let least = (401 * 3 + 802 * 2_usize).div_ceil(11);
    assert!(
        (least..=least + least / 20).contains(&total),
        "{total} prompts, {least} at least"
    );
    let expected: Vec<_> = (0..=total).map(|done| Progress { done, total }).collect();
    assert_eq!(*steps.lock().unwrap(), expected);
}

#[test]
fn labels_do_not_depend_on_the_order_of_a_vocabulary() {
    let (detector, _) = detector(4);
    let image = picture(160, 96, (9, 5));
    let names = ["green", "red", "blue red", "red blue", "red green", "blue"];
    let mut turned = names;
    turned.rotate_left(2);

    let found = |names: &[&str]| {
        let found = detector.ground(&image, Vocabulary::new(names)).unwrap();
        assert!(found.iter().all(|d| names[d.phrase_index] == d.phrase));
        let boxes = found.iter().map(|d| (d.phrase.clone(), d.score, d.bbox));
        boxes.collect::<Vec<_>>()
    };

    assert_eq!(found(&names).len(), names.len());
    assert_eq!(found(&names), found(&turned));
}

#[test]
fn synonyms_in_different_prompts_find_a_thing_once() {
    let (detector, seen) = detector(4);
    let image = picture(160, 96, (9, 5));
    let red = Category::new("red")
        .with_synonym("green")
        .with_synonym("blue");
    let vocabulary = Vocabulary::new([red]).with_names_per_prompt(1);

    let prompt = detector.encode_prompt(&vocabulary).unwrap();
    let found = detector.ground(&image, &prompt).unwrap();

    assert_eq!(seen.texts().len(), 3);
    assert_eq!((found.len(), &*found[0].phrase), (1, "red"));
    assert_eq!(detector.ground(&image, &vocabulary).unwrap(), found);
    let batch = detector.ground_batch([&image, &image], vocabulary).unwrap();
    assert_eq!(batch, [found.clone(), found]);
}

#[test]
fn a_vocabulary_can_be_stopped_between_texts() {
    let (detector, seen) = detector(4);
    let image = picture(160, 96, (9, 5));
    let vocabulary = Vocabulary::new(["red", "green", "blue"]).with_names_per_prompt(1);
    let controlled = detector.controlled(&stopping_after(2));
    let error = controlled.ground(&image, &vocabulary).unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error}");
    assert_eq!(seen.texts().len(), 2);
    assert!(detector.ground(&image, &vocabulary).is_ok());
}

#[test]
fn a_learned_prompt_needs_no_text_encoder() {
    let (mut detector, _) = detector(4);
    parts(&mut detector).text_encoder = TextEncoder::none();
    manifest(&mut detector).source.fingerprint = Some("abc".to_owned());
    manifest(&mut detector).hidden_size = 1;
    let image = picture(160, 96, (9, 5));
    let phrases = r#"[{"label": "red cell", "index": 7, "spans": [[0, 3]], "tokens": [1, 2]}]"#;
    let learned = |model, width| {
        let file = crate::prompt::learned_file(model, width, phrases);
        LearnedPrompt::from_bytes(&file).unwrap()
    };

    let found = detector.ground(&image, learned("abc", 1)).unwrap();
    assert_eq!(cell(&found), Some((9, 5)));
    assert_eq!((found[0].phrase_index, &*found[0].phrase), (7, "red cell"));

    let words = detector.ground(&image, "red").unwrap_err();
    assert!(matches!(words, Error::NoTextEncoder), "{words}");
    let other = detector.ground(&image, learned("abd", 1)).unwrap_err();
    assert!(matches!(other, Error::LearnedPromptModel { .. }), "{other}");
    let wide = detector.ground(&image, learned("abc", 3)).unwrap_err();
    assert!(matches!(wide, Error::Shape { .. }), "{wide}");
    manifest(&mut detector).source.fingerprint = None;
    let none = detector.ground(&image, learned("abc", 1)).unwrap_err();
    assert!(
        none.to_string().contains("export the bundle again"),
        "{none}"
    );
}

#[test]
fn nothing_found_is_an_empty_result() {
    let (detector, _) = detector(4);

    let found = detector
        .ground(RgbImage::new(160, 96), "red . green")
        .unwrap();

    assert!(found.is_empty());
}

#[test]
fn a_batch_has_one_result_per_image_in_their_order() {
    let (detector, seen) = detector(3);
    let wide = [(3, 3), (5, 7), (14, 6), (12, 8), (4, 4)].map(|cell| picture(160, 96, cell));
    let tall = picture(96, 160, (4, 11));
    let encoded = detector.encode_image(&picture(160, 96, (10, 6))).unwrap();
    let before = seen.images().len();
    let images: Vec<ImageInput<'_>> = vec![
        (&wide[0]).into(),
        (&encoded).into(),
        (&wide[1]).into(),
        (&tall).into(),
        (&wide[2]).into(),
        (&wide[3]).into(),
        (&wide[4]).into(),
    ];

    let found = detector.ground_batch(images, "red").unwrap();

    let cells: Vec<_> = found.iter().map(cell).collect();
    let expected = [(3, 3), (10, 6), (5, 7), (4, 11), (14, 6), (12, 8), (4, 4)];
    assert_eq!(cells, expected.map(Some));
    // At most three together, and never with padding to fit a neighbour.
    let shapes = seen.images().split_off(before);
    assert_eq!(shapes, [[3, 3, 96, 160], [2, 3, 96, 160], [1, 3, 160, 96]]);
}

#[test]
fn a_batch_has_options_of_its_own_and_can_be_stopped() {
    let (detector, _) = detector(2);
    let image = picture(160, 96, (9, 5));
    let encoded = detector.encode_image(&image).unwrap();
    let images = || -> [ImageInput<'_>; 4] {
        [
            (&encoded).into(),
            (&image).into(),
            (&image).into(),
            (&image).into(),
        ]
    };
    let vocabulary = Vocabulary::new(["red", "green"]).with_names_per_prompt(1);
    let prompt = detector.encode_prompt(&vocabulary).unwrap();

    let options = GroundOptions::default().with_nms_across_phrases(true);
    let (control, steps) = reporting();
    let controlled = detector.controlled(&control);
    let found = controlled
        .ground_batch_with(images(), &prompt, &options)
        .unwrap();
    let counts: Vec<_> = found.iter().map(|found| found.len()).collect();
    assert_eq!(counts, [1, 1, 1, 1]); // 2 without the option
    // An encoded image, two pictures and one more, with two texts each.
    let expected: Vec<_> = (0..=6).map(|done| Progress { done, total: 6 }).collect();
    assert_eq!(*steps.lock().unwrap(), expected);

    let controlled = detector.controlled(&stopping_after(3));
    let error = controlled.ground_batch(images(), &prompt).unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error}");
}

#[test]
fn an_empty_batch_is_an_empty_result() {
    let (detector, _) = detector(4);

    assert!(
        detector
            .ground_batch::<[&RgbImage; 0]>([], "red")
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_callers_phrase_index_is_kept() {
    let (detector, _) = detector(4);

    let found = detector
        .ground(picture(160, 96, (9, 5)), "green . red")
        .unwrap();

    // The fake aligns every word with red.
    let mut indices: Vec<_> = found
        .iter()
        .map(|d| (d.phrase_index, d.phrase.as_str()))
        .collect();
    indices.sort_unstable();
    assert_eq!(indices, [(0, "green"), (1, "red")]);
}

#[test]
fn models_in_8_bits_take_one_image_at_a_time() {
    let (mut detector, seen) = detector(4);
    manifest(&mut detector).precision = Precision::Int8;
    let image = picture(160, 96, (9, 5));

    let found = detector.ground_batch([&image, &image], "red").unwrap();

    assert_eq!(found.len(), 2);
    assert_eq!(seen.images(), [[1, 3, 96, 160], [1, 3, 96, 160]]);
}

#[test]
fn nan_in_the_heads_output_is_an_error() {
    let (mut detector, _) = detector(4);
    // A smaller deviation makes the same red larger than 2.
    let parts = parts(&mut detector);
    let options = parts.preprocessor.options().clone().with_std([30.0; 3]);
    parts.preprocessor = Preprocessor::new(options).unwrap();

    let error = detector
        .ground(picture(160, 96, (9, 5)), "red")
        .unwrap_err();

    let named = matches!(&error, Error::NonFinite { graph, tensor, value }
        if graph == "head" && tensor == "logits" && value.is_nan());
    assert!(named, "{error}");
}

#[test]
fn bad_inputs_are_errors_of_their_own() {
    let (detector, _) = detector(4);
    let image = picture(160, 96, (9, 5));

    let empty = detector.ground(&image, "").unwrap_err();
    assert!(matches!(empty, Error::EmptyPrompt), "{empty}");
    let long = "red red red red red red red red red red red";
    let long = detector.ground(&image, long).unwrap_err();
    assert!(
        matches!(long, Error::PromptTooLong { limit: 12, .. }),
        "{long}"
    );
    let nothing = detector.ground(RgbImage::new(0, 5), "red").unwrap_err();
    assert!(matches!(nothing, Error::EmptyImage { .. }), "{nothing}");
    let nothing = detector
        .ground_batch([&image, &RgbImage::new(5, 0)], "red")
        .unwrap_err();
    assert!(matches!(nothing, Error::EmptyImage { .. }), "{nothing}");
}

#[test]
fn a_detector_can_be_shared_between_threads() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Detector>();
    check::<EncodedImage>();
    check::<EncodedPrompt>();
}

#[test]
fn builders_refuse_what_cannot_be_built() {
    let error = Detector::builder().build().unwrap_err();
    assert!(matches!(error, Error::NoModel), "{error}");

    let error = Detector::builder().max_batch(0).build().unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidOption {
                option: "max_batch",
                ..
            }
        ),
        "{error}"
    );
}
