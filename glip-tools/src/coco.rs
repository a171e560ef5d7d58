//! Data sets in COCO's format, which LVIS and ODinW use too.
//!
//! Files that people have are not always as they should be. Reading leaves out what cannot be used, names
//! it as a [`Problem`], and goes on. Numbers may be strings, ids and sizes may have a point, and what may be left
//! out may be null.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use glip::{BBox, ImageSize};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::{
    error::{Error, Result},
    pictures::PictureFrames,
    problem::{Problem, ProblemKind},
    text::{quote_not_finite, read_text},
    values::{bbox, flag, number, text, whole, wrong},
};

pub use crate::segmentation::Segmentation;

/// What a file should be.
const EXPECTED: &str =
    "a COCO data set (an object with lists of images, annotations and categories)";

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
    /// The category that an exporter (Roboflow) puts above all others and that nothing is of. It is none
    /// of [`categories`](Self::categories): asked for, it would be found in everything.
    pub root: Option<Category>,
}

/// An image of a [`Dataset`].
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq)]
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
    /// The object's pixels; none if they were not read, as only [`Dataset::read_with_masks`] does.
    pub segmentation: Option<Segmentation>,
}

/// A category of a [`Dataset`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its id.
    pub id: u64,
    /// Its name, as the file spells it.
    pub name: String,
    /// The group that it is in, if the file says.
    pub supercategory: Option<String>,
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
    /// Reads a file, and tells what in it cannot be used or looks wrong.
    ///
    /// # Errors
    /// - [`Error::Read`]: the file cannot be read.
    /// - [`Error::Encoding`]: it is not UTF-8.
    /// - [`Error::Json`]: it is not JSON with lists of `images`, `annotations` and `categories`.
    pub fn read(path: impl AsRef<Path>) -> Result<(Self, Vec<Problem>)> {
        let path = path.as_ref();
        Self::parse(&read_text(path)?).map_err(|source| Error::Json {
            path: path.to_owned(),
            expected: EXPECTED,
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
        let text = quote_not_finite(text);
        let file: File<'_> = serde_json::from_str(&text)?;
        let mut problems = Vec::new();
        let images = entries(&file.images, &mut problems);
        let mut categories: Vec<Category> = entries(&file.categories, &mut problems);
        categories.sort_by_key(|category| category.id);
        let annotations = entries(&file.annotations, &mut problems);
        let mut dataset = Self {
            images,
            annotations: Vec::new(),
            categories,
            root: None,
        };
        dataset.annotations = dataset.usable(annotations, &mut problems);
        dataset.root = dataset.take_root();
        problems.extend(dataset.names_in_common());
        problems.extend(dataset.doubtful_boxes(|image| image.size().is_some()));
        Ok((dataset, problems))
    }

    /// As [`read`](Self::read), with the pixels of every object. One whose pixels cannot be used is left out.
    ///
    /// # Errors
    /// - As [`read`](Self::read).
    /// - [`Error::NoMasks`]: there are objects, and none of them has pixels that can be used.
    pub fn read_with_masks(path: impl AsRef<Path>) -> Result<(Self, Vec<Problem>)> {
        let path = path.as_ref();
        let text = read_text(path)?;
        let not_json = |source| Error::Json {
            path: path.to_owned(),
            expected: EXPECTED,
            source,
        };
        let (mut dataset, mut problems) = Self::parse(&text).map_err(not_json)?;
        let without = dataset.read_masks(&text).map_err(not_json)?;
        if let (true, Some(first)) = (dataset.annotations.is_empty(), without.first()) {
            return Err(Error::NoMasks {
                path: path.to_owned(),
                first: first.clone(),
            });
        }
        problems.extend(without);
        Ok((dataset, problems))
    }

    /// As [`read_with_masks`](Self::read_with_masks), from JSON at hand, but a set in which no object is left is one.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with_masks(text: &str) -> Result<(Self, Vec<Problem>), serde_json::Error> {
        let (mut dataset, mut problems) = Self::parse(text)?;
        problems.extend(dataset.read_masks(text)?);
        Ok((dataset, problems))
    }

    /// Gives the objects their pixels, leaves out those without, and names them. It is a second reading, so that
    /// who needs boxes alone does not pay for outlines.
    fn read_masks(&mut self, text: &str) -> Result<Vec<Problem>, serde_json::Error> {
        let text = quote_not_finite(text);
        let file: File<'_> = serde_json::from_str(&text)?;
        let mut raws = HashMap::with_capacity(file.annotations.len());
        for raw in file.annotations {
            // Entries that are of no use have been named.
            let form: Result<IdForm, _> = serde_json::from_str(raw.get());
            if let Some(id) = form.ok().and_then(|form| whole(&form.id, "id").ok()) {
                // Of two with one id, the first, as for the rest of them.
                raws.entry(id).or_insert(raw);
            }
        }
        let sizes: HashMap<u64, ImageSize> = self
            .images
            .iter()
            .filter_map(|image| Some((image.id, image.size()?)))
            .collect();
        let read = |annotation: &Annotation| {
            let form = raws
                .get(&annotation.id)
                .map(|raw| serde_json::from_str(raw.get()));
            let MaskForm { segmentation } = form.and_then(Result::ok).unwrap_or_default();
            Segmentation::parse(&segmentation, sizes.get(&annotation.image).copied())
        };
        let mut problems = Vec::new();
        self.annotations
            .retain_mut(|annotation| match read(annotation) {
                Ok(segmentation) => {
                    annotation.segmentation = Some(segmentation);
                    true
                }
                Err(error) => {
                    let subject = format!("annotation {}", annotation.id);
                    problems.push(Problem::new(ProblemKind::Malformed, subject, error));
                    false
                }
            });
        Ok(problems)
    }

    /// Leaves out images, and what is in them.
    pub fn retain_images(&mut self, keep: impl FnMut(&Image) -> bool) {
        self.images.retain(keep);
        let kept: HashSet<u64> = self.images.iter().map(|image| image.id).collect();
        self.annotations
            .retain(|annotation| kept.contains(&annotation.image));
    }

    /// Gives the images whose size the file does not say that of their pictures, and tells what is wrong with
    /// the boxes in them then. `frames` finds the pictures; those that cannot be read stay without a size.
    ///
    /// Of a picture that is turned by its EXIF orientation, boxes may be in the frame as it is stored or in
    /// the upright one. They are taken to be in the upright one only if they do not fit into the other.
    pub fn complete_sizes(
        &mut self,
        mut frames: impl FnMut(&Image) -> Option<PictureFrames>,
    ) -> Vec<Problem> {
        let mut boxes: HashMap<u64, Vec<[f64; 4]>> = HashMap::new();
        for annotation in &self.annotations {
            boxes
                .entry(annotation.image)
                .or_default()
                .push(annotation.bbox);
        }
        let (mut completed, mut turned) = (HashSet::new(), Vec::new());
        for image in self
            .images
            .iter_mut()
            .filter(|image| image.size().is_none())
        {
            let Some(frames) = frames(image) else {
                continue;
            };
            let boxes = boxes.get(&image.id).map_or(&[][..], Vec::as_slice);
            let fits = |size| !boxes.iter().any(|&bbox| reaches_beyond(bbox, size));
            let is_upright = !fits(frames.stored) && fits(frames.upright);
            let size = if is_upright {
                frames.upright
            } else {
                frames.stored
            };
            (image.width, image.height) = (size.width, size.height);
            completed.insert(image.id);
            if frames.is_turned && !is_upright && !boxes.is_empty() {
                turned.push(image.file_name.display().to_string());
            }
        }
        let mut problems = Vec::new();
        let annotations = std::mem::take(&mut self.annotations);
        self.annotations = self.usable(annotations, &mut problems);
        problems.extend(self.doubtful_boxes(|image| completed.contains(&image.id)));
        if let Some(name) = turned.first() {
            let detail = format!(
                "{} without width and height in the file are turned by EXIF, such as {name}: \
                 their boxes are taken to be of the pixels as they are stored",
                turned.len()
            );
            problems.push(Problem::new(ProblemKind::Doubtful, "images", detail));
        }
        problems
    }

    /// The annotations that fit the images and categories.
    fn usable(&self, entries: Vec<Annotation>, problems: &mut Vec<Problem>) -> Vec<Annotation> {
        let images: HashMap<u64, &Image> =
            self.images.iter().map(|image| (image.id, image)).collect();
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
        let mut usable = Vec::with_capacity(entries.len());
        for mut annotation in entries {
            let subject = || format!("annotation {}", annotation.id);
            if let Some((kind, detail)) = misfit(&annotation) {
                problems.push(Problem::new(kind, subject(), detail));
                continue;
            }
            if !annotation.area.is_finite() {
                let detail = format!("area is {}: its box's is taken", annotation.area);
                problems.push(Problem::new(ProblemKind::Doubtful, subject(), detail));
                annotation.area = annotation.bbox[2] * annotation.bbox[3];
            }
            usable.push(annotation);
        }
        usable
    }

    /// Takes out the category that an exporter put above all others: it is in no group, all others are in
    /// its one, or at least in one and it has the id 0, and nothing is of it.
    fn take_root(&mut self) -> Option<Category> {
        let used: HashSet<u64> = self
            .annotations
            .iter()
            .map(|annotation| annotation.category)
            .collect();
        let group = |category: &Category| {
            let name = category
                .supercategory
                .as_deref()
                .filter(|name| !name.is_empty());
            let name = name.filter(|name| !name.eq_ignore_ascii_case("none"));
            name.map(str::to_owned)
        };
        let is_above = |root: &Category, other: &Category| {
            let group = group(other);
            group.as_ref() == Some(&root.name)
                || root.id == 0 && root.supercategory.is_some() && group.is_some()
        };
        let is_root = |root: &Category| {
            let mut others = self.categories.iter().filter(|other| other.id != root.id);
            self.categories.len() > 1
                && !used.contains(&root.id)
                && group(root).is_none()
                && others.all(|other| is_above(root, other))
        };
        let place = self.categories.iter().position(is_root)?;
        Some(self.categories.remove(place))
    }

    /// Categories that a model cannot tell from one another.
    fn names_in_common(&self) -> Vec<Problem> {
        let mut ids: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for category in &self.categories {
            ids.entry(category.name.trim())
                .or_default()
                .push(category.id);
        }
        let common = ids.into_iter().filter(|(_, ids)| ids.len() > 1);
        let problem = |(name, ids): (&str, Vec<u64>)| {
            let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
            let subject = format!("categories {}", ids.join(", "));
            let detail = format!("all called {name:?}: a model finds the same for each");
            Problem::new(ProblemKind::Doubtful, subject, detail)
        };
        common.map(problem).collect()
    }

    /// That the boxes of these images look like something else than x, y, width and height in pixels.
    fn doubtful_boxes(&self, of: impl Fn(&Image) -> bool) -> Option<Problem> {
        let sizes: HashMap<u64, ImageSize> = self
            .images
            .iter()
            .filter(|image| of(image))
            .filter_map(|image| Some((image.id, image.size()?)))
            .collect();
        let boxes = self.annotations.iter().filter_map(|annotation| {
            let size = sizes.get(&annotation.image)?;
            Some((annotation, *size))
        });
        let boxes: Vec<_> = boxes.collect();
        let detail = looks_like(&boxes)?;
        Some(Problem::new(ProblemKind::Doubtful, "annotations", detail))
    }
}

impl Image {
    /// Where it is in a folder: as the file says; else, as names may be of Windows or have folders of another
    /// computer, by the longest end of the name that is there. If none is, as the file says.
    pub fn path_in(&self, folder: &Path) -> PathBuf {
        let path = folder.join(&self.file_name);
        if path.exists() {
            return path;
        }
        let name = self.file_name.to_string_lossy().replace('\\', "/");
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
        let mut ends = (0..parts.len()).map(|first| folder.join(parts[first..].join("/")));
        ends.find(|end| end.is_file()).unwrap_or(path)
    }

    /// The size in pixels, if the file says it.
    pub fn size(&self) -> Option<ImageSize> {
        (self.width > 0 && self.height > 0).then_some(ImageSize {
            width: self.width,
            height: self.height,
        })
    }
}

/// What boxes look like if they are not x, y, width and height in pixels.
fn looks_like(boxes: &[(&Annotation, ImageSize)]) -> Option<String> {
    let count = |is: &dyn Fn(&Annotation, ImageSize) -> bool| {
        boxes
            .iter()
            .filter(|(annotation, size)| is(annotation, *size))
            .count()
    };
    let all = boxes.len();
    let small = count(&|annotation, _| {
        annotation
            .bbox
            .iter()
            .all(|value| (0.0..=1.0).contains(value))
    });
    if 2 * small > all {
        return Some(format!(
            "{small} of {all} boxes lie within a single pixel: normalised to 0 to 1? \
             They are taken as x, y, width and height in pixels"
        ));
    }
    let beyond = count(&|annotation, size| reaches_beyond(annotation.bbox, size));
    let as_corners = count(&|annotation, size| {
        let [x1, y1, x2, y2] = annotation.bbox;
        x1 <= x2 && y1 <= y2 && !reaches_beyond([0.0, 0.0, x2, y2], size)
    });
    let by_area = count(&|annotation, _| has_area_of_corners(annotation));
    // One in ten may be wrong for another reason.
    let are_corners = 10 * as_corners >= 9 * all;
    if beyond > 0 && (are_corners || 10 * beyond > all) {
        let guess = if are_corners {
            "x1 y1 x2 y2"
        } else {
            "of pictures of another size"
        };
        return Some(format!(
            "{beyond} of {all} boxes reach beyond their image: {guess}? \
             They are taken as x, y, width and height in pixels"
        ));
    }
    (all > 0 && are_corners && 10 * by_area >= 9 * all).then(|| {
        format!(
            "{by_area} of {all} areas are those of other boxes: x1 y1 x2 y2? \
             They are taken as x, y, width and height in pixels"
        )
    })
}

/// Whether a box ends more than a pixel, as rounding makes it, beyond its image.
fn reaches_beyond([x, y, width, height]: [f64; 4], size: ImageSize) -> bool {
    x + width > f64::from(size.width) + 1.0 || y + height > f64::from(size.height) + 1.0
}

/// Whether the area is that of the box if its numbers are corners, and not what they are taken for.
fn has_area_of_corners(annotation: &Annotation) -> bool {
    let [x, y, width, height] = annotation.bbox;
    let is = |area: f64| (annotation.area - area).abs() <= 0.01 * area.abs();
    is((width - x) * (height - y)) && !is(width * height)
}

/// What is wrong with a box in an image of this size.
pub(crate) fn wrong_box(bbox: [f64; 4], image: &Image) -> Option<(ProblemKind, String)> {
    let [x, y, width, height] = bbox;
    let detail = || format!("{bbox:?} in an image of {} x {}", image.width, image.height);
    if width < 0.0 || height < 0.0 {
        return Some((ProblemKind::InvertedBox, detail()));
    }
    let size = image.size()?;
    let right_or_below = x >= f64::from(size.width) || y >= f64::from(size.height);
    let left_or_above = x + width <= 0.0 || y + height <= 0.0;
    (right_or_below || left_or_above).then(|| (ProblemKind::BoxOutside, detail()))
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

/// Something that a list of the file has.
trait Entry: TryFrom<Self::Form, Error = String> {
    /// As files spell it.
    type Form: DeserializeOwned;
    /// What it is called in problems.
    const NAME: &'static str;

    fn id(form: &Self::Form) -> &Value;
}

impl Entry for Image {
    type Form = ImageForm;
    const NAME: &'static str = "image";

    fn id(form: &ImageForm) -> &Value {
        &form.id
    }
}

impl Entry for Annotation {
    type Form = AnnotationForm;
    const NAME: &'static str = "annotation";

    fn id(form: &AnnotationForm) -> &Value {
        &form.id
    }
}

impl Entry for Category {
    type Form = CategoryForm;
    const NAME: &'static str = "category";

    fn id(form: &CategoryForm) -> &Value {
        &form.id
    }
}

/// The entries that can be used; of two with one id, the first.
fn entries<T: Entry>(list: &[&RawValue], problems: &mut Vec<Problem>) -> Vec<T> {
    let mut ids = HashSet::with_capacity(list.len());
    let mut entries = Vec::with_capacity(list.len());
    for (place, raw) in list.iter().enumerate() {
        let place = format!("{} entry {place}", T::NAME);
        let form: Result<T::Form, _> = serde_json::from_str(raw.get());
        let form = form.map_err(|error| error.to_string());
        let identified = form.and_then(|form| Ok((whole(T::id(&form), "id")?, form)));
        let (id, form) = match identified {
            Ok(identified) => identified,
            Err(error) => {
                problems.push(Problem::new(ProblemKind::Malformed, place, error));
                continue;
            }
        };
        let subject = format!("{} {id}", T::NAME);
        if !ids.insert(id) {
            let detail = format!("{place} has the id of an earlier one");
            problems.push(Problem::new(ProblemKind::Duplicate, subject, detail));
            continue;
        }
        match T::try_from(form) {
            Ok(entry) => entries.push(entry),
            Err(error) => problems.push(Problem::new(ProblemKind::Malformed, subject, error)),
        }
    }
    entries
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object with id, file_name, width and height")]
struct ImageForm {
    id: Value,
    file_name: Value,
    coco_url: Value,
    width: Value,
    height: Value,
    neg_category_ids: Option<Vec<Value>>,
    not_exhaustive_category_ids: Option<Vec<Value>>,
}

impl TryFrom<ImageForm> for Image {
    type Error = String;

    fn try_from(form: ImageForm) -> Result<Self, String> {
        let file_name = match (&form.file_name, &form.coco_url) {
            (Value::Null, Value::Null) => return Err("neither file_name nor coco_url".into()),
            (Value::Null, address) => folder_and_file(&text(address, "coco_url")?),
            (name, _) => Some(text(name, "file_name")?.into()),
        };
        let ids = |list: Option<Vec<Value>>, name: &str| {
            let list = list.unwrap_or_default();
            list.iter()
                .map(|id| whole(id, name))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            id: whole(&form.id, "id")?,
            file_name: file_name.ok_or("coco_url names no file")?,
            width: side(&form.width, "width")?,
            height: side(&form.height, "height")?,
            absent: ids(form.neg_category_ids, "neg_category_ids")?,
            not_exhaustive: ids(
                form.not_exhaustive_category_ids,
                "not_exhaustive_category_ids",
            )?,
        })
    }
}

/// A width or height in pixels; 0 if the file does not say.
fn side(value: &Value, name: &str) -> Result<u32, String> {
    if value.is_null() {
        return Ok(0);
    }
    let side = whole(value, name)?;
    side.try_into()
        .map_err(|_| wrong(value, name, "a size in pixels"))
}

/// LVIS gives an address, which ends with the folder and the file.
fn folder_and_file(address: &str) -> Option<PathBuf> {
    let mut parts = address.rsplit('/');
    let (file, folder) = (parts.next()?, parts.next()?);
    (!file.is_empty()).then(|| Path::new(folder).join(file))
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    expecting = "an object with id, image_id, category_id and bbox"
)]
struct AnnotationForm {
    id: Value,
    image_id: Value,
    category_id: Value,
    bbox: Value,
    area: Value,
    iscrowd: Value,
}

impl TryFrom<AnnotationForm> for Annotation {
    type Error = String;

    /// An area that is no number is NaN.
    fn try_from(form: AnnotationForm) -> Result<Self, String> {
        let bbox = bbox(&form.bbox)?;
        let area = match &form.area {
            Value::Null => bbox[2] * bbox[3],
            area => number(area).unwrap_or(f64::NAN),
        };
        Ok(Self {
            id: whole(&form.id, "id")?,
            image: whole(&form.image_id, "image_id")?,
            category: whole(&form.category_id, "category_id")?,
            bbox,
            area,
            is_crowd: flag(&form.iscrowd, "iscrowd")?,
            segmentation: None,
        })
    }
}

/// What tells an entry from others.
#[derive(Deserialize)]
struct IdForm {
    id: Value,
}

/// What an annotation's pixels are read from.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MaskForm {
    segmentation: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object with id and name")]
struct CategoryForm {
    id: Value,
    name: Value,
    supercategory: Value,
    frequency: Option<Frequency>,
}

impl TryFrom<CategoryForm> for Category {
    type Error = String;

    fn try_from(form: CategoryForm) -> Result<Self, String> {
        Ok(Self {
            id: whole(&form.id, "id")?,
            name: text(&form.name, "name")?,
            supercategory: form.supercategory.as_str().map(str::to_owned),
            frequency: form.frequency,
        })
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
                "annotation 6",
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
    fn sizes_that_are_not_given_are_the_pictures() {
        let size = |width, height| ImageSize { width, height };
        let turned = PictureFrames {
            stored: size(40, 30),
            upright: size(30, 40),
            is_turned: true,
        };
        // A box, the frame that it is taken to be in, and whether there is a doubt.
        let cases = [
            ([1, 2, 3, 4], size(40, 30), true),
            ([1, 2, 25, 35], size(30, 40), false),
            ([1, 2, 38, 38], size(40, 30), true),
        ];
        for (bbox, expected, is_doubtful) in cases {
            let content = serde_json::json!({
                "images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "b"}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": bbox},
                                {"id": 3, "image_id": 2, "category_id": 1, "bbox": [50, 0, 5, 5]}],
                "categories": [{"id": 1, "name": "cat"}],
            });
            let (mut dataset, problems) = Dataset::parse(&content.to_string()).unwrap();
            assert!(problems.is_empty());
            let problems = dataset.complete_sizes(|image| (image.id == 1).then_some(turned));
            assert_eq!(dataset.images[0].size(), Some(expected), "{bbox:?}");
            assert_eq!(dataset.images[1].size(), None);
            assert_eq!(dataset.annotations.len(), 2);
            let of_images = problems
                .iter()
                .filter(|problem| problem.subject == "images");
            assert_eq!(of_images.count() > 0, is_doubtful, "{bbox:?}: {problems:?}");
        }
        let (mut dataset, _) = Dataset::parse(
            r#"{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "cat"}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [50, 0, 5, 5]}]}"#,
        )
        .unwrap();
        let problems = dataset.complete_sizes(|_| Some(turned));
        assert_eq!(problems[0].kind, ProblemKind::BoxOutside);
        assert!(dataset.annotations.is_empty());
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
