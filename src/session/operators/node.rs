//! Nodes of a graph: what they say of themselves, and what they are given.

use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
};

use ndarray::{ArrayView, ArrayViewMut, Dimension};
use ort::{
    operator::{ComputeContext, KernelContext},
    value::{PrimitiveTensorElementType, TensorElementType, ValueRef, ValueRefMut},
};

use crate::{kernels::Threads, session::value::array_of_value};

/// What kernels calculate with.
pub(super) const FLOAT: TensorElementType = TensorElementType::Float32;
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

    /// One of some words, the first of which is the default.
    pub(super) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> ort::Result<T> {
        let found = self.node.get::<String>(name);
        let word = found.as_deref();
        let meant = words
            .iter()
            .find(|(known, _)| word.is_none_or(|word| word == *known));
        meant.map(|(_, meant)| *meant).ok_or_else(|| {
            let word = word.unwrap_or_default();
            refused(
                self.operator,
                format!("{name} {word:?} needs CpuOptions::with_native_kernels(false)"),
            )
        })
    }
}

/// A node in a run.
pub(super) struct Run<'a> {
    pub(super) operator: &'static str,
    pub(super) context: &'a ComputeContext,
}

impl<'a> Run<'a> {
    /// The input of this place, if there is one.
    pub(super) fn input(&self, place: usize) -> ort::Result<Option<ValueRef<'a>>> {
        match place < self.context.num_inputs()? {
            true => self.context.input(place),
            false => Ok(None),
        }
    }

    pub(super) fn optional<'v, T: PrimitiveTensorElementType, D: Dimension>(
        &self,
        value: &'v Option<ValueRef<'_>>,
        name: &str,
    ) -> ort::Result<Option<ArrayView<'v, T, D>>> {
        let Some(value) = value else {
            return Ok(None);
        };
        let array = array_of_value::<T, _>(value)?.into_dimensionality();
        array
            .map(Some)
            .map_err(|error| refused(self.operator, format!("{name}: {error}")))
    }

    pub(super) fn required<'v, T: PrimitiveTensorElementType, D: Dimension>(
        &self,
        value: &'v Option<ValueRef<'_>>,
        name: &str,
    ) -> ort::Result<ArrayView<'v, T, D>> {
        let array = self.optional(value, name)?;
        array.ok_or_else(|| refused(self.operator, format!("{name}: there are none")))
    }

    /// The node's only output, which is made by this.
    pub(super) fn output<const N: usize>(&self, shape: [usize; N]) -> ort::Result<ValueRefMut<'a>> {
        let value = self.context.output(0, shape.map(|size| size as i64))?;
        value.ok_or_else(|| refused(self.operator, "nobody wants its output"))
    }

    pub(super) fn numbers<'v, D: Dimension>(
        &self,
        value: &'v mut ValueRefMut<'_>,
    ) -> ort::Result<ArrayViewMut<'v, f32, D>> {
        let array = value.try_extract_array_mut::<f32>()?;
        array
            .into_dimensionality()
            .map_err(|error| refused(self.operator, error))
    }

    /// Lets a kernel have the session's threads.
    pub(super) fn with_threads<T>(
        &self,
        kernel: impl FnOnce(&Threads<'_>) -> Result<T, String>,
    ) -> ort::Result<T> {
        let failed = Mutex::new(None);
        let for_each = |count: usize, work: &(dyn Fn(usize) + Sync)| {
            if let Err(error) = self.context.par_for(count, 0, work) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        };
        let done = kernel(&Threads(&for_each)).map_err(|error| refused(self.operator, error))?;
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(done),
        }
    }
}
