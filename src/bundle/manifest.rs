//! `glip.json`: everything about a model that the code must not guess.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::{Component, Path},
};

use serde::Deserialize;

use crate::{
    Error, PostprocessOptions, Postprocessor, PreprocessOptions, Preprocessor, Result,
    postprocess::{AnchorOptions, BoxCoder},
};

/// The format that this version of the crate reads.
const FORMAT_VERSION: u64 = 1;

/// The manifest of a bundle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// Version of the manifest's format.
    pub format_version: u64,
    /// The model's name, for example `glip-nano`.
    pub name: String,
    /// The GLIP variant it is built as, for example `GLIP-T` or `GLIP-T (A)`.
    pub variant: String,
    /// How weights are stored and products computed: `fp32`, `fp16`, `fp16-weights` or `int8`.
    pub precision: String,
    /// What the image encoder expects of its input.
    pub image: PreprocessOptions,
    /// The tokenizer and its limits.
    pub text: TextSpec,
    /// Where the anchors are: one stride for each level of the feature pyramid, finest first.
    pub anchors: AnchorOptions,
    /// How boxes are encoded.
    pub box_coder: BoxCoder,
    /// Recommended thresholds and limits.
    pub postprocess: PostprocessOptions,
    /// The graphs.
    pub graphs: GraphSpecs,
    /// Size and hash of every file but the manifest, by name.
    pub files: BTreeMap<String, FileSpec>,
    /// Where the weights came from.
    pub source: SourceSpec,
}

/// The tokenizer and its limits.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TextSpec {
    /// File name of the tokenizer.
    pub tokenizer: String,
    /// The most tokens a prompt may have, the special ones included.
    pub max_tokens: usize,
    /// Width of the text states.
    pub hidden_size: usize,
}

/// The graphs of a model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct GraphSpecs {
    /// From pixels to the feature pyramid.
    pub image_encoder: GraphSpec,
    /// From tokens to text states; `None` in bundles for learned prompts alone.
    pub text_encoder: Option<GraphSpec>,
    /// The fusion tower; `None` in variants without.
    pub fusion: Option<GraphSpec>,
    /// From fused features to logits, boxes and centerness.
    pub head: GraphSpec,
}

/// One graph.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct GraphSpec {
    /// File name.
    pub file: String,
    /// Its inputs.
    pub inputs: Vec<TensorSpec>,
    /// Its outputs.
    pub outputs: Vec<TensorSpec>,
}

/// An input or output of a graph, as the exporter wrote it down for people to read. What a graph
/// really has is checked when it is loaded.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its element type, for example `float32`.
    #[serde(rename = "type")]
    pub element_type: String,
    /// Its sizes: numbers, or names of sizes that vary.
    pub shape: Vec<serde_json::Value>,
}

/// Size and hash of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FileSpec {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Where the weights came from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SourceSpec {
    /// The checkpoint or training run.
    pub weights: String,
    /// Their licence.
    pub licence: String,
    /// SHA-256 of the weights, hexadecimal, which does not depend on how they are stored: what
    /// [learned prompts](crate::LearnedPrompt) are tied to. Bundles of older exporters have none.
    pub fingerprint: Option<String>,
}

impl Manifest {
    /// How many images may run together of the `asked` ones, so that no image's result depends on
    /// another's: graphs in 8 bits scale a whole batch by its largest value.
    pub(crate) fn batch_limit(&self, asked: usize) -> usize {
        if self.precision == "int8" { 1 } else { asked }
    }

    /// The number of levels of the feature pyramid: what the graphs must have of every feature map.
    pub(crate) fn levels(&self) -> usize {
        self.anchors.strides.len()
    }

    /// Reads and validates a manifest; `path` is for errors.
    pub(super) fn parse(json: &[u8], path: &Path) -> Result<Self> {
        /// Read first: the rest of another version may look different.
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let syntax = |source| Error::ManifestSyntax {
            path: path.to_owned(),
            source,
        };
        let Version { format_version } = serde_json::from_slice(json).map_err(syntax)?;
        if format_version != FORMAT_VERSION {
            return Err(Error::ManifestVersion {
                path: path.to_owned(),
                found: format_version,
                supported: FORMAT_VERSION,
            });
        }
        let manifest: Self = serde_json::from_slice(json).map_err(syntax)?;
        Check { path }.manifest(&manifest)?;
        Ok(manifest)
    }
}

/// Finds values that parse but make no sense.
struct Check<'a> {
    path: &'a Path,
}

impl Check<'_> {
    fn manifest(&self, manifest: &Manifest) -> Result<()> {
        self.image(&manifest.image)?;
        self.text(&manifest.text)?;
        self.postprocess(manifest)?;
        self.files(manifest)
    }

    /// What the preprocessor refuses, and a divisor that the image encoder's backbone cannot take:
    /// its coarsest stage has stride 32. Levels of the pyramid beyond that round their sizes up.
    fn image(&self, image: &PreprocessOptions) -> Result<()> {
        Preprocessor::new(image.clone()).map_err(|error| self.in_section("image", error))?;
        let divisor = image.size_divisor;
        let field = "image.size_divisor";
        self.require(
            divisor.is_multiple_of(32),
            field,
            divisor,
            "a multiple of 32",
        )
    }

    fn text(&self, text: &TextSpec) -> Result<()> {
        // [CLS], [SEP] and one word.
        let tokens = text.max_tokens;
        self.require(tokens >= 3, "text.max_tokens", tokens, "at least 3")?;
        let width = text.hidden_size;
        self.require(width > 0, "text.hidden_size", width, "at least 1")
    }

    /// Levels that are not finest first, and what the postprocessor refuses.
    fn postprocess(&self, manifest: &Manifest) -> Result<()> {
        let anchors = &manifest.anchors;
        let rising = |pixels: &[u32]| pixels.is_sorted_by(|a, b| a < b);
        let valid = !anchors.strides.is_empty() && rising(&anchors.strides);
        self.require(
            valid,
            "anchors.strides",
            &anchors.strides,
            "at least one, in rising order",
        )?;
        let options = manifest.postprocess.clone();
        Postprocessor::new(options, anchors.clone(), manifest.box_coder)
            .map_err(|error| self.in_section("postprocess", error))?;
        Ok(())
    }

    /// Every file that is used is listed, and no name leads out of the bundle.
    fn files(&self, manifest: &Manifest) -> Result<()> {
        let graphs = &manifest.graphs;
        let used = [
            ("text.tokenizer", Some(&manifest.text.tokenizer)),
            (
                "graphs.image_encoder.file",
                Some(&graphs.image_encoder.file),
            ),
            (
                "graphs.text_encoder.file",
                graphs.text_encoder.as_ref().map(|graph| &graph.file),
            ),
            (
                "graphs.fusion.file",
                graphs.fusion.as_ref().map(|graph| &graph.file),
            ),
            ("graphs.head.file", Some(&graphs.head.file)),
        ];
        for (field, name) in used {
            if let Some(name) = name {
                let listed = manifest.files.contains_key(name);
                self.require(listed, field, name, "a name that `files` lists")?;
            }
        }
        for (name, file) in &manifest.files {
            let plain = is_plain_file_name(name);
            self.require(plain, "files", name, "names of files beside the manifest")?;
            let hexadecimal = file.sha256.chars().all(|c| c.is_ascii_hexdigit());
            let valid = hexadecimal && file.sha256.len() == 64;
            let field = format!("files.{name}.sha256");
            self.require(valid, &field, &file.sha256, "64 hexadecimal digits")?;
        }
        Ok(())
    }

    /// An option that was refused, as the manifest's field of that name.
    fn in_section(&self, section: &str, error: Error) -> Error {
        match error {
            Error::InvalidOption {
                option,
                found,
                expected,
            } => self.error(&format!("{section}.{option}"), found, expected),
            error => error,
        }
    }

    fn require(&self, valid: bool, field: &str, found: impl Debug, expected: &str) -> Result<()> {
        if valid {
            return Ok(());
        }
        Err(self.error(field, format!("{found:?}"), expected))
    }

    fn error(&self, field: &str, found: String, expected: &str) -> Error {
        Error::ManifestValue {
            path: self.path.to_owned(),
            field: field.into(),
            found,
            expected: expected.into(),
        }
    }
}

fn is_plain_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let first = components.next();
    matches!(first, Some(Component::Normal(only)) if only == name) && components.next().is_none()
}
