//! A segmenter: its two graphs and the manifest that describes them.

use std::{borrow::Cow, path::Path};

use super::{segmenter_format, segmenter_manifest::SegmenterManifest, verified::VerifiedFiles};
use crate::{
    error::Result,
    files::{ModelFile, ModelFiles},
};

/// The manifest's file name.
const MANIFEST: &str = "segmenter.json";

/// An exported segmenter, complete and undamaged.
///
/// `python -m glip_torch.export_segmenter` writes one from a checkpoint of SAM or MobileSAM, from a model of Hugging Face, or
/// around a pair of ONNX files that are there already: a folder with an encoder, a decoder and the manifest
/// `segmenter.json`.
///
/// Opening a bundle reads every file once to compare its SHA-256 with the manifest's.
#[derive(Debug, Clone)]
pub struct SegmenterBundle {
    files: VerifiedFiles,
    manifest: SegmenterManifest,
}

impl SegmenterBundle {
    /// Opens a segmenter's folder.
    ///
    /// # Errors
    /// As [`Bundle::from_dir`](crate::Bundle::from_dir).
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open(ModelFiles::Folder(folder.as_ref().to_owned()))
    }

    /// Opens a segmenter that is in memory: its files by name, `segmenter.json` among them. Bytes may be part of the program,
    /// or owned.
    ///
    /// # Errors
    /// As [`Bundle::from_dir`](crate::Bundle::from_dir).
    pub fn from_bytes<N, B>(files: impl IntoIterator<Item = (N, B)>) -> Result<Self>
    where
        N: Into<String>,
        B: Into<Cow<'static, [u8]>>,
    {
        Self::open(ModelFiles::in_memory(files))
    }

    /// What the model is and what it needs.
    pub fn manifest(&self) -> &SegmenterManifest {
        &self.manifest
    }

    pub(crate) fn encoder(&self) -> Result<ModelFile<'_>> {
        self.files.graph("encoder", &self.manifest.encoder.file)
    }

    pub(crate) fn decoder(&self) -> Result<ModelFile<'_>> {
        self.files.graph("decoder", &self.manifest.decoder.file)
    }

    fn open(files: ModelFiles) -> Result<Self> {
        let json = files.file(MANIFEST)?;
        let manifest = segmenter_format::parse(&json.read()?, &files.path(MANIFEST))?;
        let files = VerifiedFiles::new(files, &manifest.files)?;
        Ok(Self { manifest, files })
    }
}
