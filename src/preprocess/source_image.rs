//! The pixels a preprocessor starts from.

use std::borrow::Cow;

use image::{DynamicImage, RgbImage};

use super::ImageSize;
use crate::error::{Error, Result};

/// An image as 8-bit RGB, borrowed where it already is that.
///
/// Made from anything the `image` crate decodes. Alpha is dropped, not blended: the model was
/// trained on opaque pictures, and which background to blend with is the application's knowledge.
/// Grey becomes equal red, green and blue; 16-bit and float channels are scaled to 8 bits (floats
/// from 0..1, clamped). Only [`RgbImage`]s, [`DynamicImage::ImageRgb8`] and raw bytes are used
/// without a copy.
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
    rgb: Cow<'a, [u8]>,
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
            rgb: Cow::Borrowed(rgb),
        })
    }

    /// The image's size in pixels.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The pixels: rows from the top, three bytes (red, green, blue) a pixel.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

impl<'a> From<&'a RgbImage> for SourceImage<'a> {
    fn from(image: &'a RgbImage) -> Self {
        let (width, height) = image.dimensions();
        // An image buffer may be longer than its pixels.
        let bytes = width as usize * height as usize * 3;
        Self {
            size: ImageSize { width, height },
            rgb: Cow::Borrowed(&image.as_raw()[..bytes]),
        }
    }
}

impl<'a> From<&'a DynamicImage> for SourceImage<'a> {
    fn from(image: &'a DynamicImage) -> Self {
        match image.as_rgb8() {
            Some(rgb) => rgb.into(),
            None => {
                let size = ImageSize {
                    width: image.width(),
                    height: image.height(),
                };
                Self {
                    size,
                    rgb: Cow::Owned(image.to_rgb8().into_raw()),
                }
            }
        }
    }
}

impl<'a> From<&'a SourceImage<'_>> for SourceImage<'a> {
    fn from(image: &'a SourceImage<'_>) -> Self {
        Self {
            size: image.size,
            rgb: Cow::Borrowed(&image.rgb),
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbaImage};

    use super::*;

    #[test]
    fn rgb_is_borrowed() {
        let image = DynamicImage::new_rgb8(3, 2);
        assert!(matches!(SourceImage::from(&image).rgb, Cow::Borrowed(_)));
    }

    #[test]
    fn every_pixel_type_becomes_8_bit_rgb() {
        let grey = DynamicImage::ImageLuma8(GrayImage::from_pixel(2, 1, Luma([200])));
        assert_eq!(SourceImage::from(&grey).rgb(), [200; 6]);
        let deep = DynamicImage::ImageRgb16(image::ImageBuffer::from_pixel(
            1,
            1,
            Rgb([0, 257 * 100, u16::MAX]),
        ));
        assert_eq!(SourceImage::from(&deep).rgb(), [0, 100, 255]);
        let float =
            DynamicImage::ImageRgb32F(image::ImageBuffer::from_pixel(1, 1, Rgb([-1.0, 0.4, 7.0])));
        assert_eq!(SourceImage::from(&float).rgb(), [0, 102, 255]);
    }

    #[test]
    fn alpha_is_dropped_not_blended() {
        let pixel = image::Rgba([10, 20, 30, 0]);
        let image = DynamicImage::ImageRgba8(RgbaImage::from_pixel(1, 1, pixel));
        assert_eq!(SourceImage::from(&image).rgb(), [10, 20, 30]);
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
