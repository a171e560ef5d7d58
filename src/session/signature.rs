//! What a graph's inputs and outputs must be, checked once when it is loaded.

use ort::{session::Session, value::Outlet};
use smallvec::SmallVec;

use super::tensor::Element;
use crate::error::{Error, Result};

/// A list of what a graph takes or gives, which is little: it has no memory of its own.
pub(super) type Few<T> = SmallVec<[T; 16]>;

/// A graph's name and the tensors it must have.
#[derive(Debug, Clone)]
pub(crate) struct Signature {
    pub(crate) graph: &'static str,
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
    /// Outputs that there may be too, and that nobody reads.
    unused: Vec<String>,
}

/// One input or output.
#[derive(Debug, Clone)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    pub(crate) element: Element,
    pub(crate) rank: usize,
    /// One of the levels of a pyramid, or of what else an image becomes.
    pub(crate) is_feature_map: bool,
    /// Whether, as an output, it stays in the memory of the device, if that has its own, for the next graph.
    pub(crate) stays: bool,
}

impl TensorSpec {
    /// A tensor of this type, with so many dimensions.
    pub(crate) fn new(name: &str, element: Element, rank: usize) -> Self {
        Self {
            name: name.into(),
            element,
            rank,
            is_feature_map: false,
            stays: false,
        }
    }

    /// The same, whose numbers are for the next graph alone.
    pub(crate) fn staying(self) -> Self {
        Self {
            stays: true,
            ..self
        }
    }

    /// A feature map by a name of its own.
    pub(crate) fn feature_map(name: &str, element: Element, rank: usize) -> Self {
        Self {
            is_feature_map: true,
            ..Self::new(name, element, rank).staying()
        }
    }

    /// The levels of a pyramid, finest first: `name_0`, `name_1` and so on, each
    /// `[batch, channels, height, width]`.
    pub(crate) fn feature_maps(
        name: &str,
        element: Element,
        levels: usize,
    ) -> impl Iterator<Item = Self> {
        (0..levels).map(move |level| Self::feature_map(&format!("{name}_{level}"), element, 4))
    }

    /// The same with the type that the graph has, if it may have that: floats other than feature maps, whose type
    /// the manifest tells, may be of either precision.
    fn fitted(&self, outlet: &Outlet) -> Option<Self> {
        let element = outlet.dtype().tensor_type().and_then(Element::of)?;
        let rank = outlet.dtype().tensor_shape().map(|shape| shape.len());
        let fits = element == self.element
            || (!self.is_feature_map && element.is_float() && self.element.is_float());
        (fits && rank == Some(self.rank)).then(|| Self {
            element,
            ..self.clone()
        })
    }

    /// Whether, as an input, it follows from the sizes of the others: what stays on the device and is no feature map.
    pub(super) fn follows_from_sizes(&self) -> bool {
        self.stays && !self.is_feature_map
    }

    fn describe(&self) -> String {
        let element = self.element.name();
        format!("a {element} tensor of rank {}", self.rank)
    }
}

impl Signature {
    pub(crate) fn new(
        graph: &'static str,
        inputs: Vec<TensorSpec>,
        outputs: Vec<TensorSpec>,
    ) -> Self {
        Self {
            graph,
            inputs,
            outputs,
            unused: Vec::new(),
        }
    }

    /// The same of a graph that may have these outputs too, which are not asked for.
    pub(crate) fn with_unused(self, outputs: Vec<String>) -> Self {
        let unused = outputs;
        Self { unused, ..self }
    }

    /// The same with the types that a session has. It must have these inputs and outputs, and no others: an
    /// input that nobody fills would fail every run, and where there is an output that nobody takes, such as a
    /// level more, the manifest is not that of the graph.
    pub(super) fn fitted(&self, session: &Session) -> Result<Self> {
        Ok(Self {
            graph: self.graph,
            inputs: self.fitted_tensors(&self.inputs, session.inputs(), &[])?,
            outputs: self.fitted_tensors(&self.outputs, session.outputs(), &self.unused)?,
            unused: self.unused.clone(),
        })
    }

    fn fitted_tensors(
        &self,
        specs: &[TensorSpec],
        outlets: &[Outlet],
        unused: &[String],
    ) -> Result<Vec<TensorSpec>> {
        let fitted = |spec: &TensorSpec| {
            let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == spec.name) else {
                let names: Vec<_> = outlets.iter().map(Outlet::name).collect();
                let found = format!("only {}", names.join(", "));
                return Err(self.mismatch(&spec.name, spec.describe(), found));
            };
            let mismatch = || self.mismatch(&spec.name, spec.describe(), outlet.dtype());
            spec.fitted(outlet).ok_or_else(mismatch)
        };
        let fitted = specs.iter().map(fitted).collect::<Result<Vec<_>>>()?;
        let known = |outlet: &Outlet| {
            let name = outlet.name();
            specs.iter().any(|spec| spec.name == name) || unused.iter().any(|unused| unused == name)
        };
        match outlets.iter().find(|outlet| !known(outlet)) {
            None => Ok(fitted),
            Some(outlet) => Err(self.mismatch(outlet.name(), "absent".into(), outlet.dtype())),
        }
    }

    fn mismatch(&self, tensor: &str, expected: String, found: impl ToString) -> Error {
        Error::GraphSignature {
            graph: self.graph.into(),
            tensor: tensor.into(),
            expected,
            found: found.to_string(),
        }
    }
}
