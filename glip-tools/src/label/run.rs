//! A run into a folder, which goes on where an earlier one was ended.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;

use crate::{
    error::{Error, Result},
    files::unreadable,
    label::{
        inputs::{Inputs, Requests},
        journal::{Journal, JournalHeader},
        labeller::{Counts, Labeller},
        outputs::{self, OutputOptions},
        record::Outcome,
        subject::Subject,
    },
};

/// Labels inputs into a folder.
///
/// The folder has a journal with a line for every input that is done. A run that was ended, in whatever
/// way, goes on after the last of them if it is started again with the same inputs and options. The
/// formats that were asked for are made of the journal once all inputs are done; made again, they do
/// not need the model.
///
/// ```
/// use std::sync::Arc;
///
/// use glip::Detector;
/// use glip_tools::label::{Format, Inputs, LabelOptions, Labeller, OutputOptions, Run, Subject};
///
/// let labeller = Labeller::new(Detector::nano()?, LabelOptions::default())?;
/// let inputs = Inputs::find(["../examples/images/coffee.jpg"])?;
/// let subject = Arc::new(Subject::categories(["cup", "dining_table"]));
///
/// let folder = tempfile::tempdir()?;
/// let mut run = Run::open(folder.path(), &labeller, &inputs, Some(&subject))?;
/// let counts = run.label(&labeller, inputs.requests(Some(subject))?, |_| Ok(()))?;
/// assert_eq!((counts.labelled, counts.kept), (1, 2));
/// let failures = run.write(&OutputOptions::default().with_formats([Format::Grounding, Format::Coco]))?;
/// assert_eq!(failures, 0);
/// assert!(folder.path().join("coco.json").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    journal: Journal,
}

impl Run {
    /// Begins a run, or opens the one that was begun in this folder.
    ///
    /// # Errors
    /// - [`Error::Write`]: the folder cannot be written to.
    /// - [`Error::RunBusy`]: another process has a run in it.
    /// - [`Error::RunDiffers`]: the run in it is of another model, other options or words.
    /// - As [`Labeller::check`].
    pub fn open(
        folder: impl AsRef<Path>,
        labeller: &Labeller,
        inputs: &Inputs,
        subject: Option<&Arc<Subject>>,
    ) -> Result<Self> {
        let header = header(labeller, inputs, subject)?;
        let folder = folder.as_ref().to_owned();
        Ok(Self {
            journal: Journal::open(&folder, header)?,
            folder,
        })
    }

    /// Opens a run that is over, for its formats alone.
    ///
    /// # Errors
    /// - As [`Journal::read`].
    pub fn reopen(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        Ok(Self {
            journal: Journal::read(&folder)?,
            folder,
        })
    }

    /// Removes the run in a folder and what it wrote, to start over.
    ///
    /// # Errors
    /// - [`Error::RunBusy`]: another process has a run in it.
    /// - [`Error::Write`].
    pub fn discard(folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        Journal::discard(folder, || outputs::remove_written(folder))
    }

    /// Labels what has not been labelled yet, and calls `each` with every outcome, those of earlier runs
    /// included. Returns the counts of all. Images whose bytes are others than then are labelled again, first of all.
    ///
    /// # Errors
    /// - [`Error::InputsDiffer`]: the inputs that are done are not the first of these.
    /// - [`Error::Write`]: the journal cannot be written.
    /// - What `each` returns.
    pub fn label(
        &mut self,
        labeller: &Labeller,
        mut requests: Requests,
        mut each: impl FnMut(&Outcome) -> Result<()>,
    ) -> Result<Counts> {
        let mut counts = Counts::default();
        let limits = labeller.options().pictures;
        let replaced = self.journal.skip_done(&mut requests, limits, |outcome| {
            counts += Counts::of(outcome);
            each(outcome)
        })?;
        if !replaced.is_empty() {
            let (numbers, again): (Vec<_>, Vec<_>) = replaced.into_iter().unzip();
            counts += self.journal.put_again(numbers.into_iter(), |put| {
                labeller.run_done(again.into_iter().map(Ok), |done| {
                    put(&done)?;
                    each(&done.outcome)
                })
            })?;
        }
        counts += labeller.run_done(requests, |done| {
            self.journal.add(&done)?;
            each(&done.outcome)
        })?;
        Ok(counts)
    }

    /// Writes the formats and `errors.jsonl`, as [`outputs::write`](super::write).
    ///
    /// # Errors
    /// As [`outputs::write`](super::write).
    pub fn write(&self, options: &OutputOptions) -> Result<u64> {
        outputs::write(&self.journal, &self.folder, options)
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

fn header(
    labeller: &Labeller,
    inputs: &Inputs,
    subject: Option<&Arc<Subject>>,
) -> Result<JournalHeader> {
    let options = labeller.options();
    if let Some(subject) = subject {
        labeller.check(subject)?;
    }
    let categories = match subject.map(Arc::as_ref) {
        Some(Subject::Categories(categories)) => Some(categories),
        _ => None,
    };
    let base = match inputs.base() {
        base if base.as_os_str().is_empty() => Path::new("."),
        base => base,
    };
    Ok(JournalHeader {
        journal_version: JournalHeader::VERSION,
        model: labeller.model().to_owned(),
        base: absolute(base)?,
        categories: subject.map(|subject| subject.phrases()).transpose()?,
        prompt: categories
            .map(|categories| labeller.text_of(categories))
            .transpose()?,
        has_review: options.has_review(),
        options: json!({
            "model": labeller.model_options(),
            "segmenter": labeller.segmenter_options(),
            "label": options,
        }),
    })
}

/// An absolute path that a journal can hold.
fn absolute(folder: &Path) -> Result<PathBuf> {
    let path = fs::canonicalize(folder).map_err(unreadable(folder))?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(Error::NotUnicode { path }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_folder_that_a_journal_cannot_hold_is_named() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        assert!(absolute(folder.path()).unwrap().is_absolute());
        let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
        fs::create_dir(&odd).unwrap();
        let error = absolute(&odd).unwrap_err().to_string();
        assert!(
            error.contains("caf\\xE9") && error.contains("rename it"),
            "{error}"
        );
    }
}
