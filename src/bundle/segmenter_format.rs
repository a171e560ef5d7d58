//! The form that `segmenter.json` has, and what of it is checked.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{
    manifest::SourceSpec,
    manifest_file::{FileEntry, ManifestFile, identity},
    segmenter_manifest::{DecoderSpec, EncoderSpec, FeatureSpec, PromptsInRun, SegmenterManifest},
};
use crate::{
    error::{Error, Result},
    family::SegmenterFamily,
    postprocess::MaskChoice,
    preprocess::PreprocessOptions,
    session::Element,
};

/// The newest format.
const NEWEST: u64 = 1;

#[derive(Deserialize)]
struct Version1 {
    family: String,
    name: String,
    precision: String,
    image: PreprocessOptions,
    encoder: EncoderSpec,
    features: Vec<Feature>,
    decoder: Decoder,
    files: BTreeMap<String, FileEntry>,
    source: SourceSpec,
}

#[derive(Deserialize)]
struct Feature {
    output: String,
    input: String,
    #[serde(rename = "type")]
    element: String,
    rank: usize,
}

#[derive(Deserialize)]
struct Decoder {
    file: String,
    inputs: Vec<String>,
    #[serde(default)]
    unused_outputs: Vec<String>,
    prompts: PromptsInRun,
    choose: MaskChoice,
}

/// Reads and checks a manifest; `path` is for errors.
pub(super) fn parse(json: &[u8], path: &Path) -> Result<SegmenterManifest> {
    let file = ManifestFile(path);
    match file.version(json)? {
        NEWEST => Check { file }.manifest(file.read(json)?),
        found => Err(file.unknown_version(found, NEWEST)),
    }
}

/// Finds values that parse but make no sense.
struct Check<'a> {
    file: ManifestFile<'a>,
}

impl Check<'_> {
    fn manifest(&self, form: Version1) -> Result<SegmenterManifest> {
        let family = SegmenterFamily::named(&form.family).ok_or_else(|| {
            let expected = format!("one of: {}", SegmenterFamily::names());
            let found = format!("{:?}", form.family);
            self.file.error("family", found, &expected)
        })?;
        let precision = form.precision.parse();
        let precision = precision.map_err(|error| self.file.named("precision", error))?;
        let files = self.file.files(form.files)?;
        for (field, name) in [
            ("encoder.file", &form.encoder.file),
            ("decoder.file", &form.decoder.file),
        ] {
            self.file.listed(field, name, &files)?;
        }
        let manifest = SegmenterManifest {
            format_version: NEWEST,
            family,
            name: form.name,
            precision,
            image: form.image,
            encoder: form.encoder,
            features: self.features(form.features)?,
            decoder: self.decoder(form.decoder, family)?,
            identity: identity(&files),
            files,
            source: form.source,
        };
        let preprocessor = manifest.preprocessor();
        preprocessor.map_err(|error| self.in_image(error))?;
        Ok(manifest)
    }

    fn features(&self, features: Vec<Feature>) -> Result<Vec<FeatureSpec>> {
        let some = !features.is_empty();
        self.file.require(
            some,
            "features",
            "[]",
            "what the decoder takes of the encoder's outputs",
        )?;
        features
            .into_iter()
            .map(|feature| self.feature(feature))
            .collect()
    }

    fn feature(&self, feature: Feature) -> Result<FeatureSpec> {
        let element = Element::named(&feature.element).filter(|element| element.is_float());
        let element = element.ok_or_else(|| {
            let found = format!("{:?}", feature.element);
            self.file
                .error("features.type", found, "float32 or float16")
        })?;
        Ok(FeatureSpec {
            output: feature.output,
            input: feature.input,
            element,
            rank: feature.rank,
        })
    }

    /// Inputs that the family knows, and boxes among them.
    fn decoder(&self, decoder: Decoder, family: &SegmenterFamily) -> Result<DecoderSpec> {
        let known = |name: &String| {
            family.input(name).ok_or_else(|| {
                let expected = format!("one of: {}", family.input_names());
                self.file
                    .error("decoder.inputs", format!("{name:?}"), &expected)
            })
        };
        let inputs = decoder
            .inputs
            .iter()
            .map(known)
            .collect::<Result<Vec<_>>>()?;
        let takes_boxes = inputs.iter().any(|input| input.takes_boxes());
        let expected = "one that takes boxes: a decoder without cannot be asked for them";
        self.file
            .require(takes_boxes, "decoder.inputs", &decoder.inputs, expected)?;
        Ok(DecoderSpec {
            file: decoder.file,
            inputs,
            unused_outputs: decoder.unused_outputs,
            prompts: decoder.prompts,
            choose: decoder.choose,
        })
    }

    /// An option of the preprocessor that was refused, as a field.
    fn in_image(&self, error: Error) -> Error {
        let field = match &error {
            Error::InvalidOption { option, .. } => format!("image.{option}"),
            _ => return error,
        };
        self.file.named(&field, error)
    }
}
