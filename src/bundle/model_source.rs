//! Where a builder takes its model from.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// A folder, or a bundle that is open.
#[derive(Debug, Clone)]
pub(crate) enum ModelSource<B> {
    Folder(PathBuf),
    Bundle(Box<B>),
}

impl<B> ModelSource<B> {
    /// The bundle; [`Error::NoModel`] if nobody said where it is.
    pub(crate) fn open(
        source: Option<Self>,
        from_dir: impl FnOnce(PathBuf) -> Result<B>,
    ) -> Result<B> {
        match source {
            None => Err(Error::NoModel),
            Some(Self::Folder(folder)) => from_dir(folder),
            Some(Self::Bundle(bundle)) => Ok(*bundle),
        }
    }
}
