//! Detections to be measured, and COCO's file of results.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use glip::{ImageSize, Mask, parts::Rle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    coco::{Dataset, xywh},
    error::{Error, Result},
    eval::{overlap::Overlap, predictions::Prediction},
    problem::{Problem, ProblemKind},
    segmentation::{of_image, run_lengths},
    text::{quote_not_finite, read_text},
    values::{bbox, finite, number, whole, wrong},
};

/// Something that was found. As JSON it is an entry of COCO's file of results: with a box, or with pixels in its place,
/// as results of either kind have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DetectionForm", into = "DetectionEntry")]
pub struct Detection {
    /// The image's id.
    pub image: u64,
    /// The category's id.
    pub category: u64,
    /// `[x, y, width, height]` in pixels: x from the left, y from the top.
    pub bbox: [f64; 4],
    /// Its pixels, if masks are measured.
    pub mask: Option<Rle>,
    /// The area in square pixels, which decides whether it counts where small objects are measured.
    pub area: f64,
    /// How sure the detector is; only the order counts.
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
    segmentation: Value,
    score: Value,
}

impl DetectionForm {
    /// What was found, as is laid over the objects.
    fn detection(self, overlap: Overlap) -> Result<Detection, String> {
        let image = whole(&self.image_id, "image_id")?;
        let category = whole(&self.category_id, "category_id")?;
        let score = number(&self.score).filter(|score| score.is_finite());
        let score = score.ok_or_else(|| wrong(&self.score, "score", "a number"));
        if overlap == Overlap::Boxes {
            return Ok(Detection::of_box(
                image,
                category,
                bbox(&self.bbox)?,
                score?,
            ));
        }
        let mask = run_lengths(&self.segmentation)?;
        let found = Detection::of_mask(image, category, mask, score?);
        // Where there are boxes, pycocotools takes the areas of those. Some write an empty list for none.
        if self.bbox.is_null() || self.bbox.as_array().is_some_and(Vec::is_empty) {
            return Ok(found);
        }
        let bbox = bbox(&self.bbox)?;
        let area = bbox[2] * bbox[3];
        Ok(Detection {
            bbox,
            area,
            ..found
        })
    }
}

impl TryFrom<DetectionForm> for Detection {
    type Error = String;

    fn try_from(form: DetectionForm) -> Result<Self, String> {
        let overlap = match form.segmentation {
            Value::Null => Overlap::Boxes,
            _ => Overlap::Masks,
        };
        form.detection(overlap)
    }
}

/// A detection as it is written. One with pixels has no box: evaluations would take its area from that.
#[derive(Serialize)]
struct DetectionEntry {
    image_id: u64,
    category_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bbox: Option<[f64; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation: Option<Rle>,
    #[serde(serialize_with = "finite")]
    score: f64,
}

impl From<Detection> for DetectionEntry {
    fn from(found: Detection) -> Self {
        Self {
            image_id: found.image,
            category_id: found.category,
            bbox: found.mask.is_none().then_some(found.bbox),
            segmentation: found.mask,
            score: found.score,
        }
    }
}

impl Detection {
    /// What the model found in an image. Width and height are those that official's evaluation passes on.
    pub fn new(image: u64, prediction: &Prediction) -> Self {
        let bbox = xywh(prediction.bbox);
        let found = Self::of_box(image, prediction.class, bbox, f64::from(prediction.score));
        match &prediction.mask {
            Some(mask) => Self {
                area: mask.area() as f64,
                mask: Some(mask.clone()),
                ..found
            },
            None => found,
        }
    }

    /// A box `[x, y, width, height]` in pixels that was found.
    pub fn of_box(image: u64, category: u64, bbox: [f64; 4], score: f64) -> Self {
        Self {
            image,
            category,
            bbox,
            mask: None,
            area: bbox[2] * bbox[3],
            score,
        }
    }

    /// Pixels that were found, with the box around them.
    pub fn of_mask(image: u64, category: u64, mask: Rle, score: f64) -> Self {
        Self {
            image,
            category,
            bbox: Mask::from(&mask).bbox().map_or([0.0; 4], xywh),
            area: mask.area() as f64,
            mask: Some(mask),
            score,
        }
    }

    pub(super) fn is_finite(&self) -> bool {
        self.score.is_finite() && self.bbox.iter().all(|value| value.is_finite())
    }
}

/// Reads COCO's file of results: a JSON list of detections with `image_id`, `category_id`, `score`, and `bbox` (x, y,
/// width, height) or, for masks, `segmentation` (run lengths). Entries that do not fit the data set are left out.
///
/// Areas are those that pycocotools takes: for masks too that of the box, if there is one.
///
/// # Errors
/// - [`Error::Read`]: the file cannot be read.
/// - [`Error::Encoding`]: it is not UTF-8.
/// - [`Error::Json`]: it is no JSON list.
pub fn read_detections(
    path: impl AsRef<Path>,
    truth: &Dataset,
    overlap: Overlap,
) -> Result<(Vec<Detection>, Vec<Problem>)> {
    let path = path.as_ref();
    let text = read_text(path)?;
    let text = quote_not_finite(&text);
    let entries: Vec<&RawValue> = serde_json::from_str(&text).map_err(|source| Error::Json {
        path: path.to_owned(),
        expected: "a COCO file of results (a list of detections)",
        source,
    })?;
    let images: HashMap<u64, Option<ImageSize>> = truth
        .images
        .iter()
        .map(|image| (image.id, image.size()))
        .collect();
    let categories: HashSet<u64> = truth
        .categories
        .iter()
        .map(|category| category.id)
        .collect();
    let usable = |entry: &RawValue| {
        let form: Result<DetectionForm, _> = serde_json::from_str(entry.get());
        let detection = form.map_err(|error| error.to_string());
        let detection = detection.and_then(|form| form.detection(overlap));
        let detection = detection.map_err(|error| (ProblemKind::Malformed, error))?;
        let [_, _, width, height] = detection.bbox;
        let Some(&image) = images.get(&detection.image) else {
            return Err((ProblemKind::UnknownImage, detection.image.to_string()));
        };
        if let Some(mask) = &detection.mask {
            of_image(mask, image).map_err(|error| (ProblemKind::Malformed, error))?;
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
        let (found, problems) = read_detections(&path, &truth, Overlap::Boxes).unwrap();
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
            ..found[0].clone()
        };
        assert!(serde_json::to_string(&nan).is_err(), "written as null");
        fs::write(&path, "{}").unwrap();
        assert!(matches!(
            read_detections(&path, &truth, Overlap::Boxes),
            Err(Error::Json { .. })
        ));
    }
}
