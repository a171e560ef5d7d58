//! The grounding format: JSON Lines that hold detection and caption data alike.
//!
//! The first line of a file is its [`Header`], every further line a [`Record`] of an image:
//!
//! ```json
//! {"format": "glip-grounding", "format_version": 2, "categories": ["dog", "cat"]}
//! {"image": "images/1.jpg", "width": 640, "height": 480, "categories": [{"name": "dog", "boxes": [[8, 20, 99, 140]]}]}
//! {"image": "images/2.jpg", "width": 640, "height": 427, "text": "A dog", "phrases": [{"spans": [[0, 5]], "boxes": []}]}
//! ```
//!
//! Boxes are `x1 y1 x2 y2` in pixels, edges as a [`BBox`] has them; spans are in characters, end exclusive.
//! Boxes of a model may have `scores` and `masks`, one for each: `{"size": [height, width], "counts": "...", "score": 0.9}`, COCO's run lengths.
//! What has no boxes is known to be absent. Fields that are not named here are passed over. `python/README.md` of the repository describes the format, and
//! `glip_torch` reads and writes it too. Files of [version 1](FormatVersion::V1), whose boxes are of another
//! kind, are read and converted.

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    io::{BufRead, BufReader},
    marker::PhantomData,
    ops::Range,
    path::{Path, PathBuf},
};

use glip::{BBox, ImageSize};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

pub use crate::segmentation::ScoredMask;
use crate::{
    error::{Error, Result},
    files::{open, unreadable},
    segmentation::of_image,
    text::{decode, quote_not_finite},
    values::finite,
};

const FORMAT: &str = "glip-grounding";

/// A box may pass its image's border by this much, in pixels, as rounding makes it; it is clipped.
const TOLERANCE: f64 = 1.0;

/// The first line of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The names that absent categories are drawn from.
    pub categories: Vec<String>,
    /// That of the records after it.
    pub version: FormatVersion,
}

/// What the boxes of a file are. Whatever was read, boxes are edges, and what is written is of the newest version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatVersion {
    /// `x2` and `y2` are the last column and row, which belong to the box.
    V1,
    /// They are edges, so that a width is `x2 - x1`.
    #[default]
    V2,
}

impl FormatVersion {
    const READABLE: [Self; 2] = [Self::V1, Self::V2];

    /// As headers have it.
    fn number(self) -> u64 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    fn of(number: u64) -> Result<Self, String> {
        let mut readable = Self::READABLE.into_iter();
        readable.find(|version| version.number() == number).ok_or_else(|| {
            let readable = Self::READABLE.map(|version| version.number().to_string());
            format!(
                "format version {number}, this version of glip-tools reads {}: update it or write the file anew",
                readable.join(" and ")
            )
        })
    }
}

/// An image, what is said about it, and where that is.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The image's file, relative to the file of records; in a tar shard another member's name.
    pub image: String,
    /// The image's width and height, in pixels.
    pub size: ImageSize,
    /// What is in it.
    pub content: Content,
    /// Where the record is from, if known.
    pub source: Option<String>,
}

/// What a [`Record`] says of its image.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Categories and where they are.
    Categories(Vec<Category>),
    /// A caption and where its phrases are.
    Caption {
        /// The caption.
        text: String,
        /// Its phrases.
        phrases: Vec<Phrase>,
    },
}

/// A category in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Category {
    /// Its name.
    pub name: String,
    /// Where it is; nowhere if it is known to be absent.
    pub boxes: Boxes,
}

/// A phrase of a caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Phrase {
    /// The characters of the text that it is (Unicode code points, not bytes).
    pub spans: Vec<Range<usize>>,
    /// Where it is; nowhere if it is known to be absent.
    pub boxes: Boxes,
}

/// Where something is in an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Boxes {
    /// The boxes, within the image.
    pub boxes: Vec<BBox>,
    /// If a model found them, how sure it was: one score for each, from 0 to 1.
    pub scores: Option<Vec<f32>>,
    /// If a segmenter was asked, which pixels of the image are what is in each.
    pub masks: Option<Vec<ScoredMask>>,
}

impl Header {
    /// The header as a line, without the line feed; of the newest version.
    pub fn to_line(&self) -> String {
        serde_json::json!({
            "format": FORMAT,
            "format_version": FormatVersion::default().number(),
            "categories": self.categories,
        })
        .to_string()
    }

    /// Reads the first line of a file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(line: &str) -> Result<Self, String> {
        let Object(entry): Object<HeaderEntry> = serde_json::from_str(line)
            .map_err(|error| format!("not a header of the grounding format ({error})"))?;
        if entry.format != FORMAT {
            return Err(format!(
                "the format is {:?}: begin the file with \"format\": {FORMAT:?}",
                entry.format
            ));
        }
        let version = FormatVersion::of(entry.format_version)?;
        let categories = entry.categories.unwrap_or_default();
        if categories.iter().any(|name| name.trim().is_empty()) {
            return Err("the header's categories are no list of names: one is empty".into());
        }
        if let Some(twice) = repeated(&categories) {
            return Err(format!("category {twice:?} is listed twice: list it once"));
        }
        Ok(Self {
            categories,
            version,
        })
    }
}

impl Record {
    /// The record as a line of the newest version, without the line feed. Boxes are rounded to hundredths
    /// of a pixel, scores to four digits.
    ///
    /// ```
    /// use glip::ImageSize;
    /// use glip_tools::grounding::{Boxes, Category, Content, FormatVersion, Record};
    ///
    /// let dogs = Boxes {
    ///     boxes: vec![glip::BBox::new(8.0, 20.0, 99.0, 140.0)?],
    ///     scores: Some(vec![0.5]),
    ///     masks: None,
    /// };
    /// let record = Record {
    ///     image: "images/1.jpg".into(),
    ///     size: ImageSize { width: 640, height: 480 },
    ///     content: Content::Categories(vec![Category { name: "dog".into(), boxes: dogs }]),
    ///     source: None,
    /// };
    /// assert_eq!(Record::parse(&record.to_line()?, FormatVersion::default()).as_ref(), Ok(&record));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If a score is NaN or infinite, which JSON does not have.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&RecordEntry::from(self))
    }

    /// Reads a line of a file of this version, and checks it as `glip_torch` does.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(line: &str, version: FormatVersion) -> Result<Self, String> {
        let Object(entry): Object<RecordEntry> = serde_json::from_str(&quote_not_finite(line))
            .map_err(|error| format!("not a record of the grounding format: {error}"))?;
        entry.record(version)
    }
}

/// The records of a file, one at a time.
///
/// ```no_run
/// use glip_tools::grounding::Records;
///
/// for record in Records::open("labels.jsonl")? {
///     println!("{}", record?.image);
/// }
/// # Ok::<(), glip_tools::Error>(())
/// ```
#[derive(Debug)]
pub struct Records<R = BufReader<File>> {
    path: PathBuf,
    header: Header,
    reader: R,
    line: usize,
}

impl Records {
    /// Opens a JSON Lines file and reads its header.
    ///
    /// # Errors
    /// - [`Error::Read`]: the file cannot be read.
    /// - [`Error::Record`]: its first line is no header.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = open(path)?;
        Self::new(BufReader::new(file), path)
    }
}

impl<R: BufRead> Records<R> {
    /// Reads from anything; `name` is for errors.
    ///
    /// # Errors
    /// As [`Records::open`].
    pub fn new(reader: R, name: impl AsRef<Path>) -> Result<Self> {
        let mut records = Self {
            path: name.as_ref().to_owned(),
            header: Header::default(),
            reader,
            line: 0,
        };
        let first = records.next_line()?.unwrap_or_default();
        records.header = Header::parse(&first).map_err(|reason| records.wrong(reason))?;
        Ok(records)
    }

    fn next_line(&mut self) -> Result<Option<String>> {
        let mut line = Vec::new();
        self.line += 1;
        let read = self.reader.read_until(b'\n', &mut line);
        if read.map_err(unreadable(&self.path))? == 0 {
            return Ok(None);
        }
        let text = decode(line, self.line).map_err(|found| Error::Encoding {
            path: self.path.clone(),
            found,
        })?;
        Ok(Some(text))
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Record {
            path: self.path.clone(),
            line: self.line,
            reason,
        }
    }

    /// The file's first line.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// Empty lines are no records. A broken record does not end the file.
impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.next_line().transpose()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            if !line.trim().is_empty() {
                let record = Record::parse(&line, self.header.version);
                return Some(record.map_err(|reason| self.wrong(reason)));
            }
        }
    }
}

// ---- As it stands in files ----

/// What has to be an object: serde would take an array of the fields' values too.
#[derive(Serialize)]
#[serde(transparent)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[derive(Deserialize)]
struct HeaderEntry {
    format: String,
    format_version: u64,
    categories: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct RecordEntry {
    image: String,
    width: u32,
    height: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    categories: Option<Vec<Object<CategoryEntry>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phrases: Option<Vec<Object<PhraseEntry>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct CategoryEntry {
    name: String,
    boxes: Vec<[f64; 4]>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    scores: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    masks: Option<Vec<ScoredMask>>,
}

#[derive(Serialize, Deserialize)]
struct PhraseEntry {
    spans: Vec<[usize; 2]>,
    boxes: Vec<[f64; 4]>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    scores: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    masks: Option<Vec<ScoredMask>>,
}

impl From<&Record> for RecordEntry {
    fn from(record: &Record) -> Self {
        let (mut categories, mut text, mut phrases) = (None, None, None);
        match &record.content {
            Content::Categories(list) => {
                categories = Some(list.iter().map(|entry| Object(entry.into())).collect());
            }
            Content::Caption {
                text: words,
                phrases: list,
            } => {
                text = Some(words.clone());
                phrases = Some(list.iter().map(|entry| Object(entry.into())).collect());
            }
        }
        Self {
            image: record.image.clone(),
            width: record.size.width,
            height: record.size.height,
            categories,
            text,
            phrases,
            source: record.source.clone(),
        }
    }
}

impl From<&Category> for CategoryEntry {
    fn from(category: &Category) -> Self {
        Self {
            name: category.name.clone(),
            boxes: category.boxes.rounded(),
            scores: category.boxes.rounded_scores(),
            masks: category.boxes.masks.clone(),
        }
    }
}

impl From<&Phrase> for PhraseEntry {
    fn from(phrase: &Phrase) -> Self {
        Self {
            spans: phrase
                .spans
                .iter()
                .map(|span| [span.start, span.end])
                .collect(),
            boxes: phrase.boxes.rounded(),
            scores: phrase.boxes.rounded_scores(),
            masks: phrase.boxes.masks.clone(),
        }
    }
}

impl Boxes {
    fn rounded(&self) -> Vec<[f64; 4]> {
        let round = |edge: f32| (f64::from(edge) * 100.0).round() / 100.0;
        let corners = self.boxes.iter().map(|&bbox| <[f32; 4]>::from(bbox));
        corners.map(|corners| corners.map(round)).collect()
    }

    fn rounded_scores(&self) -> Option<Vec<f64>> {
        let round = |score: &f32| (f64::from(*score) * 1e4).round() / 1e4;
        self.scores
            .as_ref()
            .map(|scores| scores.iter().map(round).collect())
    }
}

impl RecordEntry {
    fn record(self, version: FormatVersion) -> Result<Record, String> {
        if self.image.is_empty() {
            return Err("image is empty: give its path, relative to this file".into());
        }
        let size = ImageSize {
            width: self.width,
            height: self.height,
        };
        if size.width == 0 || size.height == 0 {
            return Err(format!(
                "the image is {size} pixels: give its width and height"
            ));
        }
        let content = match (self.categories, self.text, self.phrases) {
            (Some(categories), None, None) => categories_of(categories, size, version)?,
            (None, Some(text), Some(phrases)) => caption(text, phrases, size, version)?,
            _ => return Err("a record has either categories, or a text and phrases".into()),
        };
        Ok(Record {
            image: self.image,
            size,
            content,
            source: self.source,
        })
    }
}

fn categories_of(
    entries: Vec<Object<CategoryEntry>>,
    size: ImageSize,
    version: FormatVersion,
) -> Result<Content, String> {
    let names: Vec<_> = entries
        .iter()
        .map(|Object(entry)| entry.name.clone())
        .collect();
    if let Some(twice) = repeated(&names) {
        return Err(format!(
            "category {twice:?} occurs twice: give all its boxes in one entry"
        ));
    }
    let category = |Object(entry): Object<CategoryEntry>| {
        if entry.name.trim().is_empty() {
            return Err("a category has no name".to_owned());
        }
        let boxes = boxes(entry.boxes, entry.scores, entry.masks, size, version);
        Ok(Category {
            boxes: boxes.map_err(|reason| format!("category {:?}: {reason}", entry.name))?,
            name: entry.name,
        })
    };
    let categories: Result<_, String> = entries.into_iter().map(category).collect();
    Ok(Content::Categories(categories?))
}

fn caption(
    text: String,
    entries: Vec<Object<PhraseEntry>>,
    size: ImageSize,
    version: FormatVersion,
) -> Result<Content, String> {
    if text.trim().is_empty() {
        return Err("text is empty: give at least one word".into());
    }
    let characters: Vec<char> = text.chars().collect();
    let phrase = |(number, Object(entry)): (usize, Object<PhraseEntry>)| {
        if entry.spans.is_empty() {
            return Err(format!(
                "phrase {number} has no spans: say which characters it is"
            ));
        }
        for &span in &entry.spans {
            check_span(span, &characters)
                .map_err(|reason| format!("phrase {number} has the span {reason}"))?;
        }
        let boxes = boxes(entry.boxes, entry.scores, entry.masks, size, version);
        Ok(Phrase {
            spans: entry.spans.iter().map(|&[begin, end]| begin..end).collect(),
            boxes: boxes.map_err(|reason| format!("phrase {number}: {reason}"))?,
        })
    };
    let phrases: Result<_, String> = (1..).zip(entries).map(phrase).collect();
    Ok(Content::Caption {
        phrases: phrases?,
        text,
    })
}

fn check_span([begin, end]: [usize; 2], text: &[char]) -> Result<(), String> {
    let characters = text.len();
    if begin >= end || end > characters {
        return Err(format!(
            "{begin} to {end}, the text the characters 0 to {characters}: spans count characters, not bytes, \
             and end after their last character"
        ));
    }
    if text[begin..end].iter().all(|c| c.is_whitespace()) {
        return Err(format!(
            "{begin} to {end}, which holds spaces only: point it at words"
        ));
    }
    Ok(())
}

fn boxes(
    boxes: Vec<[f64; 4]>,
    scores: Option<Vec<f64>>,
    masks: Option<Vec<ScoredMask>>,
    size: ImageSize,
    version: FormatVersion,
) -> Result<Boxes, String> {
    if let Some(masks) = &masks {
        if masks.len() != boxes.len() {
            let (masks, boxes) = (masks.len(), boxes.len());
            return Err(format!(
                "{masks} masks for {boxes} boxes: give one for each"
            ));
        }
        let mut of_masks = masks.iter().map(|mask| of_image(&mask.rle, Some(size)));
        of_masks.try_for_each(|fits| fits)?;
    }
    if let Some(scores) = &scores {
        if scores.len() != boxes.len() {
            let (scores, boxes) = (scores.len(), boxes.len());
            return Err(format!(
                "{scores} scores for {boxes} boxes: give one for each"
            ));
        }
        if let Some(score) = scores.iter().find(|score| !(0.0..=1.0).contains(*score)) {
            return Err(format!("score {score}: scores lie in 0 to 1"));
        }
    }
    let boxes = boxes
        .into_iter()
        .map(|corners| edges(corners, size, version));
    let boxes: Result<_, String> = boxes.collect();
    let scores = scores.map(|scores| scores.into_iter().map(|score| score as f32).collect());
    Ok(Boxes {
        boxes: boxes?,
        scores,
        masks,
    })
}

fn edges(corners: [f64; 4], size: ImageSize, version: FormatVersion) -> Result<BBox, String> {
    let [x1, y1, x2, y2] = corners;
    if x1 > x2 || y1 > y2 {
        return Err(format!(
            "box {corners:?} ends before it begins: give x1 y1 x2 y2, not width and height"
        ));
    }
    let beyond = match version {
        FormatVersion::V1 => 1.0,
        FormatVersion::V2 => 0.0,
    };
    let (x2, y2) = (x2 + beyond, y2 + beyond);
    let (right, bottom) = (f64::from(size.width), f64::from(size.height));
    let leaves = x1.min(y1) < -TOLERANCE || x2 > right + TOLERANCE || y2 > bottom + TOLERANCE;
    if leaves || x1 > right || y1 > bottom || x2 < 0.0 || y2 < 0.0 {
        return Err(format!(
            "box {corners:?} leaves the image of {size} pixels: clip it"
        ));
    }
    let [x1, y1, x2, y2] = [x1.max(0.0), y1.max(0.0), x2.min(right), y2.min(bottom)];
    BBox::new(x1 as f32, y1 as f32, x2 as f32, y2 as f32).map_err(|error| error.to_string())
}

fn repeated(names: &[String]) -> Option<&String> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        r#"{"format": "glip-grounding", "format_version": 2, "categories": ["dog", "cat"]}"#;

    #[test]
    fn records_survive_being_written_and_read() {
        let lines = [
            r#"{"image":"a.jpg","width":64,"height":48,"categories":[{"name":"dog","boxes":[[1.5,2.0,3.25,4.0]],"scores":[0.5]},{"name":"cat","boxes":[]}],"source":"coco"}"#,
            r#"{"image":"m.jpg","width":3,"height":2,"categories":[{"name":"dog","boxes":[[1.0,0.0,2.0,2.0]],"scores":[0.5],"masks":[{"size":[2,3],"counts":"222","score":0.75}]}]}"#,
            r#"{"image":"ü b.jpg","width":64,"height":48,"text":"Über dogs","phrases":[{"spans":[[5,9]],"boxes":[[0.0,0.0,64.0,48.0]]}]}"#,
        ];
        let file = format!("{HEADER}\n{}\n\n{}\n{}\n", lines[0], lines[1], lines[2]);
        let records = Records::new(file.as_bytes(), "labels.jsonl").unwrap();
        assert_eq!(records.header().categories, ["dog", "cat"]);
        assert_eq!(
            Header::parse(&records.header().to_line()).as_ref(),
            Ok(records.header())
        );
        let read: Vec<_> = records
            .map(|record| record.unwrap().to_line().unwrap())
            .collect();
        assert_eq!(read, lines);
        let mut record = Record::parse(lines[0], FormatVersion::default()).unwrap();
        if let Content::Categories(categories) = &mut record.content {
            categories[0].boxes.scores = Some(vec![f32::NAN]);
        }
        assert!(record.to_line().is_err(), "written as null");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let cases = [
            (
                r#"{"image": "a", "width": 9, "height": 9}"#,
                "either categories",
            ),
            (
                r#"{"image": "a", "width": 0, "height": 9, "categories": []}"#,
                "0 x 9",
            ),
            (
                r#"{"image": "a", "width": 9, "height": 9, "categories": [{"name": "dog", "boxes": [[5, 0, 2, 3]]}]}"#,
                "ends before it begins",
            ),
            (
                r#"{"image": "a", "width": 9, "height": 9, "categories": [{"name": "dog", "boxes": [[5, 0, 20, 3]]}]}"#,
                "leaves the image",
            ),
            (
                r#"{"image": "a", "width": 9, "height": 9, "text": "ü", "phrases": [{"spans": [[0, 2]], "boxes": []}]}"#,
                "characters 0 to 1",
            ),
            (
                r#"{"image": "a", "width": 9, "height": 9, "categories": [{"name": "dog", "boxes": [[0, 0, 2, 3]], "scores": []}]}"#,
                "0 scores for 1 boxes",
            ),
            (
                r#"{"image": "a", "width": 3, "height": 2, "categories": [{"name": "dog", "boxes": [[0, 0, 2, 2]], "masks": []}]}"#,
                "0 masks for 1 boxes",
            ),
            (
                r#"{"image": "a", "width": 2, "height": 3, "categories": [{"name": "dog", "boxes": [[0, 0, 2, 2]], "masks": [{"size": [2, 3], "counts": "222", "score": 1}]}]}"#,
                "category \"dog\": segmentation is of 3 x 2 pixels, the image has 2 x 3",
            ),
        ];
        for (line, part) in cases {
            let file = format!("{HEADER}\n{line}\n");
            let mut records = Records::new(file.as_bytes(), "labels.jsonl").unwrap();
            let error = records.next().unwrap().unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("labels.jsonl, line 2: "), "{text}");
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn encodings_are_named() {
        let line = r#"{"image": "ü", "width": 9, "height": 9, "categories": []}"#;
        let with_mark = format!("\u{feff}{HEADER}\n{line}\n");
        let records = Records::new(with_mark.as_bytes(), "labels.jsonl").unwrap();
        assert_eq!(
            records
                .map(|record| record.unwrap().image)
                .collect::<Vec<_>>(),
            ["ü"]
        );
        let latin_1: Vec<u8> = format!("{HEADER}\n{line}")
            .chars()
            .map(|c| c as u8)
            .collect();
        let mut records = Records::new(&latin_1[..], "labels.jsonl").unwrap();
        let error = records.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("byte 0xfc in line 2, column 12"), "{error}");
        let utf_16: Vec<u8> = HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let error = Records::new(&utf_16[..], "labels.jsonl")
            .unwrap_err()
            .to_string();
        assert!(error.contains("UTF-16"), "{error}");
    }

    #[test]
    fn a_file_without_a_header_is_an_error() {
        for first in [
            "",
            "{}",
            r#"{"format": "glip-grounding", "format_version": 3}"#,
        ] {
            let error = Records::new(first.as_bytes(), "labels.jsonl").unwrap_err();
            assert!(matches!(error, Error::Record { line: 1, .. }), "{error}");
        }
    }
}
