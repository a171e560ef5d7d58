//! A model: its graphs, its tokenizer and the manifest that describes them.

mod manifest;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

pub use manifest::{FileSpec, GraphSpec, GraphSpecs, Manifest, SourceSpec, TensorSpec, TextSpec};

use crate::{Error, Result, Tokenizer};

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
    origin: Origin,
    manifest: Manifest,
}

/// Where a bundle's files are.
#[derive(Debug, Clone)]
enum Origin {
    Folder(PathBuf),
    Memory(Vec<(&'static str, &'static [u8])>),
}

/// One file of a bundle, as it is passed to ONNX Runtime or the tokenizer.
#[derive(Debug, Clone)]
pub(crate) enum BundleFile {
    Path(PathBuf),
    Bytes(&'static [u8]),
}

impl Bundle {
    /// Opens a model folder.
    ///
    /// # Errors
    /// - [`Error::BundleFile`]: the manifest or a file it lists is missing or cannot be read.
    /// - [`Error::ManifestSyntax`], [`Error::ManifestVersion`], [`Error::ManifestValue`]: the
    ///   manifest is garbled, of an unknown version, or says something that makes no sense.
    /// - [`Error::BundleSize`], [`Error::BundleHash`]: a file is not the one that was exported.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open(Origin::Folder(folder.as_ref().to_owned()))
    }

    /// Opens a model that is part of the program: its files by name, `glip.json` among them.
    ///
    /// # Errors
    /// As [`Bundle::from_dir`].
    ///
    /// # Example
    ///
    /// ```
    /// use glip::Bundle;
    ///
    /// # macro_rules! include_bytes {
    /// #     ($name:literal) => {
    /// #         core::include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $name))
    /// #     };
    /// # }
    /// let bundle = Bundle::from_bytes([
    ///     ("glip.json", &include_bytes!("colour_without_fusion/glip.json")[..]),
    ///     ("tokenizer.json", include_bytes!("colour_without_fusion/tokenizer.json")),
    ///     ("image_encoder.onnx", include_bytes!("colour_without_fusion/image_encoder.onnx")),
    ///     ("text_encoder.onnx", include_bytes!("colour_without_fusion/text_encoder.onnx")),
    ///     ("head.onnx", include_bytes!("colour_without_fusion/head.onnx")),
    /// ])?;
    /// assert_eq!(bundle.manifest().variant, "GLIP-T (A)");
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn from_bytes(
        files: impl IntoIterator<Item = (&'static str, &'static [u8])>,
    ) -> Result<Self> {
        Self::open(Origin::Memory(files.into_iter().collect()))
    }

    /// The small model in the box (feature `nano`), which sees photographs: the crate `glip-nano`.
    ///
    /// # Errors
    /// None in practice: as [`Bundle::from_dir`], if that crate was built from damaged files.
    #[cfg(feature = "nano")]
    pub fn nano() -> Result<Self> {
        Self::from_bytes(glip_nano::FILES)
    }

    /// What the model is and what it needs.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model's tokenizer.
    ///
    /// # Errors
    /// - [`Error::BundleFile`]: its file cannot be read any more.
    /// - [`Error::Tokenizer`]: it does not describe a tokenizer.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let text = &self.manifest.text;
        Tokenizer::from_bytes(&self.file(&text.tokenizer)?.read()?, text.max_tokens)
    }

    /// A file that the manifest names.
    pub(crate) fn file(&self, name: &str) -> Result<BundleFile> {
        self.origin.file(name)
    }

    fn open(origin: Origin) -> Result<Self> {
        let json = origin.file(MANIFEST)?.read()?;
        let manifest = Manifest::parse(&json, &origin.path(MANIFEST))?;
        for (name, expected) in &manifest.files {
            verify(&origin, name, expected)?;
        }
        Ok(Self { origin, manifest })
    }
}

impl Origin {
    fn file(&self, name: &str) -> Result<BundleFile> {
        match self {
            Self::Folder(_) => Ok(BundleFile::Path(self.path(name))),
            Self::Memory(files) => {
                let found = files.iter().find(|(candidate, _)| *candidate == name);
                let (_, bytes) = found.ok_or_else(|| Error::BundleFile {
                    path: self.path(name),
                    source: io::Error::new(io::ErrorKind::NotFound, "it was not given"),
                })?;
                Ok(BundleFile::Bytes(bytes))
            }
        }
    }

    /// The file's path, or its bare name if it is in memory.
    fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Memory(_) => name.into(),
        }
    }
}

impl BundleFile {
    /// The file's contents.
    fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.to_vec()),
            Self::Path(path) => std::fs::read(path).map_err(|source| unreadable(path, source)),
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::BundleFile {
        path: path.to_owned(),
        source,
    }
}

fn verify(origin: &Origin, name: &str, expected: &FileSpec) -> Result<()> {
    let path = origin.path(name);
    let (bytes, sha256) = match origin.file(name)? {
        BundleFile::Bytes(mut bytes) => digest(&mut bytes),
        BundleFile::Path(path) => File::open(path).and_then(|mut file| digest(&mut file)),
    }
    .map_err(|source| unreadable(&path, source))?;
    if bytes != expected.bytes {
        return Err(Error::BundleSize {
            path,
            expected: expected.bytes,
            found: bytes,
        });
    }
    if !sha256.eq_ignore_ascii_case(&expected.sha256) {
        return Err(Error::BundleHash {
            path,
            expected: expected.sha256.clone(),
            found: sha256,
        });
    }
    Ok(())
}

/// Length and hexadecimal SHA-256, without holding the file in memory: graphs can have gigabytes.
fn digest(reader: &mut dyn Read) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut length = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
    let hash = hasher.finalize();
    Ok((
        length,
        hash.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}
