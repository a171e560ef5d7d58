//! The record of a run, one line for each input: what makes a killed run go on where it ended.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Asked, Caption, Failure, Label, LabelRecord, Outcome, Request, outputs};
use crate::{Error, Result};

/// The journal's name in the folder of a run.
const FILE: &str = "journal.jsonl";

/// What a run depends on. A run goes on only with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalHeader {
    /// The version of the journal's form.
    pub journal_version: u32,
    /// The model's name.
    pub model: String,
    /// The folder that names of images are relative to, as an absolute path.
    pub base: PathBuf,
    /// The labels of the categories that are looked for in all images.
    pub categories: Option<Vec<String>>,
    /// How those are said to the model.
    pub prompt: Option<String>,
    /// Whether there are boxes for a person to look at.
    pub asks: bool,
    /// What the model does with images and boxes, and what becomes a label.
    pub options: Value,
}

/// The inputs of a run that are done, each in a line of its own, in their order.
///
/// A line is written with one call when the input is done, so a process that is killed leaves whole
/// lines and at most a piece of one, which is cut off when the run goes on. Every input thus has one
/// line, and nothing is lost or doubled. What is put out in other formats is made of the journal, at
/// the end.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    header: JournalHeader,
    /// Shared with the records that were asked the same.
    categories: Arc<[String]>,
}

impl Journal {
    /// Begins a journal in a folder, which is made if need be, or opens the one that is there.
    ///
    /// # Errors
    /// - [`Error::Write`]: it cannot be written.
    /// - [`Error::RunBusy`]: another process writes it.
    /// - [`Error::RunDiffers`]: the one that is there is of another model, of other options, or words.
    /// - [`Error::Record`]: it is no journal.
    pub fn open(folder: &Path, header: JournalHeader) -> Result<Self> {
        let path = folder.join(FILE);
        let unwritable = |source| Error::Write {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(folder).map_err(unwritable)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(unwritable)?;
        lock(&file, &path)?;
        match whole_line(&mut BufReader::new(&file)).map_err(unwritable)? {
            Some(line) => check_header(&path, &line, &header)?,
            None => begin(&mut file, &header).map_err(unwritable)?,
        }
        Ok(Self {
            path,
            file,
            categories: header.categories.clone().unwrap_or_default().into(),
            header,
        })
    }

    /// Removes the journal of a folder, if there is one that no other process writes.
    pub(super) fn remove(folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        if let Ok(file) = File::open(&path) {
            lock(&file, &path)?;
        }
        outputs::remove(&path)
    }

    /// Opens the journal of a run that is over, to make other formats of it.
    ///
    /// # Errors
    /// - As [`open`](Self::open).
    /// - [`Error::Read`]: there is none.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let file = File::open(&path).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        let line = whole_line(&mut BufReader::new(&file))
            .ok()
            .flatten()
            .unwrap_or_default();
        let header: JournalHeader =
            serde_json::from_slice(&line).map_err(|error| no_journal(&path, 1, &error))?;
        Ok(Self {
            path,
            file,
            categories: header.categories.clone().unwrap_or_default().into(),
            header,
        })
    }

    /// What the run depends on.
    pub fn header(&self) -> &JournalHeader {
        &self.header
    }

    /// The outcomes that are in it, in the order of the inputs.
    ///
    /// # Errors
    /// - [`Error::Read`]: it cannot be read.
    ///
    /// Items are [`Error::Record`] if a line is damaged.
    pub fn outcomes(&self) -> Result<impl Iterator<Item = Result<Outcome>>> {
        let mut lines = self.lines()?;
        Ok(std::iter::from_fn(move || match lines.next()? {
            Ok((line, number)) => Some(self.parse(&line, number)),
            Err(error) => Some(Err(error)),
        }))
    }

    /// Takes the inputs that are done from `requests`, and cuts off what comes after them in the
    /// file. Returns their outcomes' number.
    ///
    /// # Errors
    /// - [`Error::InputsDiffer`]: other inputs were done.
    /// - [`Error::Read`], [`Error::Write`], [`Error::Record`].
    /// - What `each` returns.
    pub fn skip_done<I>(
        &mut self,
        requests: &mut I,
        mut each: impl FnMut(&Outcome) -> Result<()>,
    ) -> Result<u64>
    where
        I: Iterator<Item = Result<Request, Failure>>,
    {
        let mut done = 0;
        let mut lines = self.lines()?;
        for line in &mut lines {
            let (line, number) = line?;
            let outcome = self.parse(&line, number)?;
            let known = name(&outcome, |record| &record.image);
            let request = requests.next();
            let found = request
                .as_ref()
                .map(|request| name(request, |request| &request.image));
            if found != Some(known) {
                return Err(Error::InputsDiffer {
                    path: self.path.clone(),
                    number: done,
                    known: known.to_owned(),
                    found: found.map(str::to_owned),
                });
            }
            each(&outcome)?;
            done += 1;
        }
        let end = lines.end;
        let cut = self
            .file
            .set_len(end)
            .and_then(|()| self.file.seek(SeekFrom::Start(end)));
        cut.map_err(|source| Error::Write {
            path: self.path.clone(),
            source,
        })?;
        Ok(done)
    }

    /// Adds an outcome. Those that are there must have been [skipped](Self::skip_done).
    ///
    /// # Errors
    /// - [`Error::Write`].
    pub fn add(&mut self, outcome: &Outcome) -> Result<()> {
        let entry = match outcome {
            Ok(record) => Entry::Labelled(self.to_line(record)),
            Err(failure) => Entry::Failed(failure.clone()),
        };
        let line = serde_json::to_string(&entry).map_err(io::Error::from);
        let written = line.and_then(|line| self.file.write_all((line + "\n").as_bytes()));
        written.map_err(|source| Error::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// The whole lines after the header.
    fn lines(&self) -> Result<WholeLines> {
        let unreadable = |source| Error::Read {
            path: self.path.clone(),
            source,
        };
        let mut file = BufReader::new(File::open(&self.path).map_err(unreadable)?);
        let header = whole_line(&mut file)
            .map_err(unreadable)?
            .unwrap_or_default();
        Ok(WholeLines {
            path: self.path.clone(),
            file,
            end: header.len() as u64,
            number: 1,
        })
    }

    fn parse(&self, line: &[u8], number: usize) -> Result<Outcome> {
        let entry: Entry =
            serde_json::from_slice(line).map_err(|error| no_journal(&self.path, number, &error))?;
        match entry {
            Entry::Failed(failure) => Ok(Err(failure)),
            Entry::Labelled(record) => self
                .to_record(record)
                .map(Ok)
                .map_err(|error| no_journal(&self.path, number, &error)),
        }
    }

    fn to_line(&self, record: &LabelRecord) -> RecordLine {
        let (categories, caption) = match &record.asked {
            Asked::Categories(names) if *names == self.categories => (None, None),
            Asked::Categories(names) => (Some(names.to_vec()), None),
            Asked::Caption(caption, _) => (None, Some(caption.clone())),
        };
        RecordLine {
            image: record.image.clone(),
            width: record.width,
            height: record.height,
            source: record.source.clone(),
            categories,
            caption,
            labels: record.labels.clone(),
        }
    }

    fn to_record(&self, line: RecordLine) -> glip::Result<LabelRecord> {
        let asked = match (line.categories, line.caption) {
            (_, Some(caption)) => Asked::caption(caption)?,
            (Some(names), None) => Asked::Categories(names.into()),
            (None, None) => Asked::Categories(Arc::clone(&self.categories)),
        };
        Ok(LabelRecord {
            image: line.image,
            width: line.width,
            height: line.height,
            source: line.source,
            asked,
            labels: line.labels,
        })
    }
}

fn lock(file: &File, path: &Path) -> Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::RunBusy {
            path: path.to_owned(),
        },
        TryLockError::Error(source) => Error::Write {
            path: path.to_owned(),
            source,
        },
    })
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Labelled(RecordLine),
    Failed(Failure),
}

/// A record as it is written; what was asked is left out if it is what the header says.
#[derive(Serialize, Deserialize)]
struct RecordLine {
    image: String,
    width: u32,
    height: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    categories: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caption: Option<Caption>,
    labels: Vec<Label>,
}

/// The lines of a file that end with a line feed, and their numbers.
struct WholeLines {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the last whole line ends, in bytes.
    end: u64,
    number: usize,
}

impl Iterator for WholeLines {
    type Item = Result<(Vec<u8>, usize)>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = whole_line(&mut self.file).map_err(|source| Error::Read {
            path: self.path.clone(),
            source,
        });
        let line = line.transpose()?;
        Some(line.map(|line| {
            self.end += line.len() as u64;
            self.number += 1;
            (line, self.number)
        }))
    }
}

/// The next line, if it is whole.
fn whole_line(file: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line)?;
    Ok(line.ends_with(b"\n").then_some(line))
}

/// Writes the first line; a piece of one may be there.
fn begin(file: &mut File, header: &JournalHeader) -> io::Result<()> {
    let mut line = serde_json::to_vec(header)?;
    line.push(b'\n');
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&line)
}

fn check_header(path: &Path, line: &[u8], now: &JournalHeader) -> Result<()> {
    let before: Value =
        serde_json::from_slice(line).map_err(|error| no_journal(path, 1, &error))?;
    // Read back like the other, as numbers may change in their last digit on the way.
    let now = serde_json::to_string(now).and_then(|now| serde_json::from_str(&now));
    let now: Value = now.map_err(|error| no_journal(path, 1, &error))?;
    match difference("", &before, &now) {
        None => Ok(()),
        Some((what, before, now)) => Err(Error::RunDiffers {
            path: path.to_owned(),
            what,
            before,
            now,
        }),
    }
}

/// The first thing in which two values differ: its name, and both.
fn difference(name: &str, before: &Value, now: &Value) -> Option<(String, String, String)> {
    if before == now {
        return None;
    }
    if let (Value::Object(before), Value::Object(now)) = (before, now) {
        let keys = before.keys().chain(now.keys());
        let mut differences = keys.filter_map(|key| {
            let below = format!("{name}{}{key}", if name.is_empty() { "" } else { "." });
            let value = |of: &serde_json::Map<_, _>| of.get(key).cloned().unwrap_or_default();
            difference(&below, &value(before), &value(now))
        });
        return differences.next();
    }
    Some((name.to_owned(), before.to_string(), now.to_string()))
}

/// What an input or its outcome is called.
fn name<T>(of: &Result<T, Failure>, image: fn(&T) -> &String) -> &str {
    match of {
        Ok(good) => image(good),
        Err(failure) => &failure.image,
    }
}

fn no_journal(path: &Path, line: usize, error: &dyn std::error::Error) -> Error {
    Error::Record {
        path: path.to_owned(),
        line,
        reason: format!(
            "no line of a journal ({error}): choose another folder, or start over (--overwrite)"
        ),
    }
}
