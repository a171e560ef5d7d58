//! What functions are handed over, and hand back.

use std::{
    ffi::{CStr, c_char},
    ptr, slice,
};

use crate::fault::{Fault, Result};

/// What a handle or a struct is, for as long as the call takes.
///
/// # Safety
/// The pointer is NULL, or what it points to lives and is not written to for `'a`.
pub(crate) unsafe fn borrow<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: as the caller promises.
    let value = unsafe { pointer.as_ref() };
    value.ok_or_else(|| is_null(name))
}

/// The text of a C string.
///
/// # Safety
/// The pointer is NULL, or a string with a zero byte at its end lives there for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(is_null(name));
    }
    // SAFETY: it is not NULL, and so a string, as the caller promises.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str()
        .map_err(|error| Fault::argument(format!("{name} is not UTF-8: {error}")))
}

/// As [`text`], of what may be NULL.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &str,
) -> Result<Option<&'a str>> {
    match pointer.is_null() {
        true => Ok(None),
        // SAFETY: as the caller promises.
        false => unsafe { text(pointer, name) }.map(Some),
    }
}

/// So many of something in a row; none needs no place.
///
/// # Safety
/// The pointer is NULL, or so many live there and are not written to for `'a`.
pub(crate) unsafe fn list<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(is_null(name));
    }
    if !pointer.is_aligned() || count > isize::MAX as usize / size_of::<T>().max(1) {
        let message =
            format!("{name} cannot be {count} in one place: check the pointer and the count");
        return Err(Fault::argument(message));
    }
    // SAFETY: it is neither NULL nor out of line, no longer than memory can be, and there, as the caller promises.
    Ok(unsafe { slice::from_raw_parts(pointer, count) })
}

/// Where a call puts what it makes: NULL until it is made.
///
/// # Safety
/// The pointer is NULL, or one can be written there for `'a`.
pub(crate) unsafe fn place<'a, T>(pointer: *mut *mut T, name: &str) -> Result<&'a mut *mut T> {
    // SAFETY: as the caller promises; what was there before is not looked at.
    unsafe {
        if !pointer.is_null() {
            pointer.write(ptr::null_mut());
        }
        pointer.as_mut().ok_or_else(|| is_null(name))
    }
}

/// Gives the caller what it then owns.
pub(crate) fn give<T>(place: &mut *mut T, value: T) {
    *place = Box::into_raw(Box::new(value));
}

/// Takes back what [`give`] gave, and drops it.
///
/// # Safety
/// The pointer is NULL, or of [`give`] and not taken back yet, and nobody uses it.
pub(crate) unsafe fn take_back<T>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: it came out of a box, as the caller promises, and is dropped once.
        drop(unsafe { Box::from_raw(pointer) });
    }
}

pub(crate) fn is_null(name: &str) -> Fault {
    Fault::argument(format!("{name} is NULL"))
}
