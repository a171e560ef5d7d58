//! From an image to the network's input: resize, normalise, pad.

mod camera;
mod crew;
mod options;
mod picture_or;
mod pixel_batch;
mod preprocessor;
mod resize;
mod resize_rule;
mod source_image;

pub use self::{
    camera::{PixelFormat, Plane, YuvEncoding},
    options::{ChannelOrder, Padding, PreprocessOptions},
    pixel_batch::PixelBatch,
    preprocessor::Preprocessor,
    resize_rule::{ResizeRule, Rounding},
    source_image::SourceImage,
};
pub(crate) use self::{
    picture_or::{PictureOr, from_pictures_or},
    pixel_batch::PixelView,
    preprocessor::KeptInput,
};
