//! A camera's buffer, checked, and its rows.

use super::{
    bayer, packed,
    pixel_format::PixelFormat,
    yuv::{self, YuvEncoding},
};
use crate::{
    error::{Error, Result},
    geometry::ImageSize,
};

/// One plane of an image in a camera's memory: rows from the top, each beginning `stride` bytes after the one
/// above it. What a row has beyond its pixels is not looked at.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// The plane's bytes, from its first pixel. More than it takes is no error.
    pub bytes: &'a [u8],
    /// From the beginning of a row to the beginning of the next, in bytes.
    pub stride: usize,
}

impl<'a> Plane<'a> {
    /// A plane that begins where the bytes do.
    #[must_use]
    pub fn new(bytes: &'a [u8], stride: usize) -> Self {
        Self { bytes, stride }
    }

    pub(super) fn row(&self, y: usize, bytes: usize) -> &'a [u8] {
        &self.bytes[y * self.stride..][..bytes]
    }
}

/// An image in a camera's memory. That there is one shows that all its rows are there.
#[derive(Clone, Debug)]
pub(in crate::preprocess) struct CameraBuffer<'a> {
    format: PixelFormat,
    height: usize,
    encoding: YuvEncoding,
    /// As many as the format has; the others are empty.
    planes: [Plane<'a>; PixelFormat::MOST_PLANES],
}

impl<'a> CameraBuffer<'a> {
    /// Planes one after another, each as many rows of the stride as the image has.
    pub(in crate::preprocess) fn in_one_piece(
        size: ImageSize,
        stride: usize,
        format: PixelFormat,
        bytes: &'a [u8],
    ) -> Result<Self> {
        format.check(size)?;
        let mut rest = bytes;
        let mut planes = [Plane::new(&[], 0); PixelFormat::MOST_PLANES];
        let luma = format.planes()[0].row_bytes(size.width);
        for (plane, layout) in planes.iter_mut().zip(format.planes()) {
            // Planes of half the columns have half the stride, as drivers have it.
            let stride = match layout.row_bytes(size.width) {
                row if row < luma => stride / 2,
                _ => stride,
            };
            *plane = Plane::new(rest, stride);
            let rows = (size.height / layout.rows) as usize;
            let end = stride.saturating_mul(rows).min(rest.len());
            rest = &rest[end..];
        }
        Self::checked(size, format, planes)
    }

    /// Planes wherever they are.
    pub(in crate::preprocess) fn in_planes(
        size: ImageSize,
        format: PixelFormat,
        planes: &[Plane<'a>],
    ) -> Result<Self> {
        format.check(size)?;
        let expected = format.planes().len();
        if planes.len() != expected {
            return Err(Error::BufferPlanes {
                format: format.name(),
                expected,
                found: planes.len(),
            });
        }
        let mut own = [Plane::new(&[], 0); PixelFormat::MOST_PLANES];
        own[..expected].copy_from_slice(planes);
        Self::checked(size, format, own)
    }

    fn checked(
        size: ImageSize,
        format: PixelFormat,
        planes: [Plane<'a>; PixelFormat::MOST_PLANES],
    ) -> Result<Self> {
        for (plane, layout) in planes.iter().zip(format.planes()) {
            let row = layout.row_bytes(size.width);
            let rows = u64::from(size.height / layout.rows);
            if (plane.stride as u64) < row && rows > 1 {
                return Err(Error::BufferStride {
                    format: format.name(),
                    plane: layout.name,
                    width: size.width,
                    expected: row,
                    found: plane.stride,
                });
            }
            // The last row ends with its pixels.
            let before = (plane.stride as u64).checked_mul(rows.saturating_sub(1));
            let needed = match rows {
                0 => 0,
                _ => before.map_or(u64::MAX, |before| before.saturating_add(row)),
            };
            if (plane.bytes.len() as u64) < needed {
                return Err(Error::BufferBytes {
                    format: format.name(),
                    plane: layout.name,
                    width: size.width,
                    height: size.height,
                    stride: plane.stride,
                    expected: needed,
                    found: plane.bytes.len(),
                });
            }
        }
        Ok(Self {
            format,
            height: size.height as usize,
            encoding: YuvEncoding::default(),
            planes,
        })
    }

    pub(in crate::preprocess) fn set_encoding(&mut self, encoding: YuvEncoding) {
        self.encoding = encoding;
    }

    /// Writes the row at `y`, which must be there, as red, green and blue.
    pub(in crate::preprocess) fn read_row(&self, y: usize, rgb: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            #[allow(
                unsafe_code,
                reason = "AVX2 is known to be there when the program runs only"
            )]
            // SAFETY: the processor has AVX2.
            unsafe {
                return self.convert_row_with_avx2(y, rgb);
            }
        }
        self.convert_row(y, rgb);
    }

    /// The same, compiled for a processor with AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn convert_row_with_avx2(&self, y: usize, rgb: &mut [u8]) {
        self.convert_row(y, rgb);
    }

    /// Inlined with all that it calls, for the compiler to vectorise for the processor that it is inlined for.
    #[inline(always)]
    fn convert_row(&self, y: usize, rgb: &mut [u8]) {
        let width = rgb.len() / 3;
        let row = |bytes: usize| self.planes[0].row(y, bytes);
        let chroma = |plane: usize, bytes: usize| self.planes[plane].row(y / 2, bytes);
        let encoding = self.encoding;
        match self.format {
            PixelFormat::Rgb8 => rgb.copy_from_slice(row(3 * width)),
            PixelFormat::Bgr8 => packed::read::<3>(row(3 * width), [2, 1, 0], rgb),
            PixelFormat::Rgba8 => packed::read::<4>(row(4 * width), [0, 1, 2], rgb),
            PixelFormat::Bgra8 => packed::read::<4>(row(4 * width), [2, 1, 0], rgb),
            PixelFormat::Mono8 => packed::read::<1>(row(width), [0, 0, 0], rgb),
            PixelFormat::Mono16 { shift } => packed::read_words(row(2 * width), shift, rgb),
            PixelFormat::Nv12 => {
                yuv::read_interleaved::<0>(row(width), chroma(1, width), encoding, rgb);
            }
            PixelFormat::Nv21 => {
                yuv::read_interleaved::<1>(row(width), chroma(1, width), encoding, rgb);
            }
            PixelFormat::I420 => {
                let chromas = [1, 2].map(|plane| chroma(plane, width / 2));
                yuv::read_planar(row(width), chromas, encoding, rgb);
            }
            PixelFormat::Yuyv => yuv::read_packed::<0>(row(2 * width), encoding, rgb),
            PixelFormat::Uyvy => yuv::read_packed::<1>(row(2 * width), encoding, rgb),
            PixelFormat::BayerRggb8
            | PixelFormat::BayerBggr8
            | PixelFormat::BayerGbrg8
            | PixelFormat::BayerGrbg8 => {
                let row = |y| self.planes[0].row(y, width);
                bayer::Rows::new(self.format, y, self.height, row).read(rgb);
            }
        }
    }
}
