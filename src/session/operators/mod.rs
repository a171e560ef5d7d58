//! Operators that sessions on a processor take from `kernels`, in place of ONNX Runtime's own.

mod deform_conv;
mod grid_sample;
mod node;

use std::sync::Arc;

use ort::operator::OperatorDomain;

use deform_conv::DeformConvOperator;
use grid_sample::GridSampleOperator;

use crate::kernels::Workspace;

/// ONNX's own domain: what is registered there comes before what ONNX Runtime has, so that graphs need not know of it.
pub(super) fn domain() -> ort::Result<OperatorDomain> {
    let workspace = Arc::new(Workspace::default());
    OperatorDomain::new("")?
        .add(DeformConvOperator(Arc::clone(&workspace)))?
        .add(GridSampleOperator(workspace))
}

#[cfg(test)]
mod tests;
