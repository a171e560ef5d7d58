//! The files of a model, complete and undamaged.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    regular_file::{open_regular, read_regular},
};

/// Where a model's files are.
#[derive(Debug, Clone)]
pub(crate) enum ModelFiles {
    Folder(PathBuf),
    Memory(BTreeMap<String, Cow<'static, [u8]>>),
}

/// One file of a model, as it is passed to ONNX Runtime or the tokenizer.
#[derive(Debug, Clone)]
pub(crate) enum ModelFile<'a> {
    Path(PathBuf),
    Bytes(&'a [u8]),
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileDigest {
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub(crate) sha256: String,
}

impl ModelFiles {
    /// Files by name.
    pub(crate) fn in_memory<N, B>(files: impl IntoIterator<Item = (N, B)>) -> Self
    where
        N: Into<String>,
        B: Into<Cow<'static, [u8]>>,
    {
        let files = files.into_iter();
        let files = files.map(|(name, bytes)| (name.into(), bytes.into()));
        Self::Memory(files.collect())
    }

    /// A file by its name. That it is there is known once it is read.
    pub(crate) fn file(&self, name: &str) -> Result<ModelFile<'_>> {
        match self {
            Self::Folder(_) => Ok(ModelFile::Path(self.path(name))),
            Self::Memory(files) => match files.get(name) {
                Some(bytes) => Ok(ModelFile::Bytes(bytes)),
                None => {
                    let missing = io::Error::new(io::ErrorKind::NotFound, "it was not given");
                    Err(unreadable(&self.path(name), missing))
                }
            },
        }
    }

    /// Whether one file can name another, as files in a folder can.
    pub(crate) fn are_beside_each_other(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// The file's path, or its bare name if it is in memory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Memory(_) => name.into(),
        }
    }

    /// Reads a file once to compare it with what it must be, so that a half-copied model is an error
    /// here and not a wrong detection later.
    pub(crate) fn verify(&self, name: &str, expected: &FileDigest) -> Result<()> {
        let path = self.path(name);
        let found = match self.file(name)? {
            ModelFile::Bytes(mut bytes) => digest(&mut bytes),
            ModelFile::Path(path) => digest_file(&path, expected.bytes),
        };
        let found = found.map_err(|source| unreadable(&path, source))?;
        if found.bytes != expected.bytes {
            return Err(Error::BundleSize {
                path,
                expected: expected.bytes,
                found: found.bytes,
            });
        }
        if !found.sha256.eq_ignore_ascii_case(&expected.sha256) {
            return Err(Error::BundleHash {
                path,
                expected: expected.sha256.clone(),
                found: found.sha256,
            });
        }
        Ok(())
    }
}

impl ModelFile<'_> {
    /// Opens it, if it is not in memory.
    pub(crate) fn open(&self) -> io::Result<File> {
        match self {
            Self::Path(path) => open_regular(path),
            Self::Bytes(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it is in memory",
            )),
        }
    }

    /// The file's contents.
    pub(crate) fn read(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::Path(path) => {
                let contents = read_regular(path, u64::MAX);
                let contents = contents.map_err(|source| unreadable(path, source))?;
                Ok(Cow::Owned(contents))
            }
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::BundleFile {
        path: path.to_owned(),
        source,
    }
}

/// What a file is, of which no more is read than it must have.
fn digest_file(path: &Path, expected: u64) -> io::Result<FileDigest> {
    let file = open_regular(path)?;
    let bytes = file.metadata()?.len();
    match bytes == expected {
        true => digest(&mut file.take(bytes)),
        false => Ok(FileDigest {
            bytes,
            sha256: String::new(),
        }),
    }
}

/// Length and SHA-256, without holding the file in memory: graphs can have gigabytes.
fn digest(reader: &mut dyn Read) -> io::Result<FileDigest> {
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
    let sha256 = hexadecimal(&hasher.finalize());
    Ok(FileDigest { bytes, sha256 })
}

/// Bytes as two hexadecimal digits each.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("head.onnx")).unwrap();
        let files = ModelFiles::Folder(folder.path().to_owned());
        let expected = FileDigest {
            bytes: 0,
            sha256: String::new(),
        };
        for result in [
            files.verify("head.onnx", &expected),
            files.file("head.onnx").unwrap().read().map(drop),
        ] {
            let Err(Error::BundleFile { source, .. }) = result else {
                panic!("{result:?}");
            };
            assert!(source.to_string().contains("regular"), "{source}");
        }
    }
}
