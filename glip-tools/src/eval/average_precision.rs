//! Average precision and recall of boxes and masks, by COCO's and by LVIS' rules.
//!
//! Matching and accumulation are those of the crate `hotcoco`, which the tests compare with pycocotools
//! and lvis on thousands of awkward cases; here are the protocols, fixed AP's cut, and the means.

use std::{cmp::Ordering, collections::HashMap};

use glip::{ImageSize, parts::Rle};
use hotcoco::{COCO, COCOeval, params::IouType};
use serde::Serialize;

use crate::{
    coco::{self, Dataset, Frequency},
    error::{Error, Result},
    eval::{detection::Detection, overlap::Overlap},
};

/// LVIS counts the best 300 detections of an image, over all categories.
const LVIS_DETECTIONS: usize = 300;

/// By which rules detections are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// COCO's: the best 100 of each category in an image, crowds ignored.
    Coco,
    /// LVIS': the best 300 of an image; categories count in the images that say whether they are there.
    Lvis,
    /// "Fixed AP" (Dave et al., 2021), as official GLIP reports LVIS: LVIS' rules, but the best of each
    /// category over all images count, and no image has a limit of its own.
    LvisFixed {
        /// The most detections of a category; official takes 10,000.
        per_category: usize,
    },
}

impl Protocol {
    /// Fixed AP with official's limit.
    pub const LVIS_FIXED: Self = Self::LvisFixed {
        per_category: 10_000,
    };

    fn is_lvis(self) -> bool {
        self != Self::Coco
    }
}

/// How good detections are. Every number lies in 0 to 1; where there is nothing to average, such as
/// small objects in a set without any, it is `None`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DetectionScores {
    /// The rules.
    pub protocol: Protocol,
    /// What was laid over one another.
    #[serde(rename = "iou")]
    pub overlap: Overlap,
    /// The numbers that papers give.
    pub averages: Averages,
    /// Each category, by ascending id.
    pub classes: Vec<ClassScores>,
}

/// The averages over categories, under their usual names as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Averages {
    /// Average precision over IoU 0.50 to 0.95.
    #[serde(rename = "AP")]
    pub ap: Option<f64>,
    /// At IoU 0.50.
    #[serde(rename = "AP50")]
    pub ap_50: Option<f64>,
    /// At IoU 0.75.
    #[serde(rename = "AP75")]
    pub ap_75: Option<f64>,
    /// Of objects up to 32 x 32 pixels.
    #[serde(rename = "APs")]
    pub ap_small: Option<f64>,
    /// Of objects of 32 x 32 to 96 x 96 pixels.
    #[serde(rename = "APm")]
    pub ap_medium: Option<f64>,
    /// Of objects from 96 x 96 pixels on.
    #[serde(rename = "APl")]
    pub ap_large: Option<f64>,
    /// LVIS: of rare categories.
    #[serde(rename = "APr", skip_serializing_if = "Option::is_none")]
    pub ap_rare: Option<f64>,
    /// LVIS: of common categories.
    #[serde(rename = "APc", skip_serializing_if = "Option::is_none")]
    pub ap_common: Option<f64>,
    /// LVIS: of frequent categories.
    #[serde(rename = "APf", skip_serializing_if = "Option::is_none")]
    pub ap_frequent: Option<f64>,
    /// COCO: average recall over IoU 0.50 to 0.95 of the best detection of a category in an image.
    #[serde(rename = "AR1", skip_serializing_if = "Option::is_none")]
    pub ar_1: Option<f64>,
    /// COCO: of the best 10.
    #[serde(rename = "AR10", skip_serializing_if = "Option::is_none")]
    pub ar_10: Option<f64>,
    /// Of all that count: COCO's best 100 of a category in an image, LVIS' best 300 of an image.
    #[serde(rename = "AR")]
    pub ar: Option<f64>,
    /// Average recall of small objects.
    #[serde(rename = "ARs")]
    pub ar_small: Option<f64>,
    /// Of medium ones.
    #[serde(rename = "ARm")]
    pub ar_medium: Option<f64>,
    /// Of large ones.
    #[serde(rename = "ARl")]
    pub ar_large: Option<f64>,
}

impl Averages {
    /// The numbers with their usual names, in the order of the protocol's reference: COCO's twelve, or
    /// LVIS' thirteen.
    pub fn named(&self, protocol: Protocol) -> Vec<(&'static str, Option<f64>)> {
        let mut named = vec![
            ("AP", self.ap),
            ("AP50", self.ap_50),
            ("AP75", self.ap_75),
            ("APs", self.ap_small),
            ("APm", self.ap_medium),
            ("APl", self.ap_large),
        ];
        named.extend(match protocol.is_lvis() {
            true => vec![
                ("APr", self.ap_rare),
                ("APc", self.ap_common),
                ("APf", self.ap_frequent),
            ],
            false => vec![("AR1", self.ar_1), ("AR10", self.ar_10)],
        });
        named.extend([
            ("AR", self.ar),
            ("ARs", self.ar_small),
            ("ARm", self.ar_medium),
            ("ARl", self.ar_large),
        ]);
        named
    }
}

/// How good the detections of one category are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// The category's id.
    pub category: u64,
    /// Its name.
    pub name: String,
    /// How many objects there are, crowds not counted.
    pub objects: usize,
    /// Average precision over IoU 0.50 to 0.95.
    #[serde(rename = "AP")]
    pub ap: Option<f64>,
    /// At IoU 0.50.
    #[serde(rename = "AP50")]
    pub ap_50: Option<f64>,
    /// Average recall over IoU 0.50 to 0.95.
    #[serde(rename = "AR")]
    pub ar: Option<f64>,
    /// Precision over recall at IoU 0.50 and 0.75; none without objects.
    #[serde(skip)]
    pub curves: Vec<Curve>,
}

/// Precision over recall.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The least IoU of a box that counts.
    pub iou: f64,
    /// The best precision at recall 0.00, 0.01 ... 1.00 or beyond.
    pub precision: Vec<f64>,
}

/// Measures detections in a data set.
///
/// Detections of images or categories that the set does not have are not counted, nor those whose box or
/// score is not finite.
///
/// ```
/// use glip_tools::{
///     coco::Dataset,
///     eval::{Detection, Overlap, Protocol, average_precision},
/// };
///
/// let (truth, _) = Dataset::parse(
///     r#"{"images": [{"id": 1, "file_name": "1.jpg", "width": 64, "height": 48}],
///         "categories": [{"id": 3, "name": "dog"}],
///         "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [8, 8, 20, 30]}]}"#,
/// )?;
/// let found = [Detection::of_box(1, 3, [8.0, 8.0, 20.0, 24.0], 0.9)];
/// let scores = average_precision(&truth, &found, Protocol::Coco, Overlap::Boxes)?;
/// // The IoU is 0.8, which is enough for 0.50, 0.55 ... 0.80: seven of ten.
/// assert!((scores.averages.ap.unwrap() - 0.7).abs() < 1e-9);
/// assert_eq!(scores.averages.ap_large, None);
/// assert_eq!(scores.classes[0].name, "dog");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`Error::NoMask`]: masks are measured, and an object or a detection has none, or an object has an outline and its
///   image no size.
/// - [`Error::Matching`]: the matching refused the data, which data of this form does not make it do.
pub fn average_precision(
    truth: &Dataset,
    found: &[Detection],
    protocol: Protocol,
    overlap: Overlap,
) -> Result<DetectionScores> {
    let mut evaluation = evaluation(truth, found, protocol, overlap)?;
    evaluation.evaluate().map_err(|source| Error::Matching {
        source: Box::new(source),
    })?;
    evaluation.accumulate();
    let curves = Curves::of(&evaluation);
    Ok(DetectionScores {
        protocol,
        overlap,
        averages: averages(truth, &curves, protocol),
        classes: classes(truth, &curves),
    })
}

/// The data as hotcoco takes it. Ids of objects and detections there are their places here, plus one.
pub(super) fn evaluation(
    truth: &Dataset,
    found: &[Detection],
    protocol: Protocol,
    overlap: Overlap,
) -> Result<COCOeval> {
    let kept = kept(truth, found, protocol);
    let kind = match overlap {
        Overlap::Boxes => IouType::Bbox,
        Overlap::Masks => IouType::Segm,
    };
    let objects = COCO::from_dataset(hotcoco::Dataset {
        images: truth.images.iter().map(image).collect(),
        annotations: objects(truth, protocol, overlap)?,
        categories: truth.categories.iter().map(category).collect(),
        ..Default::default()
    });
    let detections = COCO::from_dataset(hotcoco::Dataset {
        images: objects.dataset.images.clone(),
        annotations: kept
            .map(|place| detection(place, &found[place], overlap))
            .collect::<Result<_>>()?,
        categories: objects.dataset.categories.clone(),
        ..Default::default()
    });
    if !protocol.is_lvis() {
        return Ok(COCOeval::new(objects, detections, kind));
    }
    let limit = (protocol == Protocol::Lvis).then_some(LVIS_DETECTIONS);
    let detections = detections.cap_detections_per_image(limit);
    let mut evaluation = COCOeval::new_lvis(objects, detections, kind);
    // Images have been cut already, and fixed AP cuts none.
    evaluation.params.max_dets = vec![found.len().max(1)];
    Ok(evaluation)
}

/// The places of the detections that count.
fn kept<'a>(
    truth: &'a Dataset,
    found: &'a [Detection],
    protocol: Protocol,
) -> impl Iterator<Item = usize> {
    let images: std::collections::HashSet<u64> = truth.images.iter().map(|i| i.id).collect();
    let categories: std::collections::HashSet<u64> =
        truth.categories.iter().map(|c| c.id).collect();
    let usable = move |place: &usize| {
        let detection = &found[*place];
        images.contains(&detection.image)
            && categories.contains(&detection.category)
            && detection.is_finite()
    };
    let mut places: Vec<usize> = (0..found.len()).filter(usable).collect();
    if let Protocol::LvisFixed { per_category } = protocol {
        best_of_each_category(&mut places, found, per_category);
    }
    places.into_iter()
}

/// Fixed AP's cut. Of equal scores the first ones stay.
fn best_of_each_category(places: &mut Vec<usize>, found: &[Detection], limit: usize) {
    places.sort_by(|&a, &b| by_falling_score(&found[a], &found[b]));
    let mut taken: HashMap<u64, usize> = HashMap::new();
    places.retain(|&place| {
        let taken = taken.entry(found[place].category).or_default();
        *taken += 1;
        *taken <= limit
    });
}

fn by_falling_score(a: &Detection, b: &Detection) -> Ordering {
    b.score.total_cmp(&a.score)
}

fn image(image: &coco::Image) -> hotcoco::Image {
    hotcoco::Image {
        id: image.id,
        width: image.width,
        height: image.height,
        neg_category_ids: image.absent.clone(),
        not_exhaustive_category_ids: image.not_exhaustive.clone(),
        ..Default::default()
    }
}

fn category(category: &coco::Category) -> hotcoco::Category {
    hotcoco::Category {
        id: category.id,
        name: category.name.clone(),
        ..Default::default()
    }
}

/// LVIS has no crowds, and its reference takes objects that are marked so for any other.
fn objects(
    truth: &Dataset,
    protocol: Protocol,
    overlap: Overlap,
) -> Result<Vec<hotcoco::Annotation>> {
    let sizes: HashMap<u64, ImageSize> = truth
        .images
        .iter()
        .map(|image| (image.id, ImageSize::new(image.width, image.height)))
        .collect();
    let pixels = |object: &coco::Annotation| {
        let Some(segmentation) = &object.segmentation else {
            return Err("read the data set with its masks (Dataset::read_with_masks)".to_owned());
        };
        let size = sizes
            .get(&object.image)
            .copied()
            .unwrap_or(ImageSize::new(0, 0));
        segmentation.rle(size).map_err(|error| error.to_string())
    };
    let object = |(object, id): (&coco::Annotation, u64)| {
        let pixels =
            || pixels(object).map_err(|reason| (format!("annotation {}", object.id), reason));
        Ok(hotcoco::Annotation {
            id,
            image_id: object.image,
            category_id: object.category,
            bbox: Some(object.bbox),
            segmentation: segmentation(overlap, pixels)?,
            area: Some(object.area),
            iscrowd: object.is_crowd && !protocol.is_lvis(),
            ..Default::default()
        })
    };
    truth.annotations.iter().zip(1..).map(object).collect()
}

fn detection(place: usize, detection: &Detection, overlap: Overlap) -> Result<hotcoco::Annotation> {
    let pixels = || {
        let reason = "give its pixels (Detection::mask)".to_owned();
        let missing = (format!("detection {place}"), reason);
        detection.mask.clone().ok_or(missing)
    };
    Ok(hotcoco::Annotation {
        id: place as u64 + 1,
        image_id: detection.image,
        category_id: detection.category,
        bbox: Some(detection.bbox),
        segmentation: segmentation(overlap, pixels)?,
        area: Some(detection.area),
        score: Some(detection.score),
        ..Default::default()
    })
}

/// Pixels, if they are measured; else what has none, and why.
fn segmentation(
    overlap: Overlap,
    pixels: impl Fn() -> Result<Rle, (String, String)>,
) -> Result<Option<hotcoco::Segmentation>> {
    if overlap == Overlap::Boxes {
        return Ok(None);
    }
    let pixels = pixels().map_err(|(what, reason)| Error::NoMask { what, reason })?;
    let ImageSize { width, height } = pixels.size();
    Ok(Some(hotcoco::Segmentation::UncompressedRle {
        size: [height, width],
        counts: pixels.counts().to_vec(),
    }))
}

/// What was accumulated: precision and recall for IoU thresholds 0.50 to 0.95, categories by ascending
/// id, the areas all, small, medium and large, and limits of detections; -1 where there is no object.
struct Curves<'a> {
    accumulated: Option<&'a hotcoco::AccumulatedEval>,
    categories: usize,
    limits: usize,
}

const ALL: usize = 0;
const SMALL: usize = 1;
const MEDIUM: usize = 2;
const LARGE: usize = 3;
/// Places of IoU 0.50 and 0.75.
const IOU_50: usize = 0;
const IOU_75: usize = 5;
const IOUS: usize = 10;

impl<'a> Curves<'a> {
    fn of(evaluation: &'a COCOeval) -> Self {
        let accumulated = evaluation.accumulated();
        Self {
            accumulated,
            categories: accumulated.map_or(0, |curves| curves.shape.k),
            limits: accumulated.map_or(1, |curves| curves.shape.m),
        }
    }

    /// The mean precision over all recalls.
    fn precision(
        &self,
        ious: std::ops::Range<usize>,
        categories: impl IntoIterator<Item = usize>,
        area: usize,
    ) -> Option<f64> {
        let categories: Vec<usize> = categories.into_iter().collect();
        let values = ious.flat_map(|iou| {
            let curves = categories.iter().map(move |&category| (iou, category));
            curves.flat_map(|(iou, category)| self.curve(iou, category, area))
        });
        mean(values)
    }

    fn curve(&self, iou: usize, category: usize, area: usize) -> Vec<f64> {
        let Some(curves) = self.accumulated else {
            return Vec::new();
        };
        let at = |recall| {
            curves.precision[curves.precision_idx(iou, recall, category, area, self.limits - 1)]
        };
        (0..curves.shape.r).map(at).collect()
    }

    /// The mean recall over all IoU thresholds.
    fn recall(&self, categories: std::ops::Range<usize>, area: usize, limit: usize) -> Option<f64> {
        let curves = self.accumulated?;
        let at = |iou, category| curves.recall[curves.recall_idx(iou, category, area, limit)];
        mean((0..IOUS).flat_map(|iou| categories.clone().map(move |category| at(iou, category))))
    }
}

/// The mean of what is not -1.
fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for value in values.into_iter().filter(|value| *value > -1.0) {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

fn averages(truth: &Dataset, curves: &Curves<'_>, protocol: Protocol) -> Averages {
    let all = 0..curves.categories;
    let of_area = |area| curves.precision(0..IOUS, all.clone(), area);
    let at = |iou| curves.precision(iou..iou + 1, all.clone(), ALL);
    let of_frequency = |frequency| {
        let same = |&category: &usize| truth.categories[category].frequency == Some(frequency);
        let categories = all.clone().filter(same);
        protocol
            .is_lvis()
            .then(|| curves.precision(0..IOUS, categories, ALL))?
    };
    let most = curves.limits - 1;
    let recall_of =
        |limit| (!protocol.is_lvis()).then(|| curves.recall(all.clone(), ALL, limit))?;
    Averages {
        ap: of_area(ALL),
        ap_50: at(IOU_50),
        ap_75: at(IOU_75),
        ap_small: of_area(SMALL),
        ap_medium: of_area(MEDIUM),
        ap_large: of_area(LARGE),
        ap_rare: of_frequency(Frequency::Rare),
        ap_common: of_frequency(Frequency::Common),
        ap_frequent: of_frequency(Frequency::Frequent),
        ar_1: recall_of(0),
        ar_10: recall_of(1),
        ar: curves.recall(all.clone(), ALL, most),
        ar_small: curves.recall(all.clone(), SMALL, most),
        ar_medium: curves.recall(all.clone(), MEDIUM, most),
        ar_large: curves.recall(all.clone(), LARGE, most),
    }
}

fn classes(truth: &Dataset, curves: &Curves<'_>) -> Vec<ClassScores> {
    let mut objects: HashMap<u64, usize> = HashMap::new();
    for object in truth.annotations.iter().filter(|object| !object.is_crowd) {
        *objects.entry(object.category).or_default() += 1;
    }
    let scores = |(place, category): (usize, &coco::Category)| {
        let ap = curves.precision(0..IOUS, [place], ALL);
        let curve = |(iou, at)| Curve {
            iou,
            precision: curves.curve(at, place, ALL),
        };
        ClassScores {
            category: category.id,
            name: category.name.clone(),
            objects: objects.get(&category.id).copied().unwrap_or(0),
            ap,
            ap_50: curves.precision(IOU_50..IOU_50 + 1, [place], ALL),
            ar: curves.recall(place..place + 1, ALL, curves.limits - 1),
            curves: match ap {
                Some(_) => [(0.5, IOU_50), (0.75, IOU_75)].map(curve).to_vec(),
                None => Vec::new(),
            },
        }
    };
    truth.categories.iter().enumerate().map(scores).collect()
}
