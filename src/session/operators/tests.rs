//! Each operator beside ONNX Runtime's own, on graphs of one node.

use ndarray::{ArrayD, Zip};
use ort::{
    editor::{Graph, Model, Node, ONNX_DOMAIN, Opset},
    memory::Allocator,
    operator::Attribute,
    session::{
        Session, SessionInputValue,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
    value::{Outlet, Shape, SymbolicDimensions, Tensor, TensorElementType, TensorRef, ValueType},
};

use super::*;
use crate::runtime::Runtime;

mod swin_block;

/// A graph of one node.
struct OneNode {
    operator: &'static str,
    /// The shape of each input; one without is left out.
    inputs: Vec<Option<Vec<usize>>>,
    /// The input that is a constant of the graph, if one is.
    constant: Option<usize>,
    numbers: Vec<(&'static str, Vec<i64>)>,
    /// What inputs go up to.
    reach: Vec<f32>,
}

impl OneNode {
    fn run(&self, native: bool) -> ort::Result<ArrayD<f32>> {
        let tensors = self.tensors();
        let mut session = self.session(native, &tensors)?;
        let given = |place: usize| match Some(place) == self.constant {
            true => None,
            false => tensors[place].as_ref(),
        };
        let mut out = None;
        // Twice, as memory goes from one run to the next.
        for _ in 0..2 {
            let inputs = (0..tensors.len()).filter_map(|place| Some((place, given(place)?)));
            let inputs = inputs.map(|(place, tensor)| {
                let value = TensorRef::from_array_view(tensor.view())?;
                Ok((name(place), value.into()))
            });
            let inputs: Vec<(String, SessionInputValue<'_>)> =
                inputs.collect::<ort::Result<_>>()?;
            let outputs = session.run(inputs)?;
            out = Some(outputs["out"].try_extract_array()?.to_owned());
        }
        Ok(out.unwrap())
    }

    fn session(&self, native: bool, tensors: &[Option<ArrayD<f32>>]) -> ort::Result<Session> {
        let mut graph = Graph::new()?;
        let shapes = self.inputs.iter().enumerate();
        let variable =
            shapes.filter(|(place, shape)| shape.is_some() && Some(*place) != self.constant);
        let variable =
            variable.filter_map(|(place, shape)| Some(floats(&name(place), shape.as_ref()?.len())));
        graph.set_inputs(variable)?;
        graph.set_outputs([floats("out", 4)])?;
        if let Some(place) = self.constant {
            let constant = tensors[place].as_ref().unwrap();
            let shape: Vec<_> = constant.shape().iter().map(|&size| size as i64).collect();
            let mut value = Tensor::<f32>::new(&Allocator::default(), shape)?;
            value
                .extract_tensor_mut()
                .1
                .copy_from_slice(constant.as_slice().unwrap());
            graph.add_initializer(name(place), value, false)?;
        }
        let inputs = self.inputs.iter().enumerate();
        let inputs: Vec<_> = inputs
            .map(|(place, shape)| shape.as_ref().map_or_else(String::new, |_| name(place)))
            .collect();
        let numbers = self
            .numbers
            .iter()
            .map(|(name, numbers)| match numbers[..] {
                // Of these, none is a list of one.
                [number] => Attribute::new(name, number),
                _ => Attribute::new(name, numbers.clone()),
            });
        let attributes = numbers.collect::<ort::Result<Vec<_>>>()?;
        graph.add_node(Node::new(
            self.operator,
            ONNX_DOMAIN,
            "node",
            inputs,
            ["out"],
            attributes,
        )?)?;
        let mut model = Model::new([Opset::new(ONNX_DOMAIN, 22)?])?;
        model.set_graph(graph)?;
        let runtime = Runtime::load().unwrap();
        let builder = || SessionBuilder::new(runtime.environment());
        // A graph that was not read from a file knows nothing of operators that are registered.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.onnx");
        let written = builder()?.with_optimization_level(GraphOptimizationLevel::Disable)?;
        model.into_session(&written.with_optimized_model_path(&file)?)?;
        match native {
            true => with_domains(builder()?)?.commit_from_file(file),
            false => builder()?.commit_from_file(file),
        }
    }

    /// Numbers that look random, and are the same every time.
    fn tensors(&self) -> Vec<Option<ArrayD<f32>>> {
        let mut state = 1_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let shapes = self.inputs.iter().zip(&self.reach);
        shapes
            .map(|(shape, reach)| {
                Some(ArrayD::from_shape_simple_fn(shape.clone()?, || {
                    reach * random()
                }))
            })
            .collect()
    }

    /// The same from both, and not nothing.
    fn check(&self, described: &str) {
        let native = self.run(true).unwrap();
        let own = self.run(false).unwrap();
        assert_eq!(native.shape(), own.shape(), "{described}");
        let largest = own
            .iter()
            .fold(0.0, |largest: f32, number| largest.max(number.abs()));
        assert!(largest > 0.1, "{described}: {largest}");
        Zip::from(&native).and(&own).for_each(|native, own| {
            assert!(
                (native - own).abs() < 2e-5 * largest,
                "{described}: {native} for {own}"
            );
        });
    }
}

fn name(place: usize) -> String {
    format!("input_{place}")
}

fn floats(name: &str, rank: usize) -> Outlet {
    let unknown = ValueType::Tensor {
        ty: TensorElementType::Float32,
        shape: Shape::new(vec![-1; rank]),
        dimension_symbols: SymbolicDimensions::empty(rank),
    };
    Outlet::new(name, unknown)
}

#[test]
fn deformable_convolutions_are_those_of_onnx_runtime() {
    struct Case {
        images: usize,
        channels: [usize; 2],
        size: [usize; 2],
        out: [usize; 2],
        kernel: [usize; 2],
        strides: [i64; 2],
        pads: [i64; 4],
        dilations: [i64; 2],
        groups: [usize; 2],
        has: [bool; 2],
    }
    let plain = Case {
        images: 1,
        channels: [32, 48],
        size: [17, 13], // more places than a block has
        out: [17, 13],
        kernel: [3, 3],
        strides: [1, 1],
        pads: [1; 4],
        dilations: [1, 1],
        groups: [1, 1],
        has: [true, true],
    };
    let cases = [
        ("as in GLIP", Case { ..plain }),
        (
            "without a mask",
            Case {
                has: [true, false],
                ..plain
            },
        ),
        (
            "with nothing",
            Case {
                has: [false, false],
                ..plain
            },
        ),
        ("two images", Case { images: 2, ..plain }),
        (
            "stride 2",
            Case {
                out: [9, 7],
                strides: [2, 2],
                ..plain
            },
        ),
        (
            "stride 2 of an odd kind",
            Case {
                out: [8, 6],
                strides: [2, 2],
                pads: [0; 4],
                ..plain
            },
        ),
        (
            "dilated",
            Case {
                dilations: [2, 3],
                pads: [2, 3, 2, 3],
                ..plain
            },
        ),
        (
            "a flat kernel",
            Case {
                kernel: [1, 5],
                pads: [0, 2, 0, 2],
                ..plain
            },
        ),
        (
            "groups",
            Case {
                groups: [2, 1],
                ..plain
            },
        ),
        (
            "groups of offsets",
            Case {
                groups: [1, 4],
                ..plain
            },
        ),
        (
            "both",
            Case {
                groups: [4, 2],
                ..plain
            },
        ),
        (
            "both the other way",
            Case {
                groups: [2, 4],
                ..plain
            },
        ),
        (
            "channel by channel",
            Case {
                channels: [32, 64],
                groups: [32, 4],
                ..plain
            },
        ),
        (
            "odd channels",
            Case {
                channels: [7, 5],
                ..plain
            },
        ),
        (
            "one channel",
            Case {
                channels: [1, 5],
                ..plain
            },
        ),
        (
            "one pixel",
            Case {
                size: [1, 1],
                out: [1, 1],
                ..plain
            },
        ),
    ];
    for (described, case) in cases {
        let [inner, outer] = case.channels;
        let [groups, offset_groups] = case.groups;
        let taps = case.kernel[0] * case.kernel[1] * offset_groups;
        let of_taps = |channels| vec![case.images, channels, case.out[0], case.out[1]];
        let [bias, mask] = case.has;
        for constant in [Some(1), None] {
            let node = OneNode {
                operator: "DeformConv",
                inputs: vec![
                    Some(vec![case.images, inner, case.size[0], case.size[1]]),
                    Some(vec![outer, inner / groups, case.kernel[0], case.kernel[1]]),
                    Some(of_taps(2 * taps)),
                    bias.then(|| vec![outer]),
                    mask.then(|| of_taps(taps)),
                ],
                constant,
                numbers: vec![
                    ("strides", case.strides.into()),
                    ("pads", case.pads.into()),
                    ("dilations", case.dilations.into()),
                    ("group", vec![groups as i64]),
                    ("offset_group", vec![offset_groups as i64]),
                ],
                reach: vec![1.0, 0.3, 3.0, 1.0, 1.0],
            };
            node.check(described);
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let node = OneNode {
        operator: "DeformConv",
        inputs: vec![
            Some(vec![1, 4, 9, 9]),
            Some(vec![6, 4, 3, 3]),
            Some(vec![1, 17, 9, 9]), // not a pair for each of nine weights
        ],
        constant: None,
        numbers: vec![("pads", vec![1; 4])],
        reach: vec![1.0; 3],
    };
    let error = node.run(true).unwrap_err().to_string();
    // In the words of this crate's kernel.
    assert!(error.contains("offsets of [1, 17, 9, 9]"), "{error}");
    assert!(node.run(false).is_err());
}

fn with_domains(mut builder: SessionBuilder) -> ort::Result<SessionBuilder> {
    for domain in domains()? {
        builder = builder.with_operators(domain)?;
    }
    Ok(builder)
}

/// What exported graphs have for whoever has no such operator: `python/tests/attention_function.py` made it.
const ATTENTION: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/deformable_attention.onnx"
));

/// Attention of two images to 5 x 6 and 3 x 2 cells, with rows that are no cells; in ONNX Runtime the function's body.
fn attended(native: bool, sizes: [i64; 4]) -> ort::Result<ArrayD<f32>> {
    let runtime = Runtime::load().unwrap();
    let mut builder = SessionBuilder::new(runtime.environment())?;
    if native {
        builder = with_domains(builder)?;
    }
    let mut session = builder.commit_from_memory(ATTENTION)?;
    let shapes = [
        vec![2, 40, 24],
        vec![2, 80, 3, 2, 4, 2],
        vec![2, 80, 3, 2, 4],
    ];
    let [values, places, shares] = random(shapes, [1.0, 1.3, 1.0]);
    let sizes = ArrayD::from_shape_vec(vec![2, 2], sizes.to_vec()).unwrap();
    let outputs = session.run(ort::inputs![
        "values" => TensorRef::from_array_view(&values)?,
        "sizes" => TensorRef::from_array_view(&sizes)?,
        "places" => TensorRef::from_array_view(&places)?,
        "shares" => TensorRef::from_array_view(&shares)?,
    ])?;
    outputs["out"].try_extract_array().map(|out| out.to_owned())
}

/// The same, in floats and in 8 bits: `python/tests/dyconv_function.py` made them.
const DYCONV: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/dyconv.onnx"
));
const INT8_DYCONV: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/int8_dyconv.onnx"
));

/// Three levels of these sizes, of two images, convolved; in ONNX Runtime by the function's body.
fn convolved(graph: &[u8], native: bool, sizes: [[usize; 2]; 3]) -> ort::Result<ArrayD<f32>> {
    let runtime = Runtime::load().unwrap();
    let mut builder = SessionBuilder::new(runtime.environment())?;
    if native {
        builder = with_domains(builder)?;
    }
    let mut session = builder.commit_from_memory(graph)?;
    let shapes = sizes.map(|[height, width]| vec![2, 32, height, width]);
    let [finest, middle, coarsest] = random(shapes, [1.0; 3]);
    let outputs = session.run(ort::inputs![
        "level_0" => TensorRef::from_array_view(&finest)?,
        "level_1" => TensorRef::from_array_view(&middle)?,
        "level_2" => TensorRef::from_array_view(&coarsest)?,
    ])?;
    outputs["out"].try_extract_array().map(|out| out.to_owned())
}

#[test]
fn dyconv_is_the_function_in_the_graph() {
    // Both round to 8 bits, each by scales of its own.
    for (graph, tolerance) in [(DYCONV, 1e-5), (INT8_DYCONV, 0.02)] {
        // More places than a block has; rows of one pixel; halves of odd and of even sides.
        for sizes in [[[13, 17], [7, 9], [4, 5]], [[5, 2], [3, 1], [2, 1]]] {
            let [native, own] =
                [true, false].map(|native| convolved(graph, native, sizes).unwrap());
            assert_eq!(native.shape(), own.shape());
            let largest = own
                .iter()
                .fold(0.0, |largest: f32, number| largest.max(number.abs()));
            assert!(largest > 1.0, "{largest}");
            Zip::from(&native).and(&own).for_each(|native, own| {
                let difference = (native - own).abs();
                assert!(
                    difference < tolerance * largest,
                    "{sizes:?}: {native} for {own}"
                );
            });
        }
    }
}

#[test]
fn levels_that_are_not_halves_of_each_other_are_errors() {
    let error = convolved(DYCONV, true, [[13, 17], [7, 8], [4, 4]]).unwrap_err();
    // In the words of this crate's kernel, which comes before the function.
    assert!(
        error
            .to_string()
            .contains("is not half of the level before"),
        "{error}"
    );
}

/// Tensors of numbers that look random, each up to its reach.
fn random<const N: usize>(shapes: [Vec<usize>; N], reach: [f32; N]) -> [ArrayD<f32>; N] {
    let node = OneNode {
        operator: "",
        inputs: shapes.map(Some).into(),
        constant: None,
        numbers: Vec::new(),
        reach: reach.into(),
    };
    let tensors: Vec<_> = node.tensors().into_iter().flatten().collect();
    tensors.try_into().unwrap()
}

#[test]
fn attention_is_that_of_the_function_in_the_graph() {
    let sizes = [5, 6, 3, 2];
    let (native, own) = (
        attended(true, sizes).unwrap(),
        attended(false, sizes).unwrap(),
    );
    assert_eq!(native.shape(), own.shape());
    Zip::from(&native).and(&own).for_each(|native, own| {
        assert!((native - own).abs() < 2e-5, "{native} for {own}");
    });
    assert!(own.iter().any(|number| number.abs() > 0.1));
}

/// That the operator comes before the function shows in whose words an error is.
#[test]
fn operators_come_before_functions_of_their_names() {
    let error = attended(true, [5, 6, 3, 200]).unwrap_err().to_string();
    assert!(
        error.contains("are not for levels of [[5, 6],\n [3, 200]]"),
        "{error}"
    );
}
