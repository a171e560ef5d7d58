//! Tasks with predictions for Label Studio.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use crate::{
    atomic::AtomicFile,
    error::Result,
    files::unwritable,
    label::{
        journal::Journal,
        outputs::{
            classes::Classes, cvat::escaped, json::json_elements, records::images_to_review,
        },
        record::{LabelRecord, LabelledBox},
    },
};

/// Writes `label_studio.json`, the tasks, and `label_studio.xml`, the configuration of their project.
pub(super) fn write(journal: &Journal, folder: &Path, image_url: &str) -> Result<()> {
    let path = folder.join("label_studio.json");
    let model = &journal.header().model;
    AtomicFile::write(&path, |file| {
        file.write_all(b"[").map_err(unwritable(&path))?;
        let tasks = images_to_review(journal)?
            .map(|image| image.map(|(_, record)| task(&record, model, image_url)));
        json_elements(file, tasks, &path)?;
        file.write_all(b"]\n").map_err(unwritable(&path))
    })?;
    let path = folder.join("label_studio.xml");
    let configuration = configuration(&Classes::of(journal)?);
    AtomicFile::write(&path, |file| {
        file.write_all(configuration.as_bytes())
            .map_err(unwritable(&path))
    })
}

fn task(record: &LabelRecord, model: &str, image_url: &str) -> Value {
    let numbered = record.boxes.iter().enumerate();
    let regions: Vec<Value> = numbered
        .map(|(number, found)| region(number, record, found))
        .collect();
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
    let address = format!("{image_url}{}", percent_encoded(&record.image));
    json!({"data": {"image": address}, "predictions": [prediction]})
}

/// A box, in percent of the image.
fn region(number: usize, record: &LabelRecord, found: &LabelledBox) -> Value {
    let [left, top, right, bottom] = record.edges(found);
    let (width, height) = (record.width as f32, record.height as f32);
    let percent = |part: f32, whole: f32| (f64::from(part) / f64::from(whole) * 1e6).round() / 1e4;
    json!({
        "id": format!("box-{number}"),
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": record.width,
        "original_height": record.height,
        "image_rotation": 0,
        "score": found.score,
        "value": {
            "x": percent(left, width),
            "y": percent(top, height),
            "width": percent(right - left, width),
            "height": percent(bottom - top, height),
            "rotation": 0,
            "rectanglelabels": [record.name(found)],
        },
    })
}

fn configuration(classes: &Classes) -> String {
    let labels = classes.names().iter();
    let labels: String = labels
        .map(|name| format!("    <Label value=\"{}\"/>\n", escaped(name)))
        .collect();
    format!(
        "<View>\n  <Image name=\"image\" value=\"$image\"/>\n  \
         <RectangleLabels name=\"label\" toName=\"image\">\n{labels}  </RectangleLabels>\n</View>\n"
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
