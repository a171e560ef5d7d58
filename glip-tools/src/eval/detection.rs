//! Detections to be measured, and COCO's file of results.

use std::{collections::HashSet, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    coco::{Dataset, xywh},
    error::{Error, Result},
    eval::predictions::Prediction,
    problem::{Problem, ProblemKind},
    text::{quote_not_finite, read_text},
    values::{bbox, finite, number, whole, wrong},
};

/// A box that was found. As JSON it is an entry of COCO's file of results.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DetectionForm")]
pub struct Detection {
    /// The image's id.
    #[serde(rename = "image_id")]
    pub image: u64,
    /// The category's id.
    #[serde(rename = "category_id")]
    pub category: u64,
    /// `[x, y, width, height]` in pixels: x from the left, y from the top.
    pub bbox: [f64; 4],
    /// How sure the detector is; only the order counts.
    #[serde(serialize_with = "finite")]
    pub score: f64,
}

/// A detection as files spell it.
#[derive(Default, Deserialize)]
#[serde(
    default,
    expecting = "an object with image_id, category_id, bbox and score"
)]
struct DetectionForm {
    image_id: Value,
    category_id: Value,
    bbox: Value,
    score: Value,
}

impl TryFrom<DetectionForm> for Detection {
    type Error = String;

    fn try_from(form: DetectionForm) -> Result<Self, String> {
        let score = number(&form.score).filter(|score| score.is_finite());
        Ok(Self {
            image: whole(&form.image_id, "image_id")?,
            category: whole(&form.category_id, "category_id")?,
            bbox: bbox(&form.bbox)?,
            score: score.ok_or_else(|| wrong(&form.score, "score", "a number"))?,
        })
    }
}

impl Detection {
    /// What the model found in an image. Width and height are those that official's evaluation passes on.
    pub fn new(image: u64, prediction: &Prediction) -> Self {
        Self {
            image,
            category: prediction.class,
            bbox: xywh(prediction.bbox),
            score: f64::from(prediction.score),
        }
    }

    pub(super) fn is_finite(&self) -> bool {
        self.score.is_finite() && self.bbox.iter().all(|value| value.is_finite())
    }
}

/// Reads COCO's file of results: a JSON list of detections with `image_id`, `category_id`, `bbox` (x, y,
/// width, height) and `score`. Entries that do not fit the data set are left out.
///
/// # Errors
/// - [`Error::Read`]: the file cannot be read.
/// - [`Error::Encoding`]: it is not UTF-8.
/// - [`Error::Json`]: it is no JSON list.
pub fn read_detections(
    path: impl AsRef<Path>,
    truth: &Dataset,
) -> Result<(Vec<Detection>, Vec<Problem>)> {
    let path = path.as_ref();
    let text = read_text(path)?;
    let text = quote_not_finite(&text);
    let entries: Vec<&RawValue> = serde_json::from_str(&text).map_err(|source| Error::Json {
        path: path.to_owned(),
        expected: "a COCO file of results (a list of detections)",
        source,
    })?;
    let images: HashSet<u64> = truth.images.iter().map(|image| image.id).collect();
    let categories: HashSet<u64> = truth
        .categories
        .iter()
        .map(|category| category.id)
        .collect();
    let usable = |entry: &RawValue| {
        let detection: Detection = serde_json::from_str(entry.get())
            .map_err(|error| (ProblemKind::Malformed, error.to_string()))?;
        let [_, _, width, height] = detection.bbox;
        if !images.contains(&detection.image) {
            return Err((ProblemKind::UnknownImage, detection.image.to_string()));
        }
        if !categories.contains(&detection.category) {
            return Err((ProblemKind::UnknownCategory, detection.category.to_string()));
        }
        if width < 0.0 || height < 0.0 {
            return Err((ProblemKind::InvertedBox, format!("{:?}", detection.bbox)));
        }
        Ok(detection)
    };
    let (mut detections, mut problems) = (Vec::with_capacity(entries.len()), Vec::new());
    for (place, entry) in entries.into_iter().enumerate() {
        match usable(entry) {
            Ok(detection) => detections.push(detection),
            Err((kind, detail)) => {
                problems.push(Problem::new(
                    kind,
                    format!("detection entry {place}"),
                    detail,
                ));
            }
        }
    }
    Ok((detections, problems))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn results_that_do_not_fit_are_named() {
        let (truth, _) = Dataset::parse(
            r#"{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": [{"id": 2, "name": "dog"}]}"#,
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        let entry = |image, category, width| {
            format!(
                r#"{{"image_id": {image}, "category_id": {category}, "bbox": [1, 2, {width}, 4], "score": 0.5, "id": 9}}"#
            )
        };
        let entries = [
            entry(1, 2, 3),
            entry(7, 2, 3),
            entry(1, 7, 3),
            entry(1, 2, -3),
            "17".into(),
            r#"{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": NaN}"#.into(),
            r#"{"image_id": "1", "category_id": 2.0, "bbox": [1, 2, 3, 4], "score": "0.25"}"#
                .into(),
        ];
        fs::write(&path, format!("[{}]", entries.join(","))).unwrap();
        let (found, problems) = read_detections(&path, &truth).unwrap();
        let scores: Vec<_> = found.iter().map(|found| found.score).collect();
        assert_eq!(scores, [0.5, 0.25]);
        let kinds: Vec<_> = problems
            .iter()
            .map(|p| (p.subject.as_str(), p.kind))
            .collect();
        assert_eq!(
            kinds,
            [
                ("detection entry 1", ProblemKind::UnknownImage),
                ("detection entry 2", ProblemKind::UnknownCategory),
                ("detection entry 3", ProblemKind::InvertedBox),
                ("detection entry 4", ProblemKind::Malformed),
                ("detection entry 5", ProblemKind::Malformed),
            ]
        );
        assert!(
            problems[3].detail.contains("an object with image_id"),
            "{}",
            problems[3]
        );
        assert!(
            problems[4].detail.contains("score is NaN"),
            "{}",
            problems[4]
        );
        let nan = Detection {
            score: f64::NAN,
            ..found[0]
        };
        assert!(serde_json::to_string(&nan).is_err(), "written as null");
        fs::write(&path, "{}").unwrap();
        assert!(matches!(
            read_detections(&path, &truth),
            Err(Error::Json { .. })
        ));
    }
}
