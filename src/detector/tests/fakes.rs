//! Graphs that are plain functions.

use std::sync::{Arc, Mutex};

use ndarray::ArrayD;

use crate::{
    control::Control,
    error::Result,
    runtime::Device,
    session::{CheckedGraph, Graph, HostTensor, Input, Signature, Tensor, Tensors},
};

type Function = Box<dyn Fn(&[HostTensor]) -> Vec<HostTensor> + Send + Sync>;

/// A graph that is a function, and remembers the shape of its first input on each run.
pub(super) struct Fake {
    function: Function,
    shapes: Mutex<Vec<Vec<usize>>>,
}

impl Fake {
    /// The shapes of the first input, run by run.
    pub(super) fn shapes(&self) -> Vec<Vec<usize>> {
        self.shapes.lock().unwrap().clone()
    }
}

impl Graph for Fake {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn run(&self, inputs: &[Input<'_>], _control: &Control) -> Result<Tensors> {
        let inputs: Vec<_> = inputs.iter().map(to_host).collect();
        self.shapes.lock().unwrap().push(inputs[0].shape().to_vec());
        let outputs = (self.function)(&inputs).into_iter();
        Ok(outputs.map(Tensor::Host).collect())
    }
}

fn to_host(input: &Input<'_>) -> HostTensor {
    match input {
        Input::F32(array) => HostTensor::F32(array.to_owned()),
        Input::F16(array) => HostTensor::F16(array.to_owned()),
        Input::I64(array) => HostTensor::I64(array.to_owned()),
        Input::Bool(array) => HostTensor::Bool(array.to_owned()),
        Input::Made(Tensor::Host(tensor)) => tensor.clone(),
        Input::Made(_) => panic!("fakes make host tensors"),
    }
}

pub(super) fn fake(
    function: impl Fn(&[HostTensor]) -> Vec<HostTensor> + Send + Sync + 'static,
) -> Arc<Fake> {
    Arc::new(Fake {
        function: Box::new(function),
        shapes: Mutex::default(),
    })
}

/// A function of float32 arrays; whole numbers come as such.
pub(super) fn fake_of_floats(function: fn(&[ArrayD<f32>]) -> Vec<ArrayD<f32>>) -> Arc<Fake> {
    fake(move |inputs| {
        let inputs: Vec<_> = inputs.iter().map(floats).collect();
        function(&inputs).into_iter().map(HostTensor::F32).collect()
    })
}

/// A tensor's numbers, whatever their type.
pub(super) fn floats(tensor: &HostTensor) -> ArrayD<f32> {
    match tensor {
        HostTensor::F32(array) => array.clone(),
        HostTensor::F16(array) => array.mapv(f32::from),
        HostTensor::I64(array) => array.mapv(|x| x as f32),
        HostTensor::Bool(array) => array.mapv(|x| f32::from(u8::from(x))),
    }
}

pub(super) fn checked(signature: Signature, fake: &Arc<Fake>) -> CheckedGraph {
    CheckedGraph::new(signature, Arc::clone(fake) as Arc<dyn Graph>)
}
