//! The four graphs by themselves, on hand-made models whose right answers are known.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::{fs, thread};

use common::{copy_of, edit_manifest, fixture, of_anchors};
use glip::{
    Bundle, Control, Device, Error, Prompt, Result, Runtime,
    parts::{
        FeaturePyramid, Fusion, GridSize, GroundingHead, ImageEncoder, PixelBatch, Preprocessor,
        SessionOptions, TextEncoder, TextFeatures, Tokenizer,
    },
};
use image::{Rgb, RgbImage};
use ndarray::{ArrayView3, Axis, concatenate, s};
use serde_json::json;

const RED: Rgb<u8> = Rgb([255, 0, 0]);
const BLUE: Rgb<u8> = Rgb([0, 0, 255]);

/// The boxes of the picture that have graphs, and what feeds them.
struct Model {
    preprocessor: Preprocessor,
    tokenizer: Tokenizer,
    image_encoder: ImageEncoder,
    text_encoder: TextEncoder,
    fusion: Fusion,
    head: GroundingHead,
}

impl Model {
    fn load(name: &str) -> Self {
        Self::load_with(name, &SessionOptions::default()).unwrap()
    }

    fn load_with(name: &str, options: &SessionOptions) -> Result<Self> {
        let bundle = Bundle::from_dir(fixture(name))?;
        let runtime = Runtime::load()?;
        Ok(Self {
            preprocessor: bundle.manifest().preprocessor()?,
            tokenizer: bundle.tokenizer()?,
            image_encoder: ImageEncoder::load(&runtime, &bundle, options)?,
            text_encoder: TextEncoder::load(&runtime, &bundle, options)?,
            fusion: Fusion::load(&runtime, &bundle, options)?,
            head: GroundingHead::load(&runtime, &bundle, options)?,
        })
    }

    fn pixels(&self, colours: &[Rgb<u8>]) -> PixelBatch {
        let images = colours
            .iter()
            .map(|&colour| RgbImage::from_pixel(160, 128, colour));
        let images: Vec<_> = images.collect();
        self.preprocessor.run_batch(&images).unwrap()
    }

    fn pyramid(&self, colours: &[Rgb<u8>]) -> FeaturePyramid {
        self.image_encoder.run(&self.pixels(colours)).unwrap()
    }

    fn text(&self, prompt: &str) -> Result<TextFeatures> {
        let tokens = self.tokenizer.tokenize(&Prompt::from(prompt))?;
        self.text_encoder.run(&tokens)
    }
}

#[test]
fn the_pyramid_has_the_levels_of_the_contract() {
    let pyramid = Model::load("colour").pyramid(&[RED, BLUE]);

    assert_eq!((pyramid.batch(), pyramid.channels()), (2, 4));
    let sizes = [(20, 16), (10, 8), (5, 4), (3, 2), (2, 1)];
    let sizes = sizes.map(|(width, height)| GridSize::new(width, height));
    assert_eq!(pyramid.level_sizes(), sizes);
    for (level, size) in sizes.iter().enumerate() {
        let map = pyramid.level(level).unwrap();
        assert_eq!(map.dim(), (2, 4, size.height, size.width));
        assert_eq!(map.slice(s![0, .., 0, 0]).to_vec(), [1.0, -1.0, -1.0, 1.0]);
        assert_eq!(map.slice(s![1, .., 0, 0]).to_vec(), [-1.0, -1.0, 1.0, 1.0]);
    }
    let error = pyramid.level(5).unwrap_err();
    let named = matches!(
        error,
        Error::LevelIndex {
            index: 5,
            levels: 5
        }
    );
    assert!(named && error.to_string().contains("0 to 4"), "{error}");
}

#[test]
fn the_head_aligns_each_image_with_each_word() {
    for name in ["colour", "colour_without_fusion"] {
        let model = Model::load(name);
        let text = model.text("blue").unwrap();

        let fused = model
            .fusion
            .run(&model.pyramid(&[RED, BLUE]), &text)
            .unwrap();
        let output = model.head.run(&fused).unwrap();

        let (deltas, centerness, level_sizes) = of_anchors(&output);
        let anchors = level_sizes.iter().map(|level| level.cells()).sum::<usize>();
        assert_eq!(anchors, 320 + 80 + 20 + 6 + 2);
        assert_eq!(output.logits().dim(), (2, anchors, 3), "{name}");
        assert_eq!(
            (output.batch(), output.rows(), output.tokens()),
            (2, anchors, 3)
        );
        assert_eq!(deltas.dim(), (2, anchors, 4));
        assert_eq!(centerness.dim(), (2, anchors));
        // Token 1 is "blue", between the two special ones.
        let [of_red, of_blue] = [0_usize, 1].map(|image| output.logits().slice(s![image, .., 1]));
        assert!(of_red.iter().all(|&x| x == -15.0));
        assert!(of_blue.iter().all(|&x| x == 5.0));
        assert!(centerness.iter().all(|&x| x == 5.0));
    }
}

#[test]
fn without_fusion_the_fused_features_are_the_inputs() {
    let model = Model::load("colour_without_fusion");
    let pyramid = model.pyramid(&[RED]);
    let text = model.text("red").unwrap();

    let fused = model.fusion.run(&pyramid, &text).unwrap();

    assert_eq!(model.fusion.device(), None);
    assert!(fused.text().is_some());
    assert_eq!(fused.text(), text.embedded());
    for level in 0..5 {
        assert_eq!(fused.level(level).unwrap(), pyramid.level(level).unwrap());
    }
}

#[test]
fn text_is_used_for_every_image_or_given_for_each() {
    let model = Model::load("colour");
    let pyramid = model.pyramid(&[RED, BLUE]);
    let one = model.text("red").unwrap();
    let repeat = |count| {
        let times = |states: Option<ArrayView3<'_, f32>>| {
            concatenate(Axis(0), &vec![states.unwrap(); count]).unwrap()
        };
        TextFeatures::new(times(one.hidden()), times(one.embedded())).unwrap()
    };

    let tiled = model.fusion.run(&pyramid, &one).unwrap();
    let given = model.fusion.run(&pyramid, &repeat(2)).unwrap();
    let error = model.fusion.run(&pyramid, &repeat(3)).unwrap_err();

    assert!(tiled.text().is_some());
    assert_eq!(tiled.text(), given.text());
    let of_three = matches!(&error, Error::Shape { found, .. } if found[0] == 3);
    assert!(
        of_three && error.to_string().contains("[2 or 1, tokens"),
        "{error}"
    );
}

#[test]
fn text_states_of_two_shapes_are_an_error() {
    let text = Model::load("colour").text("red").unwrap();
    let hidden = text.hidden().unwrap().to_owned();
    let embedded = hidden.slice(s![.., 1.., ..]).to_owned();

    let error = TextFeatures::new(hidden, embedded).unwrap_err();

    let named = matches!(&error, Error::Shape { tensor, .. } if tensor == "embedded");
    assert!(named, "{error}");
}

#[test]
fn a_control_stops_each_graph() {
    let model = Model::load("colour");
    let text = model.text("red").unwrap();
    let pyramid = model.pyramid(&[RED]);
    let fused = model.fusion.run(&pyramid, &text).unwrap();
    let tokens = model.tokenizer.tokenize(&Prompt::from("red")).unwrap();
    let control = Control::new();
    control.stop();

    let errors = [
        model
            .image_encoder
            .controlled(&control)
            .run(&model.pixels(&[RED]))
            .unwrap_err(),
        model
            .text_encoder
            .controlled(&control)
            .run(&tokens)
            .unwrap_err(),
        model
            .fusion
            .controlled(&control)
            .run(&pyramid, &text)
            .unwrap_err(),
        model.head.controlled(&control).run(&fused).unwrap_err(),
    ];

    for error in errors {
        assert!(matches!(error, Error::Stopped), "{error}");
    }
    assert!(model.head.run(&fused).is_ok());
}

#[test]
fn nan_in_a_graphs_output_names_graph_and_tensor() {
    let error = Model::load("colour").text("nan").unwrap_err();

    let named = matches!(&error, Error::NonFinite { graph, tensor, value }
        if graph == "text_encoder" && tensor == "hidden" && value.is_nan());
    assert!(named, "{error}");
}

#[test]
fn another_graph_in_its_place_is_an_error() {
    for (graph, file, tensor) in [
        ("image_encoder", "head.onnx", "pixels"),
        ("text_encoder", "image_encoder.onnx", "input_ids"),
        ("fusion", "head.onnx", "pyramid_0"),
        ("head", "fusion.onnx", "fused_0"),
    ] {
        let folder = copy_of("colour");
        edit_manifest(folder.path(), |manifest| {
            manifest["graphs"][graph]["file"] = file.into();
        });
        let bundle = Bundle::from_dir(folder.path()).unwrap();

        let error = load_graph(graph, &bundle, &SessionOptions::default()).unwrap_err();

        let named = matches!(&error, Error::GraphSignature { graph: g, tensor: t, .. }
            if g == graph && t == tensor);
        assert!(named, "{error}");
    }
}

#[test]
fn levels_that_manifest_and_graphs_disagree_on_are_named() {
    let of_each_graph = |strides: &[u32]| {
        let folder = copy_of("colour");
        edit_manifest(folder.path(), |manifest| {
            manifest["anchors"] = json!({"strides": strides, "sizes": strides});
        });
        let bundle = Bundle::from_dir(folder.path()).unwrap();
        let tensor =
            |graph| match load_graph(graph, &bundle, &SessionOptions::default()).unwrap_err() {
                Error::GraphSignature {
                    graph: found,
                    tensor,
                    expected,
                    ..
                } if found == graph => (tensor, expected),
                error => panic!("{error}"),
            };
        ["image_encoder", "fusion", "head"].map(tensor)
    };
    let tensors = |level: usize, expected: &str| {
        ["pyramid", "pyramid", "fused"].map(|name| (format!("{name}_{level}"), expected.to_owned()))
    };

    let too_many = of_each_graph(&[8, 16, 32, 64]);
    let too_few = of_each_graph(&[8, 16, 32, 64, 128, 256]);

    assert_eq!(too_many, tensors(4, "absent"));
    assert_eq!(too_few, tensors(5, "a float32 tensor of rank 4"));
}

#[test]
fn a_file_that_is_no_graph_is_an_error() {
    let folder = copy_of("colour");
    let tokenizer = "tokenizer.json";
    edit_manifest(folder.path(), |manifest| {
        manifest["graphs"]["head"]["file"] = tokenizer.into();
    });
    let bundle = Bundle::from_dir(folder.path()).unwrap();

    let error = load_graph("head", &bundle, &SessionOptions::default()).unwrap_err();

    assert!(
        matches!(&error, Error::GraphLoad { graph, .. } if graph == "head"),
        "{error}"
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_device_that_cannot_be_used_is_an_error_that_names_the_graph() {
    let bundle = Bundle::from_dir(fixture("colour")).unwrap();
    // No machine has this many GPUs, whatever ONNX Runtime was built with.
    let options = SessionOptions::default().with_device(Device::Cuda(250));

    let error = load_graph("head", &bundle, &options).unwrap_err();

    assert!(matches!(error, Error::DeviceUnavailable { .. }), "{error}");
    for part in ["cuda:250", "graph head"] {
        assert!(
            error.to_string().contains(part),
            "{part} is not in: {error}"
        );
    }
}

#[test]
fn no_sessions_is_an_error() {
    let options = SessionOptions::default().with_sessions(0);

    let error = Model::load_with("colour", &options).err().unwrap();

    assert!(
        matches!(
            error,
            Error::InvalidOption {
                option: "sessions",
                ..
            }
        ),
        "{error}"
    );
}

/// Values leave the lock of the session that made them: they must stay whole while other threads
/// run that session, and be released from any thread.
#[test]
fn values_outlive_the_lock_they_were_made_under() {
    const THREADS: u8 = 8;
    const ROUNDS: u8 = 30;
    for sessions in [1, 3] {
        let options = SessionOptions::default()
            .with_sessions(sessions)
            .with_threads(1);
        let model = Model::load_with("colour", &options).unwrap();
        let text = model.text("red").unwrap();
        thread::scope(|scope| {
            let (keep, kept) = std::sync::mpsc::channel();
            for thread in 0..THREADS {
                let (keep, model, text) = (keep.clone(), &model, &text);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let red = thread * ROUNDS + round;
                        let pyramid = model.pyramid(&[Rgb([red, 0, 0])]);
                        let fused = model.fusion.run(&pyramid, text).unwrap();
                        let output = model.head.run(&fused).unwrap();
                        let expected = 5.0 * (f32::from(red) / 127.5 - 1.0);
                        for logit in output.logits().slice(s![0, .., 1]) {
                            assert!((logit - expected).abs() < 1e-4, "{logit} for {red}");
                        }
                        keep.send((red, pyramid, fused)).unwrap();
                    }
                });
            }
            drop(keep);
            let all: Vec<_> = kept.iter().collect();
            assert_eq!(all.len(), usize::from(THREADS) * usize::from(ROUNDS));
            for (red, pyramid, fused) in all {
                let expected = f32::from(red) / 127.5 - 1.0;
                for level in 0..5 {
                    for map in [pyramid.level(level).unwrap(), fused.level(level).unwrap()] {
                        let whole = map.slice(s![0, 0, .., ..]);
                        assert!(whole.iter().all(|x| (x - expected).abs() < 1e-5));
                    }
                }
            }
        });
    }
}

#[test]
fn features_outlive_their_graphs() {
    let model = Model::load("colour");
    let pyramid = model.pyramid(&[BLUE]);

    drop(model);

    assert_eq!(pyramid.level(4).unwrap()[[0, 2, 0, 1]], 1.0);
}

#[test]
fn a_model_in_memory_runs() {
    let folder = fixture("colour");
    let files = [
        "glip.json",
        "tokenizer.json",
        "image_encoder.onnx",
        "text_encoder.onnx",
    ];
    let files = files.into_iter().chain(["fusion.onnx", "head.onnx"]);
    let files = files.map(|name| (name, fs::read(folder.join(name)).unwrap()));
    let bundle = Bundle::from_bytes(files).unwrap();

    for graph in ["image_encoder", "text_encoder", "fusion", "head"] {
        let device = load_graph(graph, &bundle, &SessionOptions::default()).unwrap();
        assert_eq!(device, Device::Cpu);
    }
}

/// Loads one graph and gives the device it ended up on.
fn load_graph(graph: &str, bundle: &Bundle, options: &SessionOptions) -> Result<Device> {
    let runtime = Runtime::load()?;
    Ok(match graph {
        "image_encoder" => ImageEncoder::load(&runtime, bundle, options)?.device(),
        "text_encoder" => TextEncoder::load(&runtime, bundle, options)?
            .device()
            .unwrap(),
        "fusion" => Fusion::load(&runtime, bundle, options)?.device().unwrap(),
        "head" => GroundingHead::load(&runtime, bundle, options)?.device(),
        _ => unreachable!("{graph}"),
    })
}
