//! Image sizes, and the rule that takes one to the next.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An image's size in pixels.
///
/// ```
/// use glip::ImageSize;
///
/// let size = ImageSize { width: 640, height: 480 };
/// assert_eq!(size.to_string(), "640 x 480");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageSize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl ImageSize {
    /// The size itself, if it has at least one pixel.
    pub(crate) fn non_empty(self) -> Result<Self> {
        let Self { width, height } = self;
        if width == 0 || height == 0 {
            return Err(Error::EmptyImage { width, height });
        }
        Ok(self)
    }

    /// Both sides rounded up to a multiple of `divisor`.
    pub(crate) fn padded_to(self, divisor: u32) -> Self {
        Self {
            width: self.width.next_multiple_of(divisor),
            height: self.height.next_multiple_of(divisor),
        }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.width, self.height)
    }
}

/// How an image lies in the network input: the sizes that lead from its pixels to the network's and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageGeometry {
    /// The image as it was given: the frame of all boxes that are returned.
    pub original: ImageSize,
    /// The image after the resize: the frame of anchors and decoded boxes. Its pixels lie in the
    /// upper left corner of the network input.
    pub resized: ImageSize,
    /// The network input, with padding on the right and at the bottom.
    pub padded: ImageSize,
}

/// How large an image becomes before it enters the network.
///
/// The short side becomes `short_side`, unless that takes the long side over `long_side`; then the
/// image is made smaller. Aspect ratio is kept up to rounding. Source: the official evaluation
/// transform (`Resize.get_size`), 800 and 1333 pixels for all released models.
///
/// ```
/// use glip::{ImageSize, ResizeRule};
///
/// let rule = ResizeRule { short_side: 800, long_side: 1333 };
/// let photo = ImageSize { width: 640, height: 480 };
/// assert_eq!(rule.apply(photo)?, ImageSize { width: 1066, height: 800 });
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizeRule {
    /// Wanted length of the short side, in pixels.
    pub short_side: u32,
    /// Longest allowed long side, in pixels.
    pub long_side: u32,
}

impl ResizeRule {
    /// The size that an image of this size is resized to.
    ///
    /// Where the official rule would round the short side of a very thin image to 0 pixels, it
    /// stays at 1 and the long side is capped at `long_side`.
    ///
    /// # Errors
    /// - [`Error::EmptyImage`]: the image has no pixels.
    pub fn apply(&self, size: ImageSize) -> Result<ImageSize> {
        let ImageSize { width, height } = size.non_empty()?;
        let (min, max) = (width.min(height), width.max(height));
        let short = self.short_side_for(min, max);
        let long = match short {
            0 => self.long_side,
            _ => truncated_ratio(short, max, min),
        };
        let short = short.max(1);
        Ok(if width < height {
            ImageSize {
                width: short,
                height: long,
            }
        } else {
            ImageSize {
                width: long,
                height: short,
            }
        })
    }

    /// Floating point and rounding to even as in the official Python, so that sizes agree to the pixel.
    fn short_side_for(&self, min: u32, max: u32) -> u32 {
        let (min, max) = (f64::from(min), f64::from(max));
        let limit = f64::from(self.long_side);
        if max / min * f64::from(self.short_side) > limit {
            (limit * min / max).round_ties_even() as u32
        } else {
            self.short_side
        }
    }
}

/// `side * numerator / denominator`, truncated, saturating.
fn truncated_ratio(side: u32, numerator: u32, denominator: u32) -> u32 {
    let product = u64::from(side) * u64::from(numerator);
    u32::try_from(product / u64::from(denominator)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICIAL: ResizeRule = ResizeRule {
        short_side: 800,
        long_side: 1333,
    };

    fn resized(rule: ResizeRule, width: u32, height: u32) -> (u32, u32) {
        let size = rule.apply(ImageSize { width, height }).unwrap();
        (size.width, size.height)
    }

    /// Expected sizes from the Python expression of the official transform.
    #[test]
    fn resize_rule_matches_official() {
        let cases = [
            ((640, 480), (1066, 800)),
            ((480, 640), (800, 1066)),
            ((500, 375), (1066, 800)),
            ((1000, 1000), (800, 800)),
            ((1920, 1080), (1333, 750)),
            ((1333, 800), (1333, 800)),
            ((3, 5000), (1, 1666)),
            ((1, 1), (800, 800)),
        ];
        for ((width, height), expected) in cases {
            assert_eq!(
                resized(OFFICIAL, width, height),
                expected,
                "{width} x {height}"
            );
        }
        let small = ResizeRule {
            short_side: 320,
            long_side: 533,
        };
        assert_eq!(resized(small, 650, 417), (498, 320));
    }

    #[test]
    fn very_thin_images_keep_a_pixel() {
        assert_eq!(resized(OFFICIAL, 1, 10_000), (1, 1333));
        assert_eq!(resized(OFFICIAL, 10_000, 1), (1333, 1));
        assert_eq!(resized(OFFICIAL, u32::MAX, 1), (1333, 1));
    }

    #[test]
    fn empty_images_are_an_error() {
        let error = OFFICIAL
            .apply(ImageSize {
                width: 0,
                height: 5,
            })
            .unwrap_err();
        assert!(matches!(
            error,
            Error::EmptyImage {
                width: 0,
                height: 5
            }
        ));
    }
}
