//! Data sets in COCO's format, which LVIS and ODinW use too.
//!
//! Files that people have are not always as they should be. Reading leaves out what cannot be used, names
//! it as a [`Problem`], and goes on.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use glip::BBox;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;

use crate::{
    error::{Error, Result},
    files::read_text,
    problem::{Problem, ProblemKind},
};

/// Images, what is in them, and what it is called.
///
/// Every annotation is of an image and a category of the set, ids are unique, and boxes are finite, in
/// order, and have a part in their image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// The images, in the file's order.
    pub images: Vec<Image>,
    /// The objects, in the file's order.
    pub annotations: Vec<Annotation>,
    /// The categories, by ascending id.
    pub categories: Vec<Category>,
}

/// An image of a [`Dataset`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ImageEntry")]
pub struct Image {
    /// Its id.
    pub id: u64,
    /// Its file, relative to the folder of the images.
    pub file_name: PathBuf,
    /// Width in pixels; 0 if the file does not say.
    pub width: u32,
    /// Height in pixels; 0 if the file does not say.
    pub height: u32,
    /// LVIS: the categories that were looked for and are not there.
    pub absent: Vec<u64>,
    /// LVIS: the categories of which not every object is annotated.
    pub not_exhaustive: Vec<u64>,
}

/// An object of a [`Dataset`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "AnnotationEntry")]
pub struct Annotation {
    /// Its id.
    pub id: u64,
    /// The image's.
    pub image: u64,
    /// The category's.
    pub category: u64,
    /// `[x, y, width, height]` in pixels: x from the left, y from the top.
    pub bbox: [f64; 4],
    /// The object's area in square pixels: its mask's where it has one, else its box's. It decides
    /// which objects count as small.
    pub area: f64,
    /// Whether the box holds a crowd, in which any number of detections may lie.
    pub is_crowd: bool,
}

/// A category of a [`Dataset`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(expecting = "an object with id and name")]
pub struct Category {
    /// Its id.
    pub id: u64,
    /// Its name, as the file spells it.
    pub name: String,
    /// LVIS: how many images of its training set have it.
    pub frequency: Option<Frequency>,
}

/// In how many images of LVIS' training set a category is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Frequency {
    /// In at most 10.
    #[serde(rename = "r")]
    Rare,
    /// In 11 to 100.
    #[serde(rename = "c")]
    Common,
    /// In more than 100.
    #[serde(rename = "f")]
    Frequent,
}

impl Dataset {
    /// Reads a file, and tells what in it cannot be used.
    ///
    /// # Errors
    /// - [`Error::Read`]: the file cannot be read.
    /// - [`Error::Json`]: it is not JSON with lists of `images`, `annotations` and `categories`.
    pub fn read(path: impl AsRef<Path>) -> Result<(Self, Vec<Problem>)> {
        let path = path.as_ref();
        let text = read_text(path)?;
        Self::parse(&text).map_err(|source| Error::Json {
            path: path.to_owned(),
            expected: "a COCO data set (an object with lists of images, annotations and categories)",
            source,
        })
    }

    /// As [`read`](Self::read), from JSON at hand.
    ///
    /// ```
    /// use glip_tools::{ProblemKind, coco::Dataset};
    ///
    /// let (dataset, problems) = Dataset::parse(
    ///     r#"{"images": [{"id": 1, "file_name": "1.jpg", "width": 64, "height": 48}],
    ///         "categories": [{"id": 3, "name": "dog"}],
    ///         "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [8, 8, 20, 30]},
    ///                         {"id": 2, "image_id": 1, "category_id": 4, "bbox": [0, 0, 9, 9]}]}"#,
    /// )?;
    /// assert_eq!(dataset.annotations.len(), 1);
    /// assert_eq!(dataset.annotations[0].area, 600.0);
    /// assert_eq!(problems[0].kind, ProblemKind::UnknownCategory);
    /// assert_eq!(problems[0].subject, "annotation 2");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is not JSON with those lists.
    pub fn parse(text: &str) -> Result<(Self, Vec<Problem>), serde_json::Error> {
        let file: File<'_> = serde_json::from_str(text)?;
        let mut problems = Vec::new();
        let images = entries("image", &file.images, &mut problems);
        let mut categories: Vec<Category> = entries("category", &file.categories, &mut problems);
        categories.sort_by_key(|category| category.id);
        let annotations = entries("annotation", &file.annotations, &mut problems);
        let mut dataset = Self {
            images,
            annotations: Vec::new(),
            categories,
        };
        dataset.annotations = dataset.usable(annotations, &mut problems);
        Ok((dataset, problems))
    }

    /// Leaves out images, and what is in them.
    pub fn retain_images(&mut self, keep: impl FnMut(&Image) -> bool) {
        self.images.retain(keep);
        let kept: HashSet<u64> = self.images.iter().map(|image| image.id).collect();
        self.annotations
            .retain(|annotation| kept.contains(&annotation.image));
    }

    /// The annotations that fit the images and categories.
    fn usable(&self, entries: Vec<Annotation>, problems: &mut Vec<Problem>) -> Vec<Annotation> {
        let sizes = self.images.iter().map(|image| (image.id, image));
        let images: HashMap<u64, &Image> = sizes.collect();
        let categories: HashSet<u64> = self.categories.iter().map(|category| category.id).collect();
        let misfit = |annotation: &Annotation| {
            let Some(image) = images.get(&annotation.image) else {
                return Some((ProblemKind::UnknownImage, annotation.image.to_string()));
            };
            if !categories.contains(&annotation.category) {
                let category = annotation.category.to_string();
                return Some((ProblemKind::UnknownCategory, category));
            }
            wrong_box(annotation.bbox, image)
        };
        let keep = |annotation: &Annotation| match misfit(annotation) {
            None => true,
            Some((kind, detail)) => {
                let subject = format!("annotation {}", annotation.id);
                problems.push(Problem::new(kind, subject, detail));
                false
            }
        };
        entries.into_iter().filter(keep).collect()
    }
}

/// What is wrong with a box in an image of this size.
pub(crate) fn wrong_box(bbox: [f64; 4], image: &Image) -> Option<(ProblemKind, String)> {
    let [x, y, width, height] = bbox;
    let detail = || format!("{bbox:?} in an image of {} x {}", image.width, image.height);
    if width < 0.0 || height < 0.0 {
        return Some((ProblemKind::InvertedBox, detail()));
    }
    let known = image.width > 0 && image.height > 0;
    let right_or_below = x >= f64::from(image.width) || y >= f64::from(image.height);
    let left_or_above = x + width <= 0.0 || y + height <= 0.0;
    (known && (right_or_below || left_or_above)).then(|| (ProblemKind::BoxOutside, detail()))
}

/// `[x, y, width, height]` of a box that is given by its edges.
///
/// ```
/// use glip_tools::coco::xywh;
///
/// assert_eq!(xywh(glip::BBox::new(10.0, 20.0, 20.0, 25.0)?), [10.0, 20.0, 10.0, 5.0]);
/// # Ok::<(), glip::Error>(())
/// ```
pub fn xywh(bbox: BBox) -> [f64; 4] {
    let [x1, y1, x2, y2] = <[f32; 4]>::from(bbox).map(f64::from);
    [x1, y1, x2 - x1, y2 - y1]
}

/// The file, whose entries are parsed one by one: a broken one costs no other.
#[derive(Deserialize)]
#[serde(expecting = "an object with lists of images, annotations and categories")]
struct File<'a> {
    #[serde(borrow)]
    images: Vec<&'a RawValue>,
    #[serde(borrow)]
    annotations: Vec<&'a RawValue>,
    #[serde(borrow)]
    categories: Vec<&'a RawValue>,
}

/// What an entry of a list has.
trait Entry: for<'a> Deserialize<'a> {
    fn id(&self) -> u64;
}

/// The entries that can be used; of two with one id, the first.
fn entries<T: Entry>(what: &str, list: &[&RawValue], problems: &mut Vec<Problem>) -> Vec<T> {
    let mut ids = HashSet::with_capacity(list.len());
    let mut entries = Vec::with_capacity(list.len());
    for (place, raw) in list.iter().enumerate() {
        let problem = match serde_json::from_str::<T>(raw.get()) {
            Ok(entry) if ids.insert(entry.id()) => {
                entries.push(entry);
                continue;
            }
            Ok(entry) => {
                let detail = format!("entry {place} has the id of an earlier one");
                Problem::new(
                    ProblemKind::Duplicate,
                    format!("{what} {}", entry.id()),
                    detail,
                )
            }
            Err(error) => Problem::new(
                ProblemKind::Malformed,
                format!("{what} entry {place}"),
                error,
            ),
        };
        problems.push(problem);
    }
    entries
}

impl Entry for Image {
    fn id(&self) -> u64 {
        self.id
    }
}

impl Entry for Annotation {
    fn id(&self) -> u64 {
        self.id
    }
}

impl Entry for Category {
    fn id(&self) -> u64 {
        self.id
    }
}

/// An image as files spell it.
#[derive(Deserialize)]
#[serde(expecting = "an object with id, file_name, width and height")]
struct ImageEntry {
    id: u64,
    file_name: Option<PathBuf>,
    coco_url: Option<String>,
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    #[serde(default)]
    neg_category_ids: Vec<u64>,
    #[serde(default)]
    not_exhaustive_category_ids: Vec<u64>,
}

impl TryFrom<ImageEntry> for Image {
    type Error = &'static str;

    fn try_from(entry: ImageEntry) -> Result<Self, Self::Error> {
        let by_address = || entry.coco_url.as_deref().and_then(folder_and_file);
        let file_name = entry.file_name.or_else(by_address);
        Ok(Self {
            id: entry.id,
            file_name: file_name.ok_or("neither file_name nor coco_url")?,
            width: entry.width,
            height: entry.height,
            absent: entry.neg_category_ids,
            not_exhaustive: entry.not_exhaustive_category_ids,
        })
    }
}

/// LVIS gives an address, which ends with the folder and the file.
fn folder_and_file(address: &str) -> Option<PathBuf> {
    let mut parts = address.rsplit('/');
    let (file, folder) = (parts.next()?, parts.next()?);
    (!file.is_empty()).then(|| Path::new(folder).join(file))
}

/// An annotation as files spell it.
#[derive(Deserialize)]
#[serde(expecting = "an object with id, image_id, category_id and bbox")]
struct AnnotationEntry {
    id: u64,
    image_id: u64,
    category_id: u64,
    bbox: [f64; 4],
    area: Option<f64>,
    #[serde(default, deserialize_with = "flag")]
    iscrowd: bool,
}

impl From<AnnotationEntry> for Annotation {
    fn from(entry: AnnotationEntry) -> Self {
        let [_, _, width, height] = entry.bbox;
        Self {
            id: entry.id,
            image: entry.image_id,
            category: entry.category_id,
            bbox: entry.bbox,
            area: entry.area.unwrap_or(width * height),
            is_crowd: entry.iscrowd,
        }
    }
}

/// True and false, as most files have it: 1 and 0.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => Ok(false),
        serde_json::Value::Bool(flag) => Ok(flag),
        serde_json::Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
        other => Err(D::Error::custom(format!("{other} is neither 0 nor 1"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const IMAGES: &str =
        r#""images": [{"id": 1, "file_name": "a b/ü.jpg", "width": 100, "height": 80}]"#;
    const CATEGORIES: &str =
        r#""categories": [{"id": 9, "name": "cat", "frequency": "r"}, {"id": 2, "name": "dog"}]"#;

    fn with_annotations(annotations: &str) -> (Dataset, Vec<Problem>) {
        let text = format!(r#"{{{IMAGES}, {CATEGORIES}, "annotations": [{annotations}]}}"#);
        Dataset::parse(&text).unwrap()
    }

    #[test]
    fn categories_are_sorted_and_areas_are_the_boxes_unless_given() {
        let (dataset, problems) = with_annotations(
            r#"{"id": 1, "image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4], "iscrowd": 1},
               {"id": 2, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 5.5, "iscrowd": 0}"#,
        );
        assert!(problems.is_empty(), "{problems:?}");
        let ids: Vec<_> = dataset
            .categories
            .iter()
            .map(|category| category.id)
            .collect();
        assert_eq!(ids, [2, 9]);
        assert_eq!(dataset.categories[1].frequency, Some(Frequency::Rare));
        let areas: Vec<_> = dataset
            .annotations
            .iter()
            .map(|a| (a.area, a.is_crowd))
            .collect();
        assert_eq!(areas, [(12.0, true), (5.5, false)]);
        assert_eq!(dataset.images[0].file_name, Path::new("a b/ü.jpg"));
    }

    #[test]
    fn what_cannot_be_used_is_named_and_left_out() {
        let good = r#"{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}"#;
        let cases = [
            (good, ProblemKind::Duplicate, "annotation 1"),
            (
                r#"{"id": 2, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4]}"#,
                ProblemKind::UnknownImage,
                "annotation 2",
            ),
            (
                r#"{"id": 3, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}"#,
                ProblemKind::UnknownCategory,
                "annotation 3",
            ),
            (
                r#"{"id": 4, "image_id": 1, "category_id": 2, "bbox": [9, 2, -3, 4]}"#,
                ProblemKind::InvertedBox,
                "annotation 4",
            ),
            (
                r#"{"id": 5, "image_id": 1, "category_id": 2, "bbox": [100, 2, 3, 4]}"#,
                ProblemKind::BoxOutside,
                "annotation 5",
            ),
            (
                r#"{"id": 6, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3]}"#,
                ProblemKind::Malformed,
                "annotation entry 1",
            ),
            (r#"17"#, ProblemKind::Malformed, "annotation entry 1"),
        ];
        for (bad, kind, subject) in cases {
            let (dataset, problems) = with_annotations(&format!("{good}, {bad}"));
            assert_eq!(dataset.annotations.len(), 1, "{bad}");
            let found: Vec<_> = problems
                .iter()
                .map(|p| (p.kind, p.subject.as_str()))
                .collect();
            assert_eq!(found, [(kind, subject)], "{bad}");
            // The names of the file, not of the code.
            assert!(!problems[0].detail.contains("struct"), "{}", problems[0]);
        }
    }

    #[test]
    fn lvis_gives_addresses_and_lists_of_categories() {
        let text = r#"{"images": [{"id": 1, "coco_url": "http://images.cocodataset.org/val2017/0001.jpg",
            "neg_category_ids": [2], "not_exhaustive_category_ids": [3]}, {"id": 2}],
            "categories": [], "annotations": []}"#;
        let (dataset, problems) = Dataset::parse(text).unwrap();
        assert_eq!(dataset.images[0].file_name, Path::new("val2017/0001.jpg"));
        assert_eq!(
            (
                &dataset.images[0].absent[..],
                &dataset.images[0].not_exhaustive[..]
            ),
            (&[2][..], &[3][..])
        );
        assert_eq!(problems[0].kind, ProblemKind::Malformed);
        assert!(
            problems[0]
                .detail
                .contains("neither file_name nor coco_url")
        );
    }

    #[test]
    fn an_image_goes_with_what_is_in_it() {
        let (mut dataset, _) =
            with_annotations(r#"{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}"#);
        dataset.retain_images(|image| image.id == 1);
        assert_eq!((dataset.images.len(), dataset.annotations.len()), (1, 1));
        dataset.retain_images(|_| false);
        assert_eq!((dataset.images.len(), dataset.annotations.len()), (0, 0));
    }

    #[test]
    fn a_file_without_its_lists_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boxes.json");
        fs::write(&path, r#"{"images": []}"#).unwrap();
        let error = Dataset::read(&path).unwrap_err();
        assert!(matches!(error, Error::Json { .. }), "{error}");
        let error = Dataset::read(folder.path().join("none.json")).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{error}");
    }
}
