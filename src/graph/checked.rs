//! A graph whose outputs are looked at before anyone else sees them.

use std::sync::Arc;

use ndarray::ArrayViewD;

use super::{
    session::OnnxGraph,
    signature::{Signature, TensorSpec},
    tensor::{Input, Tensor},
};
use crate::{Device, Error, Result, Runtime, SessionOptions, bundle::BundleFile};

/// A graph that can be run: the seam at which tests put their own in ONNX Runtime's place.
pub(crate) trait Graph: Send + Sync {
    /// The device it runs on.
    fn device(&self) -> Device;

    /// Runs it on inputs in the order of its signature; its outputs come in that order too.
    fn run(&self, inputs: &[Input<'_>]) -> Result<Vec<Tensor>>;
}

/// A graph with its signature. Clones share the graph.
#[derive(Clone)]
pub(crate) struct CheckedGraph {
    signature: Arc<Signature>,
    graph: Arc<dyn Graph>,
}

impl CheckedGraph {
    pub(super) fn load(
        runtime: &Runtime,
        file: &BundleFile,
        signature: Signature,
        options: &SessionOptions,
    ) -> Result<Self> {
        let signature = Arc::new(signature);
        let graph = OnnxGraph::load(runtime, file, Arc::clone(&signature), options)?;
        let graph = Arc::new(graph);
        Ok(Self { signature, graph })
    }

    #[cfg(test)]
    pub(super) fn new(signature: Signature, graph: Arc<dyn Graph>) -> Self {
        let signature = Arc::new(signature);
        Self { signature, graph }
    }

    /// The graph's name.
    pub(super) fn name(&self) -> &'static str {
        self.signature.graph
    }

    pub(super) fn device(&self) -> Device {
        self.graph.device()
    }

    /// The feature maps, one for each level, and the `N` outputs that follow them: of the right
    /// ranks, and finite where the CPU can read them.
    pub(super) fn run<const N: usize>(
        &self,
        inputs: &[Input<'_>],
    ) -> Result<(Vec<Tensor>, [Tensor; N])> {
        let (takes, given) = (self.signature.inputs.len(), inputs.len());
        if takes != given {
            return Err(Error::Shape {
                tensor: format!("the list of inputs of graph {}", self.name()),
                expected: format!("[{takes}], as features of its own model give"),
                found: vec![given],
            });
        }
        let mut outputs = self.graph.run(inputs)?;
        for (spec, tensor) in self.signature.outputs.iter().zip(&outputs) {
            self.check(spec, tensor)?;
        }
        let (expected, found) = (self.signature.outputs.len(), outputs.len());
        let others = outputs.split_off(found.saturating_sub(N));
        match others.try_into() {
            Ok(others) if expected == found => Ok((outputs, others)),
            _ => Err(Error::GraphSignature {
                graph: self.name().into(),
                tensor: "outputs".into(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
        }
    }

    fn check(&self, spec: &TensorSpec, tensor: &Tensor) -> Result<()> {
        let shape = tensor.shape();
        let name = format!("{} of graph {}", spec.name, self.name());
        if shape.len() != spec.rank {
            return Err(Error::Shape {
                tensor: name,
                expected: format!("of rank {}", spec.rank),
                found: shape,
            });
        }
        if tensor.device_memory().is_some() {
            // Whatever is wrong there shows in the head's outputs, which always come to the host.
            return Ok(());
        }
        match first_not_finite(tensor.view(&name)?) {
            None => Ok(()),
            Some(value) => Err(Error::NonFinite {
                graph: self.name().into(),
                tensor: spec.name.clone(),
                value,
            }),
        }
    }
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

    /// As many levels as asked for, `a` and `b`.
    fn signature(levels: usize) -> Signature {
        let others = [TensorSpec::float32("a", 2), TensorSpec::float32("b", 1)];
        Signature {
            graph: "fake",
            inputs: Vec::new(),
            outputs: TensorSpec::feature_maps("map", levels)
                .chain(others)
                .collect(),
        }
    }

    /// Gives the same outputs whatever it is given.
    struct Fake(Vec<ArrayD<f32>>);

    impl Graph for Fake {
        fn device(&self) -> Device {
            Device::Cpu
        }

        fn run(&self, _inputs: &[Input<'_>]) -> Result<Vec<Tensor>> {
            Ok(self.0.iter().cloned().map(Tensor::Host).collect())
        }
    }

    fn run(a: ArrayD<f32>, b: ArrayD<f32>) -> Result<[Tensor; 2]> {
        let graph = CheckedGraph::new(signature(0), Arc::new(Fake(vec![a, b])));
        graph.run(&[]).map(|(_no_maps, outputs)| outputs)
    }

    #[test]
    fn good_outputs_pass_in_order() {
        let (a, b) = (Array::zeros((2, 3)).into_dyn(), Array::zeros(4).into_dyn());

        let outputs = run(a, b).unwrap();

        assert_eq!(outputs.map(|tensor| tensor.shape()), [vec![2, 3], vec![4]]);
    }

    #[test]
    fn feature_maps_come_apart_from_what_follows_them() {
        let shapes: [&[usize]; 4] = [&[1, 2, 8, 8], &[1, 2, 4, 4], &[2, 3], &[4]];
        let outputs = shapes.map(ArrayD::zeros).to_vec();
        let graph = |levels| CheckedGraph::new(signature(levels), Arc::new(Fake(outputs.clone())));

        let (maps, others) = graph(2).run::<2>(&[]).unwrap();

        let found = maps.into_iter().chain(others);
        assert_eq!(
            found.map(|tensor| tensor.shape()).collect::<Vec<_>>(),
            shapes
        );
        let fewer = graph(3).run::<2>(&[]).unwrap_err();
        assert!(fewer.to_string().contains("map_2"), "{fewer}");
    }

    #[test]
    fn too_few_outputs_are_an_error() {
        for outputs in [vec![], vec![ArrayD::zeros(vec![2, 3])]] {
            let graph = CheckedGraph::new(signature(0), Arc::new(Fake(outputs)));

            let error = graph.run::<2>(&[]).unwrap_err();

            assert!(matches!(error, Error::GraphSignature { .. }), "{error}");
        }
    }

    #[test]
    fn more_inputs_than_the_graph_takes_are_an_error() {
        let graph = CheckedGraph::new(signature(0), Arc::new(Fake(Vec::new())));
        let input = ArrayD::zeros(vec![1]);

        let error = graph.run::<2>(&[Input::Floats(input.view())]).unwrap_err();

        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }

    #[test]
    fn an_output_of_another_rank_is_an_error() {
        let (a, b) = (
            Array::zeros((2, 3)).into_dyn(),
            Array::zeros((4, 1)).into_dyn(),
        );

        let error = run(a, b).unwrap_err();

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

        let error = run(Array::zeros((2, 3)).into_dyn(), b).unwrap_err();

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
