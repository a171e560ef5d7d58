//! The files below a folder, as people have folders.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{error::Result, files::unreadable};

/// All files below a folder, links and what is no regular file included, in the order of their paths.
///
/// Every folder is visited once, whatever links lead to it, and by its own path rather than a link's. What
/// is hidden, or an attribute that a Mac stored beside a file, is passed over.
pub(crate) struct Walk<'w> {
    /// Folders that are passed over.
    pub(crate) without: &'w [PathBuf],
    /// Whether a folder is visited, by its path.
    pub(crate) enters: &'w dyn Fn(&Path) -> bool,
}

impl Walk<'_> {
    /// The files below `root`.
    ///
    /// # Errors
    /// - [`Error::Read`](crate::Error::Read): a folder cannot be read.
    pub(crate) fn files(&self, root: &Path) -> Result<Vec<PathBuf>> {
        Ok(self.visit(root)?.1)
    }

    /// The folders below `root`, and itself, in any order.
    ///
    /// # Errors
    /// - [`Error::Read`](crate::Error::Read): a folder cannot be read.
    pub(crate) fn folders(&self, root: &Path) -> Result<Vec<PathBuf>> {
        Ok(self.visit(root)?.0)
    }

    /// The folders that are visited, and the files in them.
    fn visit(&self, root: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let without = self.without.iter();
        let mut seen: HashSet<Identity> = without
            .filter_map(|folder| Identity::of(folder).ok())
            .collect();
        seen.insert(Identity::of(root).map_err(unreadable(root))?);
        let (mut visited, mut files) = (Vec::new(), Vec::new());
        let (mut folders, mut links) = (vec![root.to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            visited.push(folder.clone());
            for entry in entries(&folder)? {
                let is_link = entry.is_symlink();
                match (entry.is_dir() && (self.enters)(&entry), is_link) {
                    (true, true) => links.push(entry),
                    (true, false) => {
                        if seen.insert(Identity::of(&entry).map_err(unreadable(&entry))?) {
                            folders.push(entry);
                        }
                    }
                    (false, _) if entry.is_dir() => {}
                    (false, _) => files.push(entry),
                }
            }
            if folders.is_empty() {
                // Links are followed when all that is there of itself is known.
                links.sort_by(|a, b| b.cmp(a));
                while let (true, Some(link)) = (folders.is_empty(), links.pop()) {
                    if seen.insert(Identity::of(&link).map_err(unreadable(&link))?) {
                        folders.push(link);
                    }
                }
            }
        }
        files.sort();
        Ok((visited, files))
    }
}

/// What is in a folder and not hidden, in the order of names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = unreadable(folder);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(&unreadable)? {
        let entry = entry.map_err(&unreadable)?;
        if !is_hidden(&entry.file_name()) {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

/// Whether a file or folder of this name is none that a person put there: `.git`, `._a.jpg`, `__MACOSX`.
pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// What two paths have in common if they lead to one folder.
#[derive(PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// The device and the number of the folder on it.
    #[cfg(unix)]
    Inode(u64, u64),
    /// The path without links.
    #[cfg(not(unix))]
    Path(PathBuf),
}

impl Identity {
    #[cfg(unix)]
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path)?;
        Ok(Self::Inode(metadata.dev(), metadata.ino()))
    }

    #[cfg(not(unix))]
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        fs::canonicalize(path).map(Self::Path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, without: &[PathBuf]) -> Vec<String> {
        let walk = Walk {
            without,
            enters: &|_| true,
        };
        let files = walk.files(root).unwrap().into_iter();
        let below = files.map(|file| file.strip_prefix(root).unwrap().to_owned());
        below
            .map(|file| file.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_nobody_put_there_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join(".root");
        for name in ["b/2", "a", "._a", "__MACOSX/a", ".git/a", "out/3", "b/out"] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(names(&root, &[]), ["a", "b/2", "b/out", "out/3"]);
        let without = [root.join("b/../out"), root.join("missing")];
        assert_eq!(names(&root, &without), ["a", "b/2", "b/out"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_is_visited_once_by_its_own_path() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let [root, other] = ["root", "other"].map(|name| folder.path().join(name));
        for path in [root.join("x/z/1"), root.join("0"), other.join("2")] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let links = [
            (Path::new("."), "loop"),
            (Path::new("../../root"), "x/up"),
            (Path::new("x/z"), "a link"),
            (&other, "b"),
            (&other, "c"),
            (Path::new("nowhere"), "dangling"),
        ];
        for (target, link) in links {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(&root, other.join("back")).unwrap();
        assert_eq!(names(&root, &[]), ["0", "b/2", "dangling", "x/z/1"]);
    }
}
