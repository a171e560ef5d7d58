//! The pixels a preprocessor starts from.

use std::borrow::Cow;

use image::{DynamicImage, RgbImage};

use super::ImageSize;
use crate::error::{Error, Result};

/// An image to be read as 8-bit RGB. It is borrowed, and never copied as a whole.
///
/// Made from anything the `image` crate decodes. Alpha is dropped, not blended: the model was
/// trained on opaque pictures, and which background to blend with is the application's knowledge.
/// Grey becomes equal red, green and blue; 16-bit and float channels are scaled to 8 bits (floats
/// from 0..1, clamped). A row is converted when it is needed.
///
/// ```
/// use glip::{ImageSize, SourceImage};
/// use image::DynamicImage;
///
/// let scan = DynamicImage::new_luma16(20, 10);
/// let source = SourceImage::from(&scan);
/// assert_eq!(source.size(), ImageSize { width: 20, height: 10 });
/// ```
#[derive(Clone, Debug)]
pub struct SourceImage<'a> {
    size: ImageSize,
    pixels: Pixels<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Pixels<'a> {
    /// Rows from the top, three bytes a pixel.
    Rgb(&'a [u8]),
    /// Anything but 8-bit RGB.
    Other(&'a DynamicImage),
}

impl<'a> SourceImage<'a> {
    /// Wraps raw pixels, for example a camera's buffer: rows from the top, three bytes a pixel, no
    /// padding between rows.
    ///
    /// # Errors
    /// - [`Error::ImageBytes`]: `rgb` does not hold width x height x 3 bytes.
    ///
    /// ```
    /// use glip::{ImageSize, SourceImage};
    ///
    /// let frame = vec![0u8; 4 * 2 * 3];
    /// let source = SourceImage::from_rgb(ImageSize { width: 4, height: 2 }, &frame)?;
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn from_rgb(size: ImageSize, rgb: &'a [u8]) -> Result<Self> {
        let expected = u64::from(size.width) * u64::from(size.height) * 3;
        if rgb.len() as u64 != expected {
            let ImageSize { width, height } = size;
            return Err(Error::ImageBytes {
                width,
                height,
                expected,
                found: rgb.len(),
            });
        }
        Ok(Self {
            size,
            pixels: Pixels::Rgb(rgb),
        })
    }

    /// The image's size in pixels.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The pixels: rows from the top, three bytes (red, green, blue) a pixel; borrowed if the image
    /// is made of such.
    pub fn rgb(&self) -> Cow<'_, [u8]> {
        match self.pixels {
            Pixels::Rgb(rgb) => Cow::Borrowed(rgb),
            Pixels::Other(image) => Cow::Owned(image.to_rgb8().into_raw()),
        }
    }

    /// Writes the row at `y`, which must be there, as three bytes a pixel.
    pub(super) fn read_row(&self, y: usize, row: &mut [u8]) {
        match self.pixels {
            Pixels::Rgb(rgb) => row.copy_from_slice(&rgb[y * row.len()..][..row.len()]),
            Pixels::Other(image) => read_row(image, y, row),
        }
    }
}

/// Writes a row of an image as 8-bit RGB, with the same numbers as [`DynamicImage::to_rgb8`].
fn read_row(image: &DynamicImage, y: usize, row: &mut [u8]) {
    match image {
        DynamicImage::ImageLuma8(image) => convert_row::<1, _>(image, y, row, |level| level),
        DynamicImage::ImageLumaA8(image) => convert_row::<2, _>(image, y, row, |level| level),
        DynamicImage::ImageRgba8(image) => convert_row::<4, _>(image, y, row, |level| level),
        DynamicImage::ImageLuma16(image) => convert_row::<1, _>(image, y, row, from_16_bits),
        DynamicImage::ImageLumaA16(image) => convert_row::<2, _>(image, y, row, from_16_bits),
        DynamicImage::ImageRgb16(image) => convert_row::<3, _>(image, y, row, from_16_bits),
        DynamicImage::ImageRgba16(image) => convert_row::<4, _>(image, y, row, from_16_bits),
        DynamicImage::ImageRgb32F(image) => convert_row::<3, _>(image, y, row, from_float),
        DynamicImage::ImageRgba32F(image) => convert_row::<4, _>(image, y, row, from_float),
        // Pixel types that `image` may yet get.
        image => {
            let y = u32::try_from(y).unwrap_or(u32::MAX);
            let converted = image.crop_imm(0, y, image.width(), 1).to_rgb8();
            row.copy_from_slice(&converted);
        }
    }
}

/// One or two channels are grey and perhaps alpha; three or four are colours and perhaps alpha.
fn convert_row<const CHANNELS: usize, T: Copy>(
    samples: &[T],
    y: usize,
    row: &mut [u8],
    to_level: impl Fn(T) -> u8,
) {
    let width = row.len() / 3;
    let samples = &samples[y * width * CHANNELS..][..width * CHANNELS];
    if CHANNELS == 3 {
        for (level, &sample) in row.iter_mut().zip(samples) {
            *level = to_level(sample);
        }
        return;
    }
    let (pixels, _) = samples.as_chunks::<CHANNELS>();
    let (row, _) = row.as_chunks_mut::<3>();
    for (rgb, pixel) in row.iter_mut().zip(pixels) {
        let [red, green, blue] = if CHANNELS < 3 { [0; 3] } else { [0, 1, 2] };
        *rgb = [red, green, blue].map(|channel: usize| to_level(pixel[channel]));
    }
}

/// A level over 257, rounded: as a product and a shift, which the compiler vectorises.
fn from_16_bits(level: u16) -> u8 {
    ((u32::from(level) * 255 + 32_895) >> 16) as u8
}

/// Rounded by hand: the float's own method is a function call on many processors. White for NaN, as
/// `image` has it.
fn from_float(level: f32) -> u8 {
    let scaled = 255.0 * if level < 1.0 { level.max(0.0) } else { 1.0 };
    let below = scaled as u8;
    below + u8::from(scaled - f32::from(below) >= 0.5)
}

impl<'a> From<&'a RgbImage> for SourceImage<'a> {
    fn from(image: &'a RgbImage) -> Self {
        let (width, height) = image.dimensions();
        // An image buffer may be longer than its pixels.
        let bytes = width as usize * height as usize * 3;
        Self {
            size: ImageSize { width, height },
            pixels: Pixels::Rgb(&image.as_raw()[..bytes]),
        }
    }
}

impl<'a> From<&'a DynamicImage> for SourceImage<'a> {
    fn from(image: &'a DynamicImage) -> Self {
        match image.as_rgb8() {
            Some(rgb) => rgb.into(),
            None => Self {
                size: ImageSize {
                    width: image.width(),
                    height: image.height(),
                },
                pixels: Pixels::Other(image),
            },
        }
    }
}

impl<'a> From<&'a SourceImage<'_>> for SourceImage<'a> {
    fn from(image: &'a SourceImage<'_>) -> Self {
        image.clone()
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageBuffer, Luma, Rgb, Rgba, RgbaImage};

    use super::*;

    #[test]
    fn rgb_is_borrowed() {
        let image = DynamicImage::new_rgb8(3, 2);
        assert!(matches!(SourceImage::from(&image).rgb(), Cow::Borrowed(_)));
    }

    /// All rows, one after another.
    fn rows(image: &DynamicImage) -> Vec<u8> {
        let source = SourceImage::from(image);
        let stride = 3 * image.width() as usize;
        let mut pixels = vec![0; stride * image.height() as usize];
        for (y, row) in pixels.chunks_exact_mut(stride).enumerate() {
            source.read_row(y, row);
        }
        pixels
    }

    #[test]
    fn every_pixel_type_becomes_8_bit_rgb() {
        let grey = DynamicImage::ImageLuma8(GrayImage::from_pixel(2, 1, Luma([200])));
        assert_eq!(rows(&grey), [200; 6]);
        let pixel = Rgb([0, 257 * 100, u16::MAX]);
        let deep = DynamicImage::ImageRgb16(ImageBuffer::from_pixel(1, 1, pixel));
        assert_eq!(rows(&deep), [0, 100, 255]);
        let pixel = Rgb([-1.0, 0.4, 7.0]);
        let float = DynamicImage::ImageRgb32F(ImageBuffer::from_pixel(1, 1, pixel));
        assert_eq!(rows(&float), [0, 102, 255]);
    }

    /// Every 16-bit level, and floats on both sides of every rounding.
    #[test]
    fn rows_are_those_of_the_image_crate() {
        let deep = ImageBuffer::from_fn(256, 256, |x, y| {
            let level = (256 * y + x) as u16;
            Rgba([level, level.rotate_left(3), !level, level ^ 0x55aa])
        });
        let deep = DynamicImage::ImageRgba16(deep);
        let mut float = deep.to_rgba32f();
        for (index, sample) in float.iter_mut().enumerate() {
            *sample = match index % 7 {
                0 => (index % 255) as f32 / 255.0 + 0.5 / 255.0,
                1 => ((index % 255) as f32 + 0.5).next_down() / 255.0,
                _ => 1.1 * *sample - 0.05,
            };
        }
        float.as_mut()[0] = f32::NAN;
        let float = DynamicImage::ImageRgba32F(float);
        let images = [
            deep.to_luma8().into(),
            deep.to_luma_alpha8().into(),
            deep.to_rgb8().into(),
            deep.to_rgba8().into(),
            deep.to_luma16().into(),
            deep.to_luma_alpha16().into(),
            deep.to_rgb16().into(),
            float.to_rgb32f().into(),
            deep,
            float,
        ];
        for image in images {
            assert_eq!(
                rows(&image),
                image.to_rgb8().into_raw(),
                "{:?}",
                image.color()
            );
            assert_eq!(rows(&image), *SourceImage::from(&image).rgb());
        }
    }

    #[test]
    fn alpha_is_dropped_not_blended() {
        let pixel = Rgba([10, 20, 30, 0]);
        let image = DynamicImage::ImageRgba8(RgbaImage::from_pixel(1, 1, pixel));
        assert_eq!(rows(&image), [10, 20, 30]);
    }

    #[test]
    fn wrong_byte_counts_are_an_error() {
        let error = SourceImage::from_rgb(
            ImageSize {
                width: 2,
                height: 2,
            },
            &[0; 11],
        )
        .unwrap_err();
        assert!(matches!(
            error,
            Error::ImageBytes {
                expected: 12,
                found: 11,
                ..
            }
        ));
    }
}
