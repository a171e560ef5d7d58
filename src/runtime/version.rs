//! ONNX Runtime's version, asked for before ort is: ort panics where it finds too old an API.

use std::{ffi::CStr, path::Path};

use crate::error::{Error, Result};

/// The first version with `DeformConv`.
const NEEDED: (u32, u32) = (1, 25);

/// The version that ONNX Runtime's entry point reports, if it also has the API that ort uses.
///
/// # Safety
/// `base` is null or what `OrtGetApiBase` of a loaded ONNX Runtime returned.
#[allow(unsafe_code)] // The only way to ask: ort asks the same way, but panics at some answers.
pub(super) unsafe fn of_api(base: *const ort::sys::OrtApiBase) -> Option<String> {
    // SAFETY: a pointer that is not null points to the table of the two functions called here,
    // and the version is a constant of the library, terminated by a null byte.
    unsafe {
        let base = base.as_ref()?;
        let version = (base.GetVersionString)();
        if version.is_null() {
            return None;
        }
        let version = CStr::from_ptr(version).to_string_lossy().into_owned();
        // An older library may complain on stderr when asked for an API it lacks: ask only a new one.
        let usable = !is_new_enough(&version) || !(base.GetApi)(ort::MINOR_VERSION).is_null();
        usable.then_some(version)
    }
}

/// Passes a version on if it is new enough.
pub(super) fn check(version: Option<String>, path: &Path) -> Result<String> {
    let version = version.ok_or_else(|| Error::RuntimeUnusable {
        path: path.to_owned(),
        source: "its OrtGetApiBase does not offer the API of ONNX Runtime".into(),
    })?;
    if is_new_enough(&version) {
        return Ok(version);
    }
    Err(Error::RuntimeTooOld {
        path: path.to_owned(),
        found: version,
        needed: format!("{}.{}", NEEDED.0, NEEDED.1),
    })
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= NEEDED,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for (version, expected) in [
            ("1.25.0", true),
            ("1.100.1", true),
            ("2.0.0", true),
            ("1.25", true),
            ("1.24.9", false),
            ("1.9.0", false),
            ("0.30.0", false),
            ("garbage", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version:?}");
        }
    }

    #[test]
    fn a_library_without_the_api_is_unusable() {
        let error = check(None, Path::new("lib.so")).unwrap_err();

        assert!(matches!(error, Error::RuntimeUnusable { .. }), "{error}");
    }
}
