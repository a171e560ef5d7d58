//! The one ONNX Runtime of a process.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use ort::environment::Environment;

#[cfg(feature = "load-dynamic")]
use super::library;
#[cfg(not(feature = "load-dynamic"))]
use super::version;
use crate::error::{Error, Result};

/// ONNX Runtime, loaded into the process.
///
/// With the feature `load-dynamic` (the default), the library is looked for in this order:
///
/// 1. the path given to [`Runtime::load_from`], and nothing else;
/// 2. the environment variable `ORT_DYLIB_PATH`, and nothing else if it is set;
/// 3. beside the executable, and in a virtual environment (`.venv`, `venv`) beside it;
/// 4. the package `onnxruntime` of Python: of the activated environment (`VIRTUAL_ENV`,
///    `CONDA_PREFIX`), of `PYTHONPATH`, of the user site, of the installations on the `PATH`;
/// 5. wherever the system's loader looks;
/// 6. in a virtual environment in the working folder or above it.
///
/// It must be version 1.25 or later: GLIP's fusion tower needs the operator `DeformConv`.
/// A process holds one ONNX Runtime; loading again gives the same one.
///
/// # Example
///
/// ```
/// let runtime = glip::Runtime::load()?;
/// println!("ONNX Runtime {}", runtime.version());
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone)]
pub struct Runtime(Arc<Loaded>);

struct Loaded {
    environment: Environment,
    version: String,
    /// `None` if the library is linked into the program.
    path: Option<PathBuf>,
    recording: RwLock<()>,
}

/// ort allows one environment per process, ever: it is kept here until the process ends.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Finds and loads ONNX Runtime, or returns the one that is already loaded.
    ///
    /// # Errors
    /// - [`Error::RuntimeNotFound`]: it is in none of the places above.
    /// - [`Error::RuntimeUnusable`], [`Error::RuntimeTooOld`]: what was found cannot be used.
    /// - [`Error::RuntimeStart`]: it was loaded and does not start.
    pub fn load() -> Result<Self> {
        Self::load_once(None)
    }

    /// Loads ONNX Runtime from a library file.
    ///
    /// # Errors
    /// As [`Runtime::load`], and [`Error::RuntimeAlreadyLoaded`] if the process holds another one.
    #[cfg(feature = "load-dynamic")]
    pub fn load_from(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_once(Some(path.as_ref()))
    }

    /// ONNX Runtime's version, for example `1.25.0`.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// The library file, or `None` if ONNX Runtime is linked into the program.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Takes the environment that the program made with ort by itself, and the library that it gave
    /// to ort: a process can have only one of each.
    ///
    /// Call it before anything else of this crate; where that comes first, use
    /// [`environment`](Self::environment). Not covered by this crate's semantic version, as ort's
    /// types are not stable: use the re-exported [`ort`](crate::ort), or the very same version.
    ///
    /// # Errors
    /// - [`Error::RuntimeUnusable`], [`Error::RuntimeTooOld`]: of the library.
    /// - [`Error::RuntimeStart`]: this crate has started ONNX Runtime already.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use glip::{Detector, Runtime, ort};
    ///
    /// let library = "/opt/onnxruntime/libonnxruntime.so";
    /// let environment = ort::init_from(library)?.build()?;
    /// Runtime::from_environment(&environment, library)?;
    ///
    /// let detector = Detector::from_dir("models/glip")?;
    /// let own = ort::session::Session::builder(&environment)?.commit_from_file("own.onnx")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(all(feature = "share-ort", feature = "load-dynamic"))]
    pub fn from_environment(environment: &Environment, library: impl AsRef<Path>) -> Result<Self> {
        let mut slot = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return Err(Error::RuntimeStart {
                source: "it was started before: Runtime::load()?.environment() is what it runs in"
                    .into(),
            });
        }
        let library::Library { path, version } = library::find(Some(library.as_ref()))?;
        let runtime = Self::with(environment.clone(), version, Some(path));
        *slot = Some(runtime.clone());
        Ok(runtime)
    }

    /// The environment that everything runs in, for sessions that the program makes with ort by
    /// itself. Not covered by this crate's semantic version.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use glip::{Runtime, ort::session::Session};
    ///
    /// let runtime = Runtime::load()?;
    /// let own = Session::builder(runtime.environment())?.commit_from_file("own.onnx")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "share-ort")]
    pub fn environment(&self) -> &Environment {
        &self.0.environment
    }

    #[cfg(not(feature = "share-ort"))]
    pub(crate) fn environment(&self) -> &Environment {
        &self.0.environment
    }

    /// Held for writing by whoever records a CUDA graph, for reading by all others who use a GPU: a
    /// recording fails, process-wide, if another thread allocates or waits meanwhile.
    pub(crate) fn recording(&self) -> &RwLock<()> {
        &self.0.recording
    }

    fn load_once(requested: Option<&Path>) -> Result<Self> {
        // The lock is held while loading, so that two threads cannot both start ONNX Runtime.
        let mut slot = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = match slot.as_ref() {
            Some(loaded) => loaded.clone().matching(requested)?,
            None => Self::start(requested)?,
        };
        *slot = Some(runtime.clone());
        Ok(runtime)
    }

    fn matching(self, requested: Option<&Path>) -> Result<Self> {
        match (requested, self.path()) {
            (Some(requested), Some(loaded)) if !same_file(requested, loaded) => {
                Err(Error::RuntimeAlreadyLoaded {
                    loaded: loaded.to_owned(),
                    requested: requested.to_owned(),
                })
            }
            _ => Ok(self),
        }
    }

    #[cfg(feature = "load-dynamic")]
    fn start(requested: Option<&Path>) -> Result<Self> {
        let library::Library { path, version } = library::find(requested)?;
        let builder = ort::init_from(&path).map_err(|source| Error::RuntimeUnusable {
            path: path.clone(),
            source: source.into(),
        })?;
        Self::with_environment(builder, version, Some(path))
    }

    #[cfg(not(feature = "load-dynamic"))]
    fn start(_requested: Option<&Path>) -> Result<Self> {
        // SAFETY: the symbol is part of the ONNX Runtime that is linked into the program.
        #[allow(unsafe_code)]
        let version = unsafe { version::of_api(ort::sys::OrtGetApiBase()) };
        let version = version::check(version, Path::new("the program itself"))?;
        Self::with_environment(ort::init(), version, None)
    }

    fn with_environment(
        builder: ort::environment::EnvironmentBuilder,
        version: String,
        path: Option<PathBuf>,
    ) -> Result<Self> {
        let environment = builder
            .with_name("glip")
            .with_telemetry(false)
            .build()
            .map_err(|source| Error::RuntimeStart {
                source: source.into(),
            })?;
        Ok(Self::with(environment, version, path))
    }

    fn with(environment: Environment, version: String, path: Option<PathBuf>) -> Self {
        Self(Arc::new(Loaded {
            environment,
            version,
            path,
            recording: RwLock::default(),
        }))
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("version", &self.0.version)
            .field("path", &self.0.path)
            .finish()
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(all(test, feature = "load-dynamic"))]
mod tests {
    use super::*;

    #[test]
    fn a_second_library_is_refused_and_the_first_stays() {
        let runtime = Runtime::load().unwrap();
        let other = tempfile::NamedTempFile::new().unwrap();

        let error = Runtime::load_from(other.path()).unwrap_err();

        assert!(
            matches!(error, Error::RuntimeAlreadyLoaded { .. }),
            "{error}"
        );
        assert_eq!(Runtime::load().unwrap().path(), runtime.path());
        assert!(runtime.path().is_some_and(Path::is_file), "{runtime:?}");
    }
}
