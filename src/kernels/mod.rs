//! Operators of graphs that are calculated here, on a processor, where that is faster than in ONNX Runtime.
//!
//! Their innermost loops go by indices: adapters of iterators are calls in programs that are built without optimisation
//! across units, and calls do not have the instructions of their callers.

#![allow(clippy::needless_range_loop, reason = "as is said above")]

mod byte_product;
mod channelwise;
mod deform_conv;
mod deformable_attention;
mod dyconv;
mod functions;
mod layer_norm;
mod levels;
mod linear;
mod pixels;
mod product;
mod rounding;
mod swin_block;
mod threads;
mod transpose;
mod workspace;

pub(crate) use byte_product::ByteInstructions;
pub(crate) use deform_conv::{DeformConv, DeformConvInputs, DeformConvSpec};
pub(crate) use deformable_attention::{DeformableAttention, DeformableAttentionInputs};
pub(crate) use dyconv::{
    CoefficientWeights, ConvolutionWeights, DyConv, DyConvWeights, FloatsOrBytes,
};
pub(crate) use linear::LinearWeights;
pub(crate) use swin_block::{
    NormWeights, SwinBlock, SwinBlockInputs, SwinBlockSpec, SwinBlockWeights,
};
pub(crate) use threads::Threads;
pub(crate) use workspace::Workspace;

#[cfg(test)]
mod tests;
