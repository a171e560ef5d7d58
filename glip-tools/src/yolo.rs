//! Data sets as YOLO has them: pictures in folders or lists, a text of boxes for each, and a file of names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    causes::with_causes,
    coco::{Annotation, Category, Dataset, Image, wrong_box},
    error::{Error, Result},
    files::{ANY_SIZE, read},
    pictures::{FoundPictures, PictureFrames},
    problem::{Problem, ProblemKind},
    text::{read_text, without_mark},
    walk::Walk,
};

/// The splits that a data file may have, in the order in which they are labelled.
pub const SPLITS: [&str; 3] = ["train", "val", "test"];

/// Files of names that lie in a data set's folder, by what they are called.
const NAMES: [&str; 3] = ["classes.txt", "obj.names", "classes.names"];

/// What `data.yaml` says: where pictures are, and what their classes are called.
///
/// ```
/// use glip_tools::yolo::DataFile;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("data.yaml");
/// std::fs::write(&path, "train: images\nnames: {0: red circle, 1: blue square}\n")?;
/// let data = DataFile::read(&path)?;
/// assert_eq!(data.names, [(0, "red circle".to_owned()), (1, "blue square".to_owned())]);
/// assert!(data.pictures("val").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// The file.
    pub path: PathBuf,
    /// The folder that its paths are relative to.
    pub root: PathBuf,
    /// The classes by number.
    pub names: Vec<(u64, String)>,
    /// The folders, lists and pictures of each split, as they are written.
    splits: Vec<(String, Vec<String>)>,
    /// Folders in which no pictures are looked for.
    without: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Entries {
    path: Option<PathBuf>,
    names: Option<Value>,
    train: Option<Value>,
    val: Option<Value>,
    test: Option<Value>,
}

impl DataFile {
    /// Reads `data.yaml`, or what is in its place in a folder: that, or a list of names beside the pictures
    /// (`classes.txt`), which are of any split then.
    ///
    /// # Errors
    /// - [`Error::Read`]: there is no such file.
    /// - [`Error::DataFile`]: it is none of a data set.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Self::parse(path, &read_text(path)?);
        }
        let among = |names: &[&str]| {
            let files = names.iter().map(|name| path.join(name));
            files.into_iter().find(|file| file.exists())
        };
        match (among(&["data.yaml", "data.yml"]), among(&NAMES)) {
            (Some(file), _) => Self::parse(&file, &read_text(&file)?),
            (None, Some(file)) => {
                let text = read_text(&file)?;
                let names = text.lines().map(|name| name.trim().to_owned());
                let names = (0..).zip(names).filter(|(_, name)| !name.is_empty());
                let folder = || vec![String::new()];
                Ok(Self {
                    root: path.to_owned(),
                    names: names.collect(),
                    splits: SPLITS.map(|split| (split.to_owned(), folder())).into(),
                    without: Vec::new(),
                    path: file,
                })
            }
            (None, None) => Err(wrong(
                path,
                "it has neither data.yaml nor classes.txt".into(),
            )),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let wrong = |reason| wrong(path, reason);
        let entries: Entries =
            serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let root = entries.path.map(|path| beside.join(path));
        let splits = [entries.train, entries.val, entries.test];
        let splits = SPLITS.into_iter().zip(splits);
        let splits = splits.filter_map(|(split, places)| Some((split, places?)));
        Ok(Self {
            path: path.to_owned(),
            // A path of another machine is not to be taken for this one's.
            root: root
                .filter(|root| root.is_dir())
                .unwrap_or(beside.to_owned()),
            names: names(entries.names).map_err(wrong)?,
            without: Vec::new(),
            splits: splits
                .map(|(split, value)| Ok((split.to_owned(), places(split, value)?)))
                .collect::<Result<_, String>>()
                .map_err(wrong)?,
        })
    }

    /// Looks for no pictures in these folders, such as that of a run's results.
    #[must_use]
    pub fn without(self, folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            without: folders.into_iter().collect(),
            ..self
        }
    }

    /// The splits that it has.
    pub fn splits(&self) -> impl Iterator<Item = &str> {
        self.splits.iter().map(|(split, _)| split.as_str())
    }

    /// The pictures of a split.
    ///
    /// # Errors
    /// - [`Error::DataFile`]: it has no such split.
    /// - [`Error::Read`]: a folder or a list cannot be read.
    pub fn pictures(&self, split: &str) -> Result<FoundPictures> {
        let Some((_, places)) = self.splits.iter().find(|(known, _)| known == split) else {
            let known: Vec<&str> = self.splits().collect();
            let reason = format!("it has no split {split:?}, but: {}", known.join(", "));
            return Err(wrong(&self.path, reason));
        };
        let walk = Walk {
            without: &self.without,
            enters: &|_| true,
        };
        let mut found = FoundPictures::default();
        for place in places {
            let place = self.locate(place);
            match place.is_dir() {
                true => {
                    let more = FoundPictures::among(walk.files(&place)?);
                    found.pictures.extend(more.pictures);
                    // Texts of boxes and lists of names may lie beside the pictures.
                    let is_text = |file: &PathBuf| file.extension().is_some_and(|e| e == "txt");
                    found
                        .left_out
                        .extend(more.left_out.into_iter().filter(|file| !is_text(file)));
                }
                false => found.pictures.extend(read_list(&place)?),
            }
        }
        Ok(found)
    }

    /// Where a place of a split is. Some tools write paths relative to a folder beside the file's.
    fn locate(&self, place: &str) -> PathBuf {
        let beside = self.path.parent().unwrap_or(Path::new(""));
        let bare = place.strip_prefix("../").unwrap_or(place);
        let candidates = [
            self.root.join(place),
            self.root.join(bare),
            beside.join(place),
            beside.join(bare),
        ];
        let existing = candidates.iter().find(|path| path.exists());
        existing.unwrap_or(&candidates[0]).clone()
    }

    /// The pictures of a split and what is in them. Ids count the pictures from 1, and categories have the numbers of
    /// the classes. Sizes are those of the upright pictures, as YOLO looks at them.
    ///
    /// # Errors
    /// As [`pictures`](Self::pictures).
    pub fn dataset(&self, split: &str) -> Result<(Dataset, Vec<Problem>)> {
        let categories = self.names.iter().map(|(id, name)| Category {
            id: *id,
            name: name.clone(),
            supercategory: None,
            frequency: None,
        });
        let mut dataset = Dataset {
            categories: categories.collect(),
            ..Dataset::default()
        };
        let mut problems = Vec::new();
        for (id, path) in (1..).zip(self.pictures(split)?.pictures) {
            let size = match PictureFrames::read(&path) {
                Ok(frames) => frames.upright,
                Err(error) => {
                    let subject = path.display().to_string();
                    problems.push(Problem::new(
                        ProblemKind::Picture,
                        subject,
                        with_causes(&error),
                    ));
                    continue;
                }
            };
            let image = Image {
                id,
                file_name: path,
                width: size.width,
                height: size.height,
                absent: Vec::new(),
                not_exhaustive: Vec::new(),
            };
            self.objects(&image, &mut dataset.annotations, &mut problems);
            dataset.images.push(image);
        }
        Ok((dataset, problems))
    }

    /// Adds what is in a picture, if it has a text of boxes.
    fn objects(&self, image: &Image, objects: &mut Vec<Annotation>, problems: &mut Vec<Problem>) {
        let path = labels_of(&image.file_name);
        if fs::symlink_metadata(&path).is_err() {
            return;
        }
        let subject = path.display().to_string();
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) => {
                let detail = with_causes(&error);
                problems.push(Problem::new(ProblemKind::Malformed, subject, detail));
                return;
            }
        };
        for (line, number) in text.lines().zip(1..) {
            if line.trim().is_empty() {
                continue;
            }
            match self.object(line, image) {
                Ok((category, bbox)) => objects.push(Annotation {
                    id: objects.len() as u64 + 1,
                    image: image.id,
                    category,
                    bbox,
                    area: bbox[2] * bbox[3],
                    is_crowd: false,
                    segmentation: None,
                }),
                Err((kind, detail)) => {
                    let subject = format!("{subject}, line {number}");
                    problems.push(Problem::new(kind, subject, detail));
                }
            }
        }
    }

    /// A line's class and box: `class x y width height` of the centre, in shares of the picture, or the corners of an
    /// outline in place of the box.
    fn object(&self, line: &str, image: &Image) -> Result<(u64, [f64; 4]), (ProblemKind, String)> {
        let malformed = |reason: &str| (ProblemKind::Malformed, format!("{line:?}: {reason}"));
        let mut fields = line.split_whitespace();
        let class = fields.next().and_then(|class| class.parse().ok());
        let class: u64 = class.ok_or_else(|| malformed("no number of a class"))?;
        let numbers: Option<Vec<f64>> = fields
            .map(|field| field.parse().ok().filter(|n: &f64| n.is_finite()))
            .collect();
        let numbers = numbers.ok_or_else(|| malformed("what follows the class are no numbers"))?;
        if !self.names.iter().any(|(known, _)| *known == class) {
            return Err((ProblemKind::UnknownCategory, class.to_string()));
        }
        let [width, height] = [image.width, image.height].map(f64::from);
        let bbox = match numbers[..] {
            // Some tools add how sure they were.
            [x, y, w, h] | [x, y, w, h, _] => [x - w / 2.0, y - h / 2.0, w, h],
            ref outline if outline.len() >= 6 && outline.len() % 2 == 0 => around(outline),
            _ => return Err(malformed("neither x, y, width and height nor an outline")),
        };
        let [x, y, w, h] = bbox;
        let bbox = [x * width, y * height, w * width, h * height];
        match wrong_box(bbox, image) {
            None => Ok((class, bbox)),
            Some(problem) => Err(problem),
        }
    }
}

/// The box around points.
fn around(outline: &[f64]) -> [f64; 4] {
    let axis = |axis: usize| {
        let places = outline.iter().skip(axis).step_by(2).copied();
        let least = places.clone().fold(f64::INFINITY, f64::min);
        (least, places.fold(f64::NEG_INFINITY, f64::max) - least)
    };
    let ((x, width), (y, height)) = (axis(0), axis(1));
    [x, y, width, height]
}

/// Where the boxes of a picture are: below `labels` in place of the last `images`, else beside it.
fn labels_of(picture: &Path) -> PathBuf {
    let text = picture.with_extension("txt");
    let parts: Vec<_> = text.components().collect();
    let images = parts.iter().rposition(|part| part.as_os_str() == "images");
    let below_labels = images.map(|images| {
        let (before, after) = (&parts[..images], &parts[images + 1..]);
        let folder: PathBuf = before.iter().collect();
        folder
            .join("labels")
            .join(after.iter().collect::<PathBuf>())
    });
    match below_labels {
        Some(path) if path.exists() || !text.exists() => path,
        _ => text,
    }
}

/// Reads a list of pictures, one a line, as YOLO splits data sets: relative to the list, or if there is no such file, to
/// the current folder.
///
/// # Errors
/// - [`Error::Read`]: the list cannot be read.
pub(crate) fn read_list(path: &Path) -> Result<Vec<PathBuf>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let content = read(path, ANY_SIZE)?;
    let lines = without_mark(&content)
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty()).map(as_path);
    Ok(lines
        .map(|line| {
            let beside = |line: &Path| folder.join(line.strip_prefix(".").unwrap_or(line));
            // As Windows' programs write it.
            let slashed = line
                .to_str()
                .map(|line| PathBuf::from(line.replace('\\', "/")));
            let slashed = slashed.map(|line| beside(&line));
            let candidates = [Some(beside(&line)), Some(line.clone()), slashed];
            let mut existing = candidates
                .into_iter()
                .flatten()
                .filter(|path| path.exists());
            existing.next().unwrap_or_else(|| beside(&line))
        })
        .collect())
}

/// A path of any bytes, where file systems take them.
fn as_path(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        std::ffi::OsStr::from_bytes(bytes).into()
    }
    #[cfg(not(unix))]
    {
        String::from_utf8_lossy(bytes).into_owned().into()
    }
}

/// Names as a list, or as a mapping from numbers.
fn names(value: Option<Value>) -> Result<Vec<(u64, String)>, String> {
    let text = |name: Value| match name {
        Value::String(name) => Ok(name),
        Value::Number(name) => Ok(name.to_string()),
        other => Err(format!("names: {other} is no name: put it between quotes")),
    };
    let mut names: Vec<(u64, String)> = match value {
        Some(Value::Array(names)) => (0..)
            .zip(names)
            .map(|(number, name)| Ok((number, text(name)?)))
            .collect::<Result<_, String>>()?,
        Some(Value::Object(names)) => names
            .into_iter()
            .map(|(key, name)| {
                let number = key.parse();
                let number = number.map_err(|_| format!("names: {key:?} is no number"))?;
                Ok((number, text(name)?))
            })
            .collect::<Result<_, String>>()?,
        _ => return Err("it has no list or mapping of names".to_owned()),
    };
    names.sort();
    Ok(names)
}

/// The places of a split: one, or a list.
fn places(split: &str, value: Value) -> Result<Vec<String>, String> {
    let text = |value: Value| match value {
        Value::String(place) => Ok(place),
        other => Err(format!("{split}: {other} is no path")),
    };
    match value {
        Value::Array(places) => places.into_iter().map(text).collect(),
        Value::Null => Ok(Vec::new()),
        place => Ok(vec![text(place)?]),
    }
}

fn wrong(path: &Path, reason: String) -> Error {
    Error::DataFile {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    fn write(path: PathBuf, text: &str) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn picture(path: PathBuf) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::new(200, 100).save(path).unwrap();
    }

    #[test]
    fn boxes_are_read_in_every_form() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("set/images");
        let path = |name: &str| root.join("..").join(name);
        for name in [
            "images/val/a.png",
            "images/val/b.png",
            "images/val/none.png",
        ] {
            picture(path(name));
        }
        fs::write(path("images/val/broken.png"), "").unwrap();
        write(
            path("labels/val/a.txt"),
            "\u{feff}1 0.5 0.5 0.1 0.2\r\n\n0 0.1 0.1 0.3 0.1 0.3 0.4\n7 0.5 0.5 0.1 0.1\n0 0.5 0.5\n0 2 2 0.1 0.1\nx\n1 0.5 0.5 -0.1 0.1\n",
        );
        write(path("images/val/b.txt"), "0 0.25 0.5 0.5 1 0.9\n");
        let data = write(
            path("data.yaml"),
            "path: /another/machine\nval: ../images/val\nnames: [red circle, 5]\n",
        );
        let data = DataFile::read(data).unwrap();
        let (dataset, problems) = data.dataset("val").unwrap();
        assert_eq!(dataset.categories[1].name, "5");
        let boxes: Vec<_> = dataset
            .annotations
            .iter()
            .map(|a| (a.image, a.category, a.bbox))
            .collect();
        let expected = [
            (1, 1, [90.0, 40.0, 20.0, 20.0]),
            (1, 0, [20.0, 10.0, 40.0, 30.0]),
            (2, 0, [0.0, 0.0, 100.0, 100.0]),
        ];
        for ((image, category, bbox), expected) in boxes.iter().zip(expected) {
            assert_eq!((*image, *category), (expected.0, expected.1));
            assert!(
                bbox.iter()
                    .zip(expected.2)
                    .all(|(a, b)| (a - b).abs() < 1e-9),
                "{bbox:?}"
            );
        }
        assert_eq!((boxes.len(), dataset.images.len()), (3, 3));
        let kinds: Vec<_> = problems.iter().map(|problem| problem.kind).collect();
        use ProblemKind::*;
        let expected = [
            UnknownCategory,
            Malformed,
            BoxOutside,
            Malformed,
            InvertedBox,
            Picture,
        ];
        assert_eq!(kinds, expected);
        assert!(
            problems[0].subject.ends_with("a.txt, line 4"),
            "{}",
            problems[0]
        );
    }

    #[test]
    fn pictures_are_in_folders_or_lists() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        picture(path("images/a b.png"));
        write(
            path("train.txt"),
            "\u{feff}./images/a b.png\r\n\r\nimages/missing.jpg\n/absolute.png\n.\\images\\a b.png",
        );
        let yaml = write(
            path("data.yml"),
            "train: [train.txt, images]\ntest:\nnames: {1: b, 0: a}",
        );
        let data = DataFile::read(folder.path()).unwrap();
        assert_eq!(data, DataFile::read(&yaml).unwrap());
        assert_eq!(data.splits().collect::<Vec<_>>(), ["train"]);
        let found = data.pictures("train").unwrap().pictures;
        let picture = path("images/a b.png");
        assert_eq!(
            found,
            [
                picture.clone(),
                path("images/missing.jpg"),
                "/absolute.png".into(),
                picture.clone(),
                picture.clone(),
            ]
        );
        let error = data.pictures("val").unwrap_err().to_string();
        assert!(error.contains("no split \"val\", but: train"), "{error}");
        // Names alone.
        fs::remove_file(yaml).unwrap();
        write(path("classes.txt"), "a\r\nb\r\n");
        let data = DataFile::read(folder.path()).unwrap();
        assert_eq!(data.names, [(0, "a".to_owned()), (1, "b".to_owned())]);
        let found = data.pictures("val").unwrap();
        assert_eq!((found.pictures, found.left_out), (vec![picture], vec![]));
        let without = data.without([path("images")]);
        assert!(without.pictures("val").unwrap().pictures.is_empty());
    }

    #[test]
    fn what_is_no_data_file_says_why() {
        let folder = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("- a", "expected mapping start"),
            ("train: x", "no list or mapping of names"),
            ("names: {a: b}", "\"a\" is no number"),
            ("names: [[a]]", "is no name"),
            ("names: [a]\ntrain: 7", "train: 7 is no path"),
        ] {
            let path = write(folder.path().join("x.yaml"), text);
            let error = DataFile::read(path).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        fs::remove_file(folder.path().join("x.yaml")).unwrap();
        let error = DataFile::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("neither data.yaml"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn lists_hold_names_of_any_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.txt");
        fs::write(&list, b"caf\xe9.jpg\n").unwrap();
        let found = read_list(&list).unwrap();
        assert_eq!(
            found[0].file_name().unwrap().as_encoded_bytes(),
            b"caf\xe9.jpg"
        );
    }
}
