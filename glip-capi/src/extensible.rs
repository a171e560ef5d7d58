//! Structs that begin with their size, so that they can get fields.

use std::{mem::MaybeUninit, slice};

use crate::{
    arguments::is_null,
    fault::{Fault, Result},
};

/// A struct of which the caller says how large it is.
///
/// # Safety
/// It is `repr(C)`, its first field is `struct_size: usize`, and all bytes may be anything: numbers, pointers and
/// optional functions alone.
pub(crate) unsafe trait Extensible: Copy {
    const NAME: &'static str;
    /// As large as it was when it was first published.
    const FIRST: usize;
}

/// The struct, with zeros where the caller knows fewer fields.
///
/// # Safety
/// The pointer is NULL, or to as many bytes as it says.
pub(crate) unsafe fn read<T: Extensible>(pointer: *const T) -> Result<T> {
    // SAFETY: as the caller promises.
    let size = unsafe { size_of_theirs(pointer) }?;
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: so many bytes are there, of which those are taken that have a place; the rest is zero, and all of
    // these are a value, as `Extensible` promises.
    let (value, beyond) = unsafe {
        let bytes = slice::from_raw_parts(pointer.cast::<u8>(), size);
        let (known, beyond) = bytes.split_at(size.min(size_of::<T>()));
        value
            .as_mut_ptr()
            .cast::<u8>()
            .copy_from(known.as_ptr(), known.len());
        (value.assume_init(), beyond)
    };
    if beyond.iter().any(|&byte| byte != 0) {
        return Err(Fault::argument(format!(
            "{} has fields that this version of the library ({}) does not know: \
             compile the program with this library's glip.h, or load a newer library",
            T::NAME,
            env!("CARGO_PKG_VERSION")
        )));
    }
    Ok(value)
}

/// The struct, or all its defaults for NULL.
///
/// # Safety
/// As [`read`].
pub(crate) unsafe fn read_or_default<T: Extensible>(pointer: *const T) -> Result<T> {
    if pointer.is_null() {
        // SAFETY: zeros are a value, as `Extensible` promises.
        return Ok(unsafe { MaybeUninit::zeroed().assume_init() });
    }
    // SAFETY: as the caller promises.
    unsafe { read(pointer) }
}

/// Fills in what the caller has fields for.
///
/// # Safety
/// The pointer is NULL, or to as many bytes as it says, which can be written to.
pub(crate) unsafe fn write<T: Extensible>(pointer: *mut T, value: &T) -> Result<()> {
    // SAFETY: as the caller promises.
    let size = unsafe { size_of_theirs(pointer.cast_const()) }?;
    let size_field = size_of::<usize>();
    let known = size.min(size_of::<T>()) - size_field;
    // SAFETY: both have so many bytes, since neither is shorter than its first field.
    unsafe {
        let to = pointer.cast::<u8>().add(size_field);
        let from = (&raw const *value).cast::<u8>().add(size_field);
        to.copy_from(from, known);
        to.add(known).write_bytes(0, size - size_field - known);
    }
    Ok(())
}

/// # Safety
/// The pointer is NULL, or to a size.
unsafe fn size_of_theirs<T: Extensible>(pointer: *const T) -> Result<usize> {
    if pointer.is_null() {
        return Err(is_null(T::NAME));
    }
    // SAFETY: it is not NULL, and so to a size, as the caller promises.
    let size = unsafe { pointer.cast::<usize>().read_unaligned() };
    // What is much larger was never set.
    if size < T::FIRST || size > 64 * size_of::<T>() {
        return Err(Fault::argument(format!(
            "struct_size of {name} is {size}: set it to sizeof({name}), which is {} here",
            size_of::<T>(),
            name = T::NAME,
        )));
    }
    Ok(size)
}
