//! Writing pictures.

use std::{io::Cursor, path::Path};

use image::{
    ImageError, ImageFormat, RgbImage,
    error::{ImageFormatHint, UnsupportedError},
};

use crate::{
    atomic::write_file,
    error::{Error, Result},
};

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
