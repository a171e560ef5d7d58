//! COCO's JSON of instances.

use std::{io::Write, path::Path};

use glip::{Mask, parts::Rle};
use serde_json::{Value, json};

use crate::{
    atomic::AtomicFile,
    error::Result,
    files::unwritable,
    label::{
        journal::Journal,
        options::Verdict,
        outputs::{
            classes::Classes, json::json_elements, options::MaskForm, outlines, records::images,
        },
        record::{LabelRecord, LabelledBox},
    },
};

/// Writes images, annotations and categories, each in a pass over the journal.
pub(super) fn write(journal: &Journal, path: &Path, masks: MaskForm) -> Result<()> {
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
            Ok((id, record)) => annotations(id, &record, &classes, masks, &mut last),
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

fn image_entry(id: u64, record: &LabelRecord) -> Value {
    json!({"id": id, "file_name": record.image, "width": record.width, "height": record.height})
}

/// The boxes of an image; `last` is the id of the one before.
fn annotations(
    image: u64,
    record: &LabelRecord,
    classes: &Classes,
    masks: MaskForm,
    last: &mut u64,
) -> Vec<Result<Value>> {
    let kept = record
        .boxes
        .iter()
        .filter(|found| found.verdict == Verdict::Keep);
    let annotation = |found: &LabelledBox| {
        let [left, top, right, bottom] = record.edges(found);
        let (width, height) = (right - left, bottom - top);
        let bbox = [left, top, width, height].map(hundredths);
        let (area, segmentation) = match &found.mask {
            Some(mask) => (json!(mask.rle.area()), segmentation(&mask.rle, masks)?),
            None => (json!(hundredths(width * height)), json!([])),
        };
        *last += 1;
        Ok(json!({
            "id": *last,
            "image_id": image,
            "category_id": classes.number(record.name(found)) + 1,
            "bbox": bbox,
            "area": area,
            "iscrowd": 0,
            "segmentation": segmentation,
            "score": found.score,
        }))
    };
    kept.map(annotation).collect()
}

/// Compressed run lengths, or `[x1, y1, x2, y2, ...]` for each part.
fn segmentation(mask: &Rle, form: MaskForm) -> Result<Value> {
    match form {
        MaskForm::Rle => Ok(json!(mask)),
        MaskForm::Polygon => {
            let parts = outlines::of_parts(&Mask::from(mask))?;
            Ok(parts
                .iter()
                .map(|ring| json!(ring.as_flattened()))
                .collect())
        }
    }
}

/// Rounds to hundredths of a pixel.
pub(super) fn hundredths(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}
