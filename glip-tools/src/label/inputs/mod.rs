//! Where images come from: folders, patterns, lists, JSON Lines, data sets and tar shards.

mod lines;
mod places;
mod shards;

use std::{
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{
    lines::Lines,
    places::{Content, Place, folder_of, name_below},
    shards::Shard,
};
use crate::{
    error::{Error, Result},
    failure::Failure,
    files::open,
    label::{
        request::{ImageBytes, Request},
        subject::Subject,
    },
};

/// The images of a run, from one or more places.
///
/// | given | images |
/// | --- | --- |
/// | a folder | all pictures in it and below it, as [`find_pictures`](crate::find_pictures) finds them |
/// | a pattern, `shop/**/*.jpg` | the pictures that match |
/// | `.txt` | those that it lists, one a line, as YOLO splits data sets |
/// | `data.yaml` | those of all splits of YOLO's data set; its names are looked for if nothing else is said |
/// | `.jsonl` | those that its lines name, relative to the file, with what to look for |
/// | `.tar`, `.tar.gz`, `.tgz` | its members, a shard as webdataset's: `7.jpg` beside `7.json` or `7.txt` |
/// | `-` | as `.jsonl`, from the standard input; paths are relative to the current folder |
/// | any other file | itself |
///
/// Images are called by their paths below the [base](Self::base): the folder that was given, or the
/// one that a pattern, a file of lines or a shard is in. Are there several, it is the current folder.
///
/// ```
/// use std::sync::Arc;
///
/// use glip_tools::label::{Inputs, Subject};
///
/// let subject = Arc::new(Subject::categories(["person"]));
/// let inputs = Inputs::find(["../examples/images/*.jpg"])?;
/// let requests: Vec<_> = inputs.requests(Some(subject))?.collect();
/// assert_eq!(requests[0].as_ref().unwrap().image, "astronaut.jpg");
/// # Ok::<(), glip_tools::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inputs {
    places: Vec<Place>,
    base: PathBuf,
}

/// What each input of a run is: a request, or why it is none.
pub type Requests = Box<dyn Iterator<Item = Result<Request, Failure>> + Send>;

impl Inputs {
    /// Finds what was given; pictures are listed and sorted now, other files read later.
    ///
    /// # Errors
    /// - [`Error::NoInput`]: nothing was given, a place has no pictures, or a pattern is none.
    /// - [`Error::Read`]: a file does not exist, or a folder cannot be read.
    pub fn find<I>(places: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<Path>,
    {
        Self::find_all(places, None)
    }

    /// As [`find`](Self::find), without what runs into the folder `out` wrote there, which may be in one of the places.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_for<I>(places: I, out: impl AsRef<Path>) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<Path>,
    {
        Self::find_all(places, Some(out.as_ref()))
    }

    fn find_all<I>(places: I, out: Option<&Path>) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<Path>,
    {
        let places = places.into_iter();
        let places: Result<Vec<Place>> = places
            .map(|place| Place::find(place.as_ref(), out))
            .collect();
        let places = places?;
        let mut bases: Vec<_> = places.iter().map(|place| place.base.clone()).collect();
        bases.dedup();
        match bases.len() {
            0 => Err(Error::NoInput {
                place: String::new(),
                reason: "no place was given".to_owned(),
            }),
            1 => Ok(Self {
                places,
                base: bases.remove(0),
            }),
            _ => Ok(Self {
                places,
                base: PathBuf::from("."),
            }),
        }
    }

    /// The folder that names of images are relative to.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// How many images there are, if that is known before they are read.
    pub fn len(&self) -> Option<u64> {
        let of_place = |place: &Place| match &place.content {
            Content::Pictures(paths, _) => Some(paths.len() as u64),
            _ => None,
        };
        self.places.iter().map(of_place).sum()
    }

    /// Whether it is known that there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// What is in the places besides pictures, and is left out.
    pub fn left_out(&self) -> Vec<PathBuf> {
        let of_places = self.places.iter().flat_map(|place| &place.left_out);
        of_places.cloned().collect()
    }

    /// What the inputs say to look for in all images: the names of a data set, if that is all there is.
    pub fn subject(&self) -> Option<Arc<Subject>> {
        match &self.places[..] {
            [
                Place {
                    content: Content::Pictures(_, names),
                    ..
                },
            ] => names.clone(),
            _ => None,
        }
    }

    /// The images, one by one. `subject` is looked for in all of them; without it, lines and shards
    /// must say what.
    ///
    /// # Errors
    /// - [`Error::NoSubject`]: there are plain pictures, and nothing to look for.
    /// - [`Error::Read`]: a file cannot be opened.
    pub fn requests(&self, subject: Option<Arc<Subject>>) -> Result<Requests> {
        let of_place = |place: &Place| self.of_place(place, subject.clone());
        let requests: Vec<Requests> = self.places.iter().map(of_place).collect::<Result<_>>()?;
        Ok(Box::new(requests.into_iter().flatten()))
    }

    fn of_place(&self, place: &Place, subject: Option<Arc<Subject>>) -> Result<Requests> {
        let base = self.base.clone();
        Ok(match &place.content {
            Content::Pictures(paths, names) => {
                let subject = subject.or(names.clone()).ok_or(Error::NoSubject)?;
                let pictures = paths.clone().into_iter();
                Box::new(pictures.map(move |path| picture(path, &base, &subject)))
            }
            Content::Lines(path) => {
                let folder = folder_of(path);
                let file = BufReader::new(open(path)?);
                Box::new(Lines::new(file, path.clone(), folder, base, subject))
            }
            Content::StandardInput => {
                let path = PathBuf::from("standard input");
                let input = BufReader::new(io::stdin());
                Box::new(Lines::new(
                    input,
                    path,
                    PathBuf::new(),
                    PathBuf::new(),
                    subject,
                ))
            }
            Content::Shard(path) => Box::new(Shard::open(path, &base, subject)?),
        })
    }
}

fn picture(path: PathBuf, base: &Path, subject: &Arc<Subject>) -> Result<Request, Failure> {
    Ok(Request {
        image: name_below(base, &path)?,
        bytes: ImageBytes::File(path),
        subject: Arc::clone(subject),
        source: None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Files with nothing in them.
    fn files(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn names(inputs: &Inputs) -> Vec<String> {
        let subject = Arc::new(Subject::categories(["red circle"]));
        let requests = inputs.requests(Some(subject)).unwrap();
        requests.map(|request| request.unwrap().image).collect()
    }

    #[test]
    fn names_are_paths_below_what_was_given() {
        let folder = files(&[
            "b c/ü 1.jpg",
            "a.PNG",
            "notes.txt",
            "b c/d/2.webp",
            "b c/e.jpg.txt",
        ]);
        let path = |name: &str| folder.path().join(name);
        let all = Inputs::find([folder.path()]).unwrap();
        assert_eq!(names(&all), ["a.PNG", "b c/d/2.webp", "b c/ü 1.jpg"]);
        assert_eq!(all.len(), Some(3));
        let pattern = Inputs::find([path("b c/**/*.*p*")]).unwrap();
        assert_eq!(pattern.base(), path("b c"));
        assert_eq!(names(&pattern), ["d/2.webp", "ü 1.jpg"]);
        assert_eq!(pattern.left_out(), [path("b c/e.jpg.txt")]);
        // Where a name has what is special in patterns, it is a name.
        fs::write(path("[1].jpg"), "").unwrap();
        assert_eq!(
            names(&Inputs::find([path("[1].jpg")]).unwrap()),
            ["[1].jpg"]
        );
        let one = Inputs::find([path("b c/ü 1.jpg")]).unwrap();
        assert_eq!(names(&one), ["ü 1.jpg"]);
        let several = Inputs::find([path("b c/d"), path("a.PNG")]).unwrap();
        assert!(names(&several)[0].ends_with("b c/d/2.webp"));
    }

    #[test]
    fn what_a_run_wrote_is_no_input() {
        let folder = files(&[
            "a.jpg",
            "b/c.jpg",
            "out/yolo/images/a.jpg",
            "yolo/images/a.jpg",
            "labels.jsonl",
        ]);
        let [root, out] = ["", "out"].map(|name| folder.path().join(name));
        let found = Inputs::find_for([&root], &out).unwrap();
        assert_eq!(names(&found), ["a.jpg", "b/c.jpg", "yolo/images/a.jpg"]);
        let pattern = Inputs::find_for([root.join("**/*.jpg")], &out).unwrap();
        assert_eq!(names(&pattern), names(&found));
        // Into the folder of the pictures itself.
        let found = Inputs::find_for([&root], root.join("b/..")).unwrap();
        assert_eq!(names(&found), ["a.jpg", "b/c.jpg", "out/yolo/images/a.jpg"]);
        assert!(found.left_out().is_empty(), "{:?}", found.left_out());
        let inside = Inputs::find_for([root.join("b")], &root).unwrap();
        assert_eq!(names(&inside), ["c.jpg"]);
    }

    #[test]
    fn lists_and_data_sets_are_inputs() {
        let folder = files(&["images/1.jpg", "images/a b.png", "labels/1.txt"]);
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let list = write(
            "train.txt",
            "\u{feff}images/a b.png\r\n./images/1.jpg\r\nmissing.jpg\n",
        );
        let found = Inputs::find([list]).unwrap();
        assert_eq!(
            names(&found),
            ["images/a b.png", "images/1.jpg", "missing.jpg"]
        );
        let yaml = write(
            "data.yaml",
            "train: train.txt\nval: images\nnames: {0: bird, 1: bee}\n",
        );
        let found = Inputs::find([yaml]).unwrap();
        assert_eq!(
            names(&found),
            ["images/a b.png", "images/1.jpg", "missing.jpg"]
        );
        assert_eq!(found.subject().unwrap().phrases().unwrap(), ["bird", "bee"]);
        let first = found.requests(None).unwrap().next().unwrap().unwrap();
        assert_eq!(first.subject.phrases().unwrap(), ["bird", "bee"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_unicode_is_named() {
        use std::os::unix::ffi::OsStrExt;
        let folder = files(&["a.jpg"]);
        let odd = std::ffi::OsStr::from_bytes(b"caf\xe9.jpg");
        fs::write(folder.path().join(odd), "").unwrap();
        fs::write(folder.path().join("list.txt"), b"a.jpg\ncaf\xe9.jpg\n").unwrap();
        for place in ["", "*.jpg", "list.txt"] {
            let inputs = Inputs::find([folder.path().join(place)]).unwrap();
            let subject = Arc::new(Subject::categories(["red circle"]));
            let requests: Vec<_> = inputs.requests(Some(subject)).unwrap().collect();
            assert_eq!(requests.len(), 2, "{place}");
            let failure = requests[1].as_ref().unwrap_err();
            assert_eq!(failure.image, "caf\u{fffd}.jpg");
            assert!(failure.error.contains("not Unicode"), "{}", failure.error);
        }
    }

    #[test]
    fn places_without_pictures_are_errors_that_name_them() {
        let folder = files(&["notes.txt"]);
        for place in [
            folder.path().to_owned(),
            folder.path().join("*.jpg"),
            folder.path().join("***"),
        ] {
            let error = Inputs::find([&place]).unwrap_err();
            assert!(matches!(error, Error::NoInput { .. }), "{error}");
            assert!(
                error.to_string().contains(&*place.to_string_lossy()),
                "{error}"
            );
        }
        let missing = Inputs::find([folder.path().join("missing.jsonl")]).unwrap_err();
        assert!(matches!(missing, Error::Read { .. }), "{missing}");
        let nothing = Inputs::find::<[&str; 0]>([]).unwrap_err();
        assert!(matches!(nothing, Error::NoInput { .. }), "{nothing}");
    }

    #[test]
    fn pictures_need_something_to_look_for() {
        let folder = files(&["a.jpg"]);
        let error = Inputs::find([folder.path()])
            .unwrap()
            .requests(None)
            .err()
            .unwrap();
        assert!(matches!(error, Error::NoSubject), "{error}");
    }
}
