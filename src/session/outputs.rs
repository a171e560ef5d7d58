//! What is left of a run on a device with memory of its own.

use ort::{
    session::SessionOutputs,
    value::{DynTensor, DynTensorValueType, DynValue},
};

use super::{
    signature::{Signature, TensorSpec},
    tensor::{Tensor, Tensors},
};
use crate::error::Error;

/// A graph's outputs in the order of its signature, each kept as `keep` wants it.
pub(super) fn take(
    signature: &Signature,
    mut outputs: SessionOutputs<'_>,
    keep: impl Fn(&TensorSpec, DynTensor) -> ort::Result<DynTensor>,
) -> ort::Result<Tensors> {
    let tensors = signature.outputs.iter().map(|spec| {
        let missing = || ort::Error::new(format!("no output {}", spec.name));
        let value: DynValue = outputs.remove(&spec.name).ok_or_else(missing)?;
        let value = value.downcast::<DynTensorValueType>()?;
        Ok(Tensor::Bound(keep(spec, value)?))
    });
    tensors.collect()
}

pub(super) fn not_run(graph: &str, source: ort::Error) -> Error {
    Error::GraphRun {
        graph: graph.into(),
        source: source.into(),
    }
}
