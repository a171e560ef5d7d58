//! What the examples share.

#![allow(dead_code)] // Each example uses a part of it.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult};
use lexopt::Parser;

/// What an example's `run` returns: any error, to be printed with its causes.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Runs an example and prints its error, if any, with what caused it.
pub(crate) fn report(result: Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

/// Runs an example on its arguments, of which `parse` makes none if help was asked for.
pub(crate) fn run<A>(
    usage: &str,
    parse: impl FnOnce(Parser) -> Result<Option<A>>,
    run: impl FnOnce(A) -> Result<()>,
) -> ExitCode {
    report(match parse(Parser::from_env()) {
        Ok(Some(arguments)) => run(arguments),
        Ok(None) => {
            print!("{usage}");
            Ok(())
        }
        Err(error) => Err(error),
    })
}

/// Reads a picture the way a camera meant it: turned upright by its EXIF orientation.
pub(crate) fn read_picture(path: &Path) -> Result<DynamicImage> {
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let picture = reader
        .map_err(ImageError::from)
        .and_then(ImageReader::into_decoder)
        .and_then(upright);
    Ok(picture.map_err(|error| {
        let remedy = match error {
            ImageError::Unsupported(_) => ": the examples read PNG, JPEG and WebP",
            _ => "",
        };
        format!("cannot read {}: {error}{remedy}", path.display())
    })?)
}

/// The picture of a decoder, turned upright.
pub(crate) fn upright(mut decoder: impl ImageDecoder) -> ImageResult<DynamicImage> {
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// The pictures of a folder, in the order of their names.
pub(crate) fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| format!("cannot read {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if ImageFormat::from_path(&path).is_ok_and(|format| format.reading_enabled()) {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(format!("no pictures in {}", folder.display()).into()),
        false => Ok(files),
    }
}
