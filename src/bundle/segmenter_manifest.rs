//! `segmenter.json`: everything about a segmenter that the code must not guess.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::manifest::{Precision, SourceSpec};
use crate::{
    error::Result,
    family::{PromptTensor, SegmenterFamily},
    files::FileDigest,
    postprocess::MaskChoice,
    preprocess::{PreprocessOptions, Preprocessor},
    session::{Element, Signature, TensorSpec},
};

/// The manifest of a segmenter: what the model is and what it needs.
#[derive(Debug, Clone)]
pub struct SegmenterManifest {
    pub(crate) format_version: u64,
    pub(crate) family: &'static SegmenterFamily,
    pub(crate) name: String,
    pub(crate) precision: Precision,
    pub(crate) image: PreprocessOptions,
    pub(crate) encoder: EncoderSpec,
    pub(crate) features: Vec<FeatureSpec>,
    pub(crate) decoder: DecoderSpec,
    pub(crate) files: BTreeMap<String, FileDigest>,
    pub(crate) source: SourceSpec,
    pub(crate) identity: String,
}

/// The graph that sees the image.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EncoderSpec {
    pub(crate) file: String,
    /// The name of its input.
    pub(crate) input: String,
    pub(crate) layout: Layout,
}

/// How an encoder takes pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Layout {
    /// `[1, 3, height, width]` of the padded image.
    Planes,
    /// `[height, width, 3]` of the resized image, which the graph pads.
    Interleaved,
}

/// A tensor on its way from the encoder to the decoder.
#[derive(Debug, Clone)]
pub(crate) struct FeatureSpec {
    /// Its name among the encoder's outputs.
    pub(crate) output: String,
    /// Its name among the decoder's inputs.
    pub(crate) input: String,
    pub(crate) element: Element,
    pub(crate) rank: usize,
}

/// The graph that answers prompts.
#[derive(Debug, Clone)]
pub(crate) struct DecoderSpec {
    pub(crate) file: String,
    /// Its inputs beside the features.
    pub(crate) inputs: Vec<PromptTensor>,
    /// Outputs that nobody reads.
    pub(crate) unused_outputs: Vec<String>,
    pub(crate) prompts: PromptsInRun,
    pub(crate) choose: MaskChoice,
}

/// How many prompts a decoder takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PromptsInRun {
    One,
    Many,
}

impl SegmenterManifest {
    /// Version of the format that the file has: 1.
    pub fn format_version(&self) -> u64 {
        self.format_version
    }

    /// The family of segmenters it belongs to, for example `sam`.
    pub fn family(&self) -> &str {
        self.family.name
    }

    /// The model's name, for example `mobile-sam`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How weights are stored and products computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What the encoder expects of its input.
    pub fn image(&self) -> &PreprocessOptions {
        &self.image
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

    /// What the encoder takes and gives.
    pub(crate) fn encoder_signature(&self) -> Signature {
        let rank = match self.encoder.layout {
            Layout::Planes => 4,
            Layout::Interleaved => 3,
        };
        let pixels = TensorSpec::new(&self.encoder.input, Element::F32, rank);
        let features = self.features.iter();
        let features = features.map(|f| TensorSpec::feature_map(&f.output, f.element, f.rank));
        Signature::new("encoder", vec![pixels], features.collect())
    }

    /// What the decoder takes and gives: features first.
    pub(crate) fn decoder_signature(&self) -> Signature {
        let features = self.features.iter();
        let features = features.map(|f| TensorSpec::feature_map(&f.input, f.element, f.rank));
        let prompts = self.decoder.inputs.iter().map(|input| input.spec());
        let outputs = self.family.outputs().into();
        Signature::new("decoder", features.chain(prompts).collect(), outputs)
            .with_unused(self.decoder.unused_outputs.clone())
    }
}
