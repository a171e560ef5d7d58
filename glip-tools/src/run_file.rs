//! The file of a run: what makes one that was stopped go on where it was.

use std::{
    fmt::Display,
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    files::{remove, unreadable, unwritable},
};

/// JSON Lines that only grow. The first one, the header, says what the run depends on; every further one
/// is of something that is done.
///
/// A line is written with one call, so a process that is killed leaves whole lines and at most a piece of
/// one, which is cut off when the run goes on. Nothing is lost or doubled. One process at a time has the
/// file open for writing.
#[derive(Debug)]
pub(crate) struct RunFile {
    path: PathBuf,
    file: File,
}

impl RunFile {
    /// Begins the file of a run, or opens the one that is there. What is in it must be
    /// [cut](Self::cut) at its last whole line before more is added.
    ///
    /// # Errors
    /// - [`Error::Write`]: it cannot be written.
    /// - [`Error::RunBusy`]: another process writes it.
    /// - [`Error::RunDiffers`]: the one that is there has another header.
    /// - [`Error::Record`]: it is something else.
    pub(crate) fn open(path: &Path, header: &impl Serialize) -> Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(unwritable(path))?;
        lock(&file, path)?;
        let mut file = Self {
            path: path.to_owned(),
            file,
        };
        match whole_line(&mut BufReader::new(&file.file)).map_err(unreadable(path))? {
            Some(line) => file.check_header(&line, header)?,
            None => {
                // A piece of one may be there.
                file.cut(0)?;
                file.add(header)?;
            }
        }
        Ok(file)
    }

    /// Opens the file of a run that is over; returns its header too.
    ///
    /// # Errors
    /// - [`Error::Read`]: it cannot be read.
    /// - [`Error::Record`]: it is something else.
    pub(crate) fn read<H: DeserializeOwned>(path: &Path) -> Result<(Self, H)> {
        let file = File::open(path).map_err(unreadable(path))?;
        let file = Self {
            path: path.to_owned(),
            file,
        };
        let line = whole_line(&mut BufReader::new(&file.file)).map_err(unreadable(path))?;
        let header = file.parse(&line.unwrap_or_default(), 1)?;
        Ok((file, header))
    }

    /// Removes the file, if there is one that no other process writes.
    ///
    /// # Errors
    /// - [`Error::RunBusy`]: another process writes it.
    /// - [`Error::Write`].
    pub(crate) fn remove(path: &Path) -> Result<()> {
        if let Ok(file) = File::open(path) {
            lock(&file, path)?;
        }
        remove(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole lines after the header.
    ///
    /// # Errors
    /// - [`Error::Read`]: it cannot be read.
    pub(crate) fn lines(&self) -> Result<WholeLines> {
        let unreadable = unreadable(&self.path);
        let mut file = BufReader::new(File::open(&self.path).map_err(&unreadable)?);
        let header = whole_line(&mut file).map_err(&unreadable)?;
        Ok(WholeLines {
            path: self.path.clone(),
            file,
            end: header.unwrap_or_default().len() as u64,
            number: 1,
        })
    }

    /// A line's content; `number` is the line's, from 1.
    ///
    /// # Errors
    /// - [`Error::Record`]: it is something else.
    pub(crate) fn parse<T: DeserializeOwned>(&self, line: &[u8], number: usize) -> Result<T> {
        serde_json::from_slice(line).map_err(|error| self.damaged(number, &error))
    }

    /// That a line is not what it should be.
    pub(crate) fn damaged(&self, line: usize, reason: impl Display) -> Error {
        Error::Record {
            path: self.path.clone(),
            line,
            reason: format!(
                "no line of a run's file ({reason}): choose another folder, or start over (--overwrite)"
            ),
        }
    }

    /// Cuts off what comes after so many bytes, and goes on there.
    ///
    /// # Errors
    /// - [`Error::Write`].
    pub(crate) fn cut(&mut self, end: u64) -> Result<()> {
        let cut = self.file.set_len(end);
        cut.and_then(|()| self.file.seek(SeekFrom::Start(end)))
            .map(|_| ())
            .map_err(unwritable(&self.path))
    }

    /// Adds a line. It is in the file when this returns.
    ///
    /// # Errors
    /// - [`Error::Write`].
    pub(crate) fn add(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line).map_err(io::Error::from);
        let written = line.and_then(|line| self.file.write_all((line + "\n").as_bytes()));
        written.map_err(unwritable(&self.path))
    }

    fn check_header(&self, line: &[u8], now: &impl Serialize) -> Result<()> {
        let before: Value = self.parse(line, 1)?;
        // Read back like the other, as numbers may change in their last digit on the way.
        let now = serde_json::to_vec(now).map_err(|error| self.damaged(1, error))?;
        let now: Value = self.parse(&now, 1)?;
        let names = |header: &Value| {
            let fields = header.as_object();
            fields.map(|fields| fields.keys().cloned().collect::<Vec<_>>())
        };
        if names(&before) != names(&now) {
            return Err(self.damaged(1, "its header has other fields"));
        }
        match difference("", &before, &now) {
            None => Ok(()),
            Some((what, before, now)) => Err(Error::RunDiffers {
                path: self.path.clone(),
                what,
                before,
                now,
            }),
        }
    }
}

fn lock(file: &File, path: &Path) -> Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::RunBusy {
            path: path.to_owned(),
        },
        TryLockError::Error(source) => unwritable(path)(source),
    })
}

/// The lines of a file that end with a line feed, and their numbers.
pub(crate) struct WholeLines {
    path: PathBuf,
    file: BufReader<File>,
    end: u64,
    number: usize,
}

impl WholeLines {
    /// Where the last whole line that was read ends, in bytes.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }
}

impl Iterator for WholeLines {
    type Item = Result<(Vec<u8>, usize)>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = whole_line(&mut self.file).map_err(unreadable(&self.path));
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

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_header_decides_who_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let header = json!({"version": 2, "options": {"most": 3, "share": 0.1}});
        let first = RunFile::open(&path, &header).unwrap();
        let busy = RunFile::open(&path, &header).unwrap_err();
        assert!(matches!(busy, Error::RunBusy { .. }), "{busy}");
        let busy = RunFile::remove(&path).unwrap_err();
        assert!(matches!(busy, Error::RunBusy { .. }), "{busy}");
        drop(first);
        RunFile::open(&path, &header).unwrap();
        let other = json!({"version": 2, "options": {"most": 4, "share": 0.1}});
        let error = RunFile::open(&path, &other).unwrap_err().to_string();
        assert!(error.contains("options.most 3, now it is 4"), "{error}");
        for stranger in ["{}\n", "[1]\n", "no JSON\n"] {
            fs::write(&path, stranger).unwrap();
            let error = RunFile::open(&path, &header).unwrap_err();
            assert!(matches!(error, Error::Record { line: 1, .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), stranger);
        }
        RunFile::remove(&path).unwrap();
        RunFile::remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn lines_are_read_as_far_as_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let mut file = RunFile::open(&path, &json!({"version": 1})).unwrap();
        for number in 1..4 {
            file.add(&number).unwrap();
        }
        let whole = fs::metadata(&path).unwrap().len();
        file.cut(whole - 1).unwrap();
        let mut lines = file.lines().unwrap();
        let read = lines.by_ref().map(|line| {
            let (line, number) = line.unwrap();
            (number, file.parse::<u32>(&line, number).unwrap())
        });
        assert_eq!(read.collect::<Vec<_>>(), [(2, 1), (3, 2)]);
        assert_eq!(lines.end(), whole - 2);
        file.cut(whole - 2).unwrap();
        file.add(&"new").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"version\":1}\n1\n2\n\"new\"\n");
    }
}
