//! A model's files, once they were compared with what its manifest says of them.

use std::collections::BTreeMap;

use super::external_data;
use crate::{
    error::{Error, Result},
    files::{FileDigest, ModelFile, ModelFiles},
};

/// Files whose hashes were compared.
#[derive(Debug, Clone)]
pub(super) struct VerifiedFiles {
    files: ModelFiles,
    listed: BTreeMap<String, FileDigest>,
}

impl VerifiedFiles {
    /// Reads every file that is listed once, so that a half-copied model is an error here.
    pub(super) fn new(files: ModelFiles, listed: &BTreeMap<String, FileDigest>) -> Result<Self> {
        for (name, expected) in listed {
            files.verify(name, expected)?;
        }
        let listed = listed.clone();
        Ok(Self { files, listed })
    }

    pub(super) fn file(&self, name: &str) -> Result<ModelFile<'_>> {
        self.files.file(name)
    }

    /// A graph's file, if all weights that it reads are in files whose hashes were compared.
    pub(super) fn graph(&self, graph: &str, name: &str) -> Result<ModelFile<'_>> {
        let file = self.files.file(name)?;
        let locations = external_data::locations(&file).map_err(|source| Error::GraphLoad {
            graph: graph.to_owned(),
            source: source.into(),
        })?;
        let is_known = |location: &String| {
            self.files.are_beside_each_other() && self.listed.contains_key(location)
        };
        match locations.into_iter().find(|location| !is_known(location)) {
            None => Ok(file),
            Some(location) => Err(Error::ExternalData {
                path: self.files.path(name),
                location,
            }),
        }
    }
}
