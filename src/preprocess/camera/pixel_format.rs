//! How pixels lie in a camera's buffer.

use std::{fmt, str::FromStr};

use crate::{
    error::{Error, Result},
    geometry::ImageSize,
};

/// How pixels lie in a camera's buffer: which bytes are which colour of which pixel.
///
/// Names are those of ROS where it has one ([`name`](Self::name), and `"bgr8".parse()`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Red, green, blue, a byte each.
    Rgb8,
    /// Blue, green, red, a byte each: OpenCV's order.
    Bgr8,
    /// Red, green, blue and alpha, which is dropped.
    Rgba8,
    /// Blue, green, red and alpha, which is dropped.
    Bgra8,
    /// Grey, a byte a pixel.
    Mono8,
    /// Grey, 16 bits a pixel, the lower byte first. A level is shifted right to 8 bits, and is white where
    /// it is larger.
    Mono16 {
        /// By how many bits: 8 for 16-bit levels, 4 for 12-bit and 2 for 10-bit ones in the lower bits.
        shift: u8,
    },
    /// A plane of luma, then one of chroma with half the rows: U and V in turn, for 2 x 2 pixels each.
    Nv12,
    /// As [`Nv12`](Self::Nv12), V before U.
    Nv21,
    /// A plane of luma, one of U and one of V, these with half the rows and columns.
    I420,
    /// Two pixels in four bytes: Y, U, Y, V. Also called YUY2, and `yuv422_yuy2` in ROS.
    Yuyv,
    /// Two pixels in four bytes: U, Y, V, Y. Also called `yuv422` in ROS.
    Uyvy,
    /// A sensor's raw levels behind its filters: red and green in the first row, green and blue in the second.
    BayerRggb8,
    /// As [`BayerRggb8`](Self::BayerRggb8): blue and green, then green and red.
    BayerBggr8,
    /// As [`BayerRggb8`](Self::BayerRggb8): green and blue, then red and green.
    BayerGbrg8,
    /// As [`BayerRggb8`](Self::BayerRggb8): green and red, then blue and green.
    BayerGrbg8,
}

/// What a plane of an image is, in pixels of the image for a sample of the plane.
pub(super) struct PlaneLayout {
    pub(super) name: &'static str,
    /// Rows of the image for one of the plane.
    pub(super) rows: u32,
    /// Bytes of a row of the plane, for so many pixels.
    pub(super) bytes: u8,
    pub(super) per_pixels: u8,
}

const fn plane(name: &'static str, rows: u32, bytes: u8, per_pixels: u8) -> PlaneLayout {
    PlaneLayout {
        name,
        rows,
        bytes,
        per_pixels,
    }
}

impl PlaneLayout {
    /// Bytes of a row without what pads it.
    pub(super) fn row_bytes(&self, width: u32) -> u64 {
        u64::from(width) * u64::from(self.bytes) / u64::from(self.per_pixels)
    }
}

impl PixelFormat {
    /// Every format; 16-bit grey with all 16 bits in use.
    pub const ALL: [Self; 15] = [
        Self::Rgb8,
        Self::Bgr8,
        Self::Rgba8,
        Self::Bgra8,
        Self::Mono8,
        Self::Mono16 { shift: 8 },
        Self::Nv12,
        Self::Nv21,
        Self::I420,
        Self::Yuyv,
        Self::Uyvy,
        Self::BayerRggb8,
        Self::BayerBggr8,
        Self::BayerGbrg8,
        Self::BayerGrbg8,
    ];

    /// The most planes that a format has.
    pub(crate) const MOST_PLANES: usize = 3;

    /// Its name, as ROS has it if it does: `bgr8`, `nv12`, `bayer_rggb8`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rgb8 => "rgb8",
            Self::Bgr8 => "bgr8",
            Self::Rgba8 => "rgba8",
            Self::Bgra8 => "bgra8",
            Self::Mono8 => "mono8",
            Self::Mono16 { .. } => "mono16",
            Self::Nv12 => "nv12",
            Self::Nv21 => "nv21",
            Self::I420 => "i420",
            Self::Yuyv => "yuyv",
            Self::Uyvy => "uyvy",
            Self::BayerRggb8 => "bayer_rggb8",
            Self::BayerBggr8 => "bayer_bggr8",
            Self::BayerGbrg8 => "bayer_gbrg8",
            Self::BayerGrbg8 => "bayer_grbg8",
        }
    }

    /// The stride of a buffer without padding: the bytes of a row, of its first plane if it has several.
    ///
    /// ```
    /// use glip::PixelFormat;
    ///
    /// assert_eq!(PixelFormat::Bgr8.packed_stride(640), 1920);
    /// assert_eq!(PixelFormat::Nv12.packed_stride(640), 640);
    /// ```
    #[must_use]
    pub fn packed_stride(self, width: u32) -> usize {
        usize::try_from(self.planes()[0].row_bytes(width)).unwrap_or(usize::MAX)
    }

    /// Its planes, in their order in a buffer.
    pub(super) fn planes(self) -> &'static [PlaneLayout] {
        const RGB: &[PlaneLayout] = &[plane("pixels", 1, 3, 1)];
        const RGBA: &[PlaneLayout] = &[plane("pixels", 1, 4, 1)];
        const BYTES: &[PlaneLayout] = &[plane("pixels", 1, 1, 1)];
        const WORDS: &[PlaneLayout] = &[plane("pixels", 1, 2, 1)];
        const PAIRS: &[PlaneLayout] = &[plane("pixels", 1, 4, 2)];
        const INTERLEAVED: &[PlaneLayout] = &[plane("luma", 1, 1, 1), plane("chroma", 2, 2, 2)];
        const PLANAR: &[PlaneLayout] = &[
            plane("luma", 1, 1, 1),
            plane("chroma U", 2, 1, 2),
            plane("chroma V", 2, 1, 2),
        ];
        match self {
            Self::Rgb8 | Self::Bgr8 => RGB,
            Self::Rgba8 | Self::Bgra8 => RGBA,
            Self::Mono16 { .. } => WORDS,
            Self::Nv12 | Self::Nv21 => INTERLEAVED,
            Self::I420 => PLANAR,
            Self::Yuyv | Self::Uyvy => PAIRS,
            Self::Mono8
            | Self::BayerRggb8
            | Self::BayerBggr8
            | Self::BayerGbrg8
            | Self::BayerGrbg8 => BYTES,
        }
    }

    /// Refuses sizes that the format cannot have, and shifts.
    pub(super) fn check(self, size: ImageSize) -> Result<()> {
        if let Self::Mono16 { shift: shift @ 9.. } = self {
            return Err(Error::InvalidOption {
                option: "shift of mono16",
                found: shift.to_string(),
                expected: "0 to 8: the bits of a level beyond 8",
            });
        }
        let is_odd = |side: u32| side % 2 == 1;
        let (can_be, expected) = match self {
            Self::Nv12 | Self::Nv21 | Self::I420 => (
                !is_odd(size.width) && !is_odd(size.height),
                "sides are even, as 2 x 2 pixels share their colour: \
                 leave out the last column or row and keep the stride",
            ),
            Self::Yuyv | Self::Uyvy => (
                !is_odd(size.width),
                "widths are even, as two pixels share their colour: \
                 leave out the last column and keep the stride",
            ),
            Self::BayerRggb8 | Self::BayerBggr8 | Self::BayerGbrg8 | Self::BayerGrbg8 => (
                size.width != 1 && size.height != 1,
                "sides are 2 or more, as a pixel's colour is made of its neighbours': \
                 give a larger image",
            ),
            _ => return Ok(()),
        };
        match can_be {
            true => Ok(()),
            false => Err(Error::BufferSize {
                format: self.name(),
                width: size.width,
                height: size.height,
                expected,
            }),
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By its [name](PixelFormat::name), or another that ROS or V4L2 has for it. 16-bit grey has all 16 bits in use.
impl FromStr for PixelFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let alias = match name {
            "8UC1" => "mono8",
            "8UC3" => "bgr8",
            "8UC4" => "bgra8",
            "16UC1" => "mono16",
            "yuv422" => "uyvy",
            "yuv422_yuy2" | "yuy2" => "yuyv",
            name => name,
        };
        let found = Self::ALL.into_iter().find(|format| format.name() == alias);
        found.ok_or_else(|| Error::InvalidOption {
            option: "pixel format",
            found: format!("{name:?}"),
            expected: "rgb8, bgr8, rgba8, bgra8, mono8, mono16, nv12, nv21, i420, yuyv, uyvy, \
                       bayer_rggb8, bayer_bggr8, bayer_gbrg8 or bayer_grbg8",
        })
    }
}
