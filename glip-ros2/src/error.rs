//! What can go wrong in the node.

use thiserror::Error;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in the node, in the words of whoever runs it.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A name of the command line that ROS cannot have.
    #[error("{option} {name:?} is no name in ROS: {reason}; it is like /camera/image_raw")]
    Name {
        option: &'static str,
        name: String,
        reason: String,
    },
    /// DDS does not start, or not all of it.
    #[error("{what} could not be made: {reason}")]
    Create { what: String, reason: String },
    /// What was made is not sent.
    #[error("a message was not published on {topic}: {reason}")]
    Publish { topic: String, reason: String },
    /// Images that no model is shown.
    #[error(
        "images have the encoding {encoding:?}, and the node reads rgb8, bgr8, rgba8, bgra8, mono8, mono16, nv12, nv21, i420, \
         yuv422, yuv422_yuy2, bayer_rggb8, bayer_bggr8, bayer_gbrg8 and bayer_grbg8: have the camera's driver give one of them, or \
         subscribe to its compressed images (--compressed)"
    )]
    Encoding { encoding: String },
    /// Levels of two bytes in an order that few machines have.
    #[error(
        "images have the encoding {encoding:?} with the higher byte of each level first (is_bigendian), and the node reads the \
         lower byte first: have it swapped where they are published"
    )]
    BigEndian { encoding: String },
    /// A compressed image that is none.
    #[error(
        "a compressed image of the format {format:?} cannot be read, the node reads JPEG and PNG"
    )]
    Compressed {
        format: String,
        source: image::ImageError,
    },
    /// A parameter has a value that it cannot have.
    #[error("{name} cannot be {found}: it is {expected}")]
    Parameter {
        name: String,
        found: String,
        expected: &'static str,
    },
    /// A thread cannot be started, or a signal not waited for.
    #[error("{what} could not be started")]
    Start {
        what: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The detector's.
    #[error(transparent)]
    Detector(#[from] glip::Error),
}

/// An error with all that caused it, in one line.
pub(crate) fn in_one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
