//! What goes wrong with files, as errors.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// The most bytes that a file of text may have: no limit, as data sets' annotations have gigabytes.
pub(crate) const ANY_SIZE: u64 = u64::MAX;

/// Reads a regular file of at most so many bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    glip::read_regular(path, most).map_err(unreadable(path))
}

/// Opens a regular file to read it.
pub(crate) fn open(path: &Path) -> Result<File> {
    glip::open_regular(path).map_err(unreadable(path))
}

/// The error of a file or folder that cannot be read, for `map_err`.
pub(crate) fn unreadable(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path: PathBuf = path.to_owned();
    move |source| Error::Read {
        path: path.clone(),
        source,
    }
}

/// The error of a file or folder that cannot be written, for `map_err`.
pub(crate) fn unwritable(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path: PathBuf = path.to_owned();
    move |source| Error::Write {
        path: path.clone(),
        source,
    }
}

/// Locks a file, which nobody else can while it is open; `path` is what the lock is for.
pub(crate) fn lock(file: &File, path: &Path) -> Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::RunBusy {
            path: path.to_owned(),
        },
        TryLockError::Error(source) => unwritable(path)(source),
    })
}

/// Removes a file or a folder, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritable(path)(error)),
        _ => Ok(()),
    }
}
