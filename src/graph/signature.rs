//! What a graph's inputs and outputs must be, checked once when it is loaded.

use ort::{
    session::Session,
    value::{Outlet, TensorElementType},
};

use crate::{Error, Result};

/// A graph's name and the tensors it must have.
pub(crate) struct Signature {
    pub(crate) graph: &'static str,
    pub(crate) inputs: Vec<TensorSpec>,
    /// Feature maps before all others.
    pub(crate) outputs: Vec<TensorSpec>,
}

/// One input or output.
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    element: Element,
    pub(crate) rank: usize,
    /// For outputs: stays in the memory of the device, if it has its own, for the next graph.
    pub(crate) stays_on_device: bool,
}

#[derive(Clone, Copy)]
enum Element {
    Float32,
    Int64,
}

impl TensorSpec {
    pub(crate) fn float32(name: &str, rank: usize) -> Self {
        Self {
            name: name.into(),
            element: Element::Float32,
            rank,
            stays_on_device: false,
        }
    }

    pub(crate) fn int64(name: &str, rank: usize) -> Self {
        Self {
            element: Element::Int64,
            ..Self::float32(name, rank)
        }
    }

    /// The levels of a pyramid, finest first: `name_0`, `name_1` and so on, each
    /// `[batch, channels, height, width]`.
    pub(crate) fn feature_maps(name: &str, levels: usize) -> impl Iterator<Item = Self> {
        (0..levels).map(move |level| Self {
            stays_on_device: true,
            ..Self::float32(&format!("{name}_{level}"), 4)
        })
    }

    fn matches(&self, outlet: &Outlet) -> bool {
        let element = match self.element {
            Element::Float32 => TensorElementType::Float32,
            Element::Int64 => TensorElementType::Int64,
        };
        let rank = outlet.dtype().tensor_shape().map(|shape| shape.len());
        outlet.dtype().tensor_type() == Some(element) && rank == Some(self.rank)
    }

    fn describe(&self) -> String {
        let element = match self.element {
            Element::Float32 => "float32",
            Element::Int64 => "int64",
        };
        format!("a {element} tensor of rank {}", self.rank)
    }
}

impl Signature {
    /// Checks that a session has these inputs and outputs, and no others: an input that nobody fills
    /// would fail every run, and where there is an output that nobody takes, such as a level more,
    /// the manifest is not that of the graph.
    pub(super) fn check(&self, session: &Session) -> Result<()> {
        self.check_tensors(&self.inputs, session.inputs())?;
        self.check_tensors(&self.outputs, session.outputs())
    }

    fn check_tensors(&self, specs: &[TensorSpec], outlets: &[Outlet]) -> Result<()> {
        for spec in specs {
            match outlets.iter().find(|outlet| outlet.name() == spec.name) {
                Some(outlet) if spec.matches(outlet) => {}
                Some(outlet) => {
                    return Err(self.mismatch(&spec.name, spec.describe(), outlet.dtype()));
                }
                None => {
                    let names: Vec<_> = outlets.iter().map(Outlet::name).collect();
                    let found = format!("only {}", names.join(", "));
                    return Err(self.mismatch(&spec.name, spec.describe(), found));
                }
            }
        }
        let known = |outlet: &Outlet| specs.iter().any(|spec| spec.name == outlet.name());
        match outlets.iter().find(|outlet| !known(outlet)) {
            None => Ok(()),
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
