//! What a camera pushes.

use std::{fmt, sync::Arc, time::Duration};

use image::{DynamicImage, RgbImage};
use smallvec::{SmallVec, smallvec};

use crate::{
    error::Result,
    geometry::ImageSize,
    preprocess::{PixelFormat, Plane, SourceImage, YuvEncoding},
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
    format: PixelFormat,
    encoding: YuvEncoding,
    /// Its format's planes; or one that is the whole picture, whose planes follow one another.
    planes: Planes<FramePlane>,
}

/// Planes of a picture, without an allocation.
type Planes<T> = SmallVec<[T; PixelFormat::MOST_PLANES]>;

/// The memory of a frame, or of one of its planes: a vector, which [`Live::spare_buffer`](super::Live::spare_buffer)
/// gives back when the frame is done, or memory of a driver's behind an [`Arc`], which is let go of then.
#[derive(Clone)]
pub enum FrameBytes {
    /// The frame's own.
    Owned(Vec<u8>),
    /// Another's, such as a buffer of a driver's, which must not be written to while the frame lives.
    Shared(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

/// A plane of a frame, in memory of its own or in some that it shares with others.
#[derive(Clone, Debug)]
pub struct FramePlane {
    bytes: FrameBytes,
    offset: usize,
    stride: usize,
}

impl FramePlane {
    /// A plane that begins where the bytes do, whose rows begin `stride` bytes after the one above. More bytes than it takes
    /// are no error.
    pub fn new(bytes: impl Into<FrameBytes>, stride: usize) -> Self {
        Self {
            bytes: bytes.into(),
            offset: 0,
            stride,
        }
    }

    /// Sets how many bytes there are before its first pixel.
    #[must_use]
    pub fn with_offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    fn view(&self) -> Plane<'_> {
        let bytes = self.bytes.as_ref().get(self.offset..);
        Plane::new(bytes.unwrap_or_default(), self.stride)
    }
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
        let frame = Self::of(size, format, smallvec![FramePlane::new(bytes, stride)]);
        frame.image()?;
        Ok(frame)
    }

    /// A frame whose planes are apart, as [`SourceImage::from_planes`] takes them: from a driver that has a buffer for each
    /// plane, or one buffer with rows between them. It has number 0 and time 0.
    ///
    /// # Errors
    /// As [`SourceImage::from_planes`].
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use glip::{
    ///     ImageSize, PixelFormat,
    ///     live::{Frame, FramePlane},
    /// };
    ///
    /// let (size, format) = (ImageSize::new(1920, 1080), PixelFormat::Nv12);
    /// // V4L2's multi-planar API: a buffer for each plane.
    /// let (luma, chroma) = (vec![0; 1920 * 1080], vec![128; 1920 * 540]);
    /// let planes = [FramePlane::new(luma, 1920), FramePlane::new(chroma, 1920)];
    /// let frame = Frame::from_planes(size, format, planes)?;
    ///
    /// // A decoder that rounds 1080 rows up to 1088: chroma is after the last of them, in the same buffer.
    /// let buffer = Arc::new(vec![128; 1920 * 1088 * 3 / 2]);
    /// let luma = FramePlane::new(Arc::clone(&buffer), 1920);
    /// let chroma = FramePlane::new(buffer, 1920).with_offset(1920 * 1088);
    /// let frame = Frame::from_planes(size, format, [luma, chroma])?;
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn from_planes(
        size: ImageSize,
        format: PixelFormat,
        planes: impl IntoIterator<Item = FramePlane>,
    ) -> Result<Self> {
        let frame = Self::of(size, format, planes.into_iter().collect());
        SourceImage::from_planes(size, format, &frame.views())?;
        Ok(frame)
    }

    /// With number 0 and time 0.
    fn of(size: ImageSize, format: PixelFormat, planes: Planes<FramePlane>) -> Self {
        Self {
            id: 0,
            stamp: Duration::ZERO,
            size,
            format,
            encoding: YuvEncoding::default(),
            planes,
        }
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
    /// As [`SourceImage::from_planes`], if shared memory has become shorter since.
    pub fn image(&self) -> Result<SourceImage<'_>> {
        let image = match &self.views()[..] {
            [all] => SourceImage::from_buffer(self.size, all.stride, self.format, all.bytes),
            planes => SourceImage::from_planes(self.size, self.format, planes),
        }?;
        Ok(image.with_yuv_encoding(self.encoding))
    }

    fn views(&self) -> Planes<Plane<'_>> {
        self.planes.iter().map(FramePlane::view).collect()
    }

    /// How many buffers it is in, at most.
    pub(super) fn buffer_count(&self) -> usize {
        self.planes.len()
    }

    /// What memory is its own, that of the last plane first.
    pub(super) fn into_buffers(self) -> impl Iterator<Item = Vec<u8>> {
        let planes = self.planes.into_iter().rev();
        planes.filter_map(|plane| match plane.bytes {
            FrameBytes::Owned(bytes) => Some(bytes),
            FrameBytes::Shared(_) => None,
        })
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
        let stride = PixelFormat::Rgb8.packed_stride(size.width);
        let pixels = FramePlane::new(image.into_raw(), stride);
        Self::of(size, PixelFormat::Rgb8, smallvec![pixels])
    }
}

/// Made 8-bit RGB, if it is not.
impl From<DynamicImage> for Frame {
    fn from(image: DynamicImage) -> Self {
        image.into_rgb8().into()
    }
}
