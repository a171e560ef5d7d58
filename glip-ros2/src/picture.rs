//! From images as ROS has them to frames.

use std::{
    io::Cursor,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use glip::{ImageSize, PixelFormat, live::Frame};
use image::{ImageReader, Limits, RgbImage};

use crate::{
    error::{Error, Result},
    messages::{CompressedImage, Header, Image, Time},
};

/// A message that is a picture.
pub(crate) trait Picture {
    fn header(&self) -> &Header;

    /// Its pixels, as they are where that can be, in memory that the frame's clones share.
    fn into_frame(self) -> Result<Frame>;
}

impl Picture for Image {
    fn header(&self) -> &Header {
        &self.header
    }

    fn into_frame(self) -> Result<Frame> {
        let format = self.format()?;
        let size = ImageSize::new(self.width, self.height);
        let bytes = Arc::new(self.data);
        Ok(Frame::new(size, self.step as usize, format, bytes)?)
    }
}

impl Image {
    fn format(&self) -> Result<PixelFormat> {
        let encoding = || self.encoding.clone();
        let format = self.encoding.parse::<PixelFormat>();
        match format {
            Err(_) => Err(Error::Encoding {
                encoding: encoding(),
            }),
            // Bytes have no order, whatever drivers say.
            Ok(PixelFormat::Mono16 { .. }) if self.is_bigendian != 0 => Err(Error::BigEndian {
                encoding: encoding(),
            }),
            Ok(format) => Ok(format),
        }
    }
}

/// The longest side of a compressed image, and the most memory that it may take: a few bytes may say that they are a very large one.
const LONGEST_SIDE: u32 = 1 << 14;
const MOST_BYTES: u64 = 1 << 28;

impl Picture for CompressedImage {
    fn header(&self) -> &Header {
        &self.header
    }

    fn into_frame(self) -> Result<Frame> {
        let decode = || {
            let mut reader = ImageReader::new(Cursor::new(&self.data)).with_guessed_format()?;
            let mut limits = Limits::default();
            limits.max_image_width = Some(LONGEST_SIDE);
            limits.max_image_height = Some(LONGEST_SIDE);
            limits.max_alloc = Some(MOST_BYTES);
            reader.limits(limits);
            reader.decode()
        };
        match decode() {
            Ok(picture) => frame(picture.into_rgb8()),
            Err(source) => Err(Error::Compressed {
                format: self.format,
                source,
            }),
        }
    }
}

fn frame(picture: RgbImage) -> Result<Frame> {
    let size = ImageSize::from(picture.dimensions());
    let (format, bytes) = (PixelFormat::Rgb8, Arc::new(picture.into_raw()));
    Ok(Frame::new(
        size,
        format.packed_stride(size.width),
        format,
        bytes,
    )?)
}

/// When an image was taken, as tracks go by it: what its header says, or now, if that says nothing.
pub(crate) fn stamp(header: &Header) -> Duration {
    match header.stamp {
        Time { sec: 0, nanosec: 0 } => since_1970(),
        // Before 1970 there is nothing.
        Time { sec, nanosec } => Duration::new(u64::try_from(sec).unwrap_or(0), nanosec),
    }
}

/// The time of this machine, as headers have it.
pub(crate) fn now() -> Time {
    let now = since_1970();
    Time {
        sec: i32::try_from(now.as_secs()).unwrap_or(i32::MAX),
        nanosec: now.subsec_nanos(),
    }
}

fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// What tests of several modules are made with.
#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    /// The photograph of a cup on a table, taken at this time.
    pub(crate) fn coffee(sec: i32) -> Image {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/images/coffee.jpg");
        let picture = image::open(path).unwrap().into_rgb8();
        let (width, height) = picture.dimensions();
        Image {
            header: Header {
                stamp: Time { sec, nanosec: 0 },
                frame_id: "camera".to_owned(),
            },
            height,
            width,
            encoding: "rgb8".to_owned(),
            is_bigendian: 0,
            step: 3 * width,
            data: picture.into_raw(),
        }
    }
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::*;

    fn image(encoding: &str, step: u32, bytes: usize) -> Image {
        Image {
            height: 4,
            width: 6,
            encoding: encoding.to_owned(),
            step,
            data: vec![7; bytes],
            ..Image::default()
        }
    }

    #[test]
    fn encodings_of_ros_are_read() {
        for (encoding, step, bytes) in [
            ("rgb8", 20, 80),
            ("bgr8", 18, 72),
            ("8UC3", 18, 72),
            ("rgba8", 24, 96),
            ("bgra8", 24, 96),
            ("mono8", 6, 24),
            ("mono16", 12, 48),
            ("16UC1", 12, 48),
            ("nv12", 6, 36),
            ("nv21", 6, 36),
            ("yuv422", 12, 48),
            ("yuv422_yuy2", 12, 48),
            ("bayer_rggb8", 6, 24),
            ("bayer_bggr8", 6, 24),
            ("bayer_gbrg8", 6, 24),
            ("bayer_grbg8", 6, 24),
        ] {
            let frame = image(encoding, step, bytes).into_frame();
            assert_eq!(frame.unwrap().size(), ImageSize::new(6, 4), "{encoding}");
            let short = image(encoding, step, bytes - step as usize).into_frame();
            assert!(matches!(short, Err(Error::Detector(_))), "{encoding}");
        }
    }

    #[test]
    fn other_encodings_are_refused_with_words() {
        let said = |image: Image| image.into_frame().unwrap_err().to_string();
        for encoding in ["32FC1", "rgb16", "", "RGB8"] {
            let said = said(image(encoding, 24, 96));
            assert!(said.contains(&format!("{encoding:?}")), "{said}");
            assert!(said.contains("bayer_rggb8"), "{said}");
        }
        let mut depth = image("16UC1", 12, 48);
        depth.is_bigendian = 1;
        assert!(said(depth).contains("lower byte first"));
        let mut colours = image("bgr8", 18, 72);
        colours.is_bigendian = 1;
        assert!(colours.into_frame().is_ok());
    }

    #[test]
    fn compressed_images_are_decoded_within_limits() {
        let compressed = |data| CompressedImage {
            format: "rgb8; jpeg compressed bgr8".to_owned(),
            data,
            ..CompressedImage::default()
        };
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let mut bytes = Cursor::new(Vec::new());
            RgbImage::new(6, 4).write_to(&mut bytes, format).unwrap();
            let frame = compressed(bytes.into_inner()).into_frame().unwrap();
            assert_eq!(frame.size(), ImageSize::new(6, 4));
        }
        let mut wide = Cursor::new(Vec::new());
        let picture = RgbImage::new(LONGEST_SIDE + 1, 1);
        picture.write_to(&mut wide, ImageFormat::Png).unwrap();
        for bytes in [Vec::new(), vec![255, 216, 255, 0], wide.into_inner()] {
            let error = compressed(bytes).into_frame().unwrap_err();
            assert!(error.to_string().contains("jpeg compressed"), "{error}");
        }
    }

    #[test]
    fn stamps_are_those_of_headers_if_they_have_one() {
        let at = |sec, nanosec| {
            stamp(&Header {
                stamp: Time { sec, nanosec },
                ..Header::default()
            })
        };
        assert_eq!(at(3, 500), Duration::new(3, 500));
        assert_eq!(at(-3, 500), Duration::new(0, 500));
        assert!(at(0, 0) > Duration::from_secs(1_700_000_000));
    }
}
