//! A graph whose outputs are looked at before anyone else sees them.

use std::sync::Arc;

use half::f16;
use ndarray::{ArrayD, ArrayViewD};

use super::{
    graph::Graph,
    onnx::OnnxGraph,
    signature::{Few, Signature, TensorSpec},
    tensor::{Element, Input, Tensor, Tensors},
};
use crate::{
    control::Control,
    error::{Error, Result},
    files::ModelFile,
    runtime::{Device, Runtime, SessionOptions},
    spare::Spare,
};

/// A graph with its signature. Clones share the graph.
#[derive(Clone)]
pub(crate) struct CheckedGraph {
    signature: Arc<Signature>,
    graph: Arc<dyn Graph>,
    /// Of inputs that were converted.
    halves: Arc<Spare<Vec<f16>>>,
    control: Control,
}

/// What a graph gave.
pub(crate) struct Outputs {
    signature: Arc<Signature>,
    /// In the signature's order.
    tensors: Tensors,
}

impl Outputs {
    /// The feature maps, finest level first.
    pub(crate) fn into_maps(self) -> Tensors {
        let specs = self.signature.outputs.iter();
        let maps = specs.zip(self.tensors);
        let maps = maps.filter_map(|(spec, tensor)| spec.is_feature_map.then_some(tensor));
        maps.collect()
    }

    /// Whether the graph has this output.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.others().any(|(other, _)| other == name)
    }

    /// An output that is not a feature map.
    pub(crate) fn get(&self, name: &str) -> Result<&Tensor> {
        let found = self.others().find(|(other, _)| *other == name);
        let missing = || Error::GraphSignature {
            graph: self.signature.graph.into(),
            tensor: name.into(),
            expected: "an output".into(),
            found: "none in its signature".into(),
        };
        found.map(|(_, tensor)| tensor).ok_or_else(missing)
    }

    /// The outputs that are not feature maps.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let outputs = self.signature.outputs.iter().zip(&self.tensors);
        let others = outputs.filter(|(spec, _)| !spec.is_feature_map);
        others.map(|(spec, tensor)| (&*spec.name, tensor))
    }
}

impl CheckedGraph {
    pub(crate) fn load(
        runtime: &Runtime,
        file: &ModelFile<'_>,
        signature: Signature,
        options: &SessionOptions,
    ) -> Result<Self> {
        let graph = OnnxGraph::load(runtime, file, &signature, options)?;
        Ok(Self {
            signature: graph.signature(),
            graph: Arc::new(graph),
            halves: Arc::default(),
            control: Control::default(),
        })
    }

    #[cfg(test)]
    pub(crate) fn new(signature: Signature, graph: Arc<dyn Graph>) -> Self {
        Self {
            signature: Arc::new(signature),
            graph,
            halves: Arc::default(),
            control: Control::default(),
        }
    }

    /// The same graph; its runs end when the control says so.
    pub(crate) fn controlled(&self, control: &Control) -> Self {
        Self {
            control: control.clone(),
            ..self.clone()
        }
    }

    /// The graph's name.
    pub(crate) fn name(&self) -> &'static str {
        self.signature.graph
    }

    pub(crate) fn device(&self) -> Device {
        self.graph.device()
    }

    /// Whether this input is of float16.
    pub(crate) fn takes_halves(&self, input: &str) -> bool {
        let mut inputs = self.signature.inputs.iter();
        inputs.any(|spec| spec.name == input && spec.element == Element::F16)
    }

    /// Runs it on feature maps and, for the inputs that are none, on what `named` gives by their names.
    /// The outputs are of the right types and ranks, and finite where the CPU can read them.
    pub(crate) fn run<'a>(
        &self,
        maps: impl IntoIterator<Item = &'a Tensor>,
        named: impl Fn(&str) -> Option<Input<'a>>,
    ) -> Result<Outputs> {
        let mut maps = maps.into_iter();
        let given = |spec: &TensorSpec| match spec.is_feature_map {
            true => maps.next().map(Input::Made),
            false => named(&spec.name),
        };
        let inputs: Few<_> = self.signature.inputs.iter().map(given).collect();
        let inputs = self.signature.inputs.iter().zip(inputs);
        let inputs = inputs.map(|(spec, input)| self.fit(spec, input));
        let inputs = inputs.collect::<Result<Few<_>>>()?;
        if maps.next().is_some() {
            let levels = self.signature.inputs.iter();
            let levels = levels.filter(|spec| spec.is_feature_map).count();
            return Err(self.unfit("the feature maps", format!("{levels} levels"), "more"));
        }
        self.control.check()?;
        let views: Few<_> = inputs.iter().map(Fitting::as_input).collect();
        let outputs = self.graph.run(&views, &self.control)?;
        drop(views);
        for input in inputs {
            if let Fitting::Halves(array) = input {
                self.halves.put(array.into_raw_vec_and_offset().0);
            }
        }
        self.checked(outputs)
    }

    /// An input of the type and rank that the graph takes; what is in host memory is converted
    /// between float32 and float16 if need be.
    fn fit<'a>(&self, spec: &TensorSpec, input: Option<Input<'a>>) -> Result<Fitting<'a>> {
        let expected = || format!("a {} tensor of rank {}", spec.element.name(), spec.rank);
        let Some(input) = input else {
            let found = "nothing: it is not among the features of this model";
            return Err(self.unfit(&spec.name, expected(), found));
        };
        let (element, shape) = (input.element(), input.shape());
        if shape.len() != spec.rank {
            return Err(Error::Shape {
                tensor: format!("{} for graph {}", spec.name, self.name()),
                expected: format!("of rank {}", spec.rank),
                found: shape.to_vec(),
            });
        }
        if element == Some(spec.element) {
            return Ok(Fitting::As(input));
        }
        let converted = match spec.element {
            Element::F16 => input.to_halves(self.halves.take()).map(Fitting::Halves),
            // Pixels that were made for another bundle of the model.
            Element::F32 => input.to_floats().map(Fitting::Floats),
            _ => None,
        };
        converted.ok_or_else(|| self.unfit(&spec.name, expected(), name_of(element)))
    }

    fn unfit(&self, tensor: &str, expected: String, found: &str) -> Error {
        Error::GraphSignature {
            graph: self.name().into(),
            tensor: tensor.into(),
            expected,
            found: found.into(),
        }
    }

    /// Outputs of which each has been looked at.
    fn checked(&self, tensors: Tensors) -> Result<Outputs> {
        let specs = &self.signature.outputs;
        if tensors.len() != specs.len() {
            let (expected, found) = (specs.len().to_string(), tensors.len().to_string());
            return Err(self.unfit("outputs", expected, &found));
        }
        for (spec, tensor) in specs.iter().zip(&tensors) {
            self.check(spec, tensor)?;
        }
        Ok(Outputs {
            signature: Arc::clone(&self.signature),
            tensors,
        })
    }

    fn check(&self, spec: &TensorSpec, tensor: &Tensor) -> Result<()> {
        let shape = tensor.shape();
        let name = format_args!("{} of graph {}", spec.name, self.name());
        if shape.len() != spec.rank {
            return Err(Error::Shape {
                tensor: name.to_string(),
                expected: format!("of rank {}", spec.rank),
                found: shape.to_vec(),
            });
        }
        if tensor.element() != Some(spec.element) {
            return Err(self.unfit(
                &spec.name,
                spec.element.name().into(),
                name_of(tensor.element()),
            ));
        }
        if tensor.device_memory().is_some() || !spec.element.is_float() {
            // Whatever is wrong in a device's memory shows in the head's outputs, which always come to
            // the host.
            return Ok(());
        }
        match first_not_finite(tensor.floats(name)?.view()) {
            None => Ok(()),
            Some(value) => Err(Error::NonFinite {
                graph: self.name().into(),
                tensor: spec.name.clone(),
                value,
            }),
        }
    }
}

/// An input as the graph takes it.
enum Fitting<'a> {
    As(Input<'a>),
    Halves(ArrayD<f16>),
    Floats(ArrayD<f32>),
}

impl Fitting<'_> {
    fn as_input(&self) -> Input<'_> {
        match self {
            Self::As(input) => input.reborrow(),
            Self::Halves(array) => Input::F16(array.view()),
            Self::Floats(array) => Input::F32(array.view()),
        }
    }
}

fn name_of(element: Option<Element>) -> &'static str {
    element.map_or("a type unknown here", Element::name)
}

/// Looks at a block at a time, without a branch per number, so that the compiler vectorises it:
/// the cost is that of reading the tensor once.
fn first_not_finite(array: ArrayViewD<'_, f32>) -> Option<f32> {
    const BLOCK: usize = 1024;
    let is_finite = |block: &[f32]| block.iter().fold(true, |all, x| all & x.is_finite());
    let Some(numbers) = array.as_slice() else {
        return array.iter().copied().find(|x| !x.is_finite());
    };
    let block = numbers.chunks(BLOCK).find(|block| !is_finite(block))?;
    block.iter().copied().find(|x| !x.is_finite())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, ArrayD};

    use super::*;
    use crate::session::tensor::HostTensor;

    /// As many levels as asked for, `a` and `b`; takes a map for each level and `text` in float16.
    fn signature(levels: usize) -> Signature {
        let others = [
            TensorSpec::new("a", Element::F32, 2),
            TensorSpec::new("b", Element::F32, 1),
        ];
        Signature::new(
            "fake",
            TensorSpec::feature_maps("map", Element::F32, levels)
                .chain([TensorSpec::new("text", Element::F16, 1)])
                .collect(),
            TensorSpec::feature_maps("map", Element::F32, levels)
                .chain(others)
                .collect(),
        )
    }

    /// Gives the same outputs whatever it is given, if that is of the right types.
    struct Fake(Vec<ArrayD<f32>>);

    impl Graph for Fake {
        fn device(&self) -> Device {
            Device::Cpu
        }

        fn run(&self, inputs: &[Input<'_>], _control: &Control) -> Result<Tensors> {
            let last = inputs.last().unwrap();
            assert_eq!(
                (last.element(), last.shape()),
                (Some(Element::F16), [3].as_slice().into())
            );
            let tensors = self.0.iter().cloned().map(HostTensor::F32);
            Ok(tensors.map(Tensor::Host).collect())
        }
    }

    fn graph(levels: usize, outputs: Vec<ArrayD<f32>>) -> CheckedGraph {
        CheckedGraph::new(signature(levels), Arc::new(Fake(outputs)))
    }

    fn text() -> ArrayD<f32> {
        Array::from_elem(3, 0.5).into_dyn()
    }

    fn run(a: ArrayD<f32>, b: ArrayD<f32>) -> Result<Outputs> {
        let text = text();
        graph(0, vec![a, b]).run([], |_| Some(Input::F32(text.view())))
    }

    fn map() -> Tensor {
        Tensor::Host(HostTensor::F32(ArrayD::zeros(vec![1, 2, 8, 8])))
    }

    #[test]
    fn good_outputs_pass_by_name() {
        let (a, b) = (Array::zeros((2, 3)).into_dyn(), Array::zeros(4).into_dyn());
        let outputs = run(a, b).unwrap();
        let shape = |name| outputs.get(name).unwrap().shape();
        assert_eq!((&*shape("a"), &*shape("b")), (&[2, 3][..], &[4][..]));
        assert!(outputs.has("a") && !outputs.has("c") && outputs.get("c").is_err());
    }

    #[test]
    fn feature_maps_come_apart_from_what_follows_them() {
        let shapes: [&[usize]; 4] = [&[1, 2, 8, 8], &[1, 2, 4, 4], &[2, 3], &[4]];
        let outputs = shapes.map(ArrayD::zeros).to_vec();
        let (maps, text) = ([map(), map()], text());
        let named = |_: &str| Some(Input::F32(text.view()));
        let found = graph(2, outputs.clone()).run(&maps, named).unwrap();
        let found: Vec<_> = found.into_maps().iter().map(Tensor::shape).collect();
        assert_eq!([&*found[0], &*found[1]], shapes[..2]);
        for (levels, expected) in [(3, "map_2"), (1, "more")] {
            let error = graph(levels, outputs.clone())
                .run(&maps, named)
                .err()
                .unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn inputs_that_do_not_fit_are_errors() {
        let graph = graph(0, Vec::new());
        let none = graph.run([], |_| None).err().unwrap();
        assert!(none.to_string().contains("nothing"), "{none}");
        let whole = Array::zeros(3).into_dyn();
        let whole = graph.run([], |_| Some(Input::I64(whole.view())));
        let whole = whole.err().unwrap();
        assert!(whole.to_string().contains("int64"), "{whole}");
        let flat = ArrayD::zeros(vec![3, 1]);
        let flat = graph.run([], |_| Some(Input::F32(flat.view())));
        assert!(matches!(flat, Err(Error::Shape { .. })));
    }

    #[test]
    fn a_control_that_has_stopped_runs_nothing() {
        let control = Control::new();
        control.stop();
        let text = text();
        let graph = graph(0, Vec::new()).controlled(&control);
        let stopped = graph.run([], |_| Some(Input::F32(text.view())));
        assert!(matches!(stopped, Err(Error::Stopped)));
    }

    #[test]
    fn too_few_outputs_are_an_error() {
        for outputs in [vec![], vec![ArrayD::zeros(vec![2, 3])]] {
            let text = text();
            let error = graph(0, outputs).run([], |_| Some(Input::F32(text.view())));
            assert!(matches!(error, Err(Error::GraphSignature { .. })));
        }
    }

    #[test]
    fn an_output_of_another_rank_is_an_error() {
        let (a, b) = (
            Array::zeros((2, 3)).into_dyn(),
            Array::zeros((4, 1)).into_dyn(),
        );
        let error = run(a, b).err().unwrap();
        assert!(
            matches!(&error, Error::Shape { found, .. } if *found == [4, 1]),
            "{error}"
        );
        assert!(error.to_string().contains("b of graph fake"), "{error}");
    }

    #[test]
    fn an_output_that_is_not_finite_is_an_error() {
        let mut b = Array::zeros(4).into_dyn();
        b[2] = f32::NEG_INFINITY;
        let error = run(Array::zeros((2, 3)).into_dyn(), b).err().unwrap();
        let named = matches!(&error, Error::NonFinite { graph, tensor, value: f32::NEG_INFINITY }
            if graph == "fake" && tensor == "b");
        assert!(named, "{error}");
    }

    #[test]
    fn the_first_number_that_is_not_finite_is_found_anywhere() {
        let clean = Array::from_elem(5000, f32::MAX).into_dyn();
        assert_eq!(first_not_finite(clean.view()), None);
        for index in [0, 1023, 1024, 4999] {
            for value in [f32::INFINITY, f32::NEG_INFINITY] {
                let mut array = clean.clone();
                array[index] = value;
                assert_eq!(first_not_finite(array.view()), Some(value));
            }
            let mut array = clean.clone();
            array[index] = f32::NAN;
            assert!(first_not_finite(array.view()).is_some_and(f32::is_nan));
        }
    }

    #[test]
    fn arrays_that_are_not_contiguous_are_searched_too() {
        let mut array = Array::zeros((4, 4));
        array[[3, 0]] = f32::INFINITY;

        assert_eq!(first_not_finite(array.t().into_dyn()), Some(f32::INFINITY));
    }
}
