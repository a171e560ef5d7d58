//! The crate's one error type.

use std::{io, path::PathBuf};

use crate::{failure::Failure, problem::Problem};

/// What the crate's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that ends a run, each with the thing, the value and the remedy.
///
/// What can be left out, such as one picture of many, ends a run only if that was asked for; else it
/// is a [`Problem`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model cannot be loaded or run.
    #[error(transparent)]
    Model(#[from] glip::Error),

    /// A file of prompts has not one entry for each category.
    #[error(
        "{path} has {found} entries, the data set {expected} categories: \
         give an entry for each, by ascending id of the categories"
    )]
    PromptCount {
        /// The file.
        path: PathBuf,
        /// Its entries.
        found: usize,
        /// The categories.
        expected: usize,
    },
    /// A plot cannot be drawn.
    #[error("cannot draw a plot")]
    Plot {
        /// What the drawing said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something cannot be used, and the run was to end then.
    #[error("{0}: correct it, or do without --strict to leave it out")]
    Strict(Problem),
    /// There is nothing to measure.
    #[error("{path} has no images that could be measured: check that it is the right data set")]
    NothingToMeasure {
        /// The data set.
        path: PathBuf,
    },
    /// No object of a data set has pixels that its masks could be measured by.
    #[error(
        "{path} has no object with a mask that can be used, the first: {first}; \
         measure boxes (--iou bbox), or take annotations with segmentations"
    )]
    NoMasks {
        /// The data set.
        path: PathBuf,
        /// What is wrong with the first.
        first: Problem,
    },
    /// Masks are to be measured, and something has none.
    #[error("{what} has no mask to measure: {reason}")]
    NoMask {
        /// What has none: an annotation or a detection.
        what: String,
        /// Why it has none, and the remedy.
        reason: String,
    },
    /// Detections could not be matched with the truth.
    #[error("cannot match detections with the data set: its source says why")]
    Matching {
        /// What the matching said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    // ---- Files ----
    /// A file or folder cannot be read.
    #[error("cannot read {path}: check the path and its permissions")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: check that the folder exists and has room")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A text file has another encoding than UTF-8.
    #[error("{path} is {found}, not in UTF-8: save it as UTF-8")]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The encoding it looks like, and where that shows.
        found: String,
    },
    /// A file is not the JSON it should be.
    #[error("{path} is not {expected}: check that the file is the right one and complete")]
    Json {
        /// The file.
        path: PathBuf,
        /// What it should be, for example `a COCO data set`.
        expected: &'static str,
        /// Where and why it does not parse.
        source: serde_json::Error,
    },
    /// A file is not what describes a data set of YOLO.
    #[error("{path} is not YOLO's data.yaml, with names and the folders of pictures: {reason}")]
    DataFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of a file of records is not what it should be.
    #[error("{path}, line {line}: {reason}")]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A run in the same folder was begun with something else.
    #[error(
        "the run in {path} was begun otherwise ({what} {now}, before: {before}): \
         give the same, choose another folder, or start over (--overwrite)"
    )]
    RunDiffers {
        /// The run's file.
        path: PathBuf,
        /// What is not the same, as it is given: for example `--keep`.
        what: String,
        /// Its value then.
        before: String,
        /// Its value now.
        now: String,
    },
    /// Another process has a run in the same folder.
    #[error("another run writes {path}: wait for it, or choose another folder")]
    RunBusy {
        /// The run's file, or its folder.
        path: PathBuf,
    },
    /// Somebody stopped the run.
    #[error("stopped")]
    Stopped,
    /// A path that has to be stored is not Unicode.
    #[error("{path:?} is not Unicode, which JSON cannot hold: rename it")]
    NotUnicode {
        /// The file or folder.
        path: PathBuf,
    },

    // ---- Pictures ----
    /// A picture is of no known format, or damaged.
    #[error("{path} is not a usable picture: replace it, or leave it out")]
    Picture {
        /// The file, or the name it came with.
        path: PathBuf,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// A picture is of a format that is not read.
    #[error("{path} is {format}, which is not read: convert it to JPEG or PNG, or leave it out")]
    PictureFormat {
        /// The file, or the name it came with.
        path: PathBuf,
        /// What it is, for example `a HEIC picture`.
        format: &'static str,
    },
    /// Something within a picture was overwritten or is missing.
    #[error("{path} is damaged: {reason}; copy or download it again, or leave it out")]
    PictureDamaged {
        /// The file, or the name it came with.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A picture ends before its last pixel.
    #[error("{path} is cut off: copy or download it again")]
    PictureCutOff {
        /// The file, or the name it came with.
        path: PathBuf,
    },
    /// A picture cannot be written.
    #[error(
        "cannot write {path}: check the folder, and that the name ends in .png, .jpg, .bmp or .webp"
    )]
    WritePicture {
        /// The file.
        path: PathBuf,
        /// What the encoder or the file system said.
        source: image::ImageError,
    },
    /// A picture has more pixels than one may have.
    #[error(
        "{path} has {width} x {height} pixels, more than the {limit} that a picture may have: \
         make it smaller, or raise the limit (PictureLimits::max_pixels, --max-pixels)"
    )]
    PictureTooLarge {
        /// The file, or the name it came with.
        path: PathBuf,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The most pixels.
        limit: u64,
    },

    /// A picture has a side so long that nothing can be made of it as a whole.
    #[error("{path} has {width} x {height} pixels, a side may have {limit}: cut it into tiles")]
    PictureTooLong {
        /// The file, or the name it came with.
        path: PathBuf,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The longest side that there may be.
        limit: u32,
    },
    /// A picture takes more memory than all of a run's may.
    #[error(
        "decoding {path} takes {bytes} bytes, more than the {limit} that pictures may take: \
         make it smaller, or raise the limit (PictureLimits::max_bytes, --max-bytes)"
    )]
    PictureMemory {
        /// The file, or the name it came with.
        path: PathBuf,
        /// What it takes.
        bytes: u64,
        /// What all pictures at once may take.
        limit: u64,
    },

    // ---- Labelling ----
    /// A place that shall be labelled has nothing in it.
    #[error(
        "no images in {place:?}: {reason}; give a folder, a pattern, pictures, a .jsonl, .txt, .tar or .tar.gz file, YOLO's data.yaml, or -"
    )]
    NoInput {
        /// The folder, file or pattern.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Pictures were given, and nothing to look for in them.
    #[error(
        "nothing to look for in the pictures: give categories (--categories), or JSON Lines that say it"
    )]
    NoSubject,
    /// A picture could not be labelled, and the run was to end then.
    #[error("{}: {}", .0.image, .0.error)]
    Failed(Failure),
    /// A run in the same folder was begun with other inputs.
    #[error(
        "input {number} of the run in {path} was {known:?}, now it is {}: \
         give the same inputs, choose another folder, or start over (--overwrite)",
        found.as_ref().map_or("missing".to_owned(), |name| format!("{name:?}"))
    )]
    InputsDiffer {
        /// The journal.
        path: PathBuf,
        /// The input's number, from 0.
        number: u64,
        /// What it was called then.
        known: String,
        /// What it is called now, if there are as many inputs.
        found: Option<String>,
    },

    // ---- Options ----
    /// An option has a value it cannot have.
    #[error("option {option} is {found}, expected {expected}")]
    Option {
        /// The option, for example `keep`.
        option: &'static str,
        /// The value that was given.
        found: String,
        /// What it may be.
        expected: String,
    },
}
