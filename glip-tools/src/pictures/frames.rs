//! The sizes of a picture, without decoding it.

use std::{io::BufReader, path::Path};

use glip::ImageSize;
use image::{ImageDecoder, ImageReader, metadata::Orientation};

use crate::{
    error::{Error, Result},
    files::{open, unreadable},
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
        let mut decoder = reader.into_decoder().map_err(unusable)?;
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
