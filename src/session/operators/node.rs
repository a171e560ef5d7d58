//! Nodes of a graph: what they say of themselves, and what they are given.

use std::{
    ffi::c_void,
    fmt::Display,
    ops::Range,
    ptr, slice,
    sync::{Mutex, PoisonError},
};

use ndarray::{ArrayView, ArrayViewMut, Dim, Dimension};
use ort::{
    AsPointer,
    operator::{ComputeContext, KernelContext},
    ortsys,
    value::{DynTensorValueType, PrimitiveTensorElementType, TensorElementType, ValueRef},
};

use crate::{
    kernels::Threads,
    session::value::{borrowed, borrowed_mut},
};

/// What kernels calculate with.
pub(super) const FLOAT: TensorElementType = TensorElementType::Float32;
/// Weights in 8 bits.
pub(super) const BYTE: TensorElementType = TensorElementType::Int8;
/// What sizes are.
pub(super) const WHOLE: TensorElementType = TensorElementType::Int64;

/// A node with something that its operator has not.
pub(super) fn refused(operator: &str, what: impl Display) -> ort::Error {
    ort::Error::new(format!("{operator}: {what}"))
}

/// What a node says of itself.
pub(super) struct Attributes<'a, 'node> {
    pub(super) operator: &'static str,
    pub(super) node: &'a KernelContext<'node>,
}

impl Attributes<'_, '_> {
    /// Numbers from 0 on.
    pub(super) fn numbers<const N: usize>(
        &self,
        name: &str,
        default: [usize; N],
    ) -> ort::Result<[usize; N]> {
        let Some(numbers) = self.node.get::<Vec<i64>>(name) else {
            return Ok(default);
        };
        let whole: Result<Vec<_>, _> = numbers.iter().copied().map(usize::try_from).collect();
        let whole = whole.ok().and_then(|numbers| numbers.try_into().ok());
        whole.ok_or_else(|| refused(self.operator, format!("{name} of {numbers:?}")))
    }

    /// A number from 0 on.
    pub(super) fn number(&self, name: &str, default: usize) -> ort::Result<usize> {
        let Some(number) = self.node.get::<i64>(name) else {
            return Ok(default);
        };
        let whole = usize::try_from(number);
        whole.map_err(|_| refused(self.operator, format!("{name} of {number}")))
    }
}

/// The inputs of a node from one on that are constants of its graph.
pub(super) fn constants<'node>(
    operator: &str,
    node: &KernelContext<'node>,
    places: Range<usize>,
) -> ort::Result<Vec<ValueRef<'node, DynTensorValueType>>> {
    let values = places.map(|place| node.constant_input(place));
    let values = values.collect::<ort::Result<_>>();
    values.map_err(|error| refused(operator, format!("a weight is refused: {error}")))
}

/// The weights of a node that nobody has asked for yet.
pub(super) struct Weights<'a, 'node> {
    pub(super) operator: &'static str,
    pub(super) values: slice::Iter<'a, ValueRef<'node, DynTensorValueType>>,
}

impl<'a> Weights<'a, '_> {
    pub(super) fn next<T: PrimitiveTensorElementType, D: Dimension>(
        &mut self,
    ) -> ort::Result<ArrayView<'a, T, D>> {
        let value = self.values.next();
        let value = value.ok_or_else(|| refused(self.operator, "there are too few weights"))?;
        let array = value.try_extract_array()?.into_dimensionality();
        array.map_err(|error| refused(self.operator, format!("weights: {error}")))
    }
}

/// A node in a run. What ort has for one allocates for each of its tensors.
pub(super) struct Run<'a> {
    pub(super) operator: &'static str,
    pub(super) context: &'a ComputeContext,
}

impl<'a> Run<'a> {
    /// The input of this place, if there is one.
    #[allow(unsafe_code)]
    pub(super) fn optional<T: PrimitiveTensorElementType, D: Dimension>(
        &self,
        place: usize,
        name: &str,
    ) -> ort::Result<Option<ArrayView<'a, T, D>>> {
        if place >= self.context.num_inputs()? {
            return Ok(None);
        }
        let mut value = ptr::null();
        // SAFETY: the node has as many inputs; what is left out stays null.
        ortsys![unsafe KernelContext_GetInput(self.context.ptr(), place, &mut value)?];
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: inputs live as long as the node runs, and nobody writes to them.
        let array = unsafe { borrowed::<T>(value) }?.into_dimensionality();
        array
            .map(Some)
            .map_err(|error| refused(self.operator, format!("{name}: {error}")))
    }

    pub(super) fn required<T: PrimitiveTensorElementType, D: Dimension>(
        &self,
        place: usize,
        name: &str,
    ) -> ort::Result<ArrayView<'a, T, D>> {
        let array = self.optional(place, name)?;
        array.ok_or_else(|| refused(self.operator, format!("{name}: there are none")))
    }

    /// Makes the node's only output and lets a kernel fill it, with the session's threads.
    #[allow(unsafe_code)]
    pub(super) fn fill<const N: usize>(
        self,
        shape: [usize; N],
        kernel: impl FnOnce(ArrayViewMut<'_, f32, Dim<[usize; N]>>, &Threads<'_>) -> Result<(), String>,
    ) -> ort::Result<()>
    where
        Dim<[usize; N]>: Dimension,
    {
        let sizes = shape.map(|size| size as i64);
        let mut value = ptr::null_mut();
        let context = self.context.ptr().cast_mut();
        // SAFETY: the node has one output, and there are as many sizes.
        ortsys![unsafe KernelContext_GetOutput(context, 0, sizes.as_ptr(), N, &mut value)?];
        if value.is_null() {
            return Err(refused(self.operator, "nobody wants its output"));
        }
        // SAFETY: it lives as long as the node runs, and nobody else has it: a run is over with this call.
        let out = unsafe { borrowed_mut::<f32>(value) }?.into_dimensionality();
        let out = out.map_err(|error| refused(self.operator, error))?;
        self.with_threads(|threads| kernel(out, threads))
    }

    /// Lets a kernel have the session's threads.
    pub(super) fn with_threads<T>(
        &self,
        kernel: impl FnOnce(&Threads<'_>) -> Result<T, String>,
    ) -> ort::Result<T> {
        let failed = Mutex::new(None);
        let for_each = |count: usize, work: &(dyn Fn(usize) + Sync)| {
            if let Err(error) = self.for_each(count, work) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        };
        let done = kernel(&Threads(&for_each)).map_err(|error| refused(self.operator, error))?;
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(done),
        }
    }

    #[allow(unsafe_code)]
    fn for_each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) -> ort::Result<()> {
        extern "C" fn call(work: *mut c_void, place: usize) {
            // SAFETY: it is the reference below, which outlives the calls.
            let work = unsafe { *work.cast::<&(dyn Fn(usize) + Sync)>() };
            work(place);
        }
        let work = (&raw const work).cast_mut().cast();
        // SAFETY: it returns when all calls have, and may call from any thread, as what it calls lets it.
        ortsys![unsafe KernelContext_ParallelFor(self.context.ptr(), call, count, 0, work)?];
        Ok(())
    }
}
