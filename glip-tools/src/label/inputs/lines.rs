//! Images that JSON Lines name, in the grounding format of `glip_torch` or less than that.

use std::{
    io::{self, BufRead, Read},
    path::PathBuf,
    sync::Arc,
};

use glip::Category;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    label::{
        inputs::places::name_below,
        request::{ImageBytes, Request},
        subject::{Caption, Subject},
    },
    text::{decode, quote_not_finite, utf_16},
};

/// A line is far shorter, unless the file is something else.
const LONGEST_LINE: u64 = 64 << 20;

/// The requests in JSON Lines: an image, and what to look for.
pub(super) struct Lines<R> {
    input: R,
    /// The file's name, for failures.
    file: PathBuf,
    line: usize,
    /// What paths in the lines are relative to.
    folder: PathBuf,
    /// What names are relative to.
    base: PathBuf,
    /// What to look for, whatever the lines say.
    subject: Option<Arc<Subject>>,
    /// What a header says to look for where a line does not.
    header: Option<Arc<Subject>>,
    is_over: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(
        input: R,
        file: PathBuf,
        folder: PathBuf,
        base: PathBuf,
        subject: Option<Arc<Subject>>,
    ) -> Self {
        Self {
            input,
            file,
            line: 0,
            folder,
            base,
            subject,
            header: None,
            is_over: false,
        }
    }

    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.line += 1;
        (&mut self.input)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?;
        if line.len() as u64 == LONGEST_LINE {
            return Err(io::Error::other(
                "the line does not end: give a file of JSON Lines",
            ));
        }
        Ok(line)
    }

    /// A line's request; none if it is a header.
    fn request(&mut self, line: Vec<u8>) -> Result<Option<Request>, String> {
        let line = decode(line, self.line)
            .map_err(|found| format!("the line is {found}: save the file as UTF-8"))?;
        let content = object(&line)
            .map_err(|error| format!("not a JSON object ({error}): write one object a line"))?;
        if content.contains_key("format") {
            self.header = header(content)?;
            return Ok(None);
        }
        let Record {
            image,
            source,
            subject,
        } = record(content)?;
        let image = image.ok_or("it names no image: write {\"image\": \"PATH\", ...}")?;
        let subject = self
            .subject
            .clone()
            .or(subject.map(Arc::new))
            .or(self.header.clone());
        let path = self.folder.join(&image);
        Ok(Some(Request {
            image: match self.folder == self.base {
                true => image,
                false => name_below(&self.base, &path).map_err(|failure| failure.error)?,
            },
            bytes: ImageBytes::File(path),
            subject: subject.ok_or(NOTHING_ASKED)?,
            source,
        }))
    }
}

pub(super) const NOTHING_ASKED: &str = "it does not say what to look for: \
    give it \"categories\" or a \"text\", or give categories for all images (--categories)";

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Request, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let failure = |number: usize, file: &PathBuf, error: String| Failure {
                image: format!("{}, line {number}", file.display()),
                error,
            };
            let line = match self.read_line() {
                Ok(line) => line,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(failure(self.line, &self.file, error.to_string())));
                }
            };
            // What looks like lines of UTF-16 are none.
            self.is_over = line.is_empty() || self.line == 1 && utf_16(&line).is_some();
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.request(line) {
                Ok(Some(request)) => return Some(Ok(request)),
                Ok(None) => {}
                Err(error) => return Some(Err(failure(self.line, &self.file, error))),
            }
        }
        None
    }
}

/// What a record says, whose image may be known otherwise.
pub(super) struct Record {
    image: Option<String>,
    pub(super) source: Option<String>,
    pub(super) subject: Option<Subject>,
}

/// A JSON object, in which numbers may be what JSON has none of: what a model said of an image before does
/// not matter.
pub(super) fn object(text: &str) -> serde_json::Result<Map<String, Value>> {
    serde_json::from_str(&quote_not_finite(text))
}

/// A record of the grounding format, of which only the image and the words matter. Categories may also
/// be names alone, or have the context and synonyms of a prompt file; a caption's phrases may be
/// left out. What other tools call the image and the caption counts where nothing else does.
#[derive(Deserialize)]
struct Line {
    image: Option<String>,
    #[serde(default)]
    file_name: Value,
    #[serde(default)]
    filename: Value,
    source: Option<String>,
    categories: Option<Vec<Value>>,
    text: Option<String>,
    #[serde(default)]
    caption: Value,
    phrases: Option<Vec<Phrase>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with spans, as {\"spans\": [[0, 5]]}")]
struct Phrase {
    spans: Vec<[usize; 2]>,
}

pub(super) fn record(content: Map<String, Value>) -> Result<Record, String> {
    let line: Line =
        serde_json::from_value(Value::Object(content)).map_err(|error| error.to_string())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let subject = match (line.categories, line.text) {
        (Some(_), Some(_)) => {
            return Err("it has both categories and a text: remove one of them".to_owned());
        }
        (Some(categories), None) => Some(self::categories(categories)?),
        (None, Some(text)) => Some(caption(text, line.phrases)),
        (None, None) => text(&line.caption).map(|text| caption(text, line.phrases)),
    };
    let others = [&line.file_name, &line.filename];
    Ok(Record {
        image: line.image.or_else(|| others.into_iter().find_map(text)),
        source: line.source,
        subject,
    })
}

/// Categories as names, or as objects; boxes and whatever else is there already do not matter.
fn categories(mut entries: Vec<Value>) -> Result<Subject, String> {
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        entry.retain(|field, value| match field.as_str() {
            "label" => value.is_string(), // of other tools, a number
            "name" | "prefix" | "suffix" | "synonyms" => true,
            _ => false,
        });
    }
    let categories = Category::from_json(&Value::Array(entries).to_string());
    Ok(Subject::Categories(
        categories.map_err(|error| error.to_string())?,
    ))
}

fn caption(text: String, phrases: Option<Vec<Phrase>>) -> Subject {
    let Some(phrases) = phrases else {
        return Subject::caption(text);
    };
    let spans = |phrase: Phrase| {
        let spans = phrase.spans.into_iter();
        spans.map(|[begin, end]| begin..end).collect()
    };
    let phrases = phrases.into_iter().map(spans).collect();
    Subject::Caption(Caption { text, phrases })
}

/// The categories of a file's header, if it lists any.
pub(super) fn header(content: Map<String, Value>) -> Result<Option<Arc<Subject>>, String> {
    if content.get("format") != Some(&Value::from("glip-grounding")) {
        return Err(
            "its format is not \"glip-grounding\": leave the header out, or write that".to_owned(),
        );
    }
    match content.get("categories").and_then(Value::as_array) {
        Some(names) if !names.is_empty() => Ok(Some(Arc::new(categories(names.clone())?))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(text: &str, subject: Option<Subject>) -> Vec<Result<Request, Failure>> {
        requests_in(text.as_bytes(), subject)
    }

    fn requests_in(text: &[u8], subject: Option<Subject>) -> Vec<Result<Request, Failure>> {
        let folder = || PathBuf::from("data");
        let file = PathBuf::from("data/lines.jsonl");
        Lines::new(text, file, folder(), folder(), subject.map(Arc::new)).collect()
    }

    fn phrases(request: &Result<Request, Failure>) -> Vec<String> {
        request.as_ref().unwrap().subject.phrases().unwrap()
    }

    #[test]
    fn lines_say_what_to_look_for_in_many_ways() {
        let text = r#"{"format": "glip-grounding", "format_version": 2, "categories": ["bird", "bee"]}
            {"image": "1 ü.jpg", "categories": ["dog", "traffic_light"]}
            {"image": "2.jpg", "width": 4, "height": 3, "source": "coco", "categories": [{"name": "cat", "boxes": [[1, 2, 3, 4]]}]}

            {"image": "3.jpg", "text": "ein süßer Hund", "phrases": [{"spans": [[10, 14]], "boxes": []}]}
            {"image": "4.jpg", "caption": "a cat on the mat"}
            {"image": "5.jpg", "categories": [{"name": "ray", "prefix": "flat and round "}]}
            {"image": "6.jpg"}"#;
        let found = requests(&format!("\u{feff}{text}"), None);
        let expected: [&[&str]; 6] = [
            &["dog", "traffic_light"],
            &["cat"],
            &["Hund"],
            &["a cat", "the mat"],
            &["ray"],
            &["bird", "bee"],
        ];
        assert_eq!(found.iter().map(phrases).collect::<Vec<_>>(), expected);
        let first = found[0].as_ref().unwrap();
        assert_eq!(first.image, "1 ü.jpg");
        assert!(matches!(&first.bytes, ImageBytes::File(path) if path.ends_with("data/1 ü.jpg")));
        assert_eq!(found[1].as_ref().unwrap().source.as_deref(), Some("coco"));
        let all = requests(text, Some(Subject::categories(["fish"])));
        assert!(all.iter().all(|request| phrases(request) == ["fish"]));
    }

    #[test]
    fn a_broken_line_is_a_failure_that_names_it_and_the_rest_goes_on() {
        let cases = [
            ("{", "not a JSON object"),
            ("[1]", "not a JSON object"),
            (r#"{"categories": ["a"]}"#, "names no image"),
            (r#"{"image": "a.jpg"}"#, "does not say what to look for"),
            (
                r#"{"image": "a.jpg", "categories": [], "text": "a"}"#,
                "both categories and a text",
            ),
            (
                r#"{"image": "a.jpg", "categories": []}"#,
                "the list is empty",
            ),
            (
                r#"{"image": "a.jpg", "text": "a cat", "phrases": ["a cat"]}"#,
                "an object with spans",
            ),
            (
                r#"{"image": "a.jpg", "categores": ["a"]}"#,
                "does not say what to look for",
            ),
            (
                r#"{"image": "a.jpg", "categories": [{"boxes": []}]}"#,
                "missing field `name`",
            ),
            (r#"{"format": "coco"}"#, "glip-grounding"),
            ("\u{fffd}", "not a JSON object"),
        ];
        let text: Vec<&str> = cases.iter().map(|(line, _)| *line).collect();
        let text = text.join("\n") + "\n{\"image\": \"good.jpg\", \"categories\": [\"a\"]}\n";
        let found = requests(&text, None);
        for ((number, (line, expected)), request) in cases.iter().enumerate().zip(&found) {
            let failure = request.as_ref().unwrap_err();
            assert_eq!(
                failure.image,
                format!("data/lines.jsonl, line {}", number + 1)
            );
            assert!(
                failure.error.contains(expected),
                "{line}: {}",
                failure.error
            );
        }
        assert_eq!(found.len(), cases.len() + 1);
        assert_eq!(found.last().unwrap().as_ref().unwrap().image, "good.jpg");
    }

    #[test]
    fn lines_of_other_tools_are_read_as_far_as_they_say_what_to_look_for() {
        let text = r#"{"image": "1.jpg", "width": null, "height": 3.0, "id": 7, "licence": {"name": "x"}, "categories": ["dog"]}
            {"image": "2.jpg", "categories": [{"name": "cat", "label": 3, "id": 4, "boxes": [[NaN, 2, 3, 4]], "scores": [NaN]}], "loss": -Infinity}
            {"image": "3.jpg", "text": "a NaN", "phrases": [{"spans": [[0, 1]], "boxes": [], "label": 3}], "caption": "a dog"}
            {"file_name": "4.jpg", "categories": ["bee"], "caption": ["a bee"]}
            {"filename": "5.jpg", "file_name": null, "caption": "a fly", "grounding": {"regions": []}}"#;
        let found = requests(&format!("\u{feff}{text}"), None);
        let expected: [&[&str]; 5] = [&["dog"], &["cat"], &["a"], &["bee"], &["a fly"]];
        assert_eq!(found[3].as_ref().unwrap().image, "4.jpg");
        assert_eq!(found[4].as_ref().unwrap().image, "5.jpg");
        assert_eq!(found.iter().map(phrases).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn encodings_are_named() {
        let line = "{\"image\": \"ü.jpg\", \"categories\": [\"dog\"]}\n";
        let latin_1: Vec<u8> = line.chars().map(|c| c as u8).collect();
        let found = requests_in(&[&latin_1[..], line.as_bytes()].concat(), None);
        let failure = found[0].as_ref().unwrap_err();
        assert!(
            failure.error.contains("byte 0xfc in line 1, column 12"),
            "{}",
            failure.error
        );
        assert_eq!(found[1].as_ref().unwrap().image, "ü.jpg");
        let utf_16 = line
            .repeat(2)
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<_>>();
        let found = requests_in(&utf_16, None);
        assert_eq!(found.len(), 1);
        let failure = found[0].as_ref().unwrap_err();
        assert!(failure.error.contains("in UTF-16"), "{}", failure.error);
    }

    #[test]
    fn a_line_without_end_is_not_read_to_its_end() {
        let endless = io::BufReader::new(io::repeat(b' ').take(LONGEST_LINE * 3));
        let nowhere = PathBuf::new;
        let found: Vec<_> = Lines::new(endless, nowhere(), nowhere(), nowhere(), None).collect();
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .as_ref()
                .unwrap_err()
                .error
                .contains("does not end")
        );
    }
}
