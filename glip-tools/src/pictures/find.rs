//! What is a picture among files.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use image::ImageFormat;

#[cfg(doc)]
use crate::error::Error;
use crate::{error::Result, walk::Walk};

/// How names of pictures' files end, in lower case.
const ENDINGS: [&str; 8] = ["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// The formats that are read, for messages.
const FORMATS: &str = "BMP, GIF, JPEG, PNG, TIFF or WebP";

/// Whether a file is called a picture. One that is damaged is still one.
pub(crate) fn is_called_picture(name: &Path) -> bool {
    let ending = name.extension().unwrap_or_default().to_ascii_lowercase();
    ENDINGS.iter().any(|known| ending == *known)
}

/// Whether this is how a picture begins that can be read.
pub(crate) fn begins_picture(content: &[u8]) -> bool {
    match image::guess_format(content) {
        Ok(
            ImageFormat::Gif
            | ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::Tiff
            | ImageFormat::WebP,
        ) => true,
        // Texts begin with BM too; after the size of the file, two numbers and an offset, the size of one of the
        // known headers follows.
        Ok(ImageFormat::Bmp) => matches!(
            content.get(14..18),
            Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
        ),
        _ => false,
    }
}

/// The bytes that tell what a file is.
pub(crate) const BEGINNING: u64 = 32;

/// What is in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundPictures {
    /// The pictures, in the order of their paths.
    pub pictures: Vec<PathBuf>,
    /// What else there is: files of another kind, or pictures of other formats.
    pub left_out: Vec<PathBuf>,
}

/// The pictures in a folder and its subfolders: files that are called so, and files that are so whatever they are
/// called.
///
/// Folders are visited once, whatever links lead to them. Hidden files and folders are passed over, as is what a Mac
/// stores beside files (`._a.jpg`, `__MACOSX`).
///
/// # Errors
/// - [`Error::Read`]: a folder cannot be read.
pub fn find_pictures(folder: impl AsRef<Path>) -> Result<FoundPictures> {
    let walk = Walk {
        without: &[],
        enters: &|_| true,
    };
    Ok(FoundPictures::among(walk.files(folder.as_ref())?))
}

impl FoundPictures {
    /// The pictures among files.
    pub(crate) fn among(files: Vec<PathBuf>) -> Self {
        let (pictures, left_out) = files.into_iter().partition(|file| is_picture(file));
        Self { pictures, left_out }
    }
}

/// Whether a file is called a picture, or is one. Something else that is called so, such as a pipe, is named when it
/// is to be read.
fn is_picture(path: &Path) -> bool {
    let begins = || {
        let mut beginning = Vec::new();
        let file = glip::open_regular(path)?;
        file.take(BEGINNING).read_to_end(&mut beginning)?;
        io::Result::Ok(begins_picture(&beginning))
    };
    is_called_picture(path) || begins().unwrap_or(false)
}

/// What was left out, in one line, by the first few; nothing if there is nothing.
///
/// ```
/// use glip_tools::left_out;
///
/// let files = ["d.heic", "e.avif"].map(Into::into);
/// assert_eq!(left_out(&files).unwrap(), "2 files left out: d.heic, e.avif (no BMP, GIF, JPEG, PNG, TIFF or WebP)");
/// assert_eq!(left_out(&[]), None);
/// ```
pub fn left_out(files: &[PathBuf]) -> Option<String> {
    const SHOWN: usize = 10;
    let count = match files.len() {
        0 => return None,
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    let shown = files.iter().take(SHOWN);
    let mut shown: Vec<String> = shown.map(|file| file.display().to_string()).collect();
    if files.len() > SHOWN {
        shown.push(format!("{} more", files.len() - SHOWN));
    }
    Some(format!(
        "{count} left out: {} (no {FORMATS})",
        shown.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::RgbImage;

    use super::*;

    #[test]
    fn a_picture_is_one_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, format) in [
            ("b.jfif", ImageFormat::Jpeg),
            ("c.jpe", ImageFormat::Jpeg),
            ("d", ImageFormat::Png),
            ("e.txt", ImageFormat::Bmp),
            ("f.dat", ImageFormat::WebP),
            ("g.dat", ImageFormat::Tiff),
            ("k", ImageFormat::Gif),
        ] {
            RgbImage::new(3, 2)
                .save_with_format(path(name), format)
                .unwrap();
        }
        for (name, content) in [
            ("a.jpg", ""),
            ("h.heic", "GIF87"),
            ("i.avif", ""),
            ("j.txt", "BMW, BMP and others in a list"),
        ] {
            fs::write(path(name), content).unwrap();
        }
        let found = find_pictures(folder.path()).unwrap();
        let names = |files: &[PathBuf]| -> String {
            let names = files.iter().map(|file| file.file_name().unwrap());
            names
                .map(|name| name.to_str().unwrap()[..1].to_owned())
                .collect()
        };
        assert_eq!(
            (names(&found.pictures), names(&found.left_out)),
            ("abcdefgk".into(), "hij".into())
        );
    }

    #[test]
    fn many_files_are_left_out_in_one_line() {
        let files: Vec<PathBuf> = (0..12).map(|n| format!("{n}.gif").into()).collect();
        let line = left_out(&files).unwrap();
        assert!(
            line.starts_with("12 files left out: 0.gif, 1.gif"),
            "{line}"
        );
        assert!(line.contains("9.gif, 2 more ("), "{line}");
        assert_eq!(
            left_out(&files[..1]).unwrap(),
            "1 file left out: 0.gif (no BMP, GIF, JPEG, PNG, TIFF or WebP)"
        );
    }
}
