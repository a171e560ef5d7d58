//! Operators that sessions on a processor take from `kernels`, in place of ONNX Runtime's own.

mod deform_conv;
mod deformable_attention;
mod int8_deform_conv;
mod node;
mod swin_block;

use std::sync::Arc;

use ort::operator::OperatorDomain;

use deform_conv::DeformConvOperator;
use deformable_attention::DeformableAttentionOperator;
use int8_deform_conv::Int8DeformConvOperator;
use swin_block::SwinBlockOperator;

use crate::kernels::{ByteInstructions, Workspace};

/// The domain of the functions that exported graphs have in them for whoever has no operator of that name.
const FUNCTIONS: &str = "glip";

/// ONNX's own domain, and that of functions of our own: what is registered comes before what ONNX Runtime or a graph has,
/// so that graphs need not know of it.
pub(super) fn domains() -> ort::Result<[OperatorDomain; 2]> {
    let workspace = Arc::new(Workspace::default());
    let standard = OperatorDomain::new("")?.add(DeformConvOperator(Arc::clone(&workspace)))?;
    let attention = DeformableAttentionOperator(Arc::clone(&workspace));
    let mut functions = OperatorDomain::new(FUNCTIONS)?.add(attention)?;
    for block in SwinBlockOperator::all(&workspace) {
        functions = functions.add(block)?;
    }
    // Without such instructions the function in the graph is as fast.
    if let Some(instructions) = ByteInstructions::detect() {
        functions = functions.add(Int8DeformConvOperator {
            workspace,
            instructions,
        })?;
    }
    Ok([standard, functions])
}

#[cfg(test)]
mod tests;
