//! What a camera pushes.

use std::{fmt, sync::Arc, time::Duration};

use image::{DynamicImage, RgbImage};

use crate::{
    error::Result,
    geometry::ImageSize,
    preprocess::{PixelFormat, SourceImage, YuvEncoding},
};

/// A camera's frame: its pixels as they are in memory, its number and its time.
///
/// ```
/// use std::time::Duration;
///
/// use glip::{ImageSize, PixelFormat, live::Frame};
///
/// let bytes = vec![0; 640 * 480 * 2];
/// let frame = Frame::new(ImageSize::new(640, 480), 1280, PixelFormat::Yuyv, bytes)?
///     .with_id(17)
///     .with_stamp(Duration::from_millis(566));
/// assert_eq!((frame.id(), frame.size().width), (17, 640));
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Frame {
    id: u64,
    stamp: Duration,
    size: ImageSize,
    stride: usize,
    format: PixelFormat,
    encoding: YuvEncoding,
    bytes: FrameBytes,
}

/// The memory of a frame: a vector, which [`Live::spare_buffer`](super::Live::spare_buffer) gives back when the
/// frame is done, or memory of a driver's behind an [`Arc`], which is let go of then.
#[derive(Clone)]
pub enum FrameBytes {
    /// The frame's own.
    Owned(Vec<u8>),
    /// Another's, such as a buffer of a driver's, which must not be written to while the frame lives.
    Shared(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

impl Frame {
    /// A frame of pixels as [`SourceImage::from_buffer`] takes them, with number 0 and time 0.
    ///
    /// # Errors
    /// As [`SourceImage::from_buffer`].
    pub fn new(
        size: ImageSize,
        stride: usize,
        format: PixelFormat,
        bytes: impl Into<FrameBytes>,
    ) -> Result<Self> {
        let bytes = bytes.into();
        SourceImage::from_buffer(size, stride, format, bytes.as_ref())?;
        Ok(Self {
            id: 0,
            stamp: Duration::ZERO,
            size,
            stride,
            format,
            encoding: YuvEncoding::default(),
            bytes,
        })
    }

    /// A black frame.
    pub(super) fn blank(size: ImageSize) -> Result<Self> {
        let bytes = vec![0; size.width as usize * size.height as usize];
        Self::new(size, size.width as usize, PixelFormat::Mono8, bytes)
    }

    /// Sets its number, by which its result is known.
    #[must_use]
    pub fn with_id(mut self, id: u64) -> Self {
        self.id = id;
        self
    }

    /// Sets when it was taken, by whatever clock the camera has. It is passed on, and tracks, if asked for, go by it.
    #[must_use]
    pub fn with_stamp(mut self, stamp: Duration) -> Self {
        self.stamp = stamp;
        self
    }

    /// Says what levels of luma and chroma mean, as [`SourceImage::with_yuv_encoding`].
    #[must_use]
    pub fn with_yuv_encoding(mut self, encoding: YuvEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When it was taken, by the camera's clock.
    pub fn stamp(&self) -> Duration {
        self.stamp
    }

    /// Its size in pixels.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// Its picture.
    ///
    /// # Errors
    /// As [`SourceImage::from_buffer`], if shared memory has become shorter since.
    pub fn image(&self) -> Result<SourceImage<'_>> {
        let bytes = self.bytes.as_ref();
        let image = SourceImage::from_buffer(self.size, self.stride, self.format, bytes)?;
        Ok(image.with_yuv_encoding(self.encoding))
    }

    /// Its memory, if it is its own.
    pub(super) fn into_buffer(self) -> Option<Vec<u8>> {
        match self.bytes {
            FrameBytes::Owned(bytes) => Some(bytes),
            FrameBytes::Shared(_) => None,
        }
    }
}

impl AsRef<[u8]> for FrameBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => (**bytes).as_ref(),
        }
    }
}

impl fmt::Debug for FrameBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.as_ref().len())
    }
}

impl From<Vec<u8>> for FrameBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> From<Arc<B>> for FrameBytes {
    fn from(bytes: Arc<B>) -> Self {
        Self::Shared(bytes)
    }
}

impl From<RgbImage> for Frame {
    fn from(image: RgbImage) -> Self {
        let size = ImageSize::from(image.dimensions());
        Self {
            id: 0,
            stamp: Duration::ZERO,
            size,
            stride: PixelFormat::Rgb8.packed_stride(size.width),
            format: PixelFormat::Rgb8,
            encoding: YuvEncoding::default(),
            bytes: image.into_raw().into(),
        }
    }
}

/// Made 8-bit RGB, if it is not.
impl From<DynamicImage> for Frame {
    fn from(image: DynamicImage) -> Self {
        image.into_rgb8().into()
    }
}
