//! `glip.json`: everything about a model that the code must not guess.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::{Component, Path},
};

use serde::Deserialize;

use crate::{Error, PreprocessOptions, Preprocessor, Result};

/// The format that this version of the crate reads.
const FORMAT_VERSION: u64 = 1;

/// Feature maps of every GLIP model: P3 to P7.
const LEVELS: usize = 5;

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
    /// Precision of the weights: `fp32` or `fp16`.
    pub precision: String,
    /// What the image encoder expects of its input.
    pub image: PreprocessOptions,
    /// The tokenizer and its limits.
    pub text: TextSpec,
    /// Where the anchors are.
    pub anchors: AnchorSpec,
    /// How boxes are encoded.
    pub box_coder: BoxCoderSpec,
    /// Recommended post-processing.
    pub postprocess: PostprocessSpec,
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

/// Where the anchors are: one square anchor per cell of each level.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct AnchorSpec {
    /// Pixels of the network input per cell, for each level.
    pub strides: Vec<u32>,
    /// Side of the anchor in pixels of the network input, for each level.
    pub sizes: Vec<u32>,
}

/// How boxes are encoded relative to anchors.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct BoxCoderSpec {
    /// Divisors of dx, dy, dw and dh.
    pub weights: [f32; 4],
    /// Upper bound of dw and dh after the division.
    pub max_log_scale: f32,
}

/// Recommended post-processing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct PostprocessSpec {
    /// Phrase scores at or below it are dropped before anything else.
    pub candidate_threshold: f32,
    /// The most candidates that a level keeps.
    pub candidates_per_level: usize,
    /// Of two boxes of a phrase with more overlap (IoU) than this, the better one stays.
    pub nms_iou_threshold: f32,
    /// The most detections of an image.
    pub max_detections: usize,
    /// Detections below this score are not shown.
    pub score_threshold: f32,
}

/// The graphs of a model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct GraphSpecs {
    /// From pixels to the feature pyramid.
    pub image_encoder: GraphSpec,
    /// From tokens to text states.
    pub text_encoder: GraphSpec,
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
}

impl Manifest {
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
        self.anchors(&manifest.anchors)?;
        self.box_coder(&manifest.box_coder)?;
        self.postprocess(&manifest.postprocess)?;
        self.files(manifest)
    }

    /// What the preprocessor refuses, and a divisor that the encoder's coarsest stage cannot take.
    fn image(&self, image: &PreprocessOptions) -> Result<()> {
        Preprocessor::new(image.clone()).map_err(|error| match error {
            Error::InvalidOption {
                option,
                found,
                expected,
            } => self.error(&format!("image.{option}"), found, expected),
            error => error,
        })?;
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

    fn anchors(&self, anchors: &AnchorSpec) -> Result<()> {
        let expected = "five sizes above 0, in rising order";
        for (field, sizes) in [
            ("anchors.strides", &anchors.strides),
            ("anchors.sizes", &anchors.sizes),
        ] {
            let rising = sizes.is_sorted_by(|a, b| a < b);
            let valid = sizes.len() == LEVELS && rising && !sizes.contains(&0);
            self.require(valid, field, sizes, expected)?;
        }
        Ok(())
    }

    fn box_coder(&self, coder: &BoxCoderSpec) -> Result<()> {
        let positive = |x: &f32| x.is_finite() && *x > 0.0;
        let weights = &coder.weights;
        let valid = weights.iter().all(positive);
        self.require(valid, "box_coder.weights", weights, "four numbers above 0")?;
        let scale = coder.max_log_scale;
        let field = "box_coder.max_log_scale";
        self.require(positive(&scale), field, scale, "a number above 0")
    }

    fn postprocess(&self, options: &PostprocessSpec) -> Result<()> {
        for (field, value) in [
            ("candidate_threshold", options.candidate_threshold),
            ("nms_iou_threshold", options.nms_iou_threshold),
            ("score_threshold", options.score_threshold),
        ] {
            let valid = (0.0..=1.0).contains(&value);
            self.require(valid, &format!("postprocess.{field}"), value, "0 to 1")?;
        }
        for (field, value) in [
            ("candidates_per_level", options.candidates_per_level),
            ("max_detections", options.max_detections),
        ] {
            let field = format!("postprocess.{field}");
            self.require(value > 0, &field, value, "at least 1")?;
        }
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
            ("graphs.text_encoder.file", Some(&graphs.text_encoder.file)),
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
