//! A model: its graphs, its tokenizer and the manifest that describes them.

mod external_data;
mod format;
mod manifest;
mod manifest_file;
mod model_source;
mod segmenter_bundle;
mod segmenter_format;
mod segmenter_manifest;
mod verified;

use std::{borrow::Cow, path::Path};

use self::verified::VerifiedFiles;
pub use self::{
    manifest::{Manifest, Precision, SourceSpec},
    segmenter_bundle::SegmenterBundle,
    segmenter_manifest::SegmenterManifest,
};
pub(crate) use self::{
    model_source::ModelSource,
    segmenter_manifest::{Layout, PromptsInRun},
};
use crate::{
    error::Result,
    files::{ModelFile, ModelFiles},
    prompt::Tokenizer,
};

/// The manifest's file name.
const MANIFEST: &str = "glip.json";

/// An exported model, complete and undamaged.
///
/// `python -m glip_torch.export` writes one from a GLIP checkpoint: a folder with the graphs
/// `image_encoder.onnx`, `text_encoder.onnx`, `head.onnx` and, in variants with fusion,
/// `fusion.onnx`, the tokenizer `tokenizer.json` and the manifest `glip.json`.
///
/// Opening a bundle reads every file once to compare its SHA-256 with the manifest's, so that a
/// half-copied model is an error here and not a wrong detection later.
#[derive(Debug, Clone)]
pub struct Bundle {
    files: VerifiedFiles,
    manifest: Manifest,
}

impl Bundle {
    /// Opens a model folder.
    ///
    /// # Errors
    /// - [`Error::BundleFile`](crate::Error::BundleFile): the manifest or a file it lists is missing, cannot
    ///   be read, or is no regular file.
    /// - [`Error::ManifestSyntax`](crate::Error::ManifestSyntax),
    ///   [`Error::ManifestVersion`](crate::Error::ManifestVersion),
    ///   [`Error::ManifestValue`](crate::Error::ManifestValue): the manifest is garbled, of an unknown
    ///   version, or says something that makes no sense.
    /// - [`Error::BundleSize`](crate::Error::BundleSize), [`Error::BundleHash`](crate::Error::BundleHash): a
    ///   file is not the one that was exported.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open(ModelFiles::Folder(folder.as_ref().to_owned()))
    }

    /// Opens a model that is in memory: its files by name, `glip.json` among them. Bytes may be part of the
    /// program, or owned.
    ///
    /// # Errors
    /// As [`Bundle::from_dir`].
    ///
    /// ```
    /// use std::{fs, path::Path};
    ///
    /// use glip::Bundle;
    ///
    /// let folder = Path::new("tests/fixtures/colour_without_fusion");
    /// let names = ["glip.json", "tokenizer.json", "image_encoder.onnx", "text_encoder.onnx", "head.onnx"];
    /// let files = names.map(|name| (name, fs::read(folder.join(name)).unwrap()));
    /// assert_eq!(Bundle::from_bytes(files)?.manifest().variant(), "GLIP-T (A)");
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn from_bytes<N, B>(files: impl IntoIterator<Item = (N, B)>) -> Result<Self>
    where
        N: Into<String>,
        B: Into<Cow<'static, [u8]>>,
    {
        Self::open(ModelFiles::in_memory(files))
    }

    /// The small model in the box (feature `nano`), which sees photographs: the crate `glip-nano`.
    ///
    /// # Errors
    /// None in practice: as [`Bundle::from_dir`], if that crate was built from damaged files.
    #[cfg(feature = "nano")]
    pub fn nano() -> Result<Self> {
        Self::from_bytes(glip_nano::FILES)
    }

    /// The model of a folder, or, where no folder is given, the small one in the box: what a program does whose user may
    /// name a model.
    ///
    /// ```
    /// use glip::Bundle;
    ///
    /// assert_eq!(Bundle::from_dir_or_nano(None)?.manifest().name(), "glip-nano");
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NoModel`](crate::Error::NoModel): no folder is given, and the program was built without the feature `nano`.
    /// - As [`Bundle::from_dir`].
    pub fn from_dir_or_nano(folder: Option<&Path>) -> Result<Self> {
        match folder {
            Some(folder) => Self::from_dir(folder),
            #[cfg(feature = "nano")]
            None => Self::nano(),
            #[cfg(not(feature = "nano"))]
            None => Err(crate::error::Error::NoModel),
        }
    }

    /// What the model is and what it needs.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model's tokenizer, which writes prompts as the model wants them.
    ///
    /// # Errors
    /// - [`Error::BundleFile`](crate::Error::BundleFile): its file cannot be read any more.
    /// - [`Error::Tokenizer`](crate::Error::Tokenizer): it does not describe a tokenizer.
    /// - [`Error::InvalidOption`](crate::Error::InvalidOption): it lacks a token of the prompt rule.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let file = self.files.file(&self.manifest.tokenizer)?;
        let tokenizer = Tokenizer::from_bytes(&file.read()?, self.manifest.max_tokens)?;
        tokenizer.with_rule(self.manifest.prompt.clone())
    }

    /// The file of a graph that every model has.
    pub(crate) fn graph(&self, graph: &str) -> Result<ModelFile<'_>> {
        // The manifest was checked to name it; a name of its own is what an error would show.
        let file = self.manifest.graphs.get(graph);
        self.files.graph(graph, file.map_or(graph, String::as_str))
    }

    /// The file of a graph, if the model has it.
    pub(crate) fn optional_graph(&self, graph: &str) -> Result<Option<ModelFile<'_>>> {
        let file = self.manifest.graphs.get(graph);
        file.map(|file| self.files.graph(graph, file)).transpose()
    }

    fn open(files: ModelFiles) -> Result<Self> {
        let json = files.file(MANIFEST)?;
        let manifest = format::parse(&json.read()?, &files.path(MANIFEST))?;
        let files = VerifiedFiles::new(files, &manifest.files)?;
        Ok(Self { manifest, files })
    }
}
