//! The file of a run: what makes one that was stopped go on where it was.

use std::{
    fmt::Display,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    atomic::AtomicFile,
    error::{Error, Result},
    files::{lock, open, unreadable, unwritable},
};

/// What a field of a header is called where it is given.
pub(crate) struct Typed {
    /// Its name and those of what it is in, joined with dots. It also stands for what is in it.
    pub(crate) field: &'static str,
    /// For example `--keep`.
    pub(crate) option: &'static str,
    /// How the whole of it is typed, if that is not its parts one by one.
    pub(crate) whole: Option<fn(&Value) -> String>,
}

impl Typed {
    /// A field that is a value, or whose parts are.
    pub(crate) const fn new(field: &'static str, option: &'static str) -> Self {
        Self {
            field,
            option,
            whole: None,
        }
    }

    /// A field that is typed as a whole.
    pub(crate) const fn as_whole(
        field: &'static str,
        option: &'static str,
        whole: fn(&Value) -> String,
    ) -> Self {
        Self {
            field,
            option,
            whole: Some(whole),
        }
    }
}

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
    /// [cut](Self::cut) at its last whole line before more is added. Errors speak of the header's fields as they were
    /// `typed`.
    ///
    /// # Errors
    /// - [`Error::Write`]: it cannot be written.
    /// - [`Error::RunBusy`]: another process writes it.
    /// - [`Error::RunDiffers`]: the one that is there has another header.
    /// - [`Error::Record`]: it is something else.
    pub(crate) fn open(path: &Path, header: &impl Serialize, typed: &[Typed]) -> Result<Self> {
        regular(path)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(unwritable(path))?;
        lock(&file, path)?;
        let mut file = Self {
            path: path.to_owned(),
            file,
        };
        match whole_line(&mut BufReader::new(&file.file)).map_err(unreadable(path))? {
            Some(line) => file.check_header(&line, header, typed)?,
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
        let file = open(path)?;
        let file = Self {
            path: path.to_owned(),
            file,
        };
        let line = whole_line(&mut BufReader::new(&file.file)).map_err(unreadable(path))?;
        let header = file.parse(&line.unwrap_or_default(), 1)?;
        Ok((file, header))
    }

    /// Empties the file, if there is one that no other process writes, and what `and` removes with it. It stays the
    /// file that others would lock.
    ///
    /// # Errors
    /// - [`Error::RunBusy`]: another process writes it.
    /// - [`Error::Write`].
    pub(crate) fn discard(path: &Path, and: impl FnOnce() -> Result<()>) -> Result<()> {
        if !path.exists() {
            return and();
        }
        regular(path)?;
        let file = OpenOptions::new().write(true).open(path);
        let file = file.map_err(unwritable(path))?;
        lock(&file, path)?;
        and()?;
        file.set_len(0).map_err(unwritable(path))
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
        let mut file = BufReader::new(open(&self.path)?);
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

    /// Begins a file in place of this one, in which some lines are others.
    ///
    /// # Errors
    /// - [`Error::Read`], [`Error::Write`].
    pub(crate) fn replacement(&self) -> Result<Replacement> {
        let mut file = AtomicFile::create(&self.path)?;
        lock(file.file().get_ref(), &self.path)?;
        let mut lines = BufReader::new(open(&self.path)?);
        let header = whole_line(&mut lines).map_err(unreadable(&self.path))?;
        let written = file.file().write_all(&header.unwrap_or_default());
        written.map_err(unwritable(&self.path))?;
        Ok(Replacement {
            lines: self.lines()?,
            file,
            done: 0,
        })
    }

    /// Goes on with a file that replaced this one.
    ///
    /// # Errors
    /// - [`Error::Read`], [`Error::Write`].
    pub(crate) fn replace(&mut self, mut with: Replacement) -> Result<()> {
        with.copy_to(u64::MAX)?;
        let mut file = with.file.complete()?;
        let end = file.seek(SeekFrom::End(0));
        end.map_err(unwritable(&self.path))?;
        self.file = file;
        Ok(())
    }

    fn check_header(&self, line: &[u8], now: &impl Serialize, typed: &[Typed]) -> Result<()> {
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
        match difference("", &before, &now, typed) {
            None => Ok(()),
            Some([what, before, now]) => Err(Error::RunDiffers {
                path: self.path.clone(),
                what,
                before,
                now,
            }),
        }
    }
}

/// That there is nothing at a path, or a regular file.
fn regular(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => open(path).map(drop),
        Err(_) => Ok(()),
    }
}

/// A file that takes the place of a [`RunFile`], line by line.
pub(crate) struct Replacement {
    lines: WholeLines,
    file: AtomicFile,
    /// The lines after the header that are in it.
    done: u64,
}

impl Replacement {
    /// Puts a line in place of the one with this number, from 0 after the header; numbers rise.
    ///
    /// # Errors
    /// - [`Error::Read`], [`Error::Write`].
    pub(crate) fn put(&mut self, number: u64, line: &impl Serialize) -> Result<()> {
        self.copy_to(number)?;
        self.lines.next().transpose()?;
        let line = serde_json::to_string(line).map_err(io::Error::from);
        self.write(line.map(|line| line + "\n"))
    }

    /// Copies the lines before this one.
    fn copy_to(&mut self, number: u64) -> Result<()> {
        while self.done < number {
            match self.lines.next().transpose()? {
                Some((line, _)) => self.write(Ok(line))?,
                None => break,
            }
        }
        Ok(())
    }

    fn write(&mut self, line: io::Result<impl AsRef<[u8]>>) -> Result<()> {
        self.done += 1;
        let file = self.file.file();
        let written = line.and_then(|line| file.write_all(line.as_ref()));
        written.map_err(unwritable(&self.lines.path))
    }
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

/// The first thing in which two values differ: what it is called, and both, as they are typed.
fn difference(name: &str, before: &Value, now: &Value, typed: &[Typed]) -> Option<[String; 3]> {
    if before == now {
        return None;
    }
    let known = typed.iter().filter(|known| is_within(name, known.field));
    let known = known.max_by_key(|known| known.field.len());
    let whole = known.and_then(|known| known.whole);
    let fields = |value: &Value| match value {
        Value::Object(fields) => Some(fields.clone()),
        // What is not set has no fields.
        Value::Null => Some(serde_json::Map::new()),
        _ => None,
    };
    if let (None, Some(before), Some(now)) = (whole, fields(before), fields(now)) {
        let keys = before.keys().chain(now.keys());
        let dot = if name.is_empty() { "" } else { "." };
        let mut keys: Vec<_> = keys.map(|key| (format!("{name}{dot}{key}"), key)).collect();
        // In the order of what is known, as some fields follow from others.
        keys.sort_by_key(|(below, _)| {
            let mut known = typed.iter();
            let place = known.position(|known| is_within(known.field, below));
            place.unwrap_or(typed.len())
        });
        let mut differences = keys.into_iter().filter_map(|(below, key)| {
            let value = |of: &serde_json::Map<_, _>| of.get(key).cloned().unwrap_or_default();
            difference(&below, &value(&before), &value(&now), typed)
        });
        return differences.next();
    }
    let shown = |value: &Value| match (whole, value) {
        (Some(whole), Value::Object(_)) => whole(value),
        _ => shown(value),
    };
    let what = known.map_or(name, |known| known.option).to_owned();
    Some([what, shown(before), shown(now)])
}

/// Whether a field is another one or in it, by their names.
fn is_within(field: &str, other: &str) -> bool {
    let rest = field.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The sides of a rule of resizing, as `--resize` takes them, or the rule.
pub(crate) fn resize_as_typed(rule: &Value) -> String {
    let side = |name: &str| rule.get(name).and_then(Value::as_u64);
    match (side("short_side"), side("long_side")) {
        (Some(short), Some(long)) => format!("{short}:{long}"),
        _ => rule.to_string(),
    }
}

/// A value as it is typed.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        // Most are of 32 bits, whose digits in 64 nobody typed.
        Value::Number(number) => match number.as_f64() {
            Some(wide) if number.is_f64() && f64::from(wide as f32) == wide => {
                (wide as f32).to_string()
            }
            _ => number.to_string(),
        },
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    const TYPED: &[Typed] = &[
        Typed::new("options.most", "--most"),
        Typed::new("options.band", "--band"),
        Typed::new("options.band.keep", "--keep"),
        Typed::as_whole("options.tiling", "--tiles", |tiling| {
            format!("{}:{}", tiling["side"], tiling["overlap"])
        }),
    ];

    #[test]
    fn differences_are_named_as_they_were_typed() {
        let band = |keep: f32, review: f32| json!({"band": {"keep": keep, "review": review}});
        let tiles = json!({"tiling": {"overlap": 128, "side": 1024}});
        let cases = [
            (
                json!({"band": null}),
                band(0.7, 0.7),
                "--keep 0.7, before: none",
            ),
            (band(0.7, 0.25), band(0.7, 0.7), "--band 0.7, before: 0.25"),
            (
                json!({"x": {"y": false}}),
                json!({"x": {"y": true}}),
                "options.x.y yes, before: no",
            ),
            (
                json!({"most": ["a", "b"]}),
                json!({"most": ["a", 1.5]}),
                "--most a, 1.5, before: a, b",
            ),
            // What is known comes first.
            (
                json!({"a": 1, "most": 4_294_967_296_u64}),
                json!({"a": 2, "most": 3}),
                "--most 3, before: 4294967296",
            ),
            (
                json!({"tiling": null}),
                tiles,
                "--tiles 1024:128, before: none",
            ),
        ];
        for (before, now, expected) in cases {
            let [before, now] = [before, now].map(|options| json!({"options": options}));
            let [what, before, now] = difference("", &before, &now, TYPED).unwrap();
            assert_eq!(format!("{what} {now}, before: {before}"), expected);
        }
    }

    #[test]
    fn lines_are_replaced_in_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let mut file = RunFile::open(&path, &json!({"version": 1}), TYPED).unwrap();
        for number in 0..5 {
            file.add(&number).unwrap();
        }
        let mut other = file.replacement().unwrap();
        other.put(1, &"one").unwrap();
        other.put(4, &"four").unwrap();
        file.replace(other).unwrap();
        file.add(&5).unwrap();
        let expected = "{\"version\":1}\n0\n\"one\"\n2\n3\n\"four\"\n5\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        // It is still this process' alone.
        let busy = RunFile::open(&path, &json!({"version": 1}), TYPED).unwrap_err();
        assert!(matches!(busy, Error::RunBusy { .. }), "{busy}");
        drop(file.replacement().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_header_decides_who_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let header = json!({"version": 2, "options": {"most": 3, "share": 0.1}});
        let first = RunFile::open(&path, &header, TYPED).unwrap();
        let busy = RunFile::open(&path, &header, TYPED).unwrap_err();
        assert!(matches!(busy, Error::RunBusy { .. }), "{busy}");
        let busy = RunFile::discard(&path, || Ok(())).unwrap_err();
        assert!(matches!(busy, Error::RunBusy { .. }), "{busy}");
        drop(first);
        RunFile::open(&path, &header, TYPED).unwrap();
        let other = json!({"version": 2, "options": {"most": 4, "share": 0.1}});
        let error = RunFile::open(&path, &other, TYPED).unwrap_err().to_string();
        assert!(error.contains("--most 4, before: 3"), "{error}");
        for stranger in ["{}\n", "[1]\n", "no JSON\n"] {
            fs::write(&path, stranger).unwrap();
            let error = RunFile::open(&path, &header, TYPED).unwrap_err();
            assert!(matches!(error, Error::Record { line: 1, .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), stranger);
        }
        RunFile::discard(&path, || Ok(())).unwrap();
        RunFile::open(&path, &other, TYPED).unwrap();
        let missing = folder.path().join("missing");
        RunFile::discard(&missing, || Ok(())).unwrap();
        assert!(!missing.exists());
    }

    #[test]
    fn lines_are_read_as_far_as_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let mut file = RunFile::open(&path, &json!({"version": 1}), TYPED).unwrap();
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
