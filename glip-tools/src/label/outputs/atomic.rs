//! Files that appear when they are complete, and JSON in them.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::{error::Result, files::unwritable};

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

/// Writes a value as a line of JSON.
pub(super) fn json_line(
    file: &mut dyn Write,
    value: &impl serde::Serialize,
    path: &Path,
) -> Result<()> {
    let line = serde_json::to_string(value).map_err(io::Error::from);
    let written = line.and_then(|line| writeln!(file, "{line}"));
    written.map_err(unwritable(path))
}

/// Writes values as the elements of a JSON array, one a line, without the brackets.
pub(super) fn json_elements<T: serde::Serialize>(
    file: &mut dyn Write,
    values: impl Iterator<Item = Result<T>>,
    path: &Path,
) -> Result<()> {
    let mut separator = "\n";
    for value in values {
        let element = serde_json::to_string(&value?).map_err(io::Error::from);
        let written = element.and_then(|element| write!(file, "{separator}{element}"));
        written.map_err(unwritable(path))?;
        separator = ",\n";
    }
    Ok(())
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
}
