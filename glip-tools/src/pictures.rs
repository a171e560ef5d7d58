//! Reading pictures, which may be anything: damaged, cut off, or made to fill the memory.

use std::{
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
};

use glip::ImageSize;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage,
    error::{ImageFormatHint, UnsupportedError},
    metadata::Orientation,
};

use crate::{
    atomic::write_file,
    error::{Error, Result},
    files::read,
    walk::Walk,
};

/// The most that a picture may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PictureLimits {
    /// The most pixels. Default: 100 million, which is 300 MB once decoded; a file of a few kilobytes
    /// can claim more. It is checked before anything of that size is allocated.
    pub max_pixels: u64,
}

impl Default for PictureLimits {
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
        }
    }
}

impl PictureLimits {
    /// Sets [`max_pixels`](Self::max_pixels).
    #[must_use]
    pub fn with_max_pixels(self, max_pixels: u64) -> Self {
        Self { max_pixels }
    }

    /// The most bytes of a file: those of its pixels as they are, and of what it says about them.
    pub(crate) fn max_bytes(self) -> u64 {
        const ABOUT: u64 = 64 << 20;
        self.max_decoded().saturating_add(ABOUT)
    }

    /// Eight bytes a pixel is the most that any of the formats decodes to.
    fn max_decoded(self) -> u64 {
        self.max_pixels.saturating_mul(8)
    }

    fn for_decoder(self) -> image::Limits {
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(self.max_decoded());
        limits
    }
}

/// A decoded picture, with how the camera was held.
///
/// Data sets differ in which frame their boxes are: most tools take pixels as they are stored, people
/// see the picture upright.
///
/// ```
/// use glip_tools::{Picture, PictureLimits};
///
/// let picture = Picture::read("../examples/images/coffee.jpg", PictureLimits::default())?;
/// assert_eq!((picture.size().width, picture.size().height), (600, 400));
/// let upright = picture.upright();
/// # Ok::<(), glip_tools::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Picture {
    pixels: DynamicImage,
    orientation: Orientation,
}

impl Picture {
    /// Reads a file: BMP, JPEG, PNG, TIFF or WebP, whatever its name says.
    ///
    /// # Errors
    /// - [`Error::Read`]: there is no such file, it is no regular one, or has more bytes than any picture of so many
    ///   pixels.
    /// - As [`decode`](Self::decode).
    pub fn read(path: impl AsRef<Path>, limits: PictureLimits) -> Result<Self> {
        let path = path.as_ref();
        Self::decode(&read(path, limits.max_bytes())?, path, limits)
    }

    /// Decodes a file's bytes; `name` is for errors.
    ///
    /// # Errors
    /// - [`Error::Picture`]: the format is unknown, or the data is damaged.
    /// - [`Error::PictureCutOff`]: the data ends early.
    /// - [`Error::PictureTooLarge`]: it has too many pixels.
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>, limits: PictureLimits) -> Result<Self> {
        let path = name.as_ref();
        let unusable = |source| match cut_off(&source) {
            true => Error::PictureCutOff {
                path: path.to_owned(),
            },
            false => Error::Picture {
                path: path.to_owned(),
                source,
            },
        };
        let mut decoder = decoder(bytes, limits).map_err(unusable)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > limits.max_pixels {
            return Err(Error::PictureTooLarge {
                path: path.to_owned(),
                width,
                height,
                limit: limits.max_pixels,
            });
        }
        // A picture whose EXIF cannot be read is still a picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let pixels = DynamicImage::from_decoder(decoder).map_err(unusable)?;
        if jpeg_ends_early(bytes) {
            return Err(Error::PictureCutOff {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            pixels,
            orientation,
        })
    }

    /// Width and height of a file's upright picture, in pixels, which is not decoded.
    pub(crate) fn upright_size(
        bytes: &[u8],
        path: &Path,
        limits: PictureLimits,
    ) -> Result<ImageSize> {
        let mut decoder = decoder(bytes, limits).map_err(|source| Error::Picture {
            path: path.to_owned(),
            source,
        })?;
        let (width, height) = decoder.dimensions();
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok(match orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => ImageSize::new(height, width),
            _ => ImageSize::new(width, height),
        })
    }

    /// Width and height as stored, in pixels.
    pub fn size(&self) -> ImageSize {
        ImageSize {
            width: self.pixels.width(),
            height: self.pixels.height(),
        }
    }

    /// The pixels as they are stored in the file.
    pub fn as_stored(self) -> DynamicImage {
        self.pixels
    }

    /// The pixels as the photographer saw them: turned as the EXIF orientation says.
    pub fn upright(mut self) -> DynamicImage {
        self.pixels.apply_orientation(self.orientation);
        self.pixels
    }
}

fn decoder(bytes: &[u8], limits: PictureLimits) -> Result<impl ImageDecoder + '_, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(limits.for_decoder());
    reader.into_decoder()
}

/// Whether a decoder ran out of data.
fn cut_off(error: &ImageError) -> bool {
    match error {
        ImageError::IoError(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        _ => false,
    }
}

/// Whether a JPEG has no end of image after its last scan began. The decoder fills what is missing with
/// grey and says nothing.
fn jpeg_ends_early(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xd9;
    const START_OF_SCAN: u8 = 0xda;
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return false;
    }
    // Segments with a length, in which a thumbnail may have an end of its own, up to the first scan.
    let mut place = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(place..place + 4) {
        if marker == 0xff {
            place += 1; // padding
            continue;
        }
        place += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == START_OF_SCAN {
            let scan = bytes.get(place..).unwrap_or_default();
            return !scan.windows(2).any(|pair| pair == [0xff, END_OF_IMAGE]);
        }
    }
    true
}

/// How names of pictures' files end, in lower case.
const ENDINGS: [&str; 7] = ["bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// The formats that are read, for messages.
const FORMATS: &str = "BMP, JPEG, PNG, TIFF or WebP";

/// Whether a file is called a picture. One that is damaged is still one.
pub(crate) fn is_called_picture(name: &Path) -> bool {
    let ending = name.extension().unwrap_or_default().to_ascii_lowercase();
    ENDINGS.iter().any(|known| ending == *known)
}

/// Whether this is how a picture begins that can be read.
pub(crate) fn begins_picture(content: &[u8]) -> bool {
    match image::guess_format(content) {
        Ok(ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Tiff | ImageFormat::WebP) => true,
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
/// let files = ["d.gif", "e.avif"].map(Into::into);
/// assert_eq!(left_out(&files).unwrap(), "2 files left out: d.gif, e.avif (no BMP, JPEG, PNG, TIFF or WebP)");
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

/// The format that a file's name says a picture is to be written in.
///
/// # Errors
/// - [`Error::WritePicture`]: it says none that can be written.
pub fn writable_format(path: impl AsRef<Path>) -> Result<ImageFormat> {
    let path = path.as_ref();
    let unknown = |source| Error::WritePicture {
        path: path.to_owned(),
        source,
    };
    let format = ImageFormat::from_path(path).map_err(unknown)?;
    match format.writing_enabled() {
        true => Ok(format),
        false => {
            let error = UnsupportedError::from(ImageFormatHint::Exact(format));
            Err(unknown(ImageError::Unsupported(error)))
        }
    }
}

/// Writes a picture in the format that its name says. It appears when it is complete.
///
/// # Errors
/// - [`Error::WritePicture`]: the name says no format that can be written.
/// - [`Error::Write`]: the file cannot be written.
pub fn write_picture(path: impl AsRef<Path>, picture: &RgbImage) -> Result<()> {
    let path = path.as_ref();
    let mut bytes = Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut bytes, writable_format(path)?);
    encoded.map_err(|source| Error::WritePicture {
        path: path.to_owned(),
        source,
    })?;
    write_file(path, bytes.get_ref())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        ] {
            RgbImage::new(3, 2)
                .save_with_format(path(name), format)
                .unwrap();
        }
        for (name, content) in [
            ("a.jpg", ""),
            ("h.gif", "GIF89a"),
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
            ("abcdefg".into(), "hij".into())
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
            "1 file left out: 0.gif (no BMP, JPEG, PNG, TIFF or WebP)"
        );
    }
}
