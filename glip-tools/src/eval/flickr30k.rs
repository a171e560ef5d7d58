//! Flickr30K Entities as it lies on disk: `Sentences/ID.txt` and `Annotations/ID.xml`.

use std::{
    collections::HashMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::error::Error;
use crate::{
    causes::with_causes,
    error::Result,
    files::unreadable,
    problem::{Problem, ProblemKind},
    text::read_text,
    walk::is_hidden,
};

/// A sentence about an image, and where its phrases are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sentence {
    /// The image's file, relative to the folder of the images.
    pub image: PathBuf,
    /// Which of the image's sentences it is, from 0.
    pub number: usize,
    /// The sentence, without marks.
    pub text: String,
    /// The phrases that have boxes; at least one.
    pub phrases: Vec<MarkedPhrase>,
}

/// A phrase of a [`Sentence`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MarkedPhrase {
    /// Its bytes in the sentence.
    pub span: Range<usize>,
    /// The kinds of things it names, for example `people`.
    pub kinds: Vec<String>,
    /// Where it is: `[x1, y1, x2, y2]`, its first and last columns and rows, from 0.
    pub boxes: Vec<[f64; 4]>,
}

/// Reads the sentences of a split: the images with these ids, or all there are.
///
/// # Errors
/// - [`Error::Read`]: there is no folder `Sentences`.
pub fn read_sentences(
    folder: impl AsRef<Path>,
    ids: Option<&[String]>,
) -> Result<(Vec<Sentence>, Vec<Problem>)> {
    let folder = folder.as_ref();
    let all = all_ids(&folder.join("Sentences"))?;
    let (mut sentences, mut problems) = (Vec::new(), Vec::new());
    for id in ids.unwrap_or(&all) {
        match sentences_of(folder, id, &mut problems) {
            Ok(found) => sentences.extend(found),
            Err(reason) => {
                let subject = format!("image {id}");
                problems.push(Problem::new(ProblemKind::Malformed, subject, reason));
            }
        }
    }
    Ok((sentences, problems))
}

fn all_ids(folder: &Path) -> Result<Vec<String>> {
    let unreadable = unreadable(folder);
    let mut ids = Vec::new();
    for entry in fs::read_dir(folder).map_err(&unreadable)? {
        let path = entry.map_err(&unreadable)?.path();
        let is_hidden = path.file_name().is_some_and(is_hidden);
        if path.extension().is_some_and(|ending| ending == "txt") && !is_hidden {
            ids.extend(path.file_stem().map(|id| id.to_string_lossy().into_owned()));
        }
    }
    ids.sort();
    Ok(ids)
}

/// The sentences of an image that have a phrase with a box.
fn sentences_of(
    folder: &Path,
    id: &str,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Sentence>, String> {
    let read = |path: PathBuf| read_text(&path).map_err(|error| with_causes(&error));
    let xml = read(folder.join("Annotations").join(format!("{id}.xml")))?;
    let (boxes, wrong) = parse_boxes(&xml)?;
    let named =
        |(entity, kind, detail)| Problem::new(kind, format!("image {id}, entity {entity}"), detail);
    problems.extend(wrong.into_iter().map(named));
    let text = read(folder.join("Sentences").join(format!("{id}.txt")))?;
    let sentence = |(number, line)| {
        let (text, marks) = parse_sentence(line);
        let phrases: Vec<_> = marks
            .into_iter()
            .filter_map(|mark| mark.locate(&boxes))
            .collect();
        (!phrases.is_empty()).then(|| Sentence {
            image: format!("{id}.jpg").into(),
            number,
            text,
            phrases,
        })
    };
    Ok(text.lines().enumerate().filter_map(sentence).collect())
}

/// A marked phrase, whose boxes go by the entity's number.
#[derive(Debug, PartialEq)]
struct Mark {
    entity: String,
    kinds: Vec<String>,
    span: Range<usize>,
}

impl Mark {
    fn locate(self, boxes: &HashMap<String, Vec<[f64; 4]>>) -> Option<MarkedPhrase> {
        Some(MarkedPhrase {
            boxes: boxes.get(&self.entity)?.clone(),
            span: self.span,
            kinds: self.kinds,
        })
    }
}

/// The sentence as it reads, and its marks: `[/EN#123/people/other A man] runs`.
fn parse_sentence(line: &str) -> (String, Vec<Mark>) {
    let (mut text, mut marks) = (String::new(), Vec::new());
    let mut rest = line.trim_end();
    while let Some((before, after)) = rest.split_once("[/EN#") {
        let Some((inside, after)) = after.split_once(']') else {
            break;
        };
        let Some((mark, words)) = inside.split_once(' ') else {
            break;
        };
        text.push_str(before);
        let begin = text.len();
        text.push_str(words.trim());
        let mut parts = mark.split('/').map(str::to_owned);
        if let (Some(entity), false) = (parts.next(), text.len() == begin) {
            marks.push(Mark {
                entity,
                kinds: parts.collect(),
                span: begin..text.len(),
            });
        }
        rest = after;
    }
    text.push_str(rest);
    (text, marks)
}

/// The boxes of each entity.
type Boxes = HashMap<String, Vec<[f64; 4]>>;

/// An entity's box that cannot be used: whose it is, and what is wrong with it.
type WrongBox = (String, ProblemKind, String);

/// The boxes that can be used, and those that cannot. Files count pixels from 1.
fn parse_boxes(xml: &str) -> Result<(Boxes, Vec<WrongBox>), String> {
    let file: Annotations = quick_xml::de::from_str(xml).map_err(|error| error.to_string())?;
    let (mut boxes, mut wrong) = (Boxes::new(), Vec::new());
    for object in file.object {
        let Some(Corners {
            xmin,
            ymin,
            xmax,
            ymax,
        }) = object.bndbox
        else {
            continue; // a scene, or nothing that the image shows
        };
        let corners = [xmin, ymin, xmax, ymax];
        let problem = match () {
            () if !corners.iter().all(|edge| edge.is_finite()) => Some(ProblemKind::Malformed),
            () if xmax < xmin || ymax < ymin => Some(ProblemKind::InvertedBox),
            () => None,
        };
        for name in object.name {
            match problem {
                Some(kind) => wrong.push((name, kind, format!("{corners:?}"))),
                None => boxes
                    .entry(name)
                    .or_default()
                    .push(corners.map(|edge| edge - 1.0)),
            }
        }
    }
    Ok((boxes, wrong))
}

#[derive(Deserialize)]
#[serde(expecting = "an annotation with objects")]
struct Annotations {
    #[serde(default)]
    object: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with name and bndbox")]
struct Object {
    #[serde(default)]
    name: Vec<String>,
    bndbox: Option<Corners>,
}

#[derive(Deserialize)]
#[serde(expecting = "a bndbox with xmin, ymin, xmax and ymax")]
struct Corners {
    xmin: f64,
    ymin: f64,
    xmax: f64,
    ymax: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_spans() {
        let line = "[/EN#1/people Zwei Männer] in [/EN#22/clothing/other red hats] run .\r";
        let (text, marks) = parse_sentence(line);
        assert_eq!(text, "Zwei Männer in red hats run .");
        let found: Vec<_> = marks
            .iter()
            .map(|mark| {
                (
                    mark.entity.as_str(),
                    &text[mark.span.clone()],
                    mark.kinds.join("+"),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("1", "Zwei Männer", "people".to_owned()),
                ("22", "red hats", "clothing+other".to_owned())
            ]
        );
        // Whatever is not a mark is text.
        for odd in ["[/EN#1/people", "no marks ]", "[/EN#1]"] {
            assert_eq!(parse_sentence(odd), (odd.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn boxes_go_by_entity_and_count_from_zero() {
        let xml =
            "<annotation><filename>1.jpg</filename><size><width>9</width><height>9</height></size>
            <object><name>1</name><name>2</name>
            <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object>
            <object><name>3</name><scene>1</scene><nobndbox>1</nobndbox></object></annotation>";
        let (boxes, wrong) = parse_boxes(xml).unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(boxes["2"], [[0.0, 1.0, 4.0, 5.0]]);
        assert_eq!(boxes["1"], boxes["2"]);
        assert!(!boxes.contains_key("3"));
        assert!(parse_boxes("<annotation><object>").is_err());
    }
}
