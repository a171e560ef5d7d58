//! Files that appear when they are complete.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use super::unwritable;
use crate::Result;

/// A file that is being written, under another name.
pub(super) struct AtomicFile {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    is_complete: bool,
}

impl AtomicFile {
    /// Writes a file; if that fails, there is none, and one that was there before stays.
    pub(super) fn write(
        path: &Path,
        content: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let mut file = Self::create(path)?;
        content(&mut file.file)?;
        file.complete()
    }

    fn create(path: &Path) -> Result<Self> {
        let partial = partial(path);
        let file = File::create(&partial).map_err(unwritable(&partial))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file: BufWriter::new(file),
            is_complete: false,
        })
    }

    fn complete(mut self) -> Result<()> {
        self.file.flush().map_err(unwritable(&self.partial))?;
        fs::rename(&self.partial, &self.path).map_err(unwritable(&self.path))?;
        self.is_complete = true;
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_complete {
            // It is unusable either way.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// What a file or folder is called until it is complete.
pub(super) fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn nothing_half_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        AtomicFile::write(&path, |file| {
            assert!(!path.exists());
            file.write_all(b"all").map_err(unwritable(&path))
        })
        .unwrap();
        let failed = AtomicFile::write(&path, |file| {
            file.write_all(b"half").map_err(unwritable(&path))?;
            Err(Error::NoSubject)
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"all");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
