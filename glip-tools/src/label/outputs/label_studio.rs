//! Tasks with predictions for Label Studio.

use std::{fmt::Write as _, path::Path};

use glip::{ImageSize, Mask};
use serde_json::{Value, json};

use crate::{
    atomic::AtomicFile,
    error::Result,
    files::unwritable,
    label::{
        journal::Journal,
        outputs::{
            brush,
            classes::Classes,
            cvat::escaped,
            json::json_elements,
            options::{MaskForm, OutputOptions},
            outlines,
            records::images_to_review,
        },
        record::{LabelRecord, LabelledBox},
    },
};

/// Writes `label_studio.json`, the tasks, and `label_studio.xml`, the configuration of their project.
pub(super) fn write(journal: &Journal, folder: &Path, options: &OutputOptions) -> Result<()> {
    let path = folder.join("label_studio.json");
    let model = &journal.header().model;
    AtomicFile::write(&path, |file| {
        file.write_all(b"[").map_err(unwritable(&path))?;
        let tasks = images_to_review(journal)?
            .map(|image| image.and_then(|(_, record)| task(&record, model, options)));
        json_elements(file, tasks, &path)?;
        file.write_all(b"]\n").map_err(unwritable(&path))
    })?;
    let path = folder.join("label_studio.xml");
    let masks = journal.header().has_masks().then_some(options.masks);
    let configuration = configuration(&Classes::of(journal)?, control(masks));
    AtomicFile::write(&path, |file| {
        file.write_all(configuration.as_bytes())
            .map_err(unwritable(&path))
    })
}

/// The element of the configuration that has the labels of masks in a form, or of boxes. Regions are of the type that is
/// called like it in small letters.
fn control(masks: Option<MaskForm>) -> &'static str {
    match masks {
        None => "RectangleLabels",
        Some(MaskForm::Rle) => "BrushLabels",
        Some(MaskForm::Polygon) => "PolygonLabels",
    }
}

fn task(record: &LabelRecord, model: &str, options: &OutputOptions) -> Result<Value> {
    let numbered = record.boxes.iter().enumerate();
    let regions = numbered.map(|(number, found)| region(number, record, found, options.masks));
    let regions: Vec<Value> = regions.collect::<Result<_>>()?;
    let mut prediction = json!({"model_version": model, "result": regions});
    // The least sure box decides when an image's turn comes.
    if let Some(score) = record
        .boxes
        .iter()
        .map(|found| found.score)
        .reduce(f32::min)
    {
        prediction["score"] = json!(score);
    }
    let address = format!("{}{}", options.image_url, percent_encoded(&record.image));
    Ok(json!({"data": {"image": address}, "predictions": [prediction]}))
}

/// A thing, by its mask or its box.
fn region(
    number: usize,
    record: &LabelRecord,
    found: &LabelledBox,
    masks: MaskForm,
) -> Result<Value> {
    let kind = control(found.mask.as_ref().map(|_| masks)).to_ascii_lowercase();
    let mut value = match &found.mask {
        Some(mask) => shape(&Mask::from(&mask.rle), masks)?,
        None => rectangle(record, found),
    };
    value[&kind] = json!([record.name(found)]);
    Ok(json!({
        "id": format!("box-{number}"),
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": record.width,
        "original_height": record.height,
        "image_rotation": 0,
        "score": found.score,
        "value": value,
    }))
}

fn rectangle(record: &LabelRecord, found: &LabelledBox) -> Value {
    let [left, top, right, bottom] = record.edges(found);
    json!({
        "x": percent(left, record.width),
        "y": percent(top, record.height),
        "width": percent(right - left, record.width),
        "height": percent(bottom - top, record.height),
        "rotation": 0,
    })
}

/// A brush, or an outline.
fn shape(mask: &Mask, form: MaskForm) -> Result<Value> {
    match form {
        MaskForm::Rle => Ok(json!({"format": "rle", "rle": brush::packed(mask)})),
        MaskForm::Polygon => {
            let ImageSize { width, height } = mask.size();
            let outline = outlines::of_all(mask)?.into_iter();
            let points = outline.map(|[x, y]| [percent(x, width), percent(y, height)]);
            Ok(json!({"points": points.collect::<Vec<_>>(), "closed": true}))
        }
    }
}

/// Of a side of the image.
fn percent(part: f32, side: u32) -> f64 {
    (f64::from(part) / f64::from(side) * 1e6).round() / 1e4
}

fn configuration(classes: &Classes, control: &str) -> String {
    let labels = classes.names().iter();
    let labels: String = labels
        .map(|name| format!("    <Label value=\"{}\"/>\n", escaped(name)))
        .collect();
    format!(
        "<View>\n  <Image name=\"image\" value=\"$image\"/>\n  \
         <{control} name=\"label\" toName=\"image\">\n{labels}  </{control}>\n</View>\n"
    )
}

/// A path in an address: everything but its slashes and what needs no encoding (RFC 3986).
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}
