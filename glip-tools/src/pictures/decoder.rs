//! The decoder of a picture.

use std::io::Cursor;

use image::{ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits};

use super::tiff;

/// The decoder for what a file's bytes are, whatever its name says; it takes `most` bytes at most.
pub(super) fn decoder(bytes: &[u8], most: u64) -> ImageResult<Box<dyn ImageDecoder + '_>> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    if reader.format() == Some(ImageFormat::Tiff)
        && let Some(decoder) = tiff::unusual(bytes, most)?
    {
        return Ok(Box::new(decoder));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(most);
    reader.limits(limits);
    Ok(Box::new(reader.into_decoder()?))
}
