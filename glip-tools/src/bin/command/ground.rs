//! `glip ground`: finds what words name in one picture.

use std::{
    fmt::Write,
    io,
    path::{Path, PathBuf},
};

use glip::{
    Category, Detection, Detections, Detector, ImageSize, Mask, NounPhrases, Prompt, PromptInput,
    Vocabulary,
};
use glip_tools::{Error, Picture, Result, writable_format, write_picture};
use image::DynamicImage;
use serde::Serialize;

use crate::{
    model::ModelOptions,
    output::{self, Outcome},
    pictures::PictureOptions,
};

/// Finds in a picture what words name, and prints where it is.
///
/// Say what to look for in one of four ways: a PROMPT of phrases between dots, --category names of any
/// number, a file of --categories with synonyms and context, or a --caption, whose noun phrases are looked
/// for unless --phrase says which.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Ground {
    /// The picture: BMP, GIF, JPEG, PNG, TIFF or WebP.
    image: PathBuf,
    #[command(flatten)]
    words: Words,
    /// A phrase of the caption, by its words; may be given several times [default: its noun phrases].
    #[arg(long = "phrase", value_name = "TEXT", requires = "caption")]
    phrases: Vec<String>,
    /// The score that detections must be over, 0 to 1 [default: the model's own].
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f32>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Prints the tokens first that the model reads, and which phrase each belongs to. A word that is
    /// [UNK] is unknown to it.
    #[arg(long, conflicts_with = "json")]
    describe: bool,
    /// A segmenter's folder, as `python -m glip_torch.export_segmenter` writes it: the pixels of what is found too.
    #[arg(long, value_name = "DIR")]
    segmenter: Option<PathBuf>,
    /// Writes the picture with the boxes drawn; its name says the format.
    #[arg(long, value_name = "FILE")]
    draw: Option<PathBuf>,
    #[command(flatten)]
    pictures: PictureOptions,
    #[command(flatten)]
    model: ModelOptions,
}

/// What to look for.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Words {
    /// Phrases between dots: "person . dog . bicycle". A dot in "1.5 inch" or "U.S. flag" is part of it.
    prompt: Option<String>,
    /// A name to look for, as data sets spell them; may be given several times.
    #[arg(long = "category", value_name = "NAME")]
    names: Vec<String>,
    /// A JSON or YAML file of names, or of objects with name, prefix, suffix and synonyms; ODinW's
    /// prompt files and YOLO's data.yaml and classes.txt too.
    #[arg(long, value_name = "FILE")]
    categories: Option<PathBuf>,
    /// A sentence about the picture.
    #[arg(long, value_name = "TEXT")]
    caption: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  glip ground photo.jpg \"person . dog . bicycle\"
  glip ground street.jpg --model models/glip-t --category person --category traffic_light
  glip ground street.jpg --model models/glip-t --caption \"two men on a bus\"
  glip ground street.jpg --model models/glip-t --caption \"two men on a bus\" --phrase \"two men\"
  glip ground photo.jpg \"zamboni . dog\" --describe
  glip ground photo.jpg \"dog\" --json | jq '.detections[0].bbox'
  glip ground photo.jpg \"person . dog . bicycle\" --draw boxes.png
  glip ground photo.jpg \"dog\" --segmenter models/mobile-sam --draw masks.png

JSON: {\"image\": {\"width\", \"height\"}, \"detections\": [{\"phrase\", \"phrase_index\", \"score\",
\"phrase_score\", \"bbox\": [x1, y1, x2, y2]}]}, best first, boxes in pixels of the picture. With a segmenter each has
\"mask\": {\"size\": [height, width], \"counts\", \"score\"}, COCO's run lengths.";

impl Ground {
    pub(crate) fn run(self) -> Result<Outcome> {
        self.check_drawing()?;
        let words = self.words()?;
        let picture = Picture::read(&self.image, self.pictures.limits())?.upright();
        let detector = self.detector()?;
        let segmenter = self.segmenter.as_deref();
        let segmenter = segmenter.map(|folder| self.model.segmenter(folder));
        let segmenter = segmenter.transpose()?;
        if self.describe {
            output::print(&words.describe(&detector)?)?;
        }
        let found = detector.ground(&picture, words.input())?;
        let masks = segmenter.map(|segmenter| segmenter.masks(&picture, found.boxes()));
        let masks = masks.transpose()?;
        let report = self.report(&picture, &found, masks.as_deref());
        if let Some(path) = &self.draw {
            draw(picture, &found, masks.as_deref(), path)?;
        }
        output::print(&report)?;
        Ok(Outcome::Complete)
    }

    /// That the drawing can be written, to know before the model runs.
    fn check_drawing(&self) -> Result<()> {
        let Some(path) = &self.draw else {
            return Ok(());
        };
        writable_format(path)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let refused = match (folder.is_dir(), path.is_dir()) {
            (false, _) => "its folder does not exist",
            (true, true) => "it is a folder",
            (true, false) => return Ok(()),
        };
        Err(Error::Write {
            path: path.clone(),
            source: io::Error::other(refused),
        })
    }

    fn detector(&self) -> Result<Detector> {
        let mut builder = self.model.builder()?;
        if let Some(score) = self.threshold {
            builder = builder.score_threshold(score);
        }
        Ok(builder.build()?)
    }

    fn words(&self) -> Result<Asked> {
        let Words {
            prompt,
            names,
            categories,
            caption,
        } = &self.words;
        Ok(match (prompt, categories, caption) {
            (Some(phrases), ..) => Asked::Prompt(phrases.into()),
            (_, Some(file), _) => Asked::Vocabulary(Vocabulary::new(Category::load(file)?)),
            (.., Some(text)) if self.phrases.is_empty() => {
                Asked::Prompt(Prompt::caption(text).extract(&NounPhrases))
            }
            (.., Some(text)) => Asked::Prompt(Prompt::caption(text).phrases(&self.phrases)),
            _ => Asked::Vocabulary(Vocabulary::new(names)),
        })
    }

    fn report(&self, picture: &DynamicImage, found: &Detections, masks: Option<&[Mask]>) -> String {
        if !self.json {
            return table(found, masks);
        }
        let report = Report {
            image: ImageSize {
                width: picture.width(),
                height: picture.height(),
            },
            detections: with_masks(found, masks)
                .map(|(detection, mask)| Found { detection, mask })
                .collect(),
        };
        // Sizes, texts and finite numbers always become JSON.
        serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
    }
}

/// Every detection, with its mask if there are masks.
fn with_masks<'a>(
    found: &'a Detections,
    masks: Option<&'a [Mask]>,
) -> impl Iterator<Item = (&'a Detection, Option<&'a Mask>)> {
    let found = found.iter().enumerate();
    found.map(move |(index, detection)| (detection, masks.and_then(|masks| masks.get(index))))
}

/// What is looked for.
enum Asked {
    Prompt(Prompt),
    Vocabulary(Vocabulary),
}

impl Asked {
    fn input(&self) -> PromptInput<'_> {
        match self {
            Self::Prompt(prompt) => prompt.into(),
            Self::Vocabulary(vocabulary) => vocabulary.into(),
        }
    }

    /// The tokens of each text that the model reads, and an empty line.
    fn describe(&self, detector: &Detector) -> Result<String> {
        let tokenizer = detector.tokenizer();
        let texts = match self {
            Self::Prompt(prompt) => vec![prompt.describe(tokenizer)?],
            Self::Vocabulary(vocabulary) => {
                let prompts = vocabulary.prompts(tokenizer)?;
                let texts = prompts.iter().map(|prompt| prompt.describe(tokenizer));
                texts.collect::<Result<_, _>>()?
            }
        };
        Ok(texts.join("\n") + "\n")
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    image: ImageSize,
    detections: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    detection: &'a Detection,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<&'a Mask>,
}

fn table(found: &Detections, masks: Option<&[Mask]>) -> String {
    let mut table = format!(
        "{:30} {:>5}  {:>7} {:>7} {:>7} {:>7}",
        "phrase", "score", "x1", "y1", "x2", "y2"
    );
    if masks.is_some() {
        table += "    pixels  mask";
    }
    for (detection, mask) in with_masks(found, masks) {
        let [x1, y1, x2, y2] = detection.bbox.into();
        let (phrase, score) = (&detection.phrase, detection.score);
        // A string takes everything.
        let _ = write!(
            table,
            "\n{phrase:30} {score:5.2}  {x1:7.1} {y1:7.1} {x2:7.1} {y2:7.1}"
        );
        if let Some(mask) = mask {
            let _ = write!(table, " {:9} {:5.2}", mask.area(), mask.score());
        }
    }
    table + "\n"
}

fn draw(
    picture: DynamicImage,
    found: &Detections,
    masks: Option<&[Mask]>,
    path: &Path,
) -> Result<()> {
    let mut drawing = picture.into_rgb8();
    if let Some(masks) = masks {
        glip::draw_masks(&mut drawing, found, masks)?;
    }
    glip::draw_detections(&mut drawing, found);
    write_picture(path, &drawing)
}
