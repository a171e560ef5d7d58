//! What GLIGEN draws images from: phrases with normalised boxes.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    atomic::AtomicFile,
    error::Result,
    label::{
        journal::Journal,
        options::Verdict,
        outputs::{json::json_line, records::records},
        record::{Asked, LabelRecord, LabelledBox},
    },
};

/// The most boxes that GLIGEN takes (`max_objs` of its grounding input).
const MOST: usize = 30;

/// Writes a line for each image with boxes that are kept: `prompt`, `phrases` and `locations` (left, top, right and
/// bottom edge, 0 to 1), as GLIGEN's own inference and diffusers' pipeline take them.
pub(super) fn write(journal: &Journal, path: &Path) -> Result<()> {
    AtomicFile::write(path, |file| {
        for record in records(journal)? {
            if let Some(line) = line(&record?) {
                json_line(file, &line, path)?;
            }
        }
        Ok(())
    })
}

fn line(record: &LabelRecord) -> Option<Value> {
    let kept = record
        .boxes
        .iter()
        .filter(|found| found.verdict == Verdict::Keep);
    let kept: Vec<&LabelledBox> = kept.take(MOST).collect();
    if kept.is_empty() {
        return None;
    }
    let phrases: Vec<&str> = kept.iter().map(|found| record.name(found)).collect();
    let locations: Vec<_> = kept.iter().map(|found| location(record, found)).collect();
    let scores: Vec<f32> = kept.iter().map(|found| found.score).collect();
    Some(json!({
        "image": record.image,
        "prompt": prompt(record, &phrases),
        "phrases": phrases,
        "locations": locations,
        "scores": scores,
    }))
}

/// The caption, or a list of what was found.
fn prompt(record: &LabelRecord, phrases: &[&str]) -> String {
    if let Asked::Caption(caption, _) = &record.asked {
        return caption.text.clone();
    }
    let mut names: Vec<&str> = Vec::new();
    for phrase in phrases {
        if !names.contains(phrase) {
            names.push(phrase);
        }
    }
    names.join(", ")
}

fn location(record: &LabelRecord, found: &LabelledBox) -> [f64; 4] {
    let (width, height) = (f64::from(record.width), f64::from(record.height));
    let [left, top, right, bottom] = record.edges(found).map(f64::from);
    let share = |value: f64| (value * 1e6).round() / 1e6;
    [left / width, top / height, right / width, bottom / height].map(share)
}
