//! The first library that is an ONNX Runtime which can be used.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{
    binary,
    places::{Place, Surroundings},
    version,
};
use crate::error::{Error, Result, causes};

/// An ONNX Runtime library that can be used.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) path: PathBuf,
    pub(super) version: String,
}

/// Finds a usable library: the requested one, that of `ORT_DYLIB_PATH`, or the first of the usual places.
pub(super) fn find(requested: Option<&Path>) -> Result<Library> {
    let from_environment = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    match requested.or(from_environment.as_deref().map(Path::new)) {
        // What was asked for by name is used or refused, never replaced by something else.
        Some(path) => probe(path),
        None => first_usable(Surroundings::of_this_process().places()),
    }
}

fn first_usable(places: Vec<Place>) -> Result<Library> {
    let mut searched = Vec::new();
    let mut too_old = None;
    for place in places {
        let mut reasons = Vec::new();
        for path in &place.libraries {
            match probe(path) {
                Ok(library) => return Ok(library),
                Err(error @ Error::RuntimeTooOld { .. }) => too_old = too_old.or(Some(error)),
                Err(error) => reasons.push(reason(path, &error)),
            }
        }
        if place.libraries.is_empty() {
            reasons.push("no ONNX Runtime".to_owned());
        }
        searched.push(format!("{}: {}", place.name, reasons.join("; ")));
    }
    Err(too_old.unwrap_or(Error::RuntimeNotFound { searched }))
}

/// The path and the loader's words, without the remedy that the final error gives once.
fn reason(path: &Path, error: &Error) -> String {
    let words: Vec<_> = causes(error).map(ToString::to_string).collect();
    format!("{} ({})", path.display(), words.join(": "))
}

/// Loads a library just to ask its version.
#[allow(unsafe_code)] // Loading a library and calling into it cannot be checked by the compiler.
fn probe(path: &Path) -> Result<Library> {
    let unusable = |source| Error::RuntimeUnusable {
        path: path.to_owned(),
        source,
    };
    let path = absolute(path);
    // A bare name that is no file is found by the loader, and only there.
    if path.exists() {
        binary::check(&path).map_err(unusable)?;
    }
    type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: running the initialisers of what is taken for ONNX Runtime is what the caller asked
    // for; the symbol has the type that ONNX Runtime's C header gives it.
    let version = unsafe {
        let library = libloading::Library::new(&path).map_err(|error| unusable(error.into()))?;
        let entry = library
            .get::<GetApiBase>(b"OrtGetApiBase")
            .map_err(|error| unusable(error.into()))?;
        version::of_api(entry())
    };
    let version = version::check(version, &path)?;
    Ok(Library { path, version })
}

/// Files are loaded by absolute path (ort resolves relative ones against the executable's folder);
/// a bare name that is no file is left to the system's loader.
fn absolute(path: &Path) -> PathBuf {
    if path.exists() {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    /// A library that says it is ONNX Runtime of some version.
    fn fake_runtime(folder: &Path, version: &str) -> PathBuf {
        let source = folder.join("fake.rs");
        let library = folder.join(format!("fake{}", env::consts::DLL_SUFFIX));
        let code = r#"
            #[repr(C)]
            pub struct Base(extern "system" fn(u32) -> *const u8, extern "system" fn() -> *const u8);
            extern "system" fn api(_: u32) -> *const u8 { std::ptr::null() }
            extern "system" fn version() -> *const u8 { c"VERSION".as_ptr().cast() }
            static BASE: Base = Base(api, version);
            #[unsafe(no_mangle)]
            pub extern "C" fn OrtGetApiBase() -> *const Base { &BASE }
        "#;
        fs::write(&source, code.replace("VERSION", version)).unwrap();
        let status = Command::new("rustc")
            .args(["--edition=2024", "--crate-type=cdylib", "-o"])
            .args([&library, &source])
            .status()
            .unwrap();
        assert!(status.success());
        library
    }

    #[test]
    fn an_old_library_is_refused_with_both_versions_and_three_remedies() {
        let folder = tempfile::tempdir().unwrap();
        let library = fake_runtime(folder.path(), "1.20.1");

        let error = find(Some(&library)).unwrap_err();

        assert!(matches!(error, Error::RuntimeTooOld { .. }), "{error}");
        for part in [
            "1.20.1",
            "1.25",
            "pip install",
            "ORT_DYLIB_PATH",
            "download-binaries",
        ] {
            assert!(
                error.to_string().contains(part),
                "{part} is not in: {error}"
            );
        }
    }

    #[test]
    fn an_old_library_does_not_end_the_search() {
        let folder = tempfile::tempdir().unwrap();
        let old = fake_runtime(folder.path(), "1.20.1");
        let missing = folder.path().join("missing.so");

        let error = first_usable(vec![place("here", [old, missing])]).unwrap_err();

        assert!(matches!(error, Error::RuntimeTooOld { .. }), "{error}");
    }

    #[test]
    fn a_new_library_without_the_api_is_refused_before_ort_panics() {
        let folder = tempfile::tempdir().unwrap();
        let library = fake_runtime(folder.path(), "1.99.0");

        let error = find(Some(&library)).unwrap_err();

        assert!(matches!(error, Error::RuntimeUnusable { .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libonnxruntime.so");
        fs::write(&file, "not a library").unwrap();

        let error = find(Some(&file)).unwrap_err();

        assert!(matches!(error, Error::RuntimeUnusable { .. }), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }

    fn place(name: &str, libraries: impl IntoIterator<Item = PathBuf>) -> Place {
        Place {
            name: name.to_owned(),
            libraries: libraries.into_iter().collect(),
        }
    }

    #[test]
    fn nothing_found_names_every_place_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libonnxruntime.so");
        fs::write(&file, "not a library").unwrap();
        let loader = loaders_words(&file);

        let error = first_usable(vec![
            place("an empty place", []),
            place("a place with a file", [file.clone()]),
        ])
        .unwrap_err();

        assert!(matches!(error, Error::RuntimeNotFound { .. }), "{error}");
        for part in [
            "an empty place: no ONNX Runtime",
            "a place with a file: ",
            &file.display().to_string(),
            &loader,
            "pip install",
        ] {
            assert!(
                error.to_string().contains(part),
                "{part} is not in: {error}"
            );
        }
    }

    #[allow(unsafe_code)]
    fn loaders_words(path: &Path) -> String {
        // SAFETY: the file is no library, so nothing of it runs.
        let error = unsafe { libloading::Library::new(path) }.unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    }

    #[test]
    fn a_library_that_was_cut_off_is_refused_before_it_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let library = fake_runtime(folder.path(), "1.99.0");
        let bytes = fs::read(&library).unwrap();
        fs::write(&library, &bytes[..bytes.len() / 2]).unwrap();

        let error = find(Some(&library)).unwrap_err();

        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("cut off"), "{source}");
    }
}
