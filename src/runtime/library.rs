//! Where ONNX Runtime may be, and whether a file is it.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::version;
use crate::error::{Error, Result};

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
        None => first_usable(usual_places()),
    }
}

fn first_usable(candidates: Vec<PathBuf>) -> Result<Library> {
    let mut searched = Vec::new();
    let mut too_old = None;
    for path in candidates {
        match probe(&path) {
            Ok(library) => return Ok(library),
            Err(error @ Error::RuntimeTooOld { .. }) => too_old = too_old.or(Some(error)),
            Err(error) => searched.push(reason(&path, &error)),
        }
    }
    Err(too_old.unwrap_or(Error::RuntimeNotFound { searched }))
}

/// The path and the loader's words, without the remedy that the final error gives once.
fn reason(path: &Path, error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{} ({source})", path.display()),
        None => path.display().to_string(),
    }
}

/// Loads a library just to ask its version.
#[allow(unsafe_code)] // Loading a library and calling into it cannot be checked by the compiler.
fn probe(path: &Path) -> Result<Library> {
    let unusable = |source: libloading::Error| Error::RuntimeUnusable {
        path: path.to_owned(),
        source: source.into(),
    };
    let path = absolute(path);
    type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: running the initialisers of what is taken for ONNX Runtime is what the caller asked
    // for; the symbol has the type that ONNX Runtime's C header gives it.
    let version = unsafe {
        let library = libloading::Library::new(&path).map_err(unusable)?;
        let entry = library
            .get::<GetApiBase>(b"OrtGetApiBase")
            .map_err(unusable)?;
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

fn usual_places() -> Vec<PathBuf> {
    let name = format!(
        "{}onnxruntime{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    );
    let beside_executable = env::current_exe()
        .ok()
        .and_then(|executable| Some(executable.parent()?.join(&name)))
        .filter(|path| path.exists());
    let python = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .into_iter()
        .filter_map(env::var_os)
        .flat_map(|prefix| python_package(Path::new(&prefix)));
    beside_executable
        .into_iter()
        .chain(python)
        .chain([PathBuf::from(&name)])
        .collect()
}

/// The library inside the `onnxruntime` package of a Python environment, if it is installed.
fn python_package(prefix: &Path) -> Option<PathBuf> {
    let unix = entries(&prefix.join("lib"))
        .into_iter()
        .filter(|folder| file_name(folder).starts_with("python"))
        .map(|folder| folder.join("site-packages"));
    let windows = prefix.join("Lib").join("site-packages");
    unix.chain([windows])
        .flat_map(|packages| entries(&packages.join("onnxruntime").join("capi")))
        .find(|file| is_runtime_library(&file_name(file)))
}

/// Wheels name the library `libonnxruntime.so.1.25.0`, `libonnxruntime.1.25.0.dylib` or `onnxruntime.dll`;
/// the provider libraries beside it are `libonnxruntime_providers_...`.
fn is_runtime_library(name: &str) -> bool {
    name == "onnxruntime.dll"
        || name.starts_with("libonnxruntime.so")
        || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort(); // the file system's order is arbitrary
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
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

        let error = first_usable(vec![old, missing]).unwrap_err();

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

    #[test]
    fn nothing_found_names_every_place() {
        let places = vec![
            PathBuf::from("/nowhere/a.so"),
            PathBuf::from("/nowhere/b.so"),
        ];

        let error = first_usable(places).unwrap_err();

        assert!(matches!(error, Error::RuntimeNotFound { .. }), "{error}");
        for part in ["/nowhere/a.so", "/nowhere/b.so", "pip install"] {
            assert!(
                error.to_string().contains(part),
                "{part} is not in: {error}"
            );
        }
    }

    #[test]
    fn the_library_of_a_python_environment_is_found() {
        let environment = tempfile::tempdir().unwrap();
        let capi = environment
            .path()
            .join("lib/python3.11/site-packages/onnxruntime/capi");
        fs::create_dir_all(&capi).unwrap();
        for name in [
            "libonnxruntime_providers_shared.so",
            "libonnxruntime.so.1.25.0",
        ] {
            fs::write(capi.join(name), "").unwrap();
        }

        let found = python_package(environment.path());

        assert_eq!(found, Some(capi.join("libonnxruntime.so.1.25.0")));
    }
}
