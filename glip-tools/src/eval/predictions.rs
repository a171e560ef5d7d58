//! What a model found, kept in a file as it is found, so that a run that was stopped goes on.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use glip::{BBox, parts::Rle};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(doc)]
use crate::error::Error;
use crate::{
    error::Result,
    run_file::{RunFile, Typed, resize_as_typed},
    stamp::Stamp,
    values::finite,
};

const FORMAT: &str = "glip-predictions";
/// Boxes are edges. In version 1 they were the first and the last column and row.
const FORMAT_VERSION: u64 = 2;

/// What the fields of a run are called on the command line.
const TYPED: &[Typed] = &[
    Typed::new("run.data", "the annotations"),
    Typed::new("run.model", "--model"),
    Typed::new("run.options.ask.prompts", "--prompts"),
    Typed::new("run.options.ask.names_per_prompt", "--names-per-prompt"),
    Typed::new("run.options.ask.max_detections", "--max-detections"),
    Typed::new("run.options.ask.segmenter", "--segmenter"),
    Typed::as_whole("run.options.resize", "--resize", resize_as_typed),
    Typed::new("run.options.device", "--device"),
];

/// Something that the model found in an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Entry", from = "Entry")]
pub struct Prediction {
    /// What it is: the id of a category, or the place of a phrase among those that the image was asked
    /// for.
    pub class: u64,
    /// How sure the model is, from 0 to 1.
    pub score: f32,
    /// Where it is: its edges, in pixels of the image.
    pub bbox: BBox,
    /// Its pixels, if a segmenter was asked for them.
    pub mask: Option<Rle>,
}

impl Prediction {
    /// What the model found, as one of this class.
    pub fn new(class: u64, found: &glip::Detection) -> Self {
        Self {
            class,
            score: found.score,
            bbox: found.bbox,
            mask: None,
        }
    }

    /// Sets [`mask`](Self::mask).
    #[must_use]
    pub fn with_mask(self, mask: Option<Rle>) -> Self {
        Self { mask, ..self }
    }
}

/// `[class, score, [x1, y1, x2, y2]]`, and the mask as a fourth if there is one.
#[derive(Serialize, Deserialize)]
struct Entry(
    u64,
    #[serde(serialize_with = "finite")] f32,
    BBox,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<Rle>,
);

impl From<Prediction> for Entry {
    fn from(prediction: Prediction) -> Self {
        let Prediction {
            class,
            score,
            bbox,
            mask,
        } = prediction;
        Self(class, score, bbox, mask)
    }
}

impl From<Entry> for Prediction {
    fn from(Entry(class, score, bbox, mask): Entry) -> Self {
        Self {
            class,
            score,
            bbox,
            mask,
        }
    }
}

/// What decides which predictions a run makes. Another run's file is only gone on with if all of it is
/// the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunKey {
    /// The annotations: a hash of their file.
    pub data: String,
    /// The model: a hash of its files.
    pub model: String,
    /// What it was asked for, and with which options: JSON, of which an error names the part that differs.
    pub options: Value,
}

/// A file of predictions, an image a line, that grows while a model runs.
///
/// ```
/// use glip_tools::eval::{Prediction, PredictionFile, RunKey};
/// use serde_json::json;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("predictions.jsonl");
/// let options = json!({"max_detections": 100});
/// let key = RunKey { data: "1f2e".into(), model: "3d4c".into(), options };
/// let bbox = glip::BBox::new(1.0, 2.0, 3.0, 4.0)?;
/// let circle = Prediction { class: 3, score: 0.75, bbox, mask: None };
/// PredictionFile::open(&path, &key)?.append("image 1", &[circle.clone()])?;
/// // ... the run is stopped, and started again:
/// let file = PredictionFile::open(&path, &key)?;
/// assert_eq!(file.get("image 1"), Some(&[circle][..]));
/// assert_eq!(file.get("image 2"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PredictionFile {
    file: RunFile,
    images: HashMap<String, (Vec<Prediction>, Option<Stamp>)>,
}

impl PredictionFile {
    /// Opens the file of a run, or begins it. A line that was cut off by the end of an earlier run is
    /// removed.
    ///
    /// # Errors
    /// - [`Error::RunDiffers`]: the file is of a run on other data, with another model or options, or of
    ///   another version.
    /// - [`Error::RunBusy`]: another process writes it.
    /// - [`Error::Read`], [`Error::Write`]: it cannot be read or written.
    /// - [`Error::Record`]: it is something else.
    pub fn open(path: impl AsRef<Path>, key: &RunKey) -> Result<Self> {
        Self::open_as(path.as_ref(), key)
    }

    /// As [`open`](Self::open), but what is there is discarded, to start over.
    ///
    /// # Errors
    /// - [`Error::RunBusy`]: another process writes it.
    /// - [`Error::Write`].
    pub fn overwrite(path: impl AsRef<Path>, key: &RunKey) -> Result<Self> {
        let path: PathBuf = path.as_ref().to_owned();
        RunFile::discard(&path, || Ok(()))?;
        Self::open_as(&path, key)
    }

    fn open_as(path: &Path, key: &RunKey) -> Result<Self> {
        let header = Header {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            run: key.clone(),
        };
        let mut file = RunFile::open(path, &header, TYPED)?;
        let (mut images, mut lines) = (HashMap::new(), file.lines()?);
        for line in &mut lines {
            let (line, number) = line?;
            let line: Line = file.parse(&line, number)?;
            images.insert(line.image, (line.found, line.stamp));
        }
        file.cut(lines.end())?;
        Ok(Self { file, images })
    }

    /// What was found in an image; nothing if it is not done yet.
    pub fn get(&self, image: &str) -> Option<&[Prediction]> {
        self.images.get(image).map(|(found, _)| found.as_slice())
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
        self.append_of(image, None, found.to_vec())
    }

    /// As [`append`](Self::append), with what tells the image's file from others.
    pub(super) fn append_of(
        &mut self,
        image: &str,
        stamp: Option<Stamp>,
        found: Vec<Prediction>,
    ) -> Result<()> {
        let line = Line {
            image: image.to_owned(),
            stamp,
            found,
        };
        self.file.add(&line)?;
        self.images.insert(line.image, (line.found, line.stamp));
        Ok(())
    }

    /// Forgets what was found in images whose file is another one now, as `is_still` tells of an image and its stamp.
    pub(super) fn forget_replaced(&mut self, is_still: impl Fn(&str, &Stamp) -> bool) {
        self.images.retain(|image, (_, stamp)| {
            let stamp = stamp.as_ref();
            stamp.is_none_or(|stamp| is_still(image, stamp))
        });
    }
}

#[derive(Serialize)]
struct Header {
    format: String,
    format_version: u64,
    run: RunKey,
}

#[derive(Serialize, Deserialize)]
#[serde(expecting = "an object with image and found")]
struct Line {
    image: String,
    #[serde(rename = "file", default, skip_serializing_if = "Option::is_none")]
    stamp: Option<Stamp>,
    found: Vec<Prediction>,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use glip::ImageSize;
    use serde_json::json;

    use super::*;
    use crate::error::Error;

    fn key(options: u32) -> RunKey {
        RunKey {
            data: "d".into(),
            model: "m".into(),
            options: json!({"ask": {"max_detections": options}}),
        }
    }

    fn prediction(score: f32) -> Prediction {
        Prediction {
            class: 7,
            score,
            bbox: BBox::new(0.1, 0.2, 3.3, 4.4).unwrap(),
            mask: None,
        }
    }

    #[test]
    fn a_run_stopped_anywhere_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let mask = Rle::from_counts(ImageSize::new(3, 2), vec![2, 2, 2]).unwrap();
        let found = [prediction(0.1), prediction(0.3).with_mask(Some(mask))];
        let mut file = PredictionFile::open(&path, &key(1)).unwrap();
        for image in ["1", "ü", "3"] {
            file.append(image, &found).unwrap();
        }
        drop(file);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut file = PredictionFile::open(&path, &key(1)).unwrap();
            for image in ["1", "ü", "3"] {
                if file.get(image).is_none() {
                    file.append(image, &found).unwrap();
                }
            }
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at byte {cut}");
            assert_eq!(file.get("ü"), Some(&found[..]));
        }
    }

    #[test]
    fn a_score_that_is_no_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let mut file = PredictionFile::open(&path, &key(1)).unwrap();
        let error = file.append("1", &[prediction(f32::NAN)]).unwrap_err();
        assert!(
            crate::causes::with_causes(&error).contains("NaN is no number"),
            "{error}"
        );
        file.append("1", &[prediction(0.5)]).unwrap();
        drop(file);
        assert_eq!(PredictionFile::open(&path, &key(1)).unwrap().len(), 1);
    }

    #[test]
    fn another_run_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        PredictionFile::open(&path, &key(1)).unwrap();
        let error = PredictionFile::open(&path, &key(2)).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::RunDiffers { what, .. } if what == "--max-detections"
            ),
            "{error}"
        );
        fs::write(&path, "{}\n").unwrap();
        let error = PredictionFile::open(&path, &key(1)).unwrap_err();
        assert!(matches!(&error, Error::Record { line: 1, .. }), "{error}");
    }
}
