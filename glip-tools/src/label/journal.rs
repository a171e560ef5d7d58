//! The record of a run, one line for each input: what makes a killed run go on where it ended.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use glip::{BBox, ImageSize};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    failure::Failure,
    files::unwritable,
    label::{
        record::{Asked, Done, Failed, LabelRecord, LabelledBox, Outcome},
        request::Request,
        subject::Caption,
    },
    pictures::PictureLimits,
    run_file::{Replacement, RunFile, Typed, resize_as_typed, shown},
    stamp::Stamp,
};

/// The journal's name in the folder of a run.
const FILE: &str = "journal.jsonl";

/// The version whose boxes are the first and the last column and row, no edges.
const VERSION_OF_PIXELS: u32 = 1;

/// What the header's fields are called on the command line; those that follow from others come after them.
const TYPED: &[Typed] = &[
    Typed::new("model", "--model"),
    Typed::new("base", "the folder of the inputs"),
    Typed::new("categories", "--category or --categories"),
    Typed::new("prompt", "the words of --categories"),
    Typed::new("options.model", "--model"),
    Typed::as_whole("options.segmenter", "--segmenter", segmenter_as_typed),
    Typed::as_whole(
        "options.model.preprocess.resize",
        "--resize",
        resize_as_typed,
    ),
    Typed::new("options.label.band.keep", "--keep"),
    Typed::new("options.label.band.review", "--review"),
    Typed::as_whole("options.label.phrase_bands", "--band", bands_as_typed),
    Typed::new("options.label.nms_iou", "--nms"),
    Typed::new("options.label.nms_across_phrases", "--nms-across"),
    Typed::as_whole("options.label.tiling", "--tiles", tiling_as_typed),
    Typed::new("options.label.boxes.min_area", "--min-area"),
    Typed::new("options.label.boxes.max_share", "--max-share"),
    Typed::new("options.label.boxes.max_aspect", "--max-aspect"),
    Typed::new("options.label.boxes.border", "--border"),
    Typed::new("asks", "--review"),
];

/// Its name, and what tells it from others of that name.
fn segmenter_as_typed(segmenter: &Value) -> String {
    let hash = shown(&segmenter["identity"]);
    let begin: String = hash.chars().take(12).collect();
    format!("{} ({begin})", shown(&segmenter["name"]))
}

fn bands_as_typed(bands: &Value) -> String {
    let bands = bands.as_object().into_iter().flatten();
    let bands = bands.map(|(phrase, band)| {
        let [keep, review] = ["keep", "review"].map(|score| shown(&band[score]));
        match keep == review {
            true => format!("{phrase}={keep}"),
            false => format!("{phrase}={keep}:{review}"),
        }
    });
    match bands.collect::<Vec<_>>() {
        none if none.is_empty() => "none".to_owned(),
        bands => bands.join(", "),
    }
}

fn tiling_as_typed(tiling: &Value) -> String {
    let only = match tiling["whole_image"] == false {
        true => " --tiles-only",
        false => "",
    };
    format!("{}:{}{only}", tiling["side"], tiling["overlap"])
}

/// What a run depends on. A run goes on only with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "an object with journal_version, model and options")]
pub struct JournalHeader {
    /// The version of the journal's form, [`VERSION`](Self::VERSION). It says what boxes are: edges, so
    /// that a width is `x2 - x1`; in version 1 the first and the last column and row.
    pub journal_version: u32,
    /// The model's name.
    pub model: String,
    /// The folder that names of images are relative to, as an absolute path.
    pub base: PathBuf,
    /// The labels of the categories that are looked for in all images.
    pub categories: Option<Vec<String>>,
    /// How those are said to the model.
    pub prompt: Option<String>,
    /// Whether there can be boxes for a person to look at.
    #[serde(rename = "asks")] // as journals of all versions have it
    pub has_review: bool,
    /// What the model does with images and boxes, and which are kept.
    pub options: Value,
}

impl JournalHeader {
    /// The version that is written.
    pub const VERSION: u32 = 2;

    /// Whether a segmenter was asked for the pixels of what is found.
    pub fn has_masks(&self) -> bool {
        !self.options["segmenter"].is_null()
    }
}

/// The inputs of a run that are done, each in a line of its own, in their order.
///
/// A line is written with one call when the input is done, so a process that is killed leaves whole
/// lines and at most a piece of one, which is cut off when the run goes on. Every input thus has one
/// line, and nothing is lost or doubled. What is put out in other formats is made of the journal, at
/// the end.
#[derive(Debug)]
pub struct Journal {
    file: RunFile,
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
        fs::create_dir_all(folder).map_err(unwritable(folder))?;
        let file = RunFile::open(&folder.join(FILE), &header, TYPED)?;
        Ok(Self::new(file, header))
    }

    /// Empties the journal of a folder, if there is one that no other process writes, and what `and` removes with it.
    pub(super) fn discard(folder: &Path, and: impl FnOnce() -> Result<()>) -> Result<()> {
        RunFile::discard(&folder.join(FILE), and)
    }

    /// Where the journal of a folder is.
    pub(super) fn path_in(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Opens the journal of a run that is over, to make other formats of it. Those of older versions are
    /// read too.
    ///
    /// # Errors
    /// - [`Error::Read`]: there is none.
    /// - [`Error::Record`]: it is no journal, or one of a newer version.
    pub fn read(folder: &Path) -> Result<Self> {
        let (file, header): (_, JournalHeader) = RunFile::read(&folder.join(FILE))?;
        let (version, newest) = (header.journal_version, JournalHeader::VERSION);
        if !(VERSION_OF_PIXELS..=newest).contains(&version) {
            let found = format!("journal version {version}, 1 to {newest} are known");
            return Err(file.damaged(1, found));
        }
        Ok(Self::new(file, header))
    }

    fn new(file: RunFile, header: JournalHeader) -> Self {
        Self {
            file,
            categories: header.categories.clone().unwrap_or_default().into(),
            header,
        }
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
        let lines = self.file.lines()?;
        let outcome = |(line, number): (Vec<u8>, usize)| Ok(self.parse(&line, number)?.outcome);
        Ok(lines.map(move |line| line.and_then(outcome)))
    }

    /// Takes the inputs that are done from `requests`, and cuts off what comes after them in the
    /// file. Calls `each` with their outcomes, but returns the requests whose images have been replaced since, or are
    /// asked for other words, with their places among all.
    ///
    /// # Errors
    /// - [`Error::InputsDiffer`]: other inputs were done.
    /// - [`Error::Read`], [`Error::Write`], [`Error::Record`].
    /// - What `each` returns.
    pub fn skip_done<I>(
        &mut self,
        requests: &mut I,
        limits: PictureLimits,
        mut each: impl FnMut(&Outcome) -> Result<()>,
    ) -> Result<Vec<(u64, Request)>>
    where
        I: Iterator<Item = Result<Request, Failure>>,
    {
        let (mut done, mut replaced) = (0, Vec::new());
        let mut lines = self.file.lines()?;
        for line in &mut lines {
            let (line, number) = line?;
            let Done { outcome, stamp } = self.parse(&line, number)?;
            let known = name(&outcome, |record| &record.image);
            let request = requests.next();
            let found = request
                .as_ref()
                .map(|request| name(request, |request| &request.image));
            if found != Some(known) {
                return Err(Error::InputsDiffer {
                    path: self.file.path().to_owned(),
                    number: done,
                    known: known.to_owned(),
                    found: found.map(str::to_owned),
                });
            }
            match request {
                Some(Ok(request))
                    if self.is_outdated(&request, &outcome, stamp.as_ref(), limits) =>
                {
                    replaced.push((done, request));
                }
                _ => each(&outcome)?,
            }
            done += 1;
        }
        self.file.cut(lines.end())?;
        Ok(replaced)
    }

    /// Whether an outcome is of other bytes than a request has now, or of other words. Journals of before have no
    /// stamps, and their records stay.
    fn is_outdated(
        &self,
        request: &Request,
        outcome: &Outcome,
        stamp: Option<&Stamp>,
        limits: PictureLimits,
    ) -> bool {
        let has_other_words = |record: &LabelRecord| match &record.asked {
            // What is asked of all images is the header's.
            Asked::Categories(names) if Arc::ptr_eq(names, &self.categories) => false,
            asked => Asked::of(&request.subject).is_ok_and(|now| now != *asked),
        };
        let may_be_told = stamp.is_some() || outcome.is_err();
        may_be_told && !request.bytes.is_still(stamp, limits)
            || outcome.as_ref().is_ok_and(has_other_words)
    }

    /// Adds an outcome. Those that are there must have been [skipped](Self::skip_done).
    ///
    /// # Errors
    /// - [`Error::Write`].
    pub(super) fn add(&mut self, done: &Done) -> Result<()> {
        let entry = self.entry(done);
        self.file.add(&entry)
    }

    /// Labels images again that were replaced, and puts what `label` hands on into the places of these numbers, in
    /// their order. What was done is kept if it fails.
    pub(super) fn put_again<T>(
        &mut self,
        mut numbers: impl Iterator<Item = u64>,
        label: impl FnOnce(&mut dyn FnMut(&Done) -> Result<()>) -> Result<T>,
    ) -> Result<T> {
        let mut replacement: Replacement = self.file.replacement()?;
        let labelled = label(&mut |done| match numbers.next() {
            Some(number) => replacement.put(number, &self.entry(done)),
            None => Ok(()),
        });
        self.file.replace(replacement)?;
        labelled
    }

    fn parse(&self, line: &[u8], number: usize) -> Result<Done> {
        match self.file.parse(line, number)? {
            Entry::Failed(failed) => Ok(failed.into()),
            Entry::Labelled(record) => {
                let stamp = record.stamp.clone();
                let record = self.to_record(record);
                let record = record.map_err(|error| self.file.damaged(number, error))?;
                Ok(Done {
                    outcome: Ok(record),
                    stamp,
                })
            }
        }
    }

    fn entry(&self, done: &Done) -> Entry {
        let stamp = done.stamp.clone();
        match &done.outcome {
            Ok(record) => Entry::Labelled(self.to_line(record, stamp)),
            Err(failure) => Entry::Failed(Failed {
                failure: failure.clone(),
                stamp,
            }),
        }
    }

    fn to_line(&self, record: &LabelRecord, stamp: Option<Stamp>) -> RecordLine {
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
            stamp,
            categories,
            caption,
            labels: record.boxes.clone(),
        }
    }

    fn to_record(&self, line: RecordLine) -> glip::Result<LabelRecord> {
        let asked = match (line.categories, line.caption) {
            (_, Some(caption)) => Asked::caption(caption)?,
            (Some(names), None) => Asked::Categories(names.into()),
            (None, None) => Asked::Categories(Arc::clone(&self.categories)),
        };
        let image = ImageSize::new(line.width, line.height);
        let masks = line.labels.iter().flat_map(|found| &found.mask);
        if let Some(other) = masks
            .map(|mask| mask.rle.size())
            .find(|size| *size != image)
        {
            return Err(glip::Error::MaskMismatch {
                expected: image.to_string(),
                found: other.to_string(),
            });
        }
        Ok(LabelRecord {
            image: line.image,
            width: line.width,
            height: line.height,
            source: line.source,
            asked,
            boxes: match self.header.journal_version {
                VERSION_OF_PIXELS => line.labels.into_iter().map(with_edges).collect(),
                _ => line.labels,
            },
        })
    }
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    expecting = "an object with labelled or failed"
)]
enum Entry {
    Labelled(RecordLine),
    Failed(Failed),
}

/// A record as it is written; what was asked is left out if it is what the header says.
#[derive(Serialize, Deserialize)]
#[serde(expecting = "an object with image, width, height and labels")]
struct RecordLine {
    image: String,
    width: u32,
    height: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(rename = "file", default, skip_serializing_if = "Option::is_none")]
    stamp: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    categories: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caption: Option<Caption>,
    labels: Vec<LabelledBox>,
}

/// What was given by its first and last column and row.
fn with_edges(found: LabelledBox) -> LabelledBox {
    let [x1, y1, x2, y2] = found.bbox.into();
    // As finite as it was.
    let edges = BBox::new(x1, y1, x2 + 1.0, y2 + 1.0);
    LabelledBox {
        bbox: edges.unwrap_or(found.bbox),
        ..found
    }
}

/// What an input or its outcome is called.
fn name<T>(of: &Result<T, Failure>, image: fn(&T) -> &String) -> &str {
    match of {
        Ok(good) => image(good),
        Err(failure) => &failure.image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 wrote it.
    const OLD: &str = r#"{"journal_version":1,"model":"glip-nano","base":"/pictures","categories":["cat"],"prompt":"cat","asks":false,"options":{}}
{"labelled":{"image":"a.jpg","width":64,"height":48,"labels":[{"phrase":0,"score":0.5,"verdict":"keep","bbox":[8.0,4.5,19.0,47.0]}]}}
{"failed":{"image":"b.jpg","error":"b.jpg is cut off"}}
"#;

    #[test]
    fn boxes_of_an_old_journal_become_edges() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), OLD).unwrap();
        let journal = Journal::read(folder.path()).unwrap();
        let outcomes: Result<Vec<_>> = journal.outcomes().unwrap().collect();
        let outcomes = outcomes.unwrap();
        let record = outcomes[0].as_ref().unwrap();
        assert_eq!(record.edges(&record.boxes[0]), [8.0, 4.5, 20.0, 48.0]);
        assert_eq!(outcomes[1].as_ref().unwrap_err().image, "b.jpg");
        // What is added has edges, so it is not added there.
        let now = JournalHeader {
            journal_version: JournalHeader::VERSION,
            ..journal.header().clone()
        };
        drop(journal);
        let error = Journal::open(folder.path(), now).unwrap_err();
        assert!(
            matches!(&error, Error::RunDiffers { what, .. } if what == "journal_version"),
            "{error}"
        );
    }

    #[test]
    fn a_journal_of_this_version_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let text = OLD.replace("\"journal_version\":1", "\"journal_version\":2");
        fs::write(folder.path().join(FILE), &text).unwrap();
        let mut journal = Journal::read(folder.path()).unwrap();
        let outcomes: Result<Vec<_>> = journal.outcomes().unwrap().collect();
        let header = journal.header().clone();
        let again = tempfile::tempdir().unwrap();
        journal = Journal::open(again.path(), header).unwrap();
        for outcome in outcomes.unwrap() {
            let done = Done {
                outcome,
                stamp: None,
            };
            journal.add(&done).unwrap();
        }
        assert_eq!(fs::read_to_string(again.path().join(FILE)).unwrap(), text);
    }

    #[test]
    fn masks_are_those_of_their_image() {
        let with_mask = |size: &str| {
            let mask = format!(r#""mask":{{"size":{size},"counts":"222","score":0.5}}}}]}}"#);
            let text = OLD.replace("\"journal_version\":1", "\"journal_version\":2");
            let text = text.replace("\"width\":64,\"height\":48", "\"width\":3,\"height\":2");
            text.replacen("47.0]}]}", &format!("47.0],{mask}"), 1)
        };
        let read = |text: String| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(FILE), text).unwrap();
            let journal = Journal::read(folder.path()).unwrap();
            journal.outcomes().unwrap().next().unwrap()
        };
        let record = read(with_mask("[2,3]")).unwrap().unwrap();
        let mask = record.boxes[0].mask.as_ref().unwrap();
        assert_eq!((mask.rle.area(), mask.score), (2, 0.5));
        let error = read(with_mask("[3,2]")).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("2 x 3"),
            "{error}"
        );
    }

    #[test]
    fn a_journal_of_a_newer_version_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let text = OLD.replace("\"journal_version\":1", "\"journal_version\":3");
        fs::write(folder.path().join(FILE), text).unwrap();
        let error = Journal::read(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("journal version 3, 1 to 2 are known"),
            "{error}"
        );
    }
}
