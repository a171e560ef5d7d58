//! Reading pictures, which may be anything: damaged, cut off, or made to fill the memory.

mod decoder;
mod find;
mod frames;
mod jpeg;
mod kind;
mod memory;
mod tiff;
mod write;

use std::{io, ops::Deref, path::Path};

use glip::{ImageSize, SourceImage, parts::Preprocessor};
use image::{
    ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, RgbImage, metadata::Orientation,
};

use self::{
    decoder::decoder,
    jpeg::{Damage, Structure},
    memory::Share,
};
pub(crate) use self::{
    find::{BEGINNING, begins_picture, is_called_picture},
    memory::{Memory, Place},
};
pub use self::{
    find::{FoundPictures, find_pictures, left_out},
    frames::PictureFrames,
    write::{writable_format, write_picture},
};
use crate::{
    error::{Error, Result},
    files::read,
};

/// The most that pictures may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PictureLimits {
    /// The most pixels of one. Default: 100 million, which is 300 MB once decoded; a file of a few
    /// kilobytes can claim more. It is checked before anything of that size is allocated.
    pub max_pixels: u64,
    /// The most bytes of all that are in memory at once, while they are decoded or until the model has seen
    /// them: a decoder waits until there is room. Default: 1,500 million, which is enough for one of the
    /// most pixels in any of the common forms (16 bits a sample take 8 bytes a pixel, and 3 more while they
    /// become 8 bits).
    pub max_bytes: u64,
}

impl Default for PictureLimits {
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
            max_bytes: 1_500_000_000,
        }
    }
}

impl PictureLimits {
    /// Sets [`max_pixels`](Self::max_pixels).
    #[must_use]
    pub fn with_max_pixels(self, max_pixels: u64) -> Self {
        Self { max_pixels, ..self }
    }

    /// Sets [`max_bytes`](Self::max_bytes).
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    /// The most bytes of a file: no more than its pixels may take, and what it says about them.
    pub(crate) fn max_file(self) -> u64 {
        const ABOUT: u64 = 64 << 20;
        self.max_bytes.saturating_add(ABOUT)
    }

    /// Memory for the pictures of a run.
    pub(crate) fn memory(self) -> Memory {
        Memory::new(self.max_bytes)
    }
}

/// A decoded picture, with how the camera was held.
///
/// Data sets differ in which frame their boxes are: most tools take pixels as they are stored, people
/// see the picture upright. Samples have 8 bits, whatever the file has.
///
/// ```
/// use glip_tools::{Picture, PictureLimits};
///
/// let picture = Picture::read("../examples/images/coffee.jpg", PictureLimits::default())?;
/// assert_eq!((picture.size().width, picture.size().height), (600, 400));
/// let upright = picture.upright();
/// # Ok::<(), glip_tools::Error>(())
/// ```
#[derive(Debug)]
pub struct Picture {
    pixels: DynamicImage,
    orientation: Orientation,
    share: Share,
}

/// Pixels that have their share of a run's memory.
#[derive(Debug)]
pub(crate) struct SharedPixels {
    pixels: DynamicImage,
    _share: Share,
}

impl Deref for SharedPixels {
    type Target = DynamicImage;

    fn deref(&self) -> &DynamicImage {
        &self.pixels
    }
}

impl SharedPixels {
    /// The pixels alone, which then are counted no more.
    pub(crate) fn into_pixels(self) -> DynamicImage {
        self.pixels
    }
}

impl Picture {
    /// Reads a file: BMP, GIF (its first frame), JPEG, PNG, TIFF or WebP, whatever its name says.
    ///
    /// # Errors
    /// - [`Error::Read`]: there is no such file, it is no regular one, or has more bytes than there may be in memory.
    /// - As [`decode`](Self::decode).
    pub fn read(path: impl AsRef<Path>, limits: PictureLimits) -> Result<Self> {
        Self::read_in(limits.memory().line_up(), path.as_ref(), limits)
    }

    /// As [`read`](Self::read), in memory that a run shares.
    pub(crate) fn read_in(place: Place, path: &Path, limits: PictureLimits) -> Result<Self> {
        let bytes = read(path, limits.max_file())?;
        Self::decode_in(place, &bytes, path, limits)
    }

    /// Decodes a file's bytes; `name` is for errors.
    ///
    /// A JPEG is looked at closely, as decoders fill what is missing with grey and show the rest elsewhere: what
    /// was overwritten or cut out is an error, unless it reads as another whole picture. One that lacks
    /// nothing but the marker at its end, as those of some cameras do, is whole.
    ///
    /// # Errors
    /// - [`Error::PictureFormat`]: it is of another format.
    /// - [`Error::Picture`]: the format is unknown, or the data make no sense.
    /// - [`Error::PictureDamaged`], [`Error::PictureCutOff`]: the data are not all there.
    /// - [`Error::PictureTooLarge`], [`Error::PictureTooLong`]: it has too many pixels, or too many in a row or
    ///   a column.
    /// - [`Error::PictureMemory`]: decoding it takes more than there may be.
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>, limits: PictureLimits) -> Result<Self> {
        Self::decode_in(limits.memory().line_up(), bytes, name.as_ref(), limits)
    }

    /// As [`decode`](Self::decode), in memory that a run shares.
    pub(crate) fn decode_in(
        place: Place,
        bytes: &[u8],
        path: &Path,
        limits: PictureLimits,
    ) -> Result<Self> {
        let unusable = |source| unusable(path, bytes, source);
        let completed;
        let mut decoder = decoder(bytes, limits.max_bytes).map_err(unusable)?;
        check_size(&*decoder, path, limits)?;
        // A picture whose EXIF cannot be read is still a picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let jpeg = match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => jpeg::check(bytes).map_err(|damage| damaged(path, damage))?,
            _ => Structure::default(),
        };
        let needed = needed(&*decoder, bytes, jpeg, orientation);
        let share = place.take(needed).map_err(|limit| Error::PictureMemory {
            path: path.to_owned(),
            bytes: needed,
            limit,
        })?;
        if jpeg.lacks_end {
            completed = [bytes, &jpeg::END].concat();
            decoder = self::decoder(&completed, limits.max_bytes).map_err(unusable)?;
        }
        let pixels = DynamicImage::from_decoder(decoder).map_err(unusable)?;
        Ok(Self {
            pixels: narrow(pixels).map_err(unusable)?,
            orientation,
            share,
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
    pub fn upright(self) -> DynamicImage {
        self.shared_upright().pixels
    }

    /// As [`as_stored`](Self::as_stored), with their share of a run's memory.
    pub(crate) fn shared_as_stored(mut self) -> SharedPixels {
        self.share.shrink(self.pixels.as_bytes().len() as u64);
        SharedPixels {
            pixels: self.pixels,
            _share: self.share,
        }
    }

    /// As [`upright`](Self::upright), with their share of a run's memory.
    pub(crate) fn shared_upright(mut self) -> SharedPixels {
        self.pixels.apply_orientation(self.orientation);
        self.shared_as_stored()
    }
}

fn check_size(decoder: &dyn ImageDecoder, path: &Path, limits: PictureLimits) -> Result<()> {
    let (width, height) = decoder.dimensions();
    let path = || path.to_owned();
    if width.max(height) > Preprocessor::LONGEST_SIDE {
        return Err(Error::PictureTooLong {
            path: path(),
            width,
            height,
            limit: Preprocessor::LONGEST_SIDE,
        });
    }
    if ImageSize::new(width, height).pixels() > limits.max_pixels {
        return Err(Error::PictureTooLarge {
            path: path(),
            width,
            height,
            limit: limits.max_pixels,
        });
    }
    Ok(())
}

/// The most bytes that a picture takes on its way from a file to 8 bits a sample, upright: what it is decoded
/// to, and either what the decoder holds beside it or what is made of it then.
fn needed(
    decoder: &dyn ImageDecoder,
    bytes: &[u8],
    jpeg: Structure,
    orientation: Orientation,
) -> u64 {
    let (width, height) = decoder.dimensions();
    let decoded = decoder.total_bytes();
    let beside = match image::guess_format(bytes) {
        // Coefficients of 16 bits.
        Ok(ImageFormat::Jpeg) if jpeg.has_scans => decoded.saturating_mul(2),
        Ok(ImageFormat::WebP) => decoded.saturating_mul(2),
        Ok(ImageFormat::Gif | ImageFormat::Tiff) => decoded,
        _ => 0,
    };
    let kept = match is_wide(decoder.color_type()) {
        true => ImageSize::new(width, height).pixels().saturating_mul(3),
        false => 0,
    };
    let upright = if kept > 0 { kept } else { decoded };
    let turned = match frames::turns_sides(orientation) {
        true => upright.saturating_mul(2),
        false => 0,
    };
    decoded.saturating_add(beside.max(kept)).max(turned)
}

/// Whether samples have more than 8 bits.
fn is_wide(color: ColorType) -> bool {
    color.bytes_per_pixel() > color.channel_count()
}

/// The same picture with 8 bits a sample.
fn narrow(pixels: DynamicImage) -> Result<DynamicImage, ImageError> {
    if !is_wide(pixels.color()) {
        return Ok(pixels);
    }
    let floats = match &pixels {
        DynamicImage::ImageRgb32F(pixels) => pixels.as_raw().as_slice(),
        DynamicImage::ImageRgba32F(pixels) => pixels.as_raw().as_slice(),
        _ => &[],
    };
    floats
        .iter()
        .try_for_each(|&level| tiff::check_level(level))?;
    let rgb = SourceImage::from(&pixels).rgb().into_owned();
    // As many as there are pixels, so that there always is such a picture.
    let narrow = RgbImage::from_raw(pixels.width(), pixels.height(), rgb);
    Ok(narrow.unwrap_or_default().into())
}

fn damaged(path: &Path, damage: Damage) -> Error {
    let path = path.to_owned();
    match damage {
        Damage::CutOff => Error::PictureCutOff { path },
        damage => Error::PictureDamaged {
            path,
            reason: damage.to_string(),
        },
    }
}

fn unusable(path: &Path, bytes: &[u8], source: ImageError) -> Error {
    let path = path.to_owned();
    match (&source, kind::name(bytes)) {
        (ImageError::Unsupported(_), Some(format)) => Error::PictureFormat { path, format },
        // A decoder ran out of data.
        (ImageError::IoError(error), _) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::PictureCutOff { path }
        }
        _ => Error::Picture { path, source },
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Cursor};

    use image::{ImageBuffer, Luma, Rgb, Rgba};

    use super::*;

    fn limits() -> PictureLimits {
        PictureLimits::default()
    }

    fn encoded(pixels: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        pixels.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn pixel(file: &str, x: u32, y: u32) -> [u8; 3] {
        let picture = Picture::read(format!("tests/pictures/{file}"), limits()).unwrap();
        picture.as_stored().to_rgb8().get_pixel(x, y).0
    }

    #[test]
    fn palettes_and_floats_are_read() {
        // As Pillow reads them.
        assert_eq!(pixel("palette.tif", 30, 20), [138, 21, 115]);
        assert_eq!(pixel("palette.tif", 55, 39), [198, 213, 124]);
        assert_eq!(pixel("palette_lzw.tif", 30, 20), [125, 21, 158]);
        assert_eq!(pixel("float.tif", 30, 20), [65; 3]);
        assert_eq!(pixel("float.tif", 55, 39), [214; 3]);
        let heights = Picture::read("tests/pictures/float_to_255.tif", limits()).unwrap_err();
        let causes = crate::causes::with_causes(&heights);
        assert!(causes.contains("from 0 to 1"), "{causes}");
        let first = Picture::read("tests/pictures/first_frame.gif", limits()).unwrap();
        assert_eq!(first.size(), ImageSize::new(56, 40));
    }

    #[test]
    fn every_depth_becomes_8_bits() {
        let deep = Rgba([257 * 10_u16, 257 * 20, 257 * 30, 9]);
        let deep = encoded(ImageBuffer::from_pixel(3, 2, deep), ImageFormat::Png);
        let grey = encoded(
            ImageBuffer::from_pixel(3, 2, Luma([257_u16 * 40])),
            ImageFormat::Tiff,
        );
        let float = Rgb([0.0_f32, 1.0, 0.5]);
        let float = encoded(ImageBuffer::from_pixel(3, 2, float), ImageFormat::Tiff);
        for (bytes, expected) in [
            (deep, [10, 20, 30]),
            (grey, [40; 3]),
            (float, [0, 255, 128]),
        ] {
            let picture = Picture::decode(&bytes, "deep", limits()).unwrap().upright();
            assert!(!is_wide(picture.color()));
            assert_eq!(picture.to_rgb8().get_pixel(2, 1).0, expected);
        }
    }

    #[test]
    fn what_is_not_read_is_named() {
        let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
        match Picture::decode(heic, "a.jpg", limits()).unwrap_err() {
            Error::PictureFormat { format, .. } => assert_eq!(format, "a HEIC picture"),
            other => panic!("{other}"),
        }
        let empty = Picture::decode(b"", "a.jpg", limits()).unwrap_err();
        assert!(matches!(empty, Error::PictureFormat { .. }), "{empty}");
        let noise = Picture::decode(b"no picture", "a.jpg", limits()).unwrap_err();
        assert!(matches!(noise, Error::Picture { .. }), "{noise}");
    }

    /// Every pixel is there; only the decoder knows no end.
    #[test]
    fn a_jpeg_may_lack_its_end() {
        for file in [
            "../examples/images/coffee.jpg",
            "tests/pictures/progressive.jpg",
        ] {
            let bytes = fs::read(file).unwrap();
            let whole = Picture::decode(&bytes, "whole", limits()).unwrap();
            let open = &bytes[..bytes.len() - 2];
            let open = Picture::decode(open, "open", limits()).unwrap();
            assert_eq!(open.as_stored(), whole.as_stored());
            let half = Picture::decode(&bytes[..bytes.len() / 2], "half", limits()).unwrap_err();
            assert!(matches!(half, Error::PictureCutOff { .. }), "{half}");
            let ended = [&bytes[..bytes.len() / 2], &jpeg::END].concat();
            let ended = Picture::decode(&ended, "ended", limits()).unwrap_err();
            assert!(matches!(ended, Error::PictureDamaged { .. }), "{ended}");
        }
    }

    #[test]
    fn limits_are_checked_before_anything_is_decoded() {
        let png = encoded(RgbImage::new(1000, 10), ImageFormat::Png);
        let few = limits().with_max_pixels(9_999);
        let few = Picture::decode(&png, "few", few).unwrap_err();
        assert!(matches!(few, Error::PictureTooLarge { limit: 9_999, .. }));
        let small = Picture::decode(&png, "small", limits().with_max_bytes(29_999)).unwrap_err();
        assert!(matches!(
            small,
            Error::PictureMemory {
                bytes: 30_000,
                limit: 29_999,
                ..
            }
        ));
        assert!(Picture::decode(&png, "fits", limits().with_max_bytes(30_000)).is_ok());
        let deep = ImageBuffer::from_pixel(100, 10, Rgba([0_u16; 4]));
        let deep = encoded(deep, ImageFormat::Png);
        let deep = Picture::decode(&deep, "deep", limits().with_max_bytes(10_999)).unwrap_err();
        assert!(
            matches!(deep, Error::PictureMemory { bytes: 11_000, .. }),
            "{deep}"
        );
        let mut long = encoded(RgbImage::new(1, 1), ImageFormat::Png);
        long[16..20].copy_from_slice(&99_000_000_u32.to_be_bytes());
        let mut checksum = flate2::Crc::new();
        checksum.update(&long[12..29]);
        long[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
        let long = Picture::decode(&long, "long", limits()).unwrap_err();
        assert!(
            matches!(
                long,
                Error::PictureTooLong {
                    width: 99_000_000,
                    ..
                }
            ),
            "{long}"
        );
    }

    #[test]
    fn memory_is_free_once_the_pixels_are_gone() {
        let limits = limits().with_max_bytes(30_000);
        let memory = limits.memory();
        let png = encoded(RgbImage::new(100, 100), ImageFormat::Png);
        for _ in 0..3 {
            let decode = Picture::decode_in(memory.line_up(), &png, "a".as_ref(), limits);
            assert_eq!(decode.unwrap().shared_upright().width(), 100);
            let broken = Picture::decode_in(memory.line_up(), &png[..90], "b".as_ref(), limits);
            assert!(broken.is_err());
        }
    }
}
