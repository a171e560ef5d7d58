//! A family that no other file knows of: two levels in float16, padding that is masked, phrases that see
//! themselves alone, and queries instead of anchors. All that makes it a family is the table of its
//! signatures, a prompt rule and the kind of its head.

use half::f16;
use ndarray::{Array3, Array4, ArrayD, Axis, Ix4};

use super::{
    fakes::{Fake, checked, fake, floats},
    *,
};
use crate::{
    family::{Family, Signatures},
    geometry::ImageSize,
    preprocess::Padding,
    prompt::PromptRule,
    session::{HostTensor, Signature, TensorSpec},
    spare::Spare,
};

const LEVELS: usize = 2;

static FAMILY: Family = Family {
    name: "queries",
    divisor: 1,
    signatures,
};

fn signatures(levels: usize, features: Element) -> Signatures {
    let maps = |name| TensorSpec::feature_maps(name, features, levels);
    let tensor = TensorSpec::new;
    Signatures {
        image_encoder: Signature::new(
            "image_encoder",
            vec![
                tensor("pixels", Element::F32, 4),
                tensor("pixel_mask", Element::I64, 3),
            ],
            maps("pyramid").collect(),
        ),
        text_encoder: Signature::new(
            "text_encoder",
            vec![
                tensor("input_ids", Element::I64, 2),
                tensor("position_ids", Element::I64, 2),
                tensor("block_mask", Element::Bool, 3),
            ],
            vec![tensor("states", Element::F16, 3)],
        ),
        fusion: Signature::new(
            "fusion",
            maps("pyramid")
                .chain([
                    tensor("states", Element::F16, 3),
                    tensor("block_mask", Element::Bool, 3),
                ])
                .collect(),
            maps("fused")
                .chain([tensor("fused_states", Element::F16, 3)])
                .collect(),
        ),
        head: Signature::new(
            "head",
            maps("fused")
                .chain([tensor("states", Element::F32, 3)])
                .collect(),
            vec![
                tensor("logits", Element::F16, 3),
                tensor("boxes", Element::F32, 3),
            ],
        ),
    }
}

fn rule() -> PromptRule {
    PromptRule::default()
        .with_closing(".")
        .with_lower_case()
        .with_block_ends(["[CLS]", "[SEP]", "."])
}

fn halves(array: ArrayD<f32>) -> HostTensor {
    HostTensor::F16(array.mapv(f16::from_f32))
}

/// The first channel of the pixels that are real, at the corner of each cell.
fn encode_pixels(inputs: &[HostTensor]) -> Vec<HostTensor> {
    let pixels = floats(&inputs[0]).into_dimensionality::<Ix4>().unwrap();
    let mask = floats(&inputs[1]);
    let (batch, _, height, width) = pixels.dim();
    let level = |stride: usize| {
        let size = (batch, 1, height.div_ceil(stride), width.div_ceil(stride));
        let map = Array4::from_shape_fn(size, |(image, _, y, x)| {
            let (y, x) = (y * stride, x * stride);
            pixels[[image, 0, y, x]] * mask[[image, y, x]]
        });
        halves(map.into_dyn())
    };
    [8, 16].map(level).into()
}

/// A state for each token: its place in its block, and the size of the block.
fn encode_tokens(inputs: &[HostTensor]) -> Vec<HostTensor> {
    let (places, mask) = (floats(&inputs[1]), floats(&inputs[2]));
    let sizes = mask.sum_axis(Axis(2));
    let states = ndarray::stack![Axis(2), places, sizes];
    vec![halves(states.into_dyn())]
}

/// Levels and states as they are.
fn fuse(inputs: &[HostTensor]) -> Vec<HostTensor> {
    inputs[..=LEVELS].to_vec()
}

/// One query for every cell of the finest level, with a box as large as the cell; the longer the block of a
/// token, the better it fits what is red.
fn look(inputs: &[HostTensor]) -> Vec<HostTensor> {
    let map = floats(&inputs[0]).into_dimensionality::<Ix4>().unwrap();
    let states = floats(&inputs[LEVELS]);
    let (batch, _, rows, columns) = map.dim();
    let tokens = states.shape()[1];
    let logits = Array3::from_shape_fn((batch, rows * columns, tokens), |(image, query, token)| {
        let red = map[[image, 0, query / columns, query % columns]];
        red * states[[image, token, 1]] - 1.0
    });
    let boxes = Array3::from_shape_fn((batch, rows * columns, 4), |(_, query, part)| {
        let (columns_f, rows_f) = (columns as f32, rows as f32);
        [
            ((query % columns) as f32 + 0.5) / columns_f,
            ((query / columns) as f32 + 0.5) / rows_f,
            1.0 / columns_f,
            1.0 / rows_f,
        ][part]
    });
    vec![halves(logits.into_dyn()), HostTensor::F32(boxes.into_dyn())]
}

fn detector() -> (Detector, Arc<Fake>) {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/colour_without_fusion"
    );
    let mut manifest = Bundle::from_dir(folder).unwrap().manifest().clone();
    manifest.family = &FAMILY;
    manifest.levels = LEVELS;
    manifest.features = Element::F16;
    manifest.prompt = rule();
    manifest.head = HeadSpec::Queries;
    manifest.image = manifest
        .image
        .with_resize(ResizeRule::longest_side(160))
        .with_padding(Padding::MultipleOf(1))
        .with_masked_padding();
    manifest.postprocess = PostprocessOptions::default().with_nms_iou_threshold(1.0);
    let tokenizer = std::fs::read(format!("{folder}/tokenizer.json")).unwrap();
    let tokenizer = Tokenizer::from_bytes(&tokenizer, 256).unwrap();
    let image_encoder = fake(encode_pixels);
    let signatures = manifest.signatures();
    let parts = Parts {
        preprocessor: manifest.preprocessor().unwrap(),
        tokenizer: tokenizer.with_rule(manifest.prompt.clone()).unwrap(),
        image_encoder: ImageEncoder::from_graph(checked(signatures.image_encoder, &image_encoder)),
        text_encoder: TextEncoder::from_graph(checked(
            signatures.text_encoder,
            &fake(encode_tokens),
        )),
        fusion: Fusion::from_graph(checked(signatures.fusion, &fake(fuse))),
        head: GroundingHead::from_graph(checked(signatures.head, &fake(look))),
        postprocessor: manifest.postprocessor().unwrap(),
        max_batch: 4,
        spare: Spare::default(),
        manifest: Arc::new(manifest),
    };
    let detector = Detector {
        parts: Arc::new(parts),
        control: Control::default(),
    };
    (detector, image_encoder)
}

#[test]
fn a_third_family_runs_through_the_detector() {
    let (detector, _) = detector();
    let picture = picture(160, 96, (9, 5));
    // One word and its dot are a block of two, two words one of three.
    let found = detector.ground(&picture, "Red . Blue Red").unwrap();
    let summary: Vec<_> = found.iter().map(|d| d.phrase.as_str()).collect();
    assert_eq!(summary, ["Blue Red", "Red"]);
    assert!(found[0].score > found[1].score);
    assert_eq!(
        found[0].score, found[0].phrase_score,
        "there is no centerness"
    );
    for found in &found {
        assert_eq!(found.bbox.xywh(), [72.0, 40.0, 8.0, 8.0]);
    }

    let encoded = detector.encode_image(&picture).unwrap();
    let level = encoded.pyramid().level(0).unwrap();
    assert!(level[[0, 0, 5, 9]] > level[[0, 0, 5, 8]], "{level}");
    let prompt = detector.encode_prompt("Red . Blue Red").unwrap();
    assert_eq!(detector.ground(encoded, prompt).unwrap(), found);
}

#[test]
fn pictures_of_different_sizes_share_a_batch_whose_padding_is_masked() {
    let (detector, image_encoder) = detector();
    let (wide, tall) = (picture(160, 96, (9, 5)), picture(96, 160, (4, 11)));
    let found = detector.ground_batch([&wide, &tall], "red").unwrap();
    assert_eq!(image_encoder.shapes(), [[2, 3, 160, 160]]);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|found| found.len() == 1), "{found:?}");
    let geometry = detector.preprocessor().run_batch([&wide, &tall]).unwrap();
    assert_eq!(geometry.geometries()[0].padded, ImageSize::new(160, 160));
}
