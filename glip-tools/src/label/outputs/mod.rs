//! Labels in the formats of training and of labelling tools, made of a run's journal.

mod atomic;
mod classes;
mod coco;
mod cvat;
mod gligen;
mod grounding;
mod label_studio;
mod yolo;

use std::{
    collections::HashSet,
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use self::{atomic::AtomicFile, classes::Classes};
use super::{Failure, Journal, LabelRecord, Verdict};
use crate::{Error, Result};

/// A format that labels are written in.
///
/// | format | name | file | boxes |
/// | --- | --- | --- | --- |
/// | [`Grounding`](Self::Grounding) | `grounding` | `labels.jsonl` | labels |
/// | [`Coco`](Self::Coco) | `coco` | `coco.json` | labels |
/// | [`Yolo`](Self::Yolo) | `yolo` | `yolo/` | labels |
/// | [`Gligen`](Self::Gligen) | `gligen` | `gligen.jsonl` | labels |
/// | [`LabelStudio`](Self::LabelStudio) | `label-studio` | `label_studio.json` | labels and questions |
/// | [`Cvat`](Self::Cvat) | `cvat` | `cvat.xml` | labels and questions |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JSON Lines that `glip_torch` trains on, with scores. What was looked for and not found is there
    /// without boxes; what is in question is left out. If there are questions, `review.jsonl` has the
    /// images with one, and all their boxes.
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
    /// configuration. If there are questions, just the images with one; the least sure are first in
    /// its order by score.
    LabelStudio,
    /// An annotation file to import into CVAT ("CVAT for images 1.1"), whose boxes have the attributes
    /// `score` and `verdict`. If there are questions, just the images with one.
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

    /// Whether an image can occur once only.
    fn is_keyed_by_image(self) -> bool {
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

/// How labels are written.
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
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self {
            formats: vec![Format::Grounding],
            image_url: "/data/local-files/?d=".to_owned(),
            copy_images: false,
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
}

/// The name of the file with the inputs that failed.
pub const ERRORS: &str = "errors.jsonl";

/// Writes what is in a journal into a folder: every format, and `errors.jsonl`, which has a line for
/// each input that failed and for each image that a format could not hold. Returns how many those
/// are.
///
/// Memory holds one record at a time, and the names of the classes. Files appear when they are
/// complete.
///
/// # Errors
/// - [`Error::Read`], [`Error::Record`]: the journal cannot be read.
/// - [`Error::Write`]: a file cannot be written.
pub fn write(journal: &Journal, folder: &Path, options: &OutputOptions) -> Result<u64> {
    let mut problems = Vec::new();
    if options
        .formats
        .iter()
        .any(|format| format.is_keyed_by_image())
    {
        problems = repeated_images(journal)?;
    }
    for format in &options.formats {
        problems.extend(write_format(*format, journal, folder, options)?);
    }
    let mut failures = 0;
    let path = folder.join(ERRORS);
    AtomicFile::write(&path, |file| {
        let of_inputs = journal
            .outcomes()?
            .filter_map(|outcome| outcome.map(Result::err).transpose());
        for failure in of_inputs.chain(problems.into_iter().map(Ok)) {
            json_line(file, &failure?, &path)?;
            failures += 1;
        }
        Ok(())
    })?;
    Ok(failures)
}

/// Writes one format. Returns the images that it cannot hold.
fn write_format(
    format: Format,
    journal: &Journal,
    folder: &Path,
    options: &OutputOptions,
) -> Result<Vec<Failure>> {
    match format {
        Format::Grounding => grounding::write(journal, folder)?,
        Format::Coco => coco::write(journal, &folder.join("coco.json"))?,
        Format::Yolo => return yolo::write(journal, &folder.join("yolo"), options.copy_images),
        Format::Gligen => gligen::write(journal, &folder.join("gligen.jsonl"))?,
        Format::LabelStudio => label_studio::write(journal, folder, &options.image_url)?,
        Format::Cvat => cvat::write(journal, &folder.join("cvat.xml"))?,
    }
    Ok(Vec::new())
}

/// Removes what formats wrote into a folder.
pub(super) fn remove_written(folder: &Path) -> Result<()> {
    let files = [
        ERRORS,
        "labels.jsonl",
        "review.jsonl",
        "coco.json",
        "yolo",
        "gligen.jsonl",
        "label_studio.json",
        "label_studio.xml",
        "cvat.xml",
    ];
    files.iter().try_for_each(|file| remove(&folder.join(file)))
}

/// Removes a file or a folder, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritable(path)(error)),
        _ => Ok(()),
    }
}

/// The records of a journal.
fn records(journal: &Journal) -> Result<impl Iterator<Item = Result<LabelRecord>>> {
    let outcomes = journal.outcomes()?;
    Ok(outcomes.filter_map(|outcome| outcome.map(Result::ok).transpose()))
}

/// The records of a journal with a number for each, from 1; of several with one image, the first.
fn images(journal: &Journal) -> Result<impl Iterator<Item = Result<(u64, LabelRecord)>>> {
    let mut names = Names::default();
    let mut number = 0;
    Ok(records(journal)?.filter_map(move |record| match record {
        Ok(record) if names.is_new(&record.image) => {
            number += 1;
            Some(Ok((number, record)))
        }
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }))
}

/// As [`images`], those that a person shall look at: with a question, if the run asks any.
fn images_to_review(journal: &Journal) -> Result<impl Iterator<Item = Result<(u64, LabelRecord)>>> {
    let asks = journal.header().asks;
    let is_wanted = move |record: &LabelRecord| {
        !asks
            || record
                .labels
                .iter()
                .any(|label| label.verdict == Verdict::Ask)
    };
    Ok(images(journal)?
        .filter(move |image| image.as_ref().map_or(true, |(_, record)| is_wanted(record))))
}

fn repeated_images(journal: &Journal) -> Result<Vec<Failure>> {
    let mut names = Names::default();
    let mut repeated = Vec::new();
    for record in records(journal)? {
        let image = record?.image;
        if !names.is_new(&image) {
            repeated.push(Failure {
                image,
                error: "the image occurs more than once, and only its first record is in formats \
                        that know an image by its name; labels.jsonl has all"
                    .to_owned(),
            });
        }
    }
    Ok(repeated)
}

/// Names that have occurred, as 8 bytes each.
#[derive(Default)]
struct Names(HashSet<u64>);

impl Names {
    fn is_new(&mut self, name: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.0.insert(hasher.finish())
    }
}

/// Writes a value as a line of JSON.
fn json_line(file: &mut dyn Write, value: &impl serde::Serialize, path: &Path) -> Result<()> {
    let line = serde_json::to_string(value).map_err(io::Error::from);
    let written = line.and_then(|line| writeln!(file, "{line}"));
    written.map_err(unwritable(path))
}

/// Writes values as the elements of a JSON array, one a line, without the brackets.
fn json_elements<T: serde::Serialize>(
    file: &mut dyn Write,
    values: impl Iterator<Item = Result<T>>,
    path: &Path,
) -> Result<()> {
    let mut separator = "\n";
    for value in values {
        let element = serde_json::to_string(&value?).map_err(io::Error::from);
        let written = element.and_then(|element| write!(file, "{separator}{element}"));
        written.map_err(unwritable(path))?;
        separator = ",\n";
    }
    Ok(())
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path: PathBuf = path.to_owned();
    move |source| Error::Write {
        path: path.clone(),
        source,
    }
}
