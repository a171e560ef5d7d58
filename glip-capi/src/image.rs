//! Images as they lie in the caller's memory.

use std::ffi::c_char;

use glip::{
    ImageSize, PixelFormat, SourceImage,
    live::{Frame, FrameBytes, FramePlane},
    parts::{Plane, YuvEncoding},
};

use crate::{
    arguments::{is_null, list, text},
    extensible::{self, Extensible},
    fault::{Fault, Result, guard},
    status::glip_status,
};

/// How pixels lie in memory. Zero is none of them: an image has to say what it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum glip_pixel_format {
    /// Red, green, blue, a byte each.
    Rgb8 = 1,
    /// Blue, green, red, a byte each: OpenCV's order.
    Bgr8 = 2,
    /// Red, green, blue and alpha, which is dropped.
    Rgba8 = 3,
    /// Blue, green, red and alpha, which is dropped.
    Bgra8 = 4,
    /// Grey, a byte a pixel.
    Mono8 = 5,
    /// Grey, 16 bits a pixel, the lower byte first; see `mono16_bits`.
    Mono16 = 6,
    /// A plane of luma, then one of chroma with half the rows: U and V in turn, for 2 x 2 pixels each.
    Nv12 = 7,
    /// As NV12, V before U.
    Nv21 = 8,
    /// A plane of luma, one of U and one of V, these with half the rows and columns.
    I420 = 9,
    /// Two pixels in four bytes: Y, U, Y, V. Also called YUY2.
    Yuyv = 10,
    /// Two pixels in four bytes: U, Y, V, Y.
    Uyvy = 11,
    /// A sensor's raw levels behind its filters: red and green in the first row, green and blue in the second.
    BayerRggb8 = 12,
    /// The same with blue and green, then green and red.
    BayerBggr8 = 13,
    /// The same with green and blue, then red and green.
    BayerGbrg8 = 14,
    /// The same with green and red, then blue and green.
    BayerGrbg8 = 15,
}

/// Each format with its number in C; 16-bit grey with all bits in use.
const FORMATS: [(glip_pixel_format, PixelFormat); 15] = [
    (glip_pixel_format::Rgb8, PixelFormat::Rgb8),
    (glip_pixel_format::Bgr8, PixelFormat::Bgr8),
    (glip_pixel_format::Rgba8, PixelFormat::Rgba8),
    (glip_pixel_format::Bgra8, PixelFormat::Bgra8),
    (glip_pixel_format::Mono8, PixelFormat::Mono8),
    (glip_pixel_format::Mono16, PixelFormat::Mono16 { shift: 8 }),
    (glip_pixel_format::Nv12, PixelFormat::Nv12),
    (glip_pixel_format::Nv21, PixelFormat::Nv21),
    (glip_pixel_format::I420, PixelFormat::I420),
    (glip_pixel_format::Yuyv, PixelFormat::Yuyv),
    (glip_pixel_format::Uyvy, PixelFormat::Uyvy),
    (glip_pixel_format::BayerRggb8, PixelFormat::BayerRggb8),
    (glip_pixel_format::BayerBggr8, PixelFormat::BayerBggr8),
    (glip_pixel_format::BayerGbrg8, PixelFormat::BayerGbrg8),
    (glip_pixel_format::BayerGrbg8, PixelFormat::BayerGrbg8),
];

/// What levels of luma and chroma mean, which a buffer does not say.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum glip_yuv_encoding {
    /// BT.601, black at 16 and white at 235: as most cameras give it.
    Bt601Limited = 0,
    /// BT.601 with all levels from 0 to 255: JPEG, and cameras that decode it.
    Bt601Full = 1,
    /// BT.709, black at 16 and white at 235: video in high definition.
    Bt709Limited = 2,
    /// BT.709 with all levels from 0 to 255.
    Bt709Full = 3,
}

const ENCODINGS: [(glip_yuv_encoding, YuvEncoding); 4] = [
    (glip_yuv_encoding::Bt601Limited, YuvEncoding::Bt601Limited),
    (glip_yuv_encoding::Bt601Full, YuvEncoding::Bt601Full),
    (glip_yuv_encoding::Bt709Limited, YuvEncoding::Bt709Limited),
    (glip_yuv_encoding::Bt709Full, YuvEncoding::Bt709Full),
];

/// A place in memory where an image, or one plane of it, is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct glip_plane {
    /// Its first byte.
    pub data: *const u8,
    /// How many bytes there are. More than it takes are no error; where a frame is copied, they are copied too.
    pub size: usize,
    /// Bytes from one row to the next (`step` in ROS and OpenCV, `bytesperline` in V4L2). 0 in an image of one piece:
    /// nothing pads its rows.
    pub stride: usize,
}

/// An image in the caller's memory, which is read where it is, and only during the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct glip_image {
    /// `sizeof(glip_image)`.
    pub struct_size: usize,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// A `glip_pixel_format`.
    pub format: u32,
    /// A `glip_yuv_encoding`, for formats of luma and chroma.
    pub yuv_encoding: u32,
    /// Of GLIP_PIXEL_FORMAT_MONO16: how many bits of a level are in use, 8 to 16; 0 for 16.
    pub mono16_bits: u32,
    /// How many of `planes` there are; 0 for 1. One holds the whole image, of whose planes each follows the one before.
    pub plane_count: u32,
    /// Where the image is.
    pub planes: [glip_plane; 3],
}

// SAFETY: it is `repr(C)`, begins with its size, and is of numbers and pointers.
unsafe impl Extensible for glip_image {
    const NAME: &'static str = "glip_image";
    const FIRST: usize = size_of::<Self>();
}

/// An image whose memory is known to be there.
pub(crate) struct View<'a> {
    size: ImageSize,
    format: PixelFormat,
    encoding: YuvEncoding,
    planes: Vec<Plane<'a>>,
}

impl<'a> View<'a> {
    /// # Safety
    /// The pointer is NULL, or to an image as large as it says, whose memory is there for `'a`.
    pub(crate) unsafe fn read(image: *const glip_image) -> Result<Self> {
        // SAFETY: as the caller promises.
        let image = unsafe { extensible::read(image) }?;
        let size = ImageSize::new(image.width, image.height);
        let format = format_of(&image)?;
        let count = (image.plane_count as usize).max(1);
        let Some(planes) = image.planes.get(..count) else {
            return Err(Fault::option("plane_count", count, "0 to 3"));
        };
        let planes = planes.iter().map(|plane| {
            if plane.data.is_null() {
                return Err(is_null("data of an image's plane"));
            }
            // SAFETY: the memory is there, as the caller promises.
            let bytes = unsafe { list(plane.data, plane.size, "an image's plane") }?;
            Ok(Plane::new(bytes, plane.stride))
        });
        let mut planes: Vec<_> = planes.collect::<Result<_>>()?;
        if let [all] = &mut planes[..]
            && all.stride == 0
        {
            all.stride = format.packed_stride(size.width);
        }
        Ok(Self {
            size,
            format,
            encoding: encoding_of(image.yuv_encoding)?,
            planes,
        })
    }

    /// The image, to be read where it is.
    pub(crate) fn source(&self) -> Result<SourceImage<'a>> {
        let source = match &self.planes[..] {
            [all] => SourceImage::from_buffer(self.size, all.stride, self.format, all.bytes),
            planes => SourceImage::from_planes(self.size, self.format, planes),
        }?;
        Ok(source.with_yuv_encoding(self.encoding))
    }

    /// The image as a camera's frame, each plane in the memory that keeps its bytes.
    pub(crate) fn frame<B: Into<FrameBytes>>(
        &self,
        mut keep: impl FnMut(&'a [u8]) -> B,
    ) -> Result<Frame> {
        let frame = match &self.planes[..] {
            [all] => Frame::new(self.size, all.stride, self.format, keep(all.bytes)),
            planes => {
                let planes = planes.iter();
                let planes = planes.map(|plane| FramePlane::new(keep(plane.bytes), plane.stride));
                Frame::from_planes(self.size, self.format, planes)
            }
        }?;
        Ok(frame.with_yuv_encoding(self.encoding))
    }
}

fn format_of(image: &glip_image) -> Result<PixelFormat> {
    let found = FORMATS
        .iter()
        .find(|(number, _)| *number as u32 == image.format);
    match found {
        None => Err(Fault::option(
            "format of glip_image",
            image.format,
            "a glip_pixel_format, 1 to 15",
        )),
        Some((_, PixelFormat::Mono16 { .. })) => match image.mono16_bits {
            0 => Ok(PixelFormat::Mono16 { shift: 8 }),
            bits @ 8..=16 => Ok(PixelFormat::Mono16 {
                shift: (bits - 8) as u8,
            }),
            bits => Err(Fault::option("mono16_bits", bits, "0, or 8 to 16")),
        },
        Some((_, format)) => Ok(*format),
    }
}

fn encoding_of(number: u32) -> Result<YuvEncoding> {
    let found = ENCODINGS.iter().find(|(own, _)| *own as u32 == number);
    let found = found.map(|(_, encoding)| *encoding);
    found.ok_or_else(|| Fault::option("yuv_encoding", number, "a glip_yuv_encoding, 0 to 3"))
}

/// The format of a name, as ROS has it in an image's `encoding` ("bgr8", "yuv422_yuy2", "bayer_rggb8"), or as in this
/// header in small letters ("nv12").
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_pixel_format_parse(
    name: *const c_char,
    format: *mut u32,
) -> glip_status {
    guard(|| {
        // SAFETY: NULL, or a string and a place for a number, as the header asks of the caller.
        let (name, format) = unsafe { (text(name, "name")?, format.as_mut()) };
        let format = format.ok_or_else(|| is_null("format"))?;
        *format = 0;
        let parsed: PixelFormat = name.parse()?;
        let found = FORMATS.iter().find(|(_, own)| *own == parsed);
        let (number, _) = found.ok_or_else(|| {
            Fault::option("pixel format", name, "one of those of glip_pixel_format")
        })?;
        *format = *number as u32;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_number_of_its_own() {
        for format in PixelFormat::ALL {
            let of_it = FORMATS.iter().filter(|(_, own)| *own == format);
            assert_eq!(of_it.count(), 1, "{format}");
        }
        let numbers = FORMATS.iter().map(|(number, _)| *number as u32);
        assert!(numbers.eq(1..=15));
    }
}
