//! What the checks of all kinds of manifests share.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::{Component, Path},
};

use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    files::{FileDigest, hexadecimal},
};

/// A file as manifests list it.
#[derive(Deserialize)]
pub(super) struct FileEntry {
    bytes: u64,
    sha256: String,
}

/// The manifest that is read; its path is for errors.
#[derive(Clone, Copy)]
pub(super) struct ManifestFile<'a>(pub(super) &'a Path);

impl ManifestFile<'_> {
    /// The version of the format, which is read first: the rest of another version may look different.
    pub(super) fn version(&self, json: &[u8]) -> Result<u64> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let Version { format_version } = self.read(json)?;
        Ok(format_version)
    }

    pub(super) fn read<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T> {
        serde_json::from_slice(json).map_err(|source| Error::ManifestSyntax {
            path: self.0.to_owned(),
            source,
        })
    }

    pub(super) fn unknown_version(&self, found: u64, supported: u64) -> Error {
        Error::ManifestVersion {
            path: self.0.to_owned(),
            found,
            supported,
        }
    }

    /// The files that are listed, if no name leads out of the bundle.
    pub(super) fn files(
        &self,
        listed: BTreeMap<String, FileEntry>,
    ) -> Result<BTreeMap<String, FileDigest>> {
        for (name, file) in &listed {
            let plain = is_plain_file_name(name);
            self.require(plain, "files", name, "names of files beside the manifest")?;
            let hexadecimal = file.sha256.chars().all(|c| c.is_ascii_hexdigit());
            let valid = hexadecimal && file.sha256.len() == 64;
            let field = format!("files.{name}.sha256");
            self.require(valid, &field, &file.sha256, "64 hexadecimal digits")?;
        }
        let files = listed.into_iter();
        let digest = |(name, FileEntry { bytes, sha256 })| (name, FileDigest { bytes, sha256 });
        Ok(files.map(digest).collect())
    }

    /// A file that a field names has to be among those that are listed.
    pub(super) fn listed(
        &self,
        field: &str,
        name: &str,
        files: &BTreeMap<String, FileDigest>,
    ) -> Result<()> {
        let listed = files.contains_key(name);
        self.require(listed, field, name, "a name that `files` lists")
    }

    /// An option that was refused, as a field of the manifest.
    pub(super) fn named(&self, field: &str, error: Error) -> Error {
        match error {
            Error::InvalidOption {
                found, expected, ..
            } => self.error(field, found, expected),
            error => error,
        }
    }

    pub(super) fn require(
        &self,
        valid: bool,
        field: &str,
        found: impl Debug,
        expected: &str,
    ) -> Result<()> {
        if valid {
            return Ok(());
        }
        Err(self.error(field, format!("{found:?}"), expected))
    }

    pub(super) fn error(&self, field: &str, found: String, expected: &str) -> Error {
        Error::ManifestValue {
            path: self.0.to_owned(),
            field: field.into(),
            found,
            expected: expected.into(),
        }
    }
}

/// What tells a model from every other: a hash of the names and the hashes of all files.
pub(super) fn identity(files: &BTreeMap<String, FileDigest>) -> String {
    let mut hasher = Sha256::new();
    for (name, file) in files {
        hasher.update(format!("{name} {}\n", file.sha256.to_lowercase()));
    }
    hexadecimal(&hasher.finalize())
}

fn is_plain_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let first = components.next();
    matches!(first, Some(Component::Normal(only)) if only == name) && components.next().is_none()
}
