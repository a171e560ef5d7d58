//! The places where ONNX Runtime usually is.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// A place to look at, and the libraries there that have ONNX Runtime's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) libraries: Vec<PathBuf>,
}

impl Place {
    /// A folder that holds the library itself.
    fn folder(name: &str, folder: &Path) -> Self {
        Self {
            name: format!("{name} ({})", folder.display()),
            libraries: libraries_in(folder),
        }
    }

    /// Folders of Python packages, the package `onnxruntime` perhaps among them.
    fn packages(name: &str, folders: &[PathBuf]) -> Self {
        let shown: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
        Self {
            name: match shown.is_empty() {
                true => name.to_owned(),
                false => format!("{name} ({})", shown.join(", ")),
            },
            libraries: folders
                .iter()
                .flat_map(|folder| libraries_in(&folder.join("onnxruntime").join("capi")))
                .collect(),
        }
    }
}

/// What tells where to look.
pub(super) struct Surroundings {
    executable: Option<PathBuf>,
    working_folder: Option<PathBuf>,
    home: Option<PathBuf>,
    variable: fn(&str) -> Option<OsString>,
}

impl Surroundings {
    pub(super) fn of_this_process() -> Self {
        Self {
            executable: env::current_exe().ok(),
            working_folder: env::current_dir().ok(),
            home: env::home_dir(),
            variable: |name| env::var_os(name),
        }
    }

    /// Every place, in the order in which they are tried.
    ///
    /// The working folder comes last: what lies about in a folder that somebody sent must not take
    /// the place of what is installed.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        if let Some(folder) = self.executable.as_deref().and_then(Path::parent) {
            places.push(Place::folder("beside the program", folder));
            places.push(Place::packages(
                "a virtual environment beside the program",
                &virtual_environments(folder),
            ));
        }
        for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
            places.push(match self.path(name) {
                Some(prefix) => Place::packages(name, &packages_of(&prefix)),
                None => Place {
                    name: format!("{name} (not set)"),
                    libraries: Vec::new(),
                },
            });
        }
        if let Some(paths) = self.variable("PYTHONPATH") {
            let folders: Vec<_> = env::split_paths(&paths).collect();
            places.push(Place::packages("PYTHONPATH", &folders));
        }
        places.push(Place::packages("Python's user site", &self.user_sites()));
        places.push(Place::packages("Python on the PATH", &self.pythons()));
        places.push(Place {
            name: "the system's loader".to_owned(),
            libraries: loader_names(),
        });
        if let Some(folder) = &self.working_folder {
            let environments: Vec<_> = folder.ancestors().flat_map(virtual_environments).collect();
            places.push(Place::packages(
                "a virtual environment in the working folder or above it",
                &environments,
            ));
        }
        places
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from)
    }

    /// Where `pip install --user` puts packages.
    fn user_sites(&self) -> Vec<PathBuf> {
        let mut bases: Vec<_> = self.path("PYTHONUSERBASE").into_iter().collect();
        if let Some(home) = &self.home {
            bases.push(home.join(".local"));
            bases.extend(entries(&home.join("Library").join("Python"))); // macOS
        }
        if let Some(data) = self.path("APPDATA") {
            bases.extend(entries(&data.join("Python")));
        }
        let mut sites: Vec<_> = bases.iter().flat_map(|base| packages_of(base)).collect();
        // macOS's framework builds, and Windows, name the folder without the version.
        sites.extend(bases.iter().flat_map(|base| {
            [
                base.join("lib/python/site-packages"),
                base.join("site-packages"),
            ]
        }));
        existing(sites)
    }

    /// The packages of each Python that the shell would find, of Debian's second prefix, and of
    /// those that pyenv's shims stand for.
    fn pythons(&self) -> Vec<PathBuf> {
        let path = self.variable("PATH").unwrap_or_default();
        let mut prefixes = Vec::new();
        for folder in env::split_paths(&path) {
            for name in ["python3", "python", "python.exe"] {
                let python = folder.join(name);
                if python.is_file() {
                    // A link may lead to the installation, as uv's do.
                    let real = python.canonicalize().unwrap_or_else(|_| python.clone());
                    for program in [python, real] {
                        prefixes.extend(prefix_of(&program));
                    }
                }
            }
        }
        if cfg!(unix) {
            prefixes.push(PathBuf::from("/usr/local"));
        }
        let versions: Vec<_> = prefixes
            .iter()
            .flat_map(|prefix| entries(&prefix.join("versions")))
            .collect();
        prefixes.extend(versions);
        existing(prefixes.iter().flat_map(|p| packages_of(p)).collect())
    }
}

/// The folder that `bin/python3` or `python.exe` belongs to.
fn prefix_of(python: &Path) -> Option<PathBuf> {
    let folder = python.parent()?;
    let is_unix = matches!(folder.file_name()?.to_str()?, "bin" | "shims" | "Scripts");
    Some(if is_unix { folder.parent()? } else { folder }.to_owned())
}

/// The packages of the environments that are made inside a folder, by their usual names.
fn virtual_environments(folder: &Path) -> Vec<PathBuf> {
    [".venv", "venv"]
        .iter()
        .flat_map(|name| packages_of(&folder.join(name)))
        .collect()
}

/// The folders of packages of one Python installation or environment.
fn packages_of(prefix: &Path) -> Vec<PathBuf> {
    let versioned = ["lib", "lib64"]
        .iter()
        .flat_map(|lib| entries(&prefix.join(lib)))
        .filter(|folder| file_name(folder).starts_with("python3"));
    let folders = versioned.chain([prefix.join("Lib"), prefix.to_owned()]);
    let named = folders.flat_map(|folder| {
        ["site-packages", "dist-packages"].map(|packages| folder.join(packages))
    });
    existing(named.collect())
}

/// Those that are there, each once.
fn existing(folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut kept: Vec<(PathBuf, PathBuf)> = Vec::new();
    for folder in folders {
        // Differently spelt, as with links and where letter case does not count, it is the same.
        let Ok(real) = folder.canonicalize() else {
            continue;
        };
        if real.is_dir() && kept.iter().all(|(_, other)| *other != real) {
            kept.push((folder, real));
        }
    }
    kept.into_iter().map(|(folder, _)| folder).collect()
}

fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    entries(folder)
        .into_iter()
        .filter(|file| is_runtime_library(&file_name(file)))
        .collect()
}

/// Packages and wheels name the library `libonnxruntime.so`, `libonnxruntime.so.1.25.0`,
/// `libonnxruntime.1.25.0.dylib` or `onnxruntime.dll`; the provider libraries beside it are
/// `libonnxruntime_providers_...`.
fn is_runtime_library(name: &str) -> bool {
    name == "onnxruntime.dll"
        || name == "libonnxruntime.so"
        || name.starts_with("libonnxruntime.so.")
        || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
}

/// The names to leave to the system's loader. Distributions ship the one without a version only
/// with the headers.
fn loader_names() -> Vec<PathBuf> {
    let plain = format!(
        "{}onnxruntime{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    );
    let versioned = match env::consts::DLL_SUFFIX {
        ".so" => Some("libonnxruntime.so.1"),
        ".dylib" => Some("libonnxruntime.1.dylib"),
        _ => None,
    };
    [Some(plain.as_str()), versioned]
        .into_iter()
        .flatten()
        .map(PathBuf::from)
        .collect()
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
    use std::fs;

    use super::*;

    const LIBRARY: &str = "libonnxruntime.so.1.25.0";

    fn nowhere() -> Surroundings {
        Surroundings {
            executable: None,
            working_folder: None,
            home: None,
            variable: |_| None,
        }
    }

    /// Puts a library, and one of its providers, into a folder.
    fn install(folder: &Path) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        for name in ["libonnxruntime_providers_shared.so", LIBRARY] {
            fs::write(folder.join(name), "").unwrap();
        }
        folder.join(LIBRARY)
    }

    fn install_package(packages: &Path) -> PathBuf {
        install(&packages.join("onnxruntime/capi"))
    }

    /// The libraries in files, which leaves out the names that are for the system's loader.
    fn found(surroundings: &Surroundings) -> Vec<PathBuf> {
        surroundings
            .places()
            .into_iter()
            .flat_map(|place| place.libraries)
            .filter(|library| library.is_absolute())
            .filter(|library| !library.starts_with("/usr"))
            .collect()
    }

    #[test]
    fn a_library_beside_the_program_is_found_by_its_versioned_name() {
        let folder = tempfile::tempdir().unwrap();
        let library = install(folder.path());

        let surroundings = Surroundings {
            executable: Some(folder.path().join("program")),
            ..nowhere()
        };

        assert_eq!(found(&surroundings), [library]);
    }

    #[test]
    fn an_environment_beside_the_program_comes_before_one_above_the_working_folder() {
        let folder = tempfile::tempdir().unwrap();
        let beside = install_package(&folder.path().join("bin/.venv/lib/python3.12/site-packages"));
        let above = install_package(&folder.path().join("work/venv/Lib/site-packages"));
        fs::create_dir_all(folder.path().join("work/a/b")).unwrap();

        let surroundings = Surroundings {
            executable: Some(folder.path().join("bin/program")),
            working_folder: Some(folder.path().join("work/a/b")),
            ..nowhere()
        };

        assert_eq!(found(&surroundings), [beside, above]);
        let last = surroundings.places().pop().unwrap();
        assert!(last.name.contains("working folder"), "{}", last.name);
    }

    #[test]
    fn packages_of_the_user_are_found() {
        for site in [
            ".local/lib/python3.11/site-packages",
            "Library/Python/3.11/lib/python/site-packages",
        ] {
            let home = tempfile::tempdir().unwrap();
            let library = install_package(&home.path().join(site));

            let surroundings = Surroundings {
                home: Some(home.path().to_owned()),
                ..nowhere()
            };

            assert_eq!(found(&surroundings), [library], "{site}");
        }
    }

    #[test]
    fn installations_are_found_by_their_program() {
        for (python, packages) in [
            ("bin/python3", "lib/python3.11/site-packages"),
            ("bin/python3", "lib/python3/dist-packages"),
            ("bin/python3", "lib64/python3.13/site-packages"),
            (
                "shims/python",
                "versions/3.12.1/lib/python3.12/site-packages",
            ),
            ("python.exe", "Lib/site-packages"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let python = folder.path().join(python);
            fs::create_dir_all(python.parent().unwrap()).unwrap();
            fs::write(&python, "").unwrap();
            let library = install_package(&folder.path().join(packages));

            let prefix = prefix_of(&python).unwrap();
            let versions = entries(&prefix.join("versions"));
            let libraries: Vec<_> = [prefix]
                .iter()
                .chain(&versions)
                .flat_map(|prefix| Place::packages("", &packages_of(prefix)).libraries)
                .collect();

            assert_eq!(libraries, [library], "{packages}");
        }
    }

    #[test]
    fn names_are_those_of_the_library_and_not_of_its_providers() {
        for (name, expected) in [
            ("libonnxruntime.so", true),
            ("libonnxruntime.so.1", true),
            ("libonnxruntime.1.25.0.dylib", true),
            ("libonnxruntime.dylib", true),
            ("onnxruntime.dll", true),
            ("libonnxruntime_providers_shared.so", false),
            ("onnxruntime_providers_shared.dll", false),
            ("libonnxruntime.a", false),
            ("libonnxruntime.soup", false),
        ] {
            assert_eq!(is_runtime_library(name), expected, "{name}");
        }
    }
}
