//! What goes into a graph and what comes out of it.

use std::{fmt::Display, mem, sync::Arc};

use half::{f16, slice::HalfFloatSliceExt};
use ndarray::{
    Array, ArrayD, ArrayViewD, Axis, CowArray, Dimension, IntoDimension, IxDyn, RemoveAxis,
};
use ort::{
    memory::MemoryInfo,
    value::{DynTensor, TensorElementType},
};
use smallvec::SmallVec;

use super::value::{InputValue, OutputValue, Shape, array_of_value};
use crate::{
    error::{Error, Result},
    spare::share_in,
};

/// The types of elements that graphs take and give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F16,
    I64,
    Bool,
}

/// A tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum HostTensor {
    F32(ArrayD<f32>),
    F16(ArrayD<f16>),
    I64(ArrayD<i64>),
    Bool(ArrayD<bool>),
}

/// A tensor that a graph made.
#[derive(Debug)]
pub(crate) enum Tensor {
    /// Left in host memory by a run there.
    Output(OutputValue),
    /// Left where a run was told to: in the memory of the device that it was made on, or on the host.
    Bound(DynTensor),
    /// A host array: what the graphs of tests give, which run without ONNX Runtime.
    #[cfg_attr(not(test), expect(dead_code))]
    Host(HostTensor),
}

/// What a graph made, in the order of its signature.
pub(crate) type Tensors = SmallVec<[Tensor; 8]>;

/// A tensor on its way into a graph, borrowed so that nothing is copied.
pub(crate) enum Input<'a> {
    F32(ArrayViewD<'a, f32>),
    F16(ArrayViewD<'a, f16>),
    I64(ArrayViewD<'a, i64>),
    Bool(ArrayViewD<'a, bool>),
    Made(&'a Tensor),
}

impl Element {
    pub(super) fn of(element: TensorElementType) -> Option<Self> {
        match element {
            TensorElementType::Float32 => Some(Self::F32),
            TensorElementType::Float16 => Some(Self::F16),
            TensorElementType::Int64 => Some(Self::I64),
            TensorElementType::Bool => Some(Self::Bool),
            _ => None,
        }
    }

    /// The type of that [name](Self::name).
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [Self::F32, Self::F16, Self::I64, Self::Bool];
        all.into_iter().find(|element| element.name() == name)
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }

    /// As ONNX and the manifest name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::I64 => "int64",
            Self::Bool => "bool",
        }
    }
}

impl HostTensor {
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::F32(array) => array.shape(),
            Self::F16(array) => array.shape(),
            Self::I64(array) => array.shape(),
            Self::Bool(array) => array.shape(),
        }
    }

    pub(crate) fn as_input(&self) -> Input<'_> {
        match self {
            Self::F32(array) => Input::F32(array.view()),
            Self::F16(array) => Input::F16(array.view()),
            Self::I64(array) => Input::I64(array.view()),
            Self::Bool(array) => Input::Bool(array.view()),
        }
    }

    /// The memory of its numbers, if they are float32; none are left.
    fn take_floats(&mut self) -> Vec<f32> {
        match self {
            Self::F32(array) => {
                let numbers = mem::replace(array, ArrayD::zeros(IxDyn(&[0])));
                numbers.into_raw_vec_and_offset().0
            }
            _ => Vec::new(),
        }
    }

    /// One prompt's tensor, once for every image of a batch; `None` if it is so already.
    fn tiled(&self, name: &str, batch: usize) -> Result<Option<Self>> {
        match self.shape().first() {
            Some(&size) if size == batch => Ok(None),
            Some(1) => Ok(Some(match self {
                Self::F32(array) => Self::F32(repeated(array, batch)),
                Self::F16(array) => Self::F16(repeated(array, batch)),
                Self::I64(array) => Self::I64(repeated(array, batch)),
                Self::Bool(array) => Self::Bool(repeated(array, batch)),
            })),
            _ => Err(Error::Shape {
                tensor: name.into(),
                expected: format!("[{batch} or 1, tokens, ...], one for the images or for each"),
                found: self.shape().to_vec(),
            }),
        }
    }
}

fn repeated<T: Clone>(array: &ArrayD<T>, times: usize) -> ArrayD<T> {
    array.select(Axis(0), &vec![0; times])
}

/// By the processor's own instruction for many numbers at once, where it has one.
fn to_floats(halves: ArrayViewD<'_, f16>) -> ArrayD<f32> {
    let mut floats = ArrayD::zeros(halves.raw_dim());
    match (halves.as_slice(), floats.as_slice_mut()) {
        (Some(halves), Some(floats)) => halves.convert_to_f32_slice(floats),
        _ => floats.zip_mut_with(&halves, |float, half| *float = half.to_f32()),
    }
    floats
}

/// The way back; numbers beyond what a half holds become infinite.
fn to_halves(floats: ArrayViewD<'_, f32>, mut memory: Vec<f16>) -> ArrayD<f16> {
    memory.resize(floats.len(), f16::ZERO);
    match floats.as_slice() {
        Some(floats) => memory.convert_from_f32_slice(floats),
        None => {
            let pairs = memory.iter_mut().zip(&floats);
            pairs.for_each(|(half, float)| *half = f16::from_f32(*float));
        }
    }
    let shaped = ArrayD::from_shape_vec(floats.raw_dim(), memory);
    // There are as many as the shape says.
    shaped.unwrap_or_else(|_| floats.mapv(f16::from_f32))
}

impl Tensor {
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Output(value) => value.shape().into(),
            // The sizes of a value, unlike those of a graph's signature, are all known.
            Self::Bound(value) => value.shape().iter().map(|&size| size as usize).collect(),
            Self::Host(tensor) => tensor.shape().into(),
        }
    }

    /// `None` for a type that no signature has.
    pub(crate) fn element(&self) -> Option<Element> {
        match self {
            Self::Output(value) => Element::of(value.element()),
            Self::Bound(value) => Element::of(*value.data_type()),
            Self::Host(HostTensor::F32(_)) => Some(Element::F32),
            Self::Host(HostTensor::F16(_)) => Some(Element::F16),
            Self::Host(HostTensor::I64(_)) => Some(Element::I64),
            Self::Host(HostTensor::Bool(_)) => Some(Element::Bool),
        }
    }

    /// The device that holds it, if the CPU cannot read it there.
    pub(crate) fn device_memory(&self) -> Option<String> {
        match self {
            Self::Bound(value) => {
                let memory = value.memory_info();
                (!memory.is_cpu_accessible())
                    .then(|| memory.allocation_device().as_str().to_lowercase())
            }
            Self::Output(_) | Self::Host(_) => None,
        }
    }

    /// Its numbers: borrowed if they are float32, converted if float16. `name` is for the error.
    pub(crate) fn floats(&self, name: impl Display) -> Result<CowArray<'_, f32, IxDyn>> {
        let unreadable = |device| Error::DeviceMemory {
            tensor: name.to_string(),
            device,
        };
        if let Some(device) = self.device_memory() {
            return Err(unreadable(device));
        }
        let extracted = |error: ort::Error| unreadable(error.to_string());
        match (self, self.element()) {
            (Self::Host(HostTensor::F32(array)), _) => Ok(array.view().into()),
            (Self::Host(HostTensor::F16(array)), _) => Ok(to_floats(array.view()).into()),
            (Self::Output(value), Some(Element::F32)) => {
                Ok(value.array().map_err(extracted)?.into())
            }
            (Self::Output(value), Some(Element::F16)) => {
                Ok(to_floats(value.array().map_err(extracted)?).into())
            }
            (Self::Bound(value), Some(Element::F32)) => {
                Ok(array_of_value(value).map_err(extracted)?.into())
            }
            (Self::Bound(value), Some(Element::F16)) => {
                Ok(to_floats(array_of_value(value).map_err(extracted)?).into())
            }
            (_, element) => Err(Error::Shape {
                tensor: name.to_string(),
                expected: format!(
                    "of floating point numbers, not {}",
                    element.map_or("of a type unknown here", Element::name)
                ),
                found: self.shape().to_vec(),
            }),
        }
    }

    /// A copy of its numbers on the host, of the shape it must have.
    pub(crate) fn to_array<D: Dimension>(
        &self,
        name: &str,
        shape: impl IntoDimension<Dim = D>,
    ) -> Result<Array<f32, D>> {
        self.to_array_in(Vec::new(), name, shape)
    }

    /// The same in memory that is there already, if it is enough.
    pub(crate) fn to_array_in<D: Dimension>(
        &self,
        mut memory: Vec<f32>,
        name: &str,
        shape: impl IntoDimension<Dim = D>,
    ) -> Result<Array<f32, D>> {
        let shape = shape.into_dimension();
        let numbers = self.floats(name)?;
        let unfit = |expected| Error::Shape {
            tensor: name.into(),
            expected,
            found: numbers.shape().to_vec(),
        };
        if numbers.shape() != shape.slice() {
            return Err(unfit(format!("{:?}", shape.slice())));
        }
        memory.clear();
        match numbers.as_slice() {
            Some(numbers) => memory.extend_from_slice(numbers),
            None => memory.extend(&numbers),
        }
        let rank = shape.ndim();
        Array::from_shape_vec(shape, memory).map_err(|_| unfit(format!("of rank {rank}")))
    }
}

impl<'a> Input<'a> {
    /// The numbers of what a run left.
    pub(super) fn of_output(value: &'a OutputValue) -> ort::Result<Self> {
        Ok(match Element::of(value.element()) {
            Some(Element::F16) => Self::F16(value.array()?),
            Some(Element::I64) => Self::I64(value.array()?),
            Some(Element::Bool) => Self::Bool(value.array()?),
            // No signature has any other.
            Some(Element::F32) | None => Self::F32(value.array()?),
        })
    }

    pub(super) fn reborrow(&self) -> Input<'_> {
        match self {
            Self::F32(array) => Input::F32(array.view()),
            Self::F16(array) => Input::F16(array.view()),
            Self::I64(array) => Input::I64(array.view()),
            Self::Bool(array) => Input::Bool(array.view()),
            Self::Made(tensor) => Input::Made(tensor),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::F32(array) => array.shape().into(),
            Self::F16(array) => array.shape().into(),
            Self::I64(array) => array.shape().into(),
            Self::Bool(array) => array.shape().into(),
            Self::Made(tensor) => tensor.shape(),
        }
    }

    pub(super) fn element(&self) -> Option<Element> {
        match self {
            Self::F32(_) => Some(Element::F32),
            Self::F16(_) => Some(Element::F16),
            Self::I64(_) => Some(Element::I64),
            Self::Bool(_) => Some(Element::Bool),
            Self::Made(tensor) => tensor.element(),
        }
    }

    /// Host numbers as float16, where a graph takes those and float32 is at hand; in memory that is there, if it
    /// is enough.
    pub(super) fn to_halves(&self, memory: Vec<f16>) -> Option<ArrayD<f16>> {
        match self {
            Self::F32(array) => Some(to_halves(array.view(), memory)),
            _ => None,
        }
    }

    /// Host numbers as float32, where a graph takes those and float16 is at hand.
    pub(super) fn to_floats(&self) -> Option<ArrayD<f32>> {
        match self {
            Self::F16(array) => Some(to_floats(array.view())),
            _ => None,
        }
    }

    /// The same tensor in the form that ONNX Runtime takes; `host` is what its memory is if it is an array.
    pub(super) fn to_value(&self, host: &MemoryInfo<'_>) -> ort::Result<InputValue<'a>> {
        match self {
            Self::F32(array) => InputValue::of_array(array, host),
            Self::F16(array) => InputValue::of_array(array, host),
            Self::I64(array) => InputValue::of_array(array, host),
            Self::Bool(array) => InputValue::of_array(array, host),
            Self::Made(Tensor::Output(value)) => Ok(InputValue::of(value)),
            Self::Made(Tensor::Bound(value)) => Ok(InputValue::of(value)),
            Self::Made(Tensor::Host(tensor)) => tensor.as_input().to_value(host),
        }
    }
}

/// Host tensors by the names that graphs have for them: what the text side gives to the graphs after it.
/// Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct NamedTensors(SmallVec<[NamedTensor; 8]>);

type NamedTensor = (Arc<str>, Arc<HostTensor>);

impl NamedTensors {
    pub(crate) fn get(&self, name: &str) -> Option<&HostTensor> {
        let found = self.0.iter().find(|(candidate, _)| **candidate == *name);
        found.map(|(_, tensor)| &**tensor)
    }

    /// Floating point numbers of rank `D`, if there are such by this name.
    pub(crate) fn floats<D: Dimension>(
        &self,
        name: &str,
    ) -> Option<ndarray::ArrayView<'_, f32, D>> {
        match self.get(name)? {
            HostTensor::F32(array) => array.view().into_dimensionality().ok(),
            _ => None,
        }
    }

    /// Puts a tensor there, in place of one of the same name.
    pub(crate) fn insert(&mut self, name: &str, tensor: HostTensor) {
        self.put(name.into(), Arc::new(tensor));
    }

    /// Puts numbers there, in the place and the memory of earlier ones of the same name, if there are such.
    pub(crate) fn insert_in<D: Dimension + RemoveAxis>(
        &mut self,
        earlier: &mut Self,
        name: &str,
        make: impl FnOnce(Vec<f32>) -> Result<Array<f32, D>>,
    ) -> Result<()> {
        let place = earlier.0.iter().position(|(other, _)| **other == *name);
        let (name, mut place) = match place.map(|place| earlier.0.swap_remove(place)) {
            Some((name, place)) => (name, Some(place)),
            None => (name.into(), None),
        };
        let memory = place.as_mut().and_then(Arc::get_mut);
        let memory = memory.map_or(Vec::new(), HostTensor::take_floats);
        self.put(name, share_in(place, make(memory)?.into()));
        Ok(())
    }

    /// Those that nobody else has.
    pub(crate) fn into_unshared(mut self) -> Self {
        self.0.retain(|(_, tensor)| Arc::get_mut(tensor).is_some());
        self
    }

    fn put(&mut self, name: Arc<str>, tensor: Arc<HostTensor>) {
        self.0.retain(|(other, _)| *other != name);
        self.0.push((name, tensor));
    }

    /// All of them, each once for every image of a batch.
    pub(crate) fn tiled(&self, batch: usize) -> Result<Self> {
        let tiled = self.0.iter().map(|(name, tensor)| {
            let tensor = match tensor.tiled(name, batch)? {
                Some(tiled) => Arc::new(tiled),
                None => Arc::clone(tensor),
            };
            Ok((Arc::clone(name), tensor))
        });
        tiled.collect::<Result<_>>().map(Self)
    }
}

impl<D: Dimension + RemoveAxis> From<Array<f32, D>> for HostTensor {
    fn from(array: Array<f32, D>) -> Self {
        Self::F32(array.into_dyn())
    }
}

impl<D: Dimension + RemoveAxis> From<Array<i64, D>> for HostTensor {
    fn from(array: Array<i64, D>) -> Self {
        Self::I64(array.into_dyn())
    }
}

impl<D: Dimension + RemoveAxis> From<Array<bool, D>> for HostTensor {
    fn from(array: Array<bool, D>) -> Self {
        Self::Bool(array.into_dyn())
    }
}
