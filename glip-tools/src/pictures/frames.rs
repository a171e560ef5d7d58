//! The sizes of a picture, without decoding it.

use std::{io::BufReader, path::Path};

use glip::ImageSize;
use image::{ImageDecoder, ImageFormat, ImageReader, metadata::Orientation};

use super::decoder::decoder;
use crate::{
    error::{Error, Result},
    files::{ANY_SIZE, open, read, unreadable},
};

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
    /// Its size as [`Picture::upright`](crate::Picture::upright) turns it, in pixels.
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
        let reader = ImageReader::new(BufReader::new(open(path)?));
        let reader = reader.with_guessed_format().map_err(unreadable(path))?;
        let bytes;
        let mut decoder: Box<dyn ImageDecoder> = match reader.format() {
            // What kind of TIFF it is tells its directory, which may be anywhere in it.
            Some(ImageFormat::Tiff) => {
                bytes = read(path, ANY_SIZE)?;
                decoder(&bytes, u64::MAX).map_err(unusable)?
            }
            _ => Box::new(reader.into_decoder().map_err(unusable)?),
        };
        let (width, height) = decoder.dimensions();
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let stored = ImageSize { width, height };
        let upright = match turns_sides(orientation) {
            true => ImageSize {
                width: height,
                height: width,
            },
            false => stored,
        };
        Ok(Self {
            stored,
            upright,
            is_turned: orientation != Orientation::NoTransforms,
        })
    }
}

/// Whether width and height change places.
pub(super) fn turns_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_that_is_read_has_its_frames() {
        for file in [
            "palette.tif",
            "palette_lzw.tif",
            "float.tif",
            "first_frame.gif",
        ] {
            let frames = PictureFrames::read(format!("tests/pictures/{file}")).unwrap();
            assert_eq!(frames.stored, ImageSize::new(56, 40), "{file}");
        }
    }
}
