//! A folder as ultralytics' YOLO trains on: of detection, or of segmentation if there are masks.

use std::{
    fs, io,
    io::{ErrorKind, Write},
    path::{Component, Path, PathBuf},
};

use glip::{ImageSize, Mask, parts::Rle};

use crate::{
    atomic::partial,
    error::Result,
    failure::Failure,
    files::{remove, unwritable},
    label::{
        journal::Journal,
        options::Verdict,
        outputs::{classes::Classes, outlines, records::images},
        record::{LabelRecord, LabelledBox},
    },
};

/// Writes `data.yaml`, `labels/` and `images/`. Returns the images that have no place in it.
pub(super) fn write(journal: &Journal, folder: &Path, copy_images: bool) -> Result<Vec<Failure>> {
    let partial = partial(folder);
    remove(&partial)?;
    let yolo = Folder {
        images: partial.join("images"),
        labels: partial.join("labels"),
        base: &journal.header().base,
        classes: Classes::of(journal)?,
        copy_images,
    };
    for part in [&yolo.images, &yolo.labels] {
        fs::create_dir_all(part).map_err(unwritable(part))?;
    }
    let mut homeless = Vec::new();
    for image in images(journal)? {
        let (_, record) = image?;
        if let Err(error) = yolo.add(&record)? {
            homeless.push(Failure {
                image: record.image,
                error,
            });
        }
    }
    let file = partial.join("data.yaml");
    fs::write(&file, data_yaml(&yolo.classes)).map_err(unwritable(&file))?;
    remove(folder)?;
    fs::rename(&partial, folder).map_err(unwritable(folder))?;
    Ok(homeless)
}

struct Folder<'a> {
    images: PathBuf,
    labels: PathBuf,
    base: &'a Path,
    classes: Classes,
    copy_images: bool,
}

impl Folder<'_> {
    /// Adds an image and its boxes. The inner error is why it has no place.
    fn add(&self, record: &LabelRecord) -> Result<Result<(), String>> {
        let name = Path::new(&record.image);
        if !name
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Ok(Err(
                "yolo: the image lies outside of the input's folder".to_owned()
            ));
        }
        let label = self.labels.join(name).with_extension("txt");
        let (image, original) = (self.images.join(name), self.base.join(name));
        for file in [&label, &image] {
            let folder = file.parent().unwrap_or(file);
            fs::create_dir_all(folder).map_err(unwritable(folder))?;
        }
        let lines = self.lines(record)?;
        match fs::File::create_new(&label) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Ok(Err(
                    "yolo: its labels would be in the file of another image, \
                    whose name differs in its ending alone: rename one"
                        .to_owned(),
                ));
            }
            file => file
                .and_then(|mut file| file.write_all(lines.as_bytes()))
                .map_err(unwritable(&label))?,
        }
        if !original.is_file() {
            return Ok(Err(format!(
                "yolo: {} is no file, so yolo/images lacks the image: unpack the shard there",
                original.display()
            )));
        }
        self.place(&original, &image).map_err(unwritable(&image))?;
        Ok(Ok(()))
    }

    /// A line for each box: its class, and where it is as shares of the image.
    fn lines(&self, record: &LabelRecord) -> Result<String> {
        let kept = record
            .boxes
            .iter()
            .filter(|found| found.verdict == Verdict::Keep);
        let line = |found: &LabelledBox| {
            let numbers = match &found.mask {
                Some(mask) => corners(&mask.rle)?,
                None => centre_and_sides(record, found).into(),
            };
            let class = self.classes.number(record.name(found)).to_string();
            let numbers = numbers.iter().map(|share| format!(" {share:.6}"));
            Ok(numbers.fold(class, |line, number| line + &number) + "\n")
        };
        kept.map(line).collect()
    }

    fn place(&self, original: &Path, image: &Path) -> io::Result<()> {
        match self.copy_images {
            true => fs::copy(original, image).map(|_| ()),
            false => link(original, image),
        }
    }
}

/// Of a box, as shares of the image.
fn centre_and_sides(record: &LabelRecord, found: &LabelledBox) -> [f32; 4] {
    let [left, top, right, bottom] = record.edges(found);
    let (width, height) = (record.width as f32, record.height as f32);
    [
        (left + right) / 2.0 / width,
        (top + bottom) / 2.0 / height,
        (right - left) / width,
        (bottom - top) / height,
    ]
}

/// x and y of the one outline that a thing has, as shares of the image.
fn corners(mask: &Rle) -> Result<Vec<f32>> {
    let ImageSize { width, height } = mask.size();
    let outline = outlines::of_all(&Mask::from(mask))?.into_iter();
    let shares = outline.flat_map(|[x, y]| [x / width as f32, y / height as f32]);
    Ok(shares.collect())
}

#[cfg(unix)]
fn link(original: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

/// Symbolic links are a privilege on Windows.
#[cfg(not(unix))]
fn link(original: &Path, link: &Path) -> io::Result<()> {
    fs::hard_link(original, link).or_else(|_| fs::copy(original, link).map(|_| ()))
}

/// YAML takes JSON's strings.
fn data_yaml(classes: &Classes) -> String {
    let names = classes.names().iter().enumerate();
    let names = names
        .map(|(number, name)| format!("  {number}: {}\n", serde_json::Value::from(name.as_str())));
    format!(
        "train: images\nval: images\nnames:\n{}",
        names.collect::<String>()
    )
}
