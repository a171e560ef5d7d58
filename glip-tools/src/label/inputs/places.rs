//! What was given, and the pictures in it.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use glob::{MatchOptions, Pattern, PatternError};

use crate::{
    error::{Error, Result},
    failure::Failure,
    files::open,
    label::{outputs::own_files, subject::Subject},
    pictures::{FoundPictures, left_out},
    walk::{Identity, Walk},
    yolo::{DataFile, read_list},
};

/// Something that was given.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The folder that names of images are relative to.
    pub(super) base: PathBuf,
    pub(super) content: Content,
    /// What there is besides pictures.
    pub(super) left_out: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Pictures that were listed, in order, and what is looked for in them if nothing else is said.
    Pictures(Vec<PathBuf>, Option<Arc<Subject>>),
    Lines(PathBuf),
    StandardInput,
    /// A tar archive, which may be packed.
    Shard(PathBuf),
}

impl Place {
    /// What is at a place, without what a run wrote into the folder `out`.
    pub(super) fn find(place: &Path, out: Option<&Path>) -> Result<Self> {
        if place == Path::new("-") {
            return Ok(Self::of(PathBuf::new(), Content::StandardInput));
        }
        if place.is_dir() {
            return Self::below(place, place, out, &|_| true, &|_| true);
        }
        if !place.is_file()
            && let Some(pattern) = place.to_str().filter(|text| text.contains(WILDCARDS))
        {
            return Self::matching(place, pattern, out);
        }
        Self::of_file(place, out)
    }

    fn of(base: PathBuf, content: Content) -> Self {
        Self {
            base,
            content,
            left_out: Vec::new(),
        }
    }

    fn of_file(place: &Path, out: Option<&Path>) -> Result<Self> {
        open(place)?;
        let (base, file) = (folder_of(place), place.to_owned());
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        Ok(match () {
            () if ends(&[".jsonl", ".ndjson"]) => Self::of(base, Content::Lines(file)),
            () if ends(&[".tar", ".tar.gz", ".tgz"]) => Self::of(base, Content::Shard(file)),
            () if ends(&[".txt"]) => {
                let found = FoundPictures {
                    pictures: read_list(place)?,
                    ..FoundPictures::default()
                };
                Self::listed(place, base, found, None)?
            }
            () if ends(&[".yaml", ".yml"]) => Self::of_data_set(place, out)?,
            () => Self::of(base, Content::Pictures(vec![file], None)),
        })
    }

    /// The pictures of all splits of a data set, each once, and its names.
    fn of_data_set(place: &Path, out: Option<&Path>) -> Result<Self> {
        let own = out.map(|out| own_files(out).into_iter().chain([out.to_owned()]));
        let data = DataFile::read(place)?.without(own.into_iter().flatten());
        let mut found = FoundPictures::default();
        for split in data.splits() {
            let more = data.pictures(split)?;
            found.pictures.extend(more.pictures);
            found.left_out.extend(more.left_out);
        }
        let mut seen = std::collections::HashSet::new();
        found
            .pictures
            .retain(|picture| seen.insert(picture.clone()));
        let names = data.names.iter().map(|(_, name)| name.as_str());
        let names = Arc::new(Subject::categories(names));
        Self::listed(place, data.root, found, Some(names))
    }

    /// The files below a folder that are wanted, in folders that are.
    fn below(
        place: &Path,
        base: &Path,
        out: Option<&Path>,
        enters: &dyn Fn(&Path) -> bool,
        is_wanted: &dyn Fn(&Path) -> bool,
    ) -> Result<Self> {
        // Pictures that a run copied or linked into its own folder are no further ones.
        let own = match out {
            Some(out) if is_same(out, base) => own_files(base),
            Some(out) => vec![out.to_owned()],
            None => Vec::new(),
        };
        let walk = Walk {
            without: &own,
            enters,
        };
        let mut files = walk.files(base)?;
        files.retain(|file| is_wanted(file) && !own.contains(file));
        Self::listed(place, base.to_owned(), FoundPictures::among(files), None)
    }

    /// The files that match a pattern below the folder before its first wildcard.
    fn matching(place: &Path, pattern: &str, out: Option<&Path>) -> Result<Self> {
        let is_plain = |part: &Component<'_>| {
            let text = part.as_os_str().to_string_lossy();
            !text.contains(WILDCARDS)
        };
        let mut base: PathBuf = place.components().take_while(is_plain).collect();
        let parts = place.components().skip_while(is_plain);
        let parts = parts.map(|part| part.as_os_str().to_string_lossy().into_owned());
        let matcher = Matcher::new(parts.collect()).map_err(|error| Error::NoInput {
            place: pattern.to_owned(),
            reason: error.to_string(),
        })?;
        if base.as_os_str().is_empty() {
            base.push(".");
        }
        let below = |path: &Path| path.strip_prefix(&base).unwrap_or(path).to_owned();
        Self::below(
            place,
            &base,
            out,
            &|folder| matcher.may_hold(&below(folder)),
            &|file| matcher.matches(&below(file)),
        )
    }

    fn listed(
        place: &Path,
        base: PathBuf,
        found: FoundPictures,
        names: Option<Arc<Subject>>,
    ) -> Result<Self> {
        if found.pictures.is_empty() {
            let besides = left_out(&found.left_out);
            return Err(Error::NoInput {
                place: place.display().to_string(),
                reason: match besides {
                    Some(besides) => format!("there are no pictures, {besides}"),
                    None => "there are no pictures".to_owned(),
                },
            });
        }
        Ok(Self {
            base,
            content: Content::Pictures(found.pictures, names),
            left_out: found.left_out,
        })
    }
}

const WILDCARDS: [char; 3] = ['*', '?', '['];

/// A pattern by its parts, of which `**` is any number of folders.
struct Matcher {
    parts: Vec<Pattern>,
    whole: Pattern,
}

impl Matcher {
    const OPTIONS: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };

    fn new(parts: Vec<String>) -> Result<Self, PatternError> {
        Ok(Self {
            whole: Pattern::new(&parts.join("/"))?,
            parts: parts
                .iter()
                .map(|part| Pattern::new(part))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Names that are not Unicode match as far as they are.
    fn matches(&self, path: &Path) -> bool {
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        self.whole.matches_with(&parts.join("/"), Self::OPTIONS)
    }

    /// Whether something in a folder may match.
    fn may_hold(&self, folder: &Path) -> bool {
        let mut parts = self.parts.iter();
        for name in folder {
            match parts.next() {
                Some(part) if part.as_str() == "**" => return true,
                Some(part) if part.matches_with(&name.to_string_lossy(), Self::OPTIONS) => {}
                _ => return false,
            }
        }
        parts.next().is_some()
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((Identity::of(a), Identity::of(b)), (Ok(a), Ok(b)) if a == b)
}

/// A path as it is called in records: below the base, with `/` between the parts.
pub(super) fn name_below(base: &Path, path: &Path) -> Result<String, Failure> {
    let below = path.strip_prefix(base).unwrap_or(path);
    match below.to_str() {
        Some(name) => Ok(name.replace(std::path::MAIN_SEPARATOR, "/")),
        None => Err(Failure {
            image: below.to_string_lossy().into_owned(),
            error: NOT_UNICODE.to_owned(),
        }),
    }
}

pub(super) const NOT_UNICODE: &str = "its name is not Unicode, which JSON cannot hold: rename it";

pub(super) fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_entered_if_something_in_them_may_match() {
        let matcher = |pattern: &str| {
            let parts = pattern.split('/').map(str::to_owned).collect();
            Matcher::new(parts).unwrap()
        };
        let cases = [
            ("*.jpg", "a.jpg", true, "b", false),
            ("*/a*.jpg", "b/a1.jpg", true, "b", true),
            ("*/a*.jpg", "b/c/a1.jpg", false, "b/c", false),
            ("**/*.jpg", "a.jpg", true, "b/c", true),
            ("b?/**/*.jpg", "b1/c/a.jpg", true, "b1/c/d", true),
            ("b?/**/*.jpg", "c/a.jpg", false, "c", false),
            ("*", ".a.jpg", false, "b", false),
            ("*", "\u{fffd}.jpg", true, "b", false),
        ];
        for (pattern, file, matches, folder, may_hold) in cases {
            let matcher = matcher(pattern);
            assert_eq!(
                matcher.matches(Path::new(file)),
                matches,
                "{pattern} {file}"
            );
            assert_eq!(
                matcher.may_hold(Path::new(folder)),
                may_hold,
                "{pattern} {folder}"
            );
        }
    }
}
