//! The crate's one error type.

use std::{io, path::PathBuf};

/// What the crate's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that ends a run, each with the thing, the value and the remedy.
///
/// What can be left out, such as one picture of many, ends a run only if that was asked for; else it
/// is a [`Problem`](crate::Problem).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model cannot be loaded or run.
    #[error(transparent)]
    Model(#[from] glip::Error),

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
    /// A file of predictions belongs to another run.
    #[error(
        "{path} is of a run with another {part} ({found}, now {expected}): \
         choose another folder for the results, or start anew with --restart"
    )]
    OtherRun {
        /// The file.
        path: PathBuf,
        /// What differs: `format`, `data`, `model` or `options`.
        part: &'static str,
        /// What the file says.
        found: String,
        /// What it should say.
        expected: String,
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
}
