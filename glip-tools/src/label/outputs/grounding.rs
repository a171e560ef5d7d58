//! The grounding format of `glip_torch`.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use glip::ImageSize;

use crate::{
    atomic::AtomicFile,
    error::Result,
    files::unwritable,
    grounding::{Boxes, Category, Content, Header, Phrase, Record},
    label::{
        journal::Journal,
        options::Verdict,
        outputs::records::records,
        record::{Asked, LabelRecord, LabelledBox},
    },
};

/// Writes `labels.jsonl`, and `review.jsonl` if the run has boxes in review.
pub(super) fn write(journal: &Journal, folder: &Path) -> Result<()> {
    let images = below(folder, &journal.header().base);
    let model = &journal.header().model;
    let of_image = |record: Record| Record {
        image: slashed(&images.join(&record.image)),
        source: record.source.or_else(|| Some(model.clone())),
        ..record
    };
    let path = folder.join("labels.jsonl");
    write_lines(
        &path,
        records(journal)?.map(|record| Ok(of_image(record?.to_grounding()))),
    )?;
    if journal.header().has_review {
        let path = folder.join("review.jsonl");
        let is_in_review = |record: &LabelRecord| {
            record
                .boxes
                .iter()
                .any(|found| found.verdict == Verdict::Review)
        };
        let records = records(journal)?.filter(|record| record.as_ref().map_or(true, is_in_review));
        write_lines(&path, records.map(|record| Ok(of_image(all(&record?)))))?;
    }
    Ok(())
}

fn write_lines(path: &Path, records: impl Iterator<Item = Result<Record>>) -> Result<()> {
    AtomicFile::write(path, |file| {
        // No categories: negatives shall only be drawn from what a record says is absent.
        let header = Header::default().to_line();
        writeln!(file, "{header}").map_err(unwritable(path))?;
        for record in records {
            let line = record?.to_line().map_err(io::Error::from);
            line.and_then(|line| writeln!(file, "{line}"))
                .map_err(unwritable(path))?;
        }
        Ok(())
    })
}

impl LabelRecord {
    /// The boxes that are kept as a record of the grounding format, with scores. Phrases without boxes are
    /// absent; one in review is neither there nor absent, so it is left out.
    pub fn to_grounding(&self) -> Record {
        let is_known =
            |phrase: usize| self.kept(phrase).next().is_some() || !self.is_in_review(phrase);
        content(self, is_known, |found| found.verdict == Verdict::Keep)
    }
}

/// All boxes of a record.
fn all(record: &LabelRecord) -> Record {
    content(record, |_| true, |_| true)
}

fn content(
    record: &LabelRecord,
    has_phrase: impl Fn(usize) -> bool,
    has_box: impl Fn(&LabelledBox) -> bool,
) -> Record {
    let size = ImageSize::new(record.width, record.height);
    let boxes = |phrase: usize| {
        let boxes = record.boxes.iter();
        let boxes = boxes.filter(|found| found.phrase == phrase && has_box(found));
        let found: Vec<&LabelledBox> = boxes.collect();
        let masks = found.iter().map(|found| found.mask.clone());
        Boxes {
            boxes: found.iter().map(|found| found.bbox.clamp(size)).collect(),
            scores: Some(found.iter().map(|found| found.score).collect()),
            masks: masks
                .collect::<Option<Vec<_>>>()
                .filter(|masks| !masks.is_empty()),
        }
    };
    let content = match &record.asked {
        Asked::Categories(names) => {
            let numbered = names
                .iter()
                .enumerate()
                .filter(|(phrase, _)| has_phrase(*phrase));
            let category = |(phrase, name): (usize, &String)| Category {
                name: name.clone(),
                boxes: boxes(phrase),
            };
            Content::Categories(numbered.map(category).collect())
        }
        Asked::Caption(caption, _) => {
            let numbered = caption
                .phrases
                .iter()
                .enumerate()
                .filter(|(phrase, _)| has_phrase(*phrase));
            let phrase = |(phrase, spans): (usize, &Vec<_>)| Phrase {
                spans: spans.clone(),
                boxes: boxes(phrase),
            };
            Content::Caption {
                text: caption.text.clone(),
                phrases: numbered.map(phrase).collect(),
            }
        }
    };
    Record {
        image: record.image.clone(),
        size,
        content,
        source: record.source.clone(),
    }
}

/// The way from one folder to another, both of which are absolute or else relative to one folder.
fn below(from: &Path, to: &Path) -> PathBuf {
    let absolute = std::path::absolute(from).unwrap_or_else(|_| from.to_owned());
    let from: Vec<Component<'_>> = absolute.components().collect();
    let to: Vec<Component<'_>> = to.components().collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return to.iter().collect();
    }
    let up = from[shared..].iter().map(|_| Component::ParentDir);
    up.chain(to[shared..].iter().copied()).collect()
}

/// A path with `/` between its parts.
fn slashed(path: &Path) -> String {
    path.to_string_lossy()
        .replace(std::path::MAIN_SEPARATOR, "/")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use glip::BBox;

    use super::*;
    use crate::grounding::FormatVersion;

    #[test]
    fn boxes_are_written_by_their_edges_within_the_image() {
        let corners = [[8.0, 4.5, 20.0, 48.3], [8.0, 4.5, 8.25, 4.5]]; // one thinner than a pixel
        let labelled = |corners: [f32; 4]| LabelledBox {
            phrase: 0,
            score: 0.5,
            verdict: Verdict::Keep,
            bbox: BBox::try_from(corners).unwrap(),
            mask: None,
        };
        let record = LabelRecord {
            image: "a.jpg".into(),
            width: 64,
            height: 48,
            source: None,
            asked: Asked::Categories(Arc::new(["cat".to_owned()])),
            boxes: corners.map(labelled).into(),
        };
        let line = record.to_grounding().to_line().unwrap();
        assert!(
            line.contains(r#""boxes":[[8.0,4.5,20.0,48.0],[8.0,4.5,8.25,4.5]]"#),
            "{line}"
        );
        assert!(Record::parse(&line, FormatVersion::default()).is_ok());
    }

    #[test]
    fn the_way_to_a_folder_goes_up_and_down() {
        let way = |from: &str, to: &str| slashed(&below(Path::new(from), Path::new(to)));
        assert_eq!(way("/data/out", "/data/images"), "../images");
        assert_eq!(way("/data", "/data/images/a b"), "images/a b");
        assert_eq!(way("/data/images", "/data/images"), "");
        assert_eq!(way("/a/b", "/"), "../..");
    }
}
