//! Reading pictures, which may be anything: damaged, cut off, or made to fill the memory.

use std::{
    fs, io,
    io::Cursor,
    path::{Path, PathBuf},
};

use glip::ImageSize;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, metadata::Orientation};

use crate::{
    error::{Error, Result},
    files::unreadable,
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

    /// For decoders: eight bytes a pixel is the most that any of the formats decodes to.
    fn for_decoder(self) -> image::Limits {
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(self.max_pixels.saturating_mul(8));
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
    /// - [`Error::Read`]: there is no such file.
    /// - As [`decode`](Self::decode).
    pub fn read(path: impl AsRef<Path>, limits: PictureLimits) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(unreadable(path))?;
        Self::decode(&bytes, path, limits)
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

/// The sizes that a picture has, by the frame in which it is looked at.
///
/// ```
/// use glip_tools::PictureFrames;
///
/// let frames = PictureFrames::read("../examples/images/coffee.jpg")?;
/// assert_eq!((frames.stored.width, frames.stored.height), (600, 400));
/// assert!(!frames.is_turned);
/// # Ok::<(), glip_tools::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureFrames {
    /// Its size as it is stored, in pixels.
    pub stored: ImageSize,
    /// Its size as [`Picture::upright`] turns it, in pixels.
    pub upright: ImageSize,
    /// Whether the two frames differ.
    pub is_turned: bool,
}

impl PictureFrames {
    /// Reads them off the beginning of a file.
    ///
    /// # Errors
    /// - [`Error::Read`]: there is no such file.
    /// - [`Error::Picture`]: it is no picture.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let unusable = |source| Error::Picture {
            path: path.to_owned(),
            source,
        };
        let reader = ImageReader::open(path).map_err(unreadable(path))?;
        let reader = reader.with_guessed_format().map_err(unreadable(path))?;
        let mut decoder = reader.into_decoder().map_err(unusable)?;
        let (width, height) = decoder.dimensions();
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let stored = ImageSize { width, height };
        let upright = match orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => ImageSize {
                width: height,
                height: width,
            },
            _ => stored,
        };
        Ok(Self {
            stored,
            upright,
            is_turned: orientation != Orientation::NoTransforms,
        })
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
pub(crate) const PICTURE_ENDINGS: [&str; 7] = ["bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// The pictures in a folder and its subfolders, by their file names' endings, in the order of their
/// paths.
///
/// # Errors
/// - [`Error::Read`]: a folder cannot be read.
pub fn find_pictures(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    let mut folders = vec![folder.as_ref().to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = unreadable(&folder);
        for entry in fs::read_dir(&folder).map_err(&unreadable)? {
            let path = entry.map_err(&unreadable)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_picture(&path) {
                pictures.push(path);
            }
        }
    }
    pictures.sort();
    Ok(pictures)
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    PICTURE_ENDINGS.iter().any(|known| ending == *known)
}
