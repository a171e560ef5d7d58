//! A graph in ONNX Runtime's hands: what it must take and give, how it is run, and what is looked at
//! before anyone else sees its outputs. Graphs are here whatever they compute.

mod binding;
mod checked;
mod graph;
mod onnx;
mod operators;
mod outputs;
mod pool;
mod recording;
mod signature;
mod tensor;

#[cfg(test)]
pub(crate) use self::graph::Graph;
pub(crate) use self::{
    checked::{CheckedGraph, Outputs},
    signature::{Signature, TensorSpec},
    tensor::{Element, HostTensor, Input, NamedTensors, Tensor},
};
