//! Files that appear when they are complete.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::{error::Result, files::unwritable};

/// A file that is being written, under another name.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    is_complete: bool,
}

impl AtomicFile {
    /// Writes a file; if that fails, there is none, and one that was there before stays.
    pub(crate) fn write(
        path: &Path,
        content: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let mut file = Self::create(path)?;
        content(&mut file.file)?;
        file.complete().map(drop)
    }

    /// Begins a file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        // Of a link, what it leads to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let partial = partial(&path);
        let file = File::create(&partial).map_err(unwritable(&partial))?;
        Ok(Self {
            path,
            partial,
            file: BufWriter::new(file),
            is_complete: false,
        })
    }

    /// What is written.
    pub(crate) fn file(&mut self) -> &mut BufWriter<File> {
        &mut self.file
    }

    /// Gives the file its name; it stays open.
    pub(crate) fn complete(mut self) -> Result<File> {
        self.file.flush().map_err(unwritable(&self.partial))?;
        let file = self.file.get_ref().try_clone();
        let file = file.map_err(unwritable(&self.partial))?;
        fs::rename(&self.partial, &self.path).map_err(unwritable(&self.path))?;
        self.is_complete = true;
        Ok(file)
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

/// Writes a file of which all is at hand. It appears when it is complete; if that fails, one that was there
/// before stays.
///
/// # Errors
/// - [`Error::Write`](crate::Error::Write): it cannot be written.
pub fn write_file(path: impl AsRef<Path>, content: &[u8]) -> Result<()> {
    let path = path.as_ref();
    AtomicFile::write(path, |file| {
        file.write_all(content).map_err(unwritable(path))
    })
}

/// What a file or folder is called until it is complete.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

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

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(link.is_symlink());
    }
}
