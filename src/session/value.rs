//! Tensors in ONNX Runtime's hands, for runs in host memory.
//!
//! ort has values of its own, which may be shared, copied between devices and more. Each is allocated, as is a description
//! of it, whenever a graph runs; these are pointers.

use std::{ffi::c_void, marker::PhantomData, ptr::NonNull, slice};

use ndarray::{ArrayView, ArrayViewD, ArrayViewMut, ArrayViewMutD, IxDyn};
use ort::{
    AsPointer,
    memory::MemoryInfo,
    ortsys, sys,
    value::{PrimitiveTensorElementType, TensorElementType, TensorValueTypeMarker, Value},
};
use smallvec::SmallVec;

/// The sizes of a tensor's dimensions.
pub(crate) type Shape = SmallVec<[usize; 4]>;

/// Numbers in host memory as an array.
fn array_of<'a, T>(shape: &[usize], numbers: &'a [T]) -> ort::Result<ArrayViewD<'a, T>> {
    let array = ArrayView::from_shape(IxDyn(shape), numbers);
    array.map_err(|error| ort::Error::new(error.to_string()))
}

/// The numbers of one of ort's values. Its own function allocates the shape.
pub(super) fn array_of_value<T, Type>(value: &Value<Type>) -> ort::Result<ArrayViewD<'_, T>>
where
    T: PrimitiveTensorElementType,
    Type: TensorValueTypeMarker + ?Sized,
{
    let (shape, numbers) = value.try_extract_tensor()?;
    let shape: Shape = shape.iter().map(|&size| size as usize).collect();
    array_of(&shape, numbers)
}

/// A tensor that a run takes.
pub(super) struct InputValue<'a> {
    pointer: *const sys::OrtValue,
    /// Whether it was made for the run.
    is_own: bool,
    numbers: PhantomData<&'a ()>,
}

impl<'a> InputValue<'a> {
    /// A value that there is.
    pub(super) fn of(value: &'a impl AsPointer<Sys = sys::OrtValue>) -> Self {
        Self {
            pointer: value.ptr(),
            is_own: false,
            numbers: PhantomData,
        }
    }

    /// The numbers of an array where they are; `host` is what their memory is.
    #[allow(unsafe_code)] // ort has a safe function that allocates.
    pub(super) fn of_array<T: PrimitiveTensorElementType>(
        array: &ArrayViewD<'a, T>,
        host: &MemoryInfo<'_>,
    ) -> ort::Result<Self> {
        let numbers = array.to_slice();
        let numbers =
            numbers.ok_or_else(|| ort::Error::new("the numbers do not lie one after another"))?;
        let shape: SmallVec<[i64; 4]> = array.shape().iter().map(|&size| size as i64).collect();
        let mut value = std::ptr::null_mut();
        // SAFETY: the numbers and the shape are as long as said. ONNX Runtime copies the shape, and refers to the numbers,
        // which the lifetime keeps in place as long as the value; what a run takes it only reads.
        ortsys![unsafe CreateTensorWithDataAsOrtValue(
            host.ptr(),
            numbers.as_ptr().cast_mut().cast::<c_void>(),
            size_of_val(numbers),
            shape.as_ptr(),
            shape.len(),
            T::into_tensor_element_type().into(),
            &mut value
        )?];
        Ok(Self {
            pointer: value,
            is_own: true,
            numbers: PhantomData,
        })
    }

    pub(super) fn pointer(&self) -> *const sys::OrtValue {
        self.pointer
    }
}

impl Drop for InputValue<'_> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if self.is_own {
            // SAFETY: it was made in `of_array`, and nobody else has it.
            ortsys![unsafe ReleaseValue(self.pointer.cast_mut())];
        }
    }
}

/// What a tensor in host memory is, and where. It stays that until its value is released.
#[derive(Debug)]
struct Description {
    element: TensorElementType,
    shape: Shape,
    numbers: NonNull<c_void>,
}

impl Description {
    /// # Safety
    /// The value is alive.
    #[allow(unsafe_code)]
    unsafe fn of(value: *const sys::OrtValue) -> ort::Result<Self> {
        let mut memory = std::ptr::null();
        // SAFETY: the value is alive. What is not a tensor is an error; the memory's description lives as long as the value.
        ortsys![unsafe GetTensorMemoryInfo(value, &mut memory)?];
        let mut device = sys::OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_GPU;
        // SAFETY: a successful call above set the description.
        ortsys![unsafe MemoryInfoGetDeviceType(memory, &mut device)];
        if device != sys::OrtMemoryInfoDeviceType::OrtMemoryInfoDeviceType_CPU {
            return Err(ort::Error::new("a tensor is not in host memory"));
        }
        let mut element = TensorElementType::Undefined.into();
        let (mut sizes, mut rank) = (std::ptr::null(), 0);
        // SAFETY: the value is alive, and all three are written before a successful return.
        ortsys![unsafe GetTensorElementTypeAndShapeDataReference(value, &mut element, &mut sizes, &mut rank)?];
        let mut shape = Shape::new();
        if rank > 0 {
            // SAFETY: ONNX Runtime just said that there are so many; they live as long as the value.
            let sizes = unsafe { slice::from_raw_parts(sizes, rank) };
            // Those of a value, unlike those of a graph's signature, are all known.
            shape.extend(sizes.iter().map(|&size| size as usize));
        }
        let mut numbers = std::ptr::null_mut();
        // SAFETY: the value is alive, and a tensor. Its numbers are not changed here.
        ortsys![unsafe GetTensorMutableData(value.cast_mut(), &mut numbers)?];
        Ok(Self {
            element: element.into(),
            shape,
            // A tensor without numbers may be nowhere.
            numbers: NonNull::new(numbers).unwrap_or(NonNull::dangling()),
        })
    }

    /// Where its numbers are and how many, if they are of this type.
    fn numbers<T: PrimitiveTensorElementType>(&self) -> ort::Result<(NonNull<T>, usize)> {
        if T::into_tensor_element_type() != self.element {
            return Err(ort::Error::new(format!("it is of {}", self.element)));
        }
        match self.shape.iter().product() {
            0 => Ok((NonNull::dangling(), 0)),
            count => Ok((self.numbers.cast(), count)),
        }
    }
}

/// The numbers of a tensor that is somebody else's.
///
/// # Safety
/// The value lives as long as `'a`, and nobody writes to its tensor.
#[allow(unsafe_code)]
pub(super) unsafe fn borrowed<'a, T: PrimitiveTensorElementType>(
    value: *const sys::OrtValue,
) -> ort::Result<ArrayViewD<'a, T>> {
    // SAFETY: as of the caller.
    let description = unsafe { Description::of(value) }?;
    let (numbers, count) = description.numbers::<T>()?;
    // SAFETY: ONNX Runtime said that it is of this type and shape and in host memory; the rest is as of the caller.
    let numbers = unsafe { slice::from_raw_parts(numbers.as_ptr(), count) };
    array_of(&description.shape, numbers)
}

/// The numbers of a tensor that is to be filled.
///
/// # Safety
/// The value lives as long as `'a`, and nobody else reads its tensor or writes to it.
#[allow(unsafe_code)]
pub(super) unsafe fn borrowed_mut<'a, T: PrimitiveTensorElementType>(
    value: *mut sys::OrtValue,
) -> ort::Result<ArrayViewMutD<'a, T>> {
    // SAFETY: as of the caller.
    let description = unsafe { Description::of(value) }?;
    let (numbers, count) = description.numbers::<T>()?;
    // SAFETY: ONNX Runtime said that it is of this type and shape and in host memory; the rest is as of the caller.
    let numbers = unsafe { slice::from_raw_parts_mut(numbers.as_ptr(), count) };
    let array = ArrayViewMut::from_shape(IxDyn(&description.shape), numbers);
    array.map_err(|error| ort::Error::new(error.to_string()))
}

/// A tensor that a run left in host memory.
#[derive(Debug)]
pub(crate) struct OutputValue {
    pointer: NonNull<sys::OrtValue>,
    description: Description,
}

// SAFETY: nothing changes the tensor, which belongs to no thread, until it is dropped; ONNX Runtime's allocators
// take back memory on any thread.
#[allow(unsafe_code)]
unsafe impl Send for OutputValue {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for OutputValue {}

impl OutputValue {
    /// Takes over a value that a run gave.
    ///
    /// # Safety
    /// It is one that ONNX Runtime gave, and that nobody else has or releases.
    #[allow(unsafe_code)]
    pub(super) unsafe fn new(pointer: NonNull<sys::OrtValue>) -> ort::Result<Self> {
        // SAFETY: it is alive.
        match unsafe { Description::of(pointer.as_ptr()) } {
            Ok(description) => Ok(Self {
                pointer,
                description,
            }),
            Err(error) => {
                // SAFETY: nobody else has it.
                ortsys![unsafe ReleaseValue(pointer.as_ptr())];
                Err(error)
            }
        }
    }

    pub(super) fn element(&self) -> TensorElementType {
        self.description.element
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.description.shape
    }

    /// Its numbers, if they are of this type.
    #[allow(unsafe_code)]
    pub(super) fn array<T: PrimitiveTensorElementType>(&self) -> ort::Result<ArrayViewD<'_, T>> {
        let (numbers, count) = self.description.numbers::<T>()?;
        // SAFETY: they are as described, and stay while they are borrowed; nothing writes to them.
        let numbers = unsafe { slice::from_raw_parts(numbers.as_ptr(), count) };
        array_of(&self.description.shape, numbers)
    }
}

impl AsPointer for OutputValue {
    type Sys = sys::OrtValue;

    fn ptr(&self) -> *const Self::Sys {
        self.pointer.as_ptr()
    }
}

impl Drop for OutputValue {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: it was taken over in `new`. The tensor itself shares its allocator, whether the session is there or not.
        ortsys![unsafe ReleaseValue(self.pointer.as_ptr())];
    }
}
