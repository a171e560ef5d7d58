//! Labelled boxes in the formats of training and of labelling tools, made of a run's journal.

mod brush;
mod classes;
mod coco;
mod cvat;
mod gligen;
mod grounding;
mod json;
mod label_studio;
mod options;
mod outlines;
mod records;
mod yolo;

use std::path::{Path, PathBuf};

pub use self::options::{Format, MaskForm, OutputOptions};
use self::{json::json_line, records::repeated_images};
use crate::{
    atomic::{AtomicFile, partial},
    error::Result,
    failure::Failure,
    files::remove,
    label::journal::Journal,
};

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
/// - [`Error::Read`](crate::Error::Read), [`Error::Record`](crate::Error::Record): the journal cannot be read.
/// - [`Error::Write`](crate::Error::Write): a file cannot be written.
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
        Format::Coco => coco::write(journal, &folder.join("coco.json"), options.masks)?,
        Format::Yolo => return yolo::write(journal, &folder.join("yolo"), options.copy_images),
        Format::Gligen => gligen::write(journal, &folder.join("gligen.jsonl"))?,
        Format::LabelStudio => label_studio::write(journal, folder, options)?,
        Format::Cvat => cvat::write(journal, &folder.join("cvat.xml"), options.masks)?,
    }
    Ok(Vec::new())
}

/// What formats may have written into a folder, whole or begun.
fn written(folder: &Path) -> Vec<PathBuf> {
    const FILES: [&str; 9] = [
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
    let whole = FILES.iter().map(|file| folder.join(file));
    whole.flat_map(|file| [partial(&file), file]).collect()
}

/// What a run may have written into a folder.
pub(super) fn own_files(folder: &Path) -> Vec<PathBuf> {
    let journal = Journal::path_in(folder);
    let mut files = written(folder);
    files.extend([partial(&journal), journal]);
    files
}

/// Removes what formats wrote into a folder.
pub(super) fn remove_written(folder: &Path) -> Result<()> {
    written(folder).iter().try_for_each(|file| remove(file))
}
