//! What a graph's inputs and outputs must be, checked once when it is loaded.

use ort::{
    session::Session,
    value::{Outlet, TensorElementType},
};

use crate::{Error, Result};

/// A graph's name and the tensors it must have.
pub(crate) struct Signature {
    pub(crate) graph: &'static str,
    pub(crate) inputs: &'static [TensorSpec],
    pub(crate) outputs: &'static [TensorSpec],
}

/// One input or output.
#[derive(Clone, Copy)]
pub(crate) struct TensorSpec {
    pub(crate) name: &'static str,
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
    pub(crate) const fn float32(name: &'static str, rank: usize) -> Self {
        Self {
            name,
            element: Element::Float32,
            rank,
            stays_on_device: false,
        }
    }

    pub(crate) const fn int64(name: &'static str, rank: usize) -> Self {
        Self {
            name,
            element: Element::Int64,
            rank,
            stays_on_device: false,
        }
    }

    /// A level of the pyramid: `[batch, channels, height, width]`.
    pub(crate) const fn feature_map(name: &'static str) -> Self {
        Self {
            name,
            element: Element::Float32,
            rank: 4,
            stays_on_device: true,
        }
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
    /// Checks that a session has these inputs, no others, and these outputs.
    pub(super) fn check(&self, session: &Session) -> Result<()> {
        self.check_present(self.inputs, session.inputs())?;
        self.check_present(self.outputs, session.outputs())?;
        let known = |outlet: &Outlet| self.inputs.iter().any(|spec| spec.name == outlet.name());
        match session.inputs().iter().find(|outlet| !known(outlet)) {
            None => Ok(()),
            // An input that nobody fills would fail every run.
            Some(outlet) => Err(self.mismatch(outlet.name(), "absent".into(), outlet.dtype())),
        }
    }

    fn check_present(&self, specs: &[TensorSpec], outlets: &[Outlet]) -> Result<()> {
        for spec in specs {
            match outlets.iter().find(|outlet| outlet.name() == spec.name) {
                Some(outlet) if spec.matches(outlet) => {}
                Some(outlet) => {
                    return Err(self.mismatch(spec.name, spec.describe(), outlet.dtype()));
                }
                None => {
                    let names: Vec<_> = outlets.iter().map(Outlet::name).collect();
                    let found = format!("only {}", names.join(", "));
                    return Err(self.mismatch(spec.name, spec.describe(), found));
                }
            }
        }
        Ok(())
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
