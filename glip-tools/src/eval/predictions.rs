//! What a model found, kept in a file as it is found, so that a run that was stopped goes on.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use glip::BBox;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const FORMAT: &str = "glip-predictions";
const FORMAT_VERSION: u64 = 1;

/// Something that the model found in an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "(u64, f32, BBox)", from = "(u64, f32, BBox)")]
pub struct Prediction {
    /// What it is: the id of a category, or the place of a phrase among those that the image was asked
    /// for.
    pub label: u64,
    /// How sure the model is, from 0 to 1.
    pub score: f32,
    /// Where it is.
    pub bbox: BBox,
}

/// `[label, score, [x1, y1, x2, y2]]`.
impl From<Prediction> for (u64, f32, BBox) {
    fn from(prediction: Prediction) -> Self {
        (prediction.label, prediction.score, prediction.bbox)
    }
}

impl From<(u64, f32, BBox)> for Prediction {
    fn from((label, score, bbox): (u64, f32, BBox)) -> Self {
        Self { label, score, bbox }
    }
}

/// What decides which predictions a run makes. Another run's file is only gone on with if all of it is
/// the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunKey {
    /// The annotations: a hash of their file.
    pub data: String,
    /// The model: a hash of its files.
    pub model: String,
    /// What it was asked for, and with which options, in words.
    pub options: String,
}

impl RunKey {
    /// The first part that differs, and both of its values.
    fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let parts = [
            ("data", &self.data, &other.data),
            ("model", &self.model, &other.model),
            ("options", &self.options, &other.options),
        ];
        let different = parts.into_iter().find(|(_, mine, theirs)| mine != theirs)?;
        let (part, mine, theirs) = different;
        Some((part, mine.clone(), theirs.clone()))
    }
}

/// A file of predictions, an image a line, that grows while a model runs.
///
/// ```
/// use glip_tools::eval::{Prediction, PredictionFile, RunKey};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("predictions.jsonl");
/// let key = RunKey { data: "1f2e".into(), model: "3d4c".into(), options: "max 100".into() };
/// let circle = Prediction { label: 3, score: 0.75, bbox: glip::BBox::new(1.0, 2.0, 3.0, 4.0)? };
/// PredictionFile::open(&path, &key)?.append("image 1", &[circle])?;
/// // ... the run is stopped, and started again:
/// let file = PredictionFile::open(&path, &key)?;
/// assert_eq!(file.get("image 1"), Some(&[circle][..]));
/// assert_eq!(file.get("image 2"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PredictionFile {
    path: PathBuf,
    file: File,
    images: HashMap<String, Vec<Prediction>>,
}

impl PredictionFile {
    /// Opens the file of a run, or begins it. A line that was cut off by the end of an earlier run is
    /// removed.
    ///
    /// # Errors
    /// - [`Error::RunDiffers`]: the file is of a run on other data, with another model or options.
    /// - [`Error::Read`], [`Error::Write`]: it cannot be read or written.
    /// - [`Error::Record`]: it is something else.
    pub fn open(path: impl AsRef<Path>, key: &RunKey) -> Result<Self> {
        let path = path.as_ref();
        let unreadable = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(unreadable)?;
        let mut images = HashMap::new();
        let length = read(&file, path, key, &mut images)?;
        file.set_len(length).map_err(unreadable)?;
        file.seek(SeekFrom::Start(length)).map_err(unreadable)?;
        let mut file = Self {
            path: path.to_owned(),
            file,
            images,
        };
        if length == 0 {
            file.write_line(&Header {
                format: FORMAT.to_owned(),
                format_version: FORMAT_VERSION,
                run: key.clone(),
            })?;
        }
        Ok(file)
    }

    /// What was found in an image; nothing if it is not done yet.
    pub fn get(&self, image: &str) -> Option<&[Prediction]> {
        self.images.get(image).map(Vec::as_slice)
    }

    /// How many images are done.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether no image is done.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Adds what was found in an image. It is in the file when this returns.
    ///
    /// # Errors
    /// - [`Error::Write`]: it cannot be written.
    pub fn append(&mut self, image: &str, found: &[Prediction]) -> Result<()> {
        let line = Line {
            image: image.to_owned(),
            found: found.to_vec(),
        };
        self.write_line(&line)?;
        self.images.insert(line.image, line.found);
        Ok(())
    }

    fn write_line(&mut self, line: &impl Serialize) -> Result<()> {
        // Strings and finite numbers always become JSON. One write a line, so that a run that is
        // stopped leaves whole lines.
        let text = serde_json::to_string(line).unwrap_or_default() + "\n";
        self.file
            .write_all(text.as_bytes())
            .map_err(|source| Error::Write {
                path: self.path.clone(),
                source,
            })
    }
}

/// Reads the whole lines of a file; returns how many bytes they are.
fn read(
    file: &File,
    path: &Path,
    key: &RunKey,
    images: &mut HashMap<String, Vec<Prediction>>,
) -> Result<u64> {
    let mut reader = BufReader::new(file);
    let (mut line, mut length) = (Vec::new(), 0);
    for number in 1.. {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line);
        let bytes = bytes.map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        if !line.ends_with(b"\n") {
            break; // the end, or cut off
        }
        let wrong = |reason: String| Error::Record {
            path: path.to_owned(),
            line: number,
            reason: format!("{reason}: it is no file of predictions; choose another one"),
        };
        if number == 1 {
            let header: Header = serde_json::from_slice(&line).map_err(|e| wrong(e.to_string()))?;
            check(&header, path, key)?;
        } else {
            let line: Line = serde_json::from_slice(&line).map_err(|e| wrong(e.to_string()))?;
            images.insert(line.image, line.found);
        }
        length += bytes as u64;
    }
    Ok(length)
}

fn check(header: &Header, path: &Path, key: &RunKey) -> Result<()> {
    let other = |what: &str, before, now| Error::RunDiffers {
        path: path.to_owned(),
        what: what.to_owned(),
        before,
        now,
    };
    if (header.format.as_str(), header.format_version) != (FORMAT, FORMAT_VERSION) {
        let found = format!("{} {}", header.format, header.format_version);
        return Err(other("format", found, format!("{FORMAT} {FORMAT_VERSION}")));
    }
    match header.run.difference(key) {
        Some((what, before, now)) => Err(other(what, before, now)),
        None => Ok(()),
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    format_version: u64,
    run: RunKey,
}

#[derive(Serialize, Deserialize)]
struct Line {
    image: String,
    found: Vec<Prediction>,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn key(options: &str) -> RunKey {
        RunKey {
            data: "d".into(),
            model: "m".into(),
            options: options.into(),
        }
    }

    fn prediction(score: f32) -> Prediction {
        Prediction {
            label: 7,
            score,
            bbox: BBox::new(0.1, 0.2, 3.3, 4.4).unwrap(),
        }
    }

    #[test]
    fn a_run_stopped_anywhere_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let mut file = PredictionFile::open(&path, &key("a")).unwrap();
        for image in ["1", "ü", "3"] {
            file.append(image, &[prediction(0.1), prediction(0.3)])
                .unwrap();
        }
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut file = PredictionFile::open(&path, &key("a")).unwrap();
            for image in ["1", "ü", "3"] {
                if file.get(image).is_none() {
                    file.append(image, &[prediction(0.1), prediction(0.3)])
                        .unwrap();
                }
            }
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at byte {cut}");
        }
    }

    #[test]
    fn another_run_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        PredictionFile::open(&path, &key("a")).unwrap();
        let error = PredictionFile::open(&path, &key("b")).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::RunDiffers { what, .. } if what == "options"
            ),
            "{error}"
        );
        fs::write(&path, "{}\n").unwrap();
        let error = PredictionFile::open(&path, &key("a")).unwrap_err();
        assert!(matches!(&error, Error::Record { line: 1, .. }), "{error}");
    }
}
