//! Operators that sessions on a processor take from `kernels`, in place of ONNX Runtime's own.

mod deform_conv;
mod deformable_attention;
mod dyconv;
mod node;
mod swin_block;

use std::sync::Arc;

use ort::operator::OperatorDomain;

use deform_conv::DeformConvOperator;
use deformable_attention::DeformableAttentionOperator;
use dyconv::DyConvOperator;
use swin_block::SwinBlockOperator;

use crate::kernels::Workspace;

/// The domain of the functions that exported graphs have in them for whoever has no operator of that name.
const FUNCTIONS: &str = "glip";

/// ONNX's own domain, and that of functions of our own: what is registered comes before what ONNX Runtime or a graph has,
/// so that graphs need not know of it.
pub(super) fn domains() -> ort::Result<[OperatorDomain; 2]> {
    let workspace = Arc::new(Workspace::default());
    let standard = OperatorDomain::new("")?.add(DeformConvOperator(Arc::clone(&workspace)))?;
    let mut functions = OperatorDomain::new(FUNCTIONS)?;
    functions = functions.add(DeformableAttentionOperator(Arc::clone(&workspace)))?;
    for layer in DyConvOperator::all(&workspace) {
        functions = functions.add(layer)?;
    }
    for block in SwinBlockOperator::all(&workspace) {
        functions = functions.add(block)?;
    }
    Ok([standard, functions])
}

#[cfg(test)]
mod tests;
