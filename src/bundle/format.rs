//! The forms that `glip.json` has and had, and what of them is checked.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{
    manifest::{GRID, Manifest, SourceSpec},
    manifest_file::{FileEntry, ManifestFile, identity},
};
use crate::{
    error::{Error, Result},
    family::{Family, GLIP},
    postprocess::{AnchorOptions, BoxCoder, HeadSpec, PostprocessOptions},
    preprocess::{ChannelOrder, Padding, PreprocessOptions, ResizeRule},
    prompt::PromptRule,
    session::{Element, TensorSpec},
};

/// The newest format; all before it can be read too.
const NEWEST: u64 = 2;

/// Format 1: GLIP alone.
#[derive(Deserialize)]
struct Version1 {
    name: String,
    variant: String,
    precision: String,
    image: Image1,
    text: Text,
    anchors: AnchorOptions,
    box_coder: BoxCoder,
    postprocess: PostprocessOptions,
    graphs: BTreeMap<String, Option<Graph>>,
    files: BTreeMap<String, FileEntry>,
    source: SourceSpec,
}

/// The image in format 1: one rule of resizing, one of padding.
#[derive(Deserialize)]
struct Image1 {
    resize: Resize1,
    channel_order: ChannelOrder,
    mean: [f32; 3],
    std: [f32; 3],
    size_divisor: u32,
}

#[derive(Deserialize)]
struct Resize1 {
    short_side: u32,
    long_side: u32,
}

/// Format 2: any family.
#[derive(Deserialize)]
struct Version2 {
    family: String,
    name: String,
    variant: String,
    precision: String,
    image: PreprocessOptions,
    prompt: PromptRule,
    text: Text,
    features: Features,
    head: Head,
    postprocess: PostprocessOptions,
    graphs: BTreeMap<String, Option<Graph>>,
    files: BTreeMap<String, FileEntry>,
    source: SourceSpec,
}

#[derive(Deserialize)]
struct Text {
    tokenizer: String,
    max_tokens: usize,
    hidden_size: usize,
}

/// The feature maps between the graphs.
#[derive(Deserialize)]
struct Features {
    levels: usize,
    #[serde(rename = "type")]
    element: String,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Head {
    Anchors {
        strides: Vec<u32>,
        sizes: Vec<u32>,
        box_coder: BoxCoder,
    },
    Queries,
}

/// A graph. Its inputs and outputs stand there too: of the grid they are read, those of the others are for people.
/// What a graph really has is checked when it is loaded.
#[derive(Deserialize)]
struct Graph {
    file: String,
    #[serde(default)]
    outputs: Vec<Port>,
}

/// An output of a graph.
#[derive(Deserialize)]
struct Port {
    name: String,
    /// Numbers, and names of what is free.
    shape: Vec<serde_json::Value>,
    #[serde(rename = "type")]
    element: String,
}

/// Reads and checks a manifest; `path` is for errors.
pub(super) fn parse(json: &[u8], path: &Path) -> Result<Manifest> {
    let file = ManifestFile(path);
    let format_version = file.version(json)?;
    let (form, fields): (Version2, &Fields) = match format_version {
        1 => (file.read::<Version1>(json)?.into(), &FIELDS_1),
        NEWEST => (file.read(json)?, &FIELDS_2),
        found => return Err(file.unknown_version(found, NEWEST)),
    };
    Check { file, fields }.manifest(form, format_version)
}

impl From<Version1> for Version2 {
    fn from(old: Version1) -> Self {
        let Image1 {
            resize,
            channel_order,
            mean,
            std,
            size_divisor,
        } = old.image;
        let image = PreprocessOptions::default()
            .with_resize(ResizeRule::short_side(resize.short_side, resize.long_side))
            .with_channel_order(channel_order)
            .with_mean(mean)
            .with_std(std)
            .with_padding(Padding::MultipleOf(size_divisor));
        Self {
            family: GLIP.name.to_owned(),
            name: old.name,
            variant: old.variant,
            precision: old.precision,
            image,
            prompt: PromptRule::default(),
            text: old.text,
            features: Features {
                levels: old.anchors.strides.len(),
                element: Element::F32.name().to_owned(),
            },
            head: Head::Anchors {
                strides: old.anchors.strides,
                sizes: old.anchors.sizes,
                box_coder: old.box_coder,
            },
            postprocess: old.postprocess,
            graphs: old.graphs,
            files: old.files,
            source: old.source,
        }
    }
}

/// What a format calls the fields that errors speak of.
struct Fields {
    padding: &'static str,
    levels: &'static str,
    anchors: &'static str,
    strides: &'static str,
    box_coder: &'static str,
}

const FIELDS_1: Fields = Fields {
    padding: "image.size_divisor",
    levels: "anchors.strides",
    anchors: "anchors",
    strides: "anchors.strides",
    box_coder: "box_coder",
};

const FIELDS_2: Fields = Fields {
    padding: "image.padding",
    levels: "features.levels",
    anchors: "head",
    strides: "head.strides",
    box_coder: "head.box_coder",
};

/// Finds values that parse but make no sense.
struct Check<'a> {
    file: ManifestFile<'a>,
    fields: &'a Fields,
}

impl Check<'_> {
    fn manifest(&self, form: Version2, format_version: u64) -> Result<Manifest> {
        let family = Family::named(&form.family).ok_or_else(|| {
            let expected = format!("one of: {}", Family::names());
            self.file
                .error("family", format!("{:?}", form.family), &expected)
        })?;
        let precision = form.precision.parse();
        let precision = precision.map_err(|error| self.file.named("precision", error))?;
        let features = self.features(&form.features)?;
        let head = self.head(form.head, form.features.levels)?;
        let grid = form.graphs.get(GRID).and_then(Option::as_ref);
        let grid = grid.map_or(Ok(Vec::new()), |graph| self.grid(&graph.outputs))?;
        let graphs = form.graphs.into_iter();
        let graphs = graphs.filter_map(|(graph, spec)| Some((graph, spec?.file)));
        let files = self.file.files(form.files)?;
        let manifest = Manifest {
            format_version,
            family,
            name: form.name,
            variant: form.variant,
            precision,
            image: form.image,
            prompt: form.prompt,
            tokenizer: form.text.tokenizer,
            max_tokens: form.text.max_tokens,
            hidden_size: form.text.hidden_size,
            levels: form.features.levels,
            features,
            grid,
            head,
            postprocess: form.postprocess,
            graphs: graphs.collect(),
            identity: identity(&files),
            files,
            source: form.source,
        };
        self.kind_of_head(&manifest)?;
        self.image(&manifest)?;
        self.text(&manifest)?;
        let postprocessor = manifest.postprocessor();
        postprocessor.map_err(|error| self.in_section("postprocess", error))?;
        self.files(&manifest)?;
        Ok(manifest)
    }

    fn features(&self, features: &Features) -> Result<Element> {
        let levels = features.levels;
        self.file
            .require(levels > 0, self.fields.levels, levels, "at least one")?;
        let found = Element::named(&features.element).filter(|element| element.is_float());
        found.ok_or_else(|| {
            let found = format!("{:?}", features.element);
            self.file
                .error("features.type", found, "float32 or float16")
        })
    }

    /// What the grid gives stays on the device, for the image encoder, whose inputs are called the same.
    fn grid(&self, outputs: &[Port]) -> Result<Vec<TensorSpec>> {
        let field = "graphs.grid.outputs";
        self.file
            .require(!outputs.is_empty(), field, "none", "at least one")?;
        let specs = outputs.iter().enumerate().map(|(index, port)| {
            let is_known = outputs
                .iter()
                .take(index)
                .any(|other| other.name == port.name);
            let valid = port.name.starts_with("grid_") && !is_known;
            let expected = "names that begin with grid_, each once";
            self.file.require(valid, field, &port.name, expected)?;
            let element = Element::named(&port.element).ok_or_else(|| {
                let found = format!("{} of type {:?}", port.name, port.element);
                self.file
                    .error(field, found, "of types float32, float16, int64 or bool")
            })?;
            Ok(TensorSpec::new(&port.name, element, port.shape.len()).staying())
        });
        specs.collect()
    }

    /// Anchors finest first, and what the postprocessor refuses.
    fn head(&self, head: Head, levels: usize) -> Result<HeadSpec> {
        let Head::Anchors {
            strides,
            sizes,
            box_coder,
        } = head
        else {
            return Ok(HeadSpec::Queries);
        };
        let valid = strides.is_sorted_by(|a, b| a < b) && strides.len() == levels;
        let expected = "one for each level, in rising order";
        self.file
            .require(valid, self.fields.strides, &strides, expected)?;
        let anchors = AnchorOptions { strides, sizes };
        Ok(HeadSpec::Anchors { anchors, box_coder })
    }

    /// A family's heads are all of one kind, which the head's outputs tell.
    fn kind_of_head(&self, manifest: &Manifest) -> Result<()> {
        let outputs = manifest.signatures().head.outputs;
        let gives_boxes = outputs.iter().any(|output| output.name == "boxes");
        let (found, valid) = match manifest.head {
            HeadSpec::Queries => ("queries", gives_boxes),
            HeadSpec::Anchors { .. } => ("anchors", !gives_boxes),
        };
        let expected = format!("the kind of head that {} has", manifest.family.name);
        self.file.require(valid, "head.kind", found, &expected)
    }

    /// What the preprocessor refuses, and padding that the family's image encoder cannot take.
    fn image(&self, manifest: &Manifest) -> Result<()> {
        let preprocessor = manifest.preprocessor();
        preprocessor.map_err(|error| self.in_section("image", error))?;
        let needed = manifest.family.divisor;
        let divides = match manifest.image.padding {
            Padding::MultipleOf(divisor) | Padding::Square(divisor) => divisor,
        };
        let expected = format!("a multiple of {needed}");
        let valid = divides.is_multiple_of(needed);
        self.file
            .require(valid, self.fields.padding, divides, &expected)
    }

    fn text(&self, manifest: &Manifest) -> Result<()> {
        // [CLS], [SEP] and one word.
        let tokens = manifest.max_tokens;
        self.file
            .require(tokens >= 3, "text.max_tokens", tokens, "at least 3")?;
        let width = manifest.hidden_size;
        self.file
            .require(width > 0, "text.hidden_size", width, "at least 1")
    }

    /// Every graph that must be there is, and every file that is used is listed.
    fn files(&self, manifest: &Manifest) -> Result<()> {
        let signatures = manifest.signatures();
        for graph in [signatures.image_encoder.graph, signatures.head.graph] {
            let found = manifest.graphs.get(graph);
            let field = format!("graphs.{graph}");
            self.file.require(
                found.is_some(),
                &field,
                found,
                "a graph: every model has one",
            )?;
        }
        let used = manifest.graphs.iter();
        let used = used.map(|(graph, file)| (format!("graphs.{graph}.file"), file));
        for (field, name) in used.chain([("text.tokenizer".to_owned(), &manifest.tokenizer)]) {
            self.file.listed(&field, name, &manifest.files)?;
        }
        Ok(())
    }

    /// An option that was refused, as the manifest's field of that name.
    fn in_section(&self, section: &str, error: Error) -> Error {
        let field = match &error {
            Error::InvalidOption { option, .. } => match *option {
                "anchors" => self.fields.anchors.to_owned(),
                "box_coder" => self.fields.box_coder.to_owned(),
                option if option.starts_with("padding") => self.fields.padding.to_owned(),
                option => format!("{section}.{option}"),
            },
            _ => return error,
        };
        self.file.named(&field, error)
    }
}
