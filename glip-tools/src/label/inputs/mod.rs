//! Where images come from: folders, patterns, JSON Lines and tar shards.

mod lines;
mod paths;
mod shards;

use std::{
    io::{self, BufReader},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use self::{
    lines::Lines,
    paths::{name_below, open},
    shards::Shard,
};
use crate::{
    error::{Error, Result},
    failure::Failure,
    label::{
        request::{ImageBytes, Request},
        subject::Subject,
    },
    pictures::find_pictures,
};

/// The images of a run, from one or more places.
///
/// | given | images |
/// | --- | --- |
/// | a folder | all pictures in it and below it |
/// | a pattern, `shop/**/*.jpg` | the pictures that match |
/// | `.jsonl` | those that its lines name, relative to the file, with what to look for |
/// | `.tar` | its members, a shard as webdataset's: `7.jpg` beside `7.json` or `7.txt` |
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

#[derive(Clone, Debug)]
enum Place {
    /// Pictures that were listed, in order.
    Pictures(Vec<PathBuf>),
    Lines(PathBuf),
    StandardInput,
    Shard(PathBuf),
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
        let found: Result<Vec<_>> = places
            .into_iter()
            .map(|place| find(place.as_ref()))
            .collect();
        let (mut bases, places): (Vec<_>, Vec<_>) = found?.into_iter().unzip();
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
        let of_place = |place: &Place| match place {
            Place::Pictures(paths) => Some(paths.len() as u64),
            _ => None,
        };
        self.places.iter().map(of_place).sum()
    }

    /// Whether it is known that there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
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
        Ok(match place {
            Place::Pictures(paths) => {
                let subject = subject.ok_or(Error::NoSubject)?;
                let pictures = paths.clone().into_iter();
                Box::new(pictures.map(move |path| picture(path, &base, &subject)))
            }
            Place::Lines(path) => {
                let folder = folder_of(path);
                let file = BufReader::new(open(path)?);
                Box::new(Lines::new(file, path.clone(), folder, base, subject))
            }
            Place::StandardInput => {
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
            Place::Shard(path) => Box::new(Shard::open(path, &base, subject)?),
        })
    }
}

/// A place and its base.
fn find(place: &Path) -> Result<(PathBuf, Place)> {
    if place == Path::new("-") {
        return Ok((PathBuf::new(), Place::StandardInput));
    }
    if place.is_dir() {
        let pictures = find_pictures(place)?;
        return Ok((place.to_owned(), listed(place, pictures)?));
    }
    if place.is_file() {
        let base = folder_of(place);
        let ending = place.extension().unwrap_or_default().to_ascii_lowercase();
        return Ok(match ending.to_str() {
            Some("jsonl" | "ndjson") => (base, Place::Lines(place.to_owned())),
            Some("tar") => (base, Place::Shard(place.to_owned())),
            _ => (base, Place::Pictures(vec![place.to_owned()])),
        });
    }
    match place.to_str() {
        Some(pattern) if pattern.contains(['*', '?', '[']) => matching(place, pattern),
        _ => open(place)
            .and_then(|_| listed(place, Vec::new()))
            .map(|none| (place.to_owned(), none)),
    }
}

/// The files that match a pattern, and the folder before its first wildcard.
fn matching(place: &Path, pattern: &str) -> Result<(PathBuf, Place)> {
    let wrong = |reason: String| Error::NoInput {
        place: pattern.to_owned(),
        reason,
    };
    let paths = glob::glob(pattern).map_err(|error| wrong(error.to_string()))?;
    let mut pictures = Vec::new();
    for path in paths {
        let path = path.map_err(|error| wrong(error.to_string()))?;
        if path.is_file() {
            pictures.push(path);
        }
    }
    let is_plain = |part: &Component<'_>| {
        let text = part.as_os_str().to_string_lossy();
        !text.contains(['*', '?', '['])
    };
    let base = place.components().take_while(is_plain).collect();
    Ok((base, listed(place, pictures)?))
}

fn listed(place: &Path, pictures: Vec<PathBuf>) -> Result<Place> {
    if pictures.is_empty() {
        return Err(Error::NoInput {
            place: place.display().to_string(),
            reason: "there are no pictures".to_owned(),
        });
    }
    Ok(Place::Pictures(pictures))
}

fn picture(path: PathBuf, base: &Path, subject: &Arc<Subject>) -> Result<Request, Failure> {
    Ok(Request {
        image: name_below(base, &path)?,
        bytes: ImageBytes::File(path),
        subject: Arc::clone(subject),
        source: None,
    })
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).to_owned()
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
        assert_eq!(names(&pattern), ["d/2.webp", "e.jpg.txt", "ü 1.jpg"]);
        let one = Inputs::find([path("b c/ü 1.jpg")]).unwrap();
        assert_eq!(names(&one), ["ü 1.jpg"]);
        let several = Inputs::find([path("b c/d"), path("a.PNG")]).unwrap();
        assert!(names(&several)[0].ends_with("b c/d/2.webp"));
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
