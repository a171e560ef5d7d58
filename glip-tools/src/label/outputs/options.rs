//! The formats that there are, and how they are written.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

/// A format that labelled boxes are written in.
///
/// | format | name | file | boxes | masks, if a segmenter was asked |
/// | --- | --- | --- | --- | --- |
/// | [`Grounding`](Self::Grounding) | `grounding` | `labels.jsonl` | kept ones | run lengths |
/// | [`Coco`](Self::Coco) | `coco` | `coco.json` | kept ones | run lengths or polygons |
/// | [`Yolo`](Self::Yolo) | `yolo` | `yolo/` | kept ones | polygons, in place of boxes |
/// | [`Gligen`](Self::Gligen) | `gligen` | `gligen.jsonl` | kept ones | none |
/// | [`LabelStudio`](Self::LabelStudio) | `label-studio` | `label_studio.json` | kept ones, those in review | brushes or polygons, in place of boxes |
/// | [`Cvat`](Self::Cvat) | `cvat` | `cvat.xml` | kept ones, those in review | masks or polygons, in place of boxes |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JSON Lines that `glip_torch` trains on, with scores. What was looked for and not found is there
    /// without boxes; what is in review is left out. If anything is, `review.jsonl` has the images with such
    /// boxes, and all of theirs.
    Grounding,
    /// COCO's JSON of instances, with a `score` for each annotation.
    Coco,
    /// A folder as ultralytics' YOLO trains on: `data.yaml`, `labels/`, and `images/` with links to the
    /// images.
    Yolo,
    /// JSON Lines with the phrases and the normalised boxes that GLIGEN draws images from: the 30 surest
    /// of each image, which is as many as it takes.
    Gligen,
    /// Tasks with predictions to import into Label Studio, with `label_studio.xml`, its labelling
    /// configuration. If boxes are in review, just the images with such; the least sure are first in
    /// its order by score.
    LabelStudio,
    /// An annotation file to import into CVAT ("CVAT for images 1.1"), whose boxes have the attributes
    /// `score` and `verdict`. If boxes are in review, just the images with such.
    Cvat,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Grounding,
        Self::Coco,
        Self::Yolo,
        Self::Gligen,
        Self::LabelStudio,
        Self::Cvat,
    ];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grounding => "grounding",
            Self::Coco => "coco",
            Self::Yolo => "yolo",
            Self::Gligen => "gligen",
            Self::LabelStudio => "label-studio",
            Self::Cvat => "cvat",
        }
    }

    /// Whether it has a place for masks.
    pub fn has_masks(self) -> bool {
        self != Self::Gligen
    }

    /// Whether an image can occur once only.
    pub(super) fn is_keyed_by_image(self) -> bool {
        !matches!(self, Self::Grounding | Self::Gligen)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|format| format.name() == name);
        named.ok_or_else(|| Error::Option {
            option: "format",
            found: format!("{name:?}"),
            expected: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// What masks are written as, in formats that leave a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaskForm {
    /// Pixel by pixel: COCO's run lengths, Label Studio's brush, CVAT's mask.
    #[default]
    Rle,
    /// By outlines, which a person can correct: within a pixel of the mask's edge, and nearer in small things. Holes stay
    /// open, as a bridge without width leads to each.
    Polygon,
}

impl MaskForm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Rle, Self::Polygon];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rle => "rle",
            Self::Polygon => "polygon",
        }
    }
}

impl FromStr for MaskForm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|form| form.name() == name);
        named.ok_or_else(|| Error::Option {
            option: "masks",
            found: format!("{name:?}"),
            expected: Self::ALL.map(Self::name).join(" or "),
        })
    }
}

/// How labelled boxes are written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputOptions {
    /// The formats. Default: [`Format::Grounding`].
    pub formats: Vec<Format>,
    /// What stands before an image's name, percent-encoded, as its address in Label Studio. Default:
    /// `/data/local-files/?d=`, Label Studio's own serving of local files.
    pub image_url: String,
    /// Whether the YOLO folder has copies of the images, instead of links to them. Default: no.
    pub copy_images: bool,
    /// What masks are written as, if there are any. Default: [`MaskForm::Rle`].
    pub masks: MaskForm,
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self {
            formats: vec![Format::Grounding],
            image_url: "/data/local-files/?d=".to_owned(),
            copy_images: false,
            masks: MaskForm::default(),
        }
    }
}

impl OutputOptions {
    /// Sets [`formats`](Self::formats).
    #[must_use]
    pub fn with_formats(mut self, formats: impl IntoIterator<Item = Format>) -> Self {
        self.formats = formats.into_iter().collect();
        self
    }

    /// Sets [`image_url`](Self::image_url).
    #[must_use]
    pub fn with_image_url(mut self, prefix: impl Into<String>) -> Self {
        self.image_url = prefix.into();
        self
    }

    /// Sets [`copy_images`](Self::copy_images).
    #[must_use]
    pub fn with_copy_images(mut self, copy: bool) -> Self {
        self.copy_images = copy;
        self
    }

    /// Sets [`masks`](Self::masks).
    #[must_use]
    pub fn with_masks(mut self, form: MaskForm) -> Self {
        self.masks = form;
        self
    }
}
