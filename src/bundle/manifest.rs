//! `glip.json`: everything about a model that the code must not guess.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{
    error::{Error, Result},
    family::{Family, Signatures},
    files::FileDigest,
    postprocess::{HeadSpec, PostprocessOptions, Postprocessor},
    preprocess::{PreprocessOptions, Preprocessor},
    prompt::PromptRule,
    session::{Element, Signature, TensorSpec},
};

/// The graph of what depends on the images' size alone.
pub(super) const GRID: &str = "grid";

/// The manifest of a bundle: what the model is and what it needs.
///
/// ```
/// use glip::{Bundle, manifest::Precision};
///
/// let bundle = Bundle::nano()?;
/// let manifest = bundle.manifest();
/// assert_eq!((manifest.name(), manifest.family()), ("glip-nano", "glip"));
/// assert_eq!(manifest.precision(), Precision::Fp16Weights);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Manifest {
    pub(crate) format_version: u64,
    pub(crate) family: &'static Family,
    pub(crate) name: String,
    pub(crate) variant: String,
    pub(crate) precision: Precision,
    pub(crate) image: PreprocessOptions,
    pub(crate) prompt: PromptRule,
    pub(crate) tokenizer: String,
    pub(crate) max_tokens: usize,
    pub(crate) hidden_size: usize,
    pub(crate) levels: usize,
    pub(crate) features: Element,
    /// What the graph `grid` gives to the image encoder, if there is one.
    pub(crate) grid: Vec<TensorSpec>,
    pub(crate) head: HeadSpec,
    pub(crate) postprocess: PostprocessOptions,
    /// File names by graph.
    pub(crate) graphs: BTreeMap<String, String>,
    pub(crate) files: BTreeMap<String, FileDigest>,
    pub(crate) source: SourceSpec,
    pub(crate) identity: String,
}

/// How a model's weights are stored and products computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// Everything in 32 bits: `fp32`.
    Fp32,
    /// Everything in 16 bits: `fp16`.
    Fp16,
    /// Weights in 16 bits, products in 32: `fp16-weights`.
    Fp16Weights,
    /// Weights and the larger products in 8 bits: `int8`.
    Int8,
}

impl Precision {
    const ALL: [Self; 4] = [Self::Fp32, Self::Fp16, Self::Fp16Weights, Self::Int8];

    fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Fp16Weights => "fp16-weights",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name);
        found.ok_or_else(|| Error::InvalidOption {
            option: "precision",
            found: format!("{name:?}"),
            expected: "fp32, fp16, fp16-weights or int8",
        })
    }
}

/// Where the weights came from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
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
    /// Version of the format that the file has: 1 or 2.
    pub fn format_version(&self) -> u64 {
        self.format_version
    }

    /// The family of models it belongs to, for example `glip`.
    pub fn family(&self) -> &str {
        self.family.name
    }

    /// The model's name, for example `glip-nano`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The variant of its family that it is built as, for example `GLIP-T` or `GLIP-T (A)`.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    /// How weights are stored and products computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What the image encoder expects of its input.
    pub fn image(&self) -> &PreprocessOptions {
        &self.image
    }

    /// How prompts are written.
    pub fn prompt(&self) -> &PromptRule {
        &self.prompt
    }

    /// The most tokens a prompt may have, the special ones included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Width of the text states that the text encoder makes.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// The number of levels of the feature pyramid.
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// The kind of head.
    pub fn head(&self) -> &HeadSpec {
        &self.head
    }

    /// Recommended thresholds and limits.
    pub fn postprocess(&self) -> &PostprocessOptions {
        &self.postprocess
    }

    /// Where the weights came from.
    pub fn source(&self) -> &SourceSpec {
        &self.source
    }

    /// What tells this model from every other: a hash of the hashes of all its files.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// From images to the pixels that the model takes.
    ///
    /// # Errors
    /// None in practice: a manifest has been checked.
    pub fn preprocessor(&self) -> Result<Preprocessor> {
        Preprocessor::new(self.image.clone())
    }

    /// From the head's outputs to detections, as the manifest recommends.
    ///
    /// # Errors
    /// None in practice: a manifest has been checked.
    pub fn postprocessor(&self) -> Result<Postprocessor> {
        Postprocessor::new(self.postprocess.clone(), self.head.clone())
    }

    /// What the graphs take and give: the family's, and what the image encoder reads of the grid.
    pub(crate) fn signatures(&self) -> Signatures {
        let mut signatures = (self.family.signatures)(self.levels, self.features);
        signatures.image_encoder.inputs.extend(self.grid.clone());
        signatures
    }

    /// What the graph takes and gives of which the image encoder reads what depends on the images' size alone, if the
    /// bundle has one: how it was exported decides that, not the family.
    pub(crate) fn grid_signature(&self) -> Option<Signature> {
        let size = TensorSpec::new("size", Element::I64, 1);
        (!self.grid.is_empty()).then(|| Signature::new(GRID, vec![size], self.grid.clone()))
    }

    /// How many images may run together of the `asked` ones, so that no image's result depends on
    /// another's: graphs in 8 bits scale a whole batch by its largest value.
    pub(crate) fn batch_limit(&self, asked: usize) -> usize {
        if self.precision == Precision::Int8 {
            1
        } else {
            asked
        }
    }
}
