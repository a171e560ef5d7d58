//! The pixels a preprocessor starts from.

use std::{borrow::Cow, ops::Range, sync::Arc};

use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Pixel, Rgb, Rgb32FImage,
    RgbImage, Rgba, Rgba32FImage, RgbaImage,
};
use ndarray::ArrayView3;

use super::camera::{CameraBuffer, PixelFormat, Plane, YuvEncoding};
use crate::{
    error::{Error, Result},
    geometry::ImageSize,
    instructions::{Instructions, Kernel},
};

/// An image to be read as 8-bit RGB. It is borrowed, and never copied as a whole but for arrays that are
/// slices of larger ones.
///
/// Made from anything the `image` crate decodes, from its image buffers, from arrays of `ndarray`, and from what
/// cameras give ([`from_buffer`](Self::from_buffer)).
/// Alpha is dropped, not blended: the model was
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
/// assert_eq!(source.size(), ImageSize::new(20, 10));
/// ```
#[derive(Clone, Debug)]
pub struct SourceImage<'a> {
    size: ImageSize,
    pixels: Pixels<'a>,
}

/// Samples are rows from the top, pixel after pixel, with so many channels a pixel: grey, grey and
/// alpha, red, green and blue, or these and alpha.
#[derive(Clone, Debug)]
enum Pixels<'a> {
    Levels(&'a [u8], usize),
    Levels16(&'a [u16], usize),
    Floats(&'a [f32], usize),
    /// Levels in an order of memory that had to be changed.
    Copied(Arc<[u8]>, usize),
    Camera(CameraBuffer<'a>),
    /// Pixel types that `image` may yet get.
    Other(&'a DynamicImage),
}

impl<'a> SourceImage<'a> {
    /// Wraps raw pixels: rows from the top, three bytes a pixel, red first, no padding between rows.
    /// [`from_buffer`](Self::from_buffer) takes whatever else a camera gives.
    ///
    /// # Errors
    /// - [`Error::ImageBytes`]: `rgb` does not hold width x height x 3 bytes.
    ///
    /// ```
    /// use glip::{ImageSize, SourceImage};
    ///
    /// let frame = vec![0u8; 4 * 2 * 3];
    /// let source = SourceImage::from_rgb(ImageSize::new(4, 2), &frame)?;
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn from_rgb(size: ImageSize, rgb: &'a [u8]) -> Result<Self> {
        let expected = size.pixels().saturating_mul(3);
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
            pixels: Pixels::Levels(rgb, 3),
        })
    }

    /// Wraps a camera's buffer as it is: rows from the top, in the order of bytes that the format says, each
    /// beginning `stride` bytes after the one above it (ROS calls it `step`, V4L2 `bytesperline`;
    /// [`PixelFormat::packed_stride`] if nothing pads rows).
    ///
    /// Formats of several planes have them one after another, each with as many rows as the image's size
    /// says; U and V of [`I420`](PixelFormat::I420) have half the stride. If they are elsewhere, use
    /// [`from_planes`](Self::from_planes). Colours of YUV are read as
    /// [`YuvEncoding::Bt601Limited`], unless [`with_yuv_encoding`](Self::with_yuv_encoding) says
    /// otherwise. Mosaics of sensors are made pictures of bilinearly.
    ///
    /// # Errors
    /// - [`Error::BufferSize`]: the format cannot have this size, such as an odd width.
    /// - [`Error::BufferStride`]: rows of this stride do not hold their pixels.
    /// - [`Error::BufferBytes`]: the buffer ends before the image does.
    /// - [`Error::InvalidOption`]: the shift of 16-bit grey is more than 8.
    ///
    /// ```
    /// use glip::{ImageSize, PixelFormat, SourceImage};
    ///
    /// let size = ImageSize::new(64, 48);
    /// let buffer = vec![128; 80 * 48 * 3 / 2]; // 16 bytes of padding after each row
    /// let frame = SourceImage::from_buffer(size, 80, PixelFormat::Nv12, &buffer)?;
    /// assert_eq!(frame.rgb()[..3], [130; 3]);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn from_buffer(
        size: ImageSize,
        stride: usize,
        format: PixelFormat,
        bytes: &'a [u8],
    ) -> Result<Self> {
        let buffer = CameraBuffer::in_one_piece(size, stride, format, bytes)?;
        Ok(Self {
            size,
            pixels: Pixels::Camera(buffer),
        })
    }

    /// As [`from_buffer`](Self::from_buffer), with a place and a stride for each plane: for drivers that have
    /// planes apart, or rows between them.
    ///
    /// # Errors
    /// As [`from_buffer`](Self::from_buffer), and [`Error::BufferPlanes`] if the format has not as many planes.
    ///
    /// ```
    /// use glip::{ImageSize, PixelFormat, SourceImage, parts::Plane};
    ///
    /// // A decoder that rounds 1080 rows up to 1088: chroma is at 1920 x 1088.
    /// let buffer = vec![128; 1920 * 1088 * 3 / 2];
    /// let planes = [Plane::new(&buffer, 1920), Plane::new(&buffer[1920 * 1088..], 1920)];
    /// let frame = SourceImage::from_planes(ImageSize::new(1920, 1080), PixelFormat::Nv12, &planes)?;
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn from_planes(size: ImageSize, format: PixelFormat, planes: &[Plane<'a>]) -> Result<Self> {
        let buffer = CameraBuffer::in_planes(size, format, planes)?;
        Ok(Self {
            size,
            pixels: Pixels::Camera(buffer),
        })
    }

    /// Says what levels of luma and chroma mean. Without effect on images that have none.
    #[must_use]
    pub fn with_yuv_encoding(mut self, encoding: YuvEncoding) -> Self {
        if let Pixels::Camera(buffer) = &mut self.pixels {
            buffer.set_encoding(encoding);
        }
        self
    }

    /// Wraps an array `[height, width, channels]` with levels from 0 to 255: 1 channel is grey, 2 grey and
    /// alpha, 3 red, green and blue, 4 these and alpha. It may be a slice of a larger one.
    ///
    /// # Errors
    /// - [`Error::Shape`]: it has another number of channels, or a side beyond `u32`.
    ///
    /// ```
    /// use glip::SourceImage;
    /// use ndarray::{Array3, s};
    ///
    /// let frame = Array3::<u8>::zeros((48, 64, 3));
    /// let left_half = SourceImage::from_array(frame.slice(s![.., ..32, ..]))?;
    /// assert_eq!(left_half.size(), (32, 48).into());
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn from_array(array: ArrayView3<'a, u8>) -> Result<Self> {
        let (height, width, channels) = array.dim();
        match (u32::try_from(width), u32::try_from(height)) {
            (Ok(width), Ok(height)) if (1..=4).contains(&channels) => Ok(Self {
                size: ImageSize::new(width, height),
                pixels: match array.to_slice() {
                    Some(levels) => Pixels::Levels(levels, channels),
                    None => Pixels::Copied(array.iter().copied().collect(), channels),
                },
            }),
            _ => Err(Error::Shape {
                tensor: "the image's array".to_owned(),
                expected: "[height, width, 1 to 4 channels]".to_owned(),
                found: array.shape().to_vec(),
            }),
        }
    }

    /// The image's size in pixels.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The pixels: rows from the top, three bytes (red, green, blue) a pixel; borrowed if the image
    /// is made of such.
    pub fn rgb(&self) -> Cow<'_, [u8]> {
        if let Pixels::Levels(rgb, 3) = self.pixels {
            return Cow::Borrowed(rgb);
        }
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let mut rgb = vec![0; 3 * width * height];
        for (y, row) in rgb.chunks_exact_mut((3 * width).max(1)).enumerate() {
            self.read_row(y, row);
        }
        Cow::Owned(rgb)
    }

    /// Where in memory the row at `y` is, if it is there as a whole: to have it fetched before it is read.
    pub(super) fn memory_of_row(&self, y: usize) -> Range<*const u8> {
        let width = self.size.width as usize;
        match &self.pixels {
            Pixels::Levels(samples, channels) => memory_of(samples, width * channels, y),
            Pixels::Levels16(samples, channels) => memory_of(samples, width * channels, y),
            Pixels::Floats(samples, channels) => memory_of(samples, width * channels, y),
            Pixels::Copied(samples, channels) => memory_of(samples, width * channels, y),
            Pixels::Camera(_) | Pixels::Other(_) => memory_of::<u8>(&[], 0, 0),
        }
    }

    /// Writes the row at `y`, which must be there, as three bytes a pixel, with the same numbers as
    /// [`DynamicImage::to_rgb8`].
    pub(super) fn read_row(&self, y: usize, row: &mut [u8]) {
        match &self.pixels {
            Pixels::Levels(rgb, 3) => row.copy_from_slice(&rgb[y * row.len()..][..row.len()]),
            Pixels::Levels(samples, channels) => {
                convert_row_of(*channels, samples, y, row, |level| level);
            }
            Pixels::Levels16(samples, channels) => {
                convert_row_of(*channels, samples, y, row, from_16_bits);
            }
            Pixels::Floats(samples, channels) => {
                convert_row_of(*channels, samples, y, row, from_float);
            }
            Pixels::Copied(levels, channels) => {
                convert_row_of(*channels, levels, y, row, |level| level);
            }
            Pixels::Camera(buffer) => buffer.read_row(y, row),
            Pixels::Other(image) => {
                let y = u32::try_from(y).unwrap_or(u32::MAX);
                let converted = image.crop_imm(0, y, image.width(), 1).to_rgb8();
                row.copy_from_slice(&converted);
            }
        }
    }
}

/// Where the row at `y` of so many samples is; nowhere if there is none.
fn memory_of<T>(samples: &[T], length: usize, y: usize) -> Range<*const u8> {
    let row = samples.get(y * length..(y + 1) * length);
    let Range { start, end } = row.unwrap_or_default().as_ptr_range();
    start.cast()..end.cast()
}

/// Where red, green and blue are in a pixel of so many channels.
fn channels_of_rgb(channels: usize) -> [usize; 3] {
    if channels < 3 { [0; 3] } else { [0, 1, 2] }
}

/// A row's samples, so many a pixel, and the levels that they become: by the widest instructions, all give the same.
struct Conversion<'a, T, F> {
    channels: usize,
    samples: &'a [T],
    row: &'a mut [u8],
    to_level: F,
}

fn convert_row_of<T: Copy>(
    channels: usize,
    samples: &[T],
    y: usize,
    row: &mut [u8],
    to_level: impl Fn(T) -> u8,
) {
    let length = row.len() / 3 * channels;
    Instructions::detect().run(Conversion {
        channels,
        samples: &samples[y * length..][..length],
        row,
        to_level,
    });
}

impl<T: Copy, F: Fn(T) -> u8> Kernel for Conversion<'_, T, F> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        match self.channels {
            1 => convert_row::<1, _>(self.samples, self.row, self.to_level),
            2 => convert_row::<2, _>(self.samples, self.row, self.to_level),
            3 => convert_row::<3, _>(self.samples, self.row, self.to_level),
            _ => convert_row::<4, _>(self.samples, self.row, self.to_level),
        }
    }
}

/// One or two channels are grey and perhaps alpha; three or four are colours and perhaps alpha.
#[inline(always)]
fn convert_row<const CHANNELS: usize, T: Copy>(
    samples: &[T],
    row: &mut [u8],
    to_level: impl Fn(T) -> u8,
) {
    if CHANNELS == 3 {
        for (level, &sample) in row.iter_mut().zip(samples) {
            *level = to_level(sample);
        }
        return;
    }
    let (pixels, _) = samples.as_chunks::<CHANNELS>();
    let (row, _) = row.as_chunks_mut::<3>();
    for (rgb, pixel) in row.iter_mut().zip(pixels) {
        *rgb = channels_of_rgb(CHANNELS).map(|channel| to_level(pixel[channel]));
    }
}

/// A level over 257, rounded: as a product and a shift, which the compiler vectorises.
#[inline(always)]
fn from_16_bits(level: u16) -> u8 {
    ((u32::from(level) * 255 + 32_895) >> 16) as u8
}

/// Rounded half up, without a conversion that checks its range, so that the compiler vectorises it. White for NaN, as
/// `image` has it.
#[allow(unsafe_code, reason = "no other conversion is without a check")]
#[inline(always)]
fn from_float(level: f32) -> u8 {
    /// With one half, the number below one half would be rounded up.
    const HALF: f32 = 0.5f32.next_down();
    #[expect(clippy::manual_clamp, reason = "NaN becomes 1")]
    let level = level.min(1.0).max(0.0);
    // SAFETY: it is at least 0 and below 256.
    unsafe { (255.0 * level + HALF).to_int_unchecked::<i32>() as u8 }
}

/// The samples of an image buffer, which may be longer than its pixels.
fn samples<P: Pixel>(image: &ImageBuffer<P, Vec<P::Subpixel>>) -> &[P::Subpixel] {
    let (width, height) = image.dimensions();
    let channels = usize::from(P::CHANNEL_COUNT);
    &image.as_raw()[..width as usize * height as usize * channels]
}

macro_rules! from_buffers {
    ($($buffer:ty => $kind:ident of $channels:literal),+ $(,)?) => {$(
        impl<'a> From<&'a $buffer> for SourceImage<'a> {
            fn from(image: &'a $buffer) -> Self {
                Self {
                    size: image.dimensions().into(),
                    pixels: Pixels::$kind(samples(image), $channels),
                }
            }
        }
    )+};
}

from_buffers!(
    GrayImage => Levels of 1,
    GrayAlphaImage => Levels of 2,
    RgbImage => Levels of 3,
    RgbaImage => Levels of 4,
    ImageBuffer<Luma<u16>, Vec<u16>> => Levels16 of 1,
    ImageBuffer<LumaA<u16>, Vec<u16>> => Levels16 of 2,
    ImageBuffer<Rgb<u16>, Vec<u16>> => Levels16 of 3,
    ImageBuffer<Rgba<u16>, Vec<u16>> => Levels16 of 4,
    Rgb32FImage => Floats of 3,
    Rgba32FImage => Floats of 4,
);

impl<'a> From<&'a DynamicImage> for SourceImage<'a> {
    fn from(image: &'a DynamicImage) -> Self {
        match image {
            DynamicImage::ImageLuma8(image) => image.into(),
            DynamicImage::ImageLumaA8(image) => image.into(),
            DynamicImage::ImageRgb8(image) => image.into(),
            DynamicImage::ImageRgba8(image) => image.into(),
            DynamicImage::ImageLuma16(image) => image.into(),
            DynamicImage::ImageLumaA16(image) => image.into(),
            DynamicImage::ImageRgb16(image) => image.into(),
            DynamicImage::ImageRgba16(image) => image.into(),
            DynamicImage::ImageRgb32F(image) => image.into(),
            DynamicImage::ImageRgba32F(image) => image.into(),
            image => Self {
                size: ImageSize::new(image.width(), image.height()),
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
    use ndarray::{Array3, s};

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
    fn arrays_in_any_order_of_memory_are_images() {
        let levels = Array3::from_shape_fn((4, 6, 4), |(y, x, c)| (40 * y + 6 * x + c) as u8);
        let part = levels.slice(s![1..3, ..;2, ..3]);
        let source = SourceImage::from_array(part).unwrap();
        assert_eq!(source.size(), ImageSize::new(3, 2));
        assert_eq!(source.rgb()[..6], [40, 41, 42, 52, 53, 54]);
        assert_eq!(source.rgb()[9..12], [80, 81, 82]);
        let grey = levels.slice(s![.., .., 1..2]);
        assert_eq!(SourceImage::from_array(grey).unwrap().rgb()[..3], [1; 3]);
        let wrong = levels.slice(s![.., .., ..0]);
        let error = SourceImage::from_array(wrong).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }

    #[test]
    fn alpha_is_dropped_not_blended() {
        let pixel = Rgba([10, 20, 30, 0]);
        let image = DynamicImage::ImageRgba8(RgbaImage::from_pixel(1, 1, pixel));
        assert_eq!(rows(&image), [10, 20, 30]);
    }

    #[test]
    fn wrong_byte_counts_are_an_error() {
        // The second has 29 bytes if 64 bits are all that is counted in.
        let cases = [
            (ImageSize::new(2, 2), 11, 12),
            (ImageSize::new(1_604_214_285, 3_832_975_899), 29, u64::MAX),
            (ImageSize::new(u32::MAX, u32::MAX), 0, u64::MAX),
        ];
        for (size, bytes, expected) in cases {
            let error = SourceImage::from_rgb(size, &vec![0; bytes]).unwrap_err();
            assert!(
                matches!(error, Error::ImageBytes { expected: e, found, .. } if e == expected && found == bytes),
                "{error}"
            );
        }
    }
}
