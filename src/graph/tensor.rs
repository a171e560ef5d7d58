//! What goes into a graph and what comes out of it.

use ndarray::{Array, ArrayD, ArrayViewD, Dimension, IntoDimension};
use ort::{session::SessionInputValue, value::TensorRef};

use crate::{Error, Result};

/// A float tensor that a graph made.
#[derive(Debug)]
pub(crate) enum Tensor {
    /// In ONNX Runtime's hands, in the memory of the device it was made on.
    Runtime(ort::value::Tensor<f32>),
    /// A host array: what the graphs of tests give, which run without ONNX Runtime.
    #[cfg_attr(not(test), expect(dead_code))]
    Host(ArrayD<f32>),
}

/// A tensor on its way into a graph, borrowed so that nothing is copied.
pub(crate) enum Input<'a> {
    Floats(ArrayViewD<'a, f32>),
    Integers(ArrayViewD<'a, i64>),
    Tensor(&'a Tensor),
}

impl Tensor {
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            // The sizes of a value, unlike those of a graph's signature, are all known.
            Self::Runtime(value) => value.shape().iter().map(|&size| size as usize).collect(),
            Self::Host(array) => array.shape().to_vec(),
        }
    }

    /// The device that holds it, if the CPU cannot read it there.
    pub(crate) fn device_memory(&self) -> Option<String> {
        match self {
            Self::Runtime(value) => {
                let memory = value.memory_info();
                (!memory.is_cpu_accessible())
                    .then(|| memory.allocation_device().as_str().to_lowercase())
            }
            Self::Host(_) => None,
        }
    }

    /// Its numbers; `name` is for the error.
    pub(crate) fn view(&self, name: &str) -> Result<ArrayViewD<'_, f32>> {
        let unreadable = |device| Error::DeviceMemory {
            tensor: name.to_owned(),
            device,
        };
        if let Some(device) = self.device_memory() {
            return Err(unreadable(device));
        }
        match self {
            Self::Runtime(value) => value
                .try_extract_array()
                .map_err(|error| unreadable(error.to_string())),
            Self::Host(array) => Ok(array.view()),
        }
    }

    /// A copy of its numbers on the host, of the shape it must have.
    pub(super) fn to_array<D: Dimension>(
        &self,
        name: &str,
        shape: impl IntoDimension<Dim = D>,
    ) -> Result<Array<f32, D>> {
        let shape = shape.into_dimension();
        let view = self.view(name)?;
        let found = view.shape().to_vec();
        if found != shape.slice() {
            return Err(Error::Shape {
                tensor: name.into(),
                expected: format!("{:?}", shape.slice()),
                found,
            });
        }
        let mismatch = |_| Error::Shape {
            tensor: name.into(),
            expected: format!("of rank {}", shape.ndim()),
            found,
        };
        view.to_owned().into_dimensionality().map_err(mismatch)
    }
}

impl Input<'_> {
    pub(super) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Floats(array) => array.shape().to_vec(),
            Self::Integers(array) => array.shape().to_vec(),
            Self::Tensor(tensor) => tensor.shape(),
        }
    }

    /// The same tensor in the form that ONNX Runtime takes.
    pub(super) fn to_value(&self) -> ort::Result<SessionInputValue<'_>> {
        Ok(match self {
            Self::Floats(array) => TensorRef::from_array_view(array.view())?.into(),
            Self::Integers(array) => TensorRef::from_array_view(array.view())?.into(),
            Self::Tensor(Tensor::Runtime(value)) => value.view().into(),
            Self::Tensor(Tensor::Host(array)) => TensorRef::from_array_view(array.view())?.into(),
        })
    }
}
