//! Pixels as cameras and their drivers hand them over, made 8-bit RGB a row at a time.

mod bayer;
mod buffer;
mod packed;
mod pixel_format;
mod yuv;

pub(super) use self::buffer::CameraBuffer;
pub use self::{buffer::Plane, pixel_format::PixelFormat, yuv::YuvEncoding};
