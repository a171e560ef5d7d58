//! COCO's JSON of instances.

use std::{io::Write, path::Path};

use serde_json::json;

use crate::{
    atomic::AtomicFile,
    error::Result,
    files::unwritable,
    label::{
        journal::Journal,
        options::Verdict,
        outputs::{classes::Classes, json::json_elements, records::images},
        record::LabelRecord,
    },
};

/// Writes images, annotations and categories, each in a pass over the journal.
pub(super) fn write(journal: &Journal, path: &Path) -> Result<()> {
    let classes = Classes::of(journal)?;
    let description = format!("labels made by {}", journal.header().model);
    AtomicFile::write(path, |file| {
        let text = |file: &mut dyn Write, text: &str| {
            file.write_all(text.as_bytes()).map_err(unwritable(path))
        };
        let info = json!({"description": description});
        text(
            file,
            &format!("{{\"info\": {info},\n\"licenses\": [],\n\"images\": ["),
        )?;
        let entries =
            images(journal)?.map(|image| image.map(|(id, record)| image_entry(id, &record)));
        json_elements(file, entries, path)?;
        text(file, "],\n\"annotations\": [")?;
        let mut last = 0;
        let annotations = images(journal)?.flat_map(|image| match image {
            Ok((id, record)) => annotations(id, &record, &classes, &mut last)
                .into_iter()
                .map(Ok)
                .collect(),
            Err(error) => vec![Err(error)],
        });
        json_elements(file, annotations, path)?;
        text(file, "],\n\"categories\": [")?;
        let categories = classes.names().iter().zip(1..);
        let categories =
            categories.map(|(name, id)| Ok(json!({"id": id, "name": name, "supercategory": ""})));
        json_elements(file, categories, path)?;
        text(file, "]}\n")
    })
}

fn image_entry(id: u64, record: &LabelRecord) -> serde_json::Value {
    json!({"id": id, "file_name": record.image, "width": record.width, "height": record.height})
}

/// The boxes of an image; `last` is the id of the one before.
fn annotations(
    image: u64,
    record: &LabelRecord,
    classes: &Classes,
    last: &mut u64,
) -> Vec<serde_json::Value> {
    let kept = record
        .boxes
        .iter()
        .filter(|found| found.verdict == Verdict::Keep);
    let annotation = |found| {
        let [left, top, right, bottom] = record.edges(found);
        let (width, height) = (right - left, bottom - top);
        let bbox = [left, top, width, height].map(hundredths);
        *last += 1;
        json!({
            "id": *last,
            "image_id": image,
            "category_id": classes.number(record.name(found)) + 1,
            "bbox": bbox,
            "area": hundredths(width * height),
            "iscrowd": 0,
            "segmentation": [],
            "score": found.score,
        })
    };
    kept.map(annotation).collect()
}

/// Rounds to hundredths of a pixel.
pub(super) fn hundredths(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}
