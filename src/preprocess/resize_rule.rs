//! How large an image becomes before it enters the network.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    geometry::ImageSize,
};

/// The largest side an input may be resized to; beyond it one image would need gigabytes.
const LARGEST_SIDE: u32 = 16_384;

/// How large an image becomes before it enters the network.
///
/// ```
/// use glip::{ImageSize, ResizeRule};
///
/// let photo = ImageSize::new(640, 480);
/// assert_eq!(ResizeRule::short_side(800, 1333).apply(photo)?, ImageSize::new(1066, 800));
/// assert_eq!(ResizeRule::longest_side(1024).apply(photo)?, ImageSize::new(1024, 768));
/// assert_eq!(ResizeRule::square(512).apply(photo)?, ImageSize::new(512, 512));
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ResizeRule {
    /// The short side becomes `short_side`, unless that takes the long side over `long_side`; then the
    /// image is made smaller. Aspect ratio is kept up to rounding. Source: GLIP's evaluation transform
    /// (`Resize.get_size`), 800 and 1333 pixels for all released models.
    ShortSide {
        /// Wanted length of the short side, in pixels.
        short_side: u32,
        /// Longest allowed long side, in pixels.
        long_side: u32,
        /// How the long side follows from the short one.
        #[serde(default)]
        rounding: Rounding,
    },
    /// The longest side becomes `side`; aspect ratio is kept up to rounding to the nearest pixel. As SAM
    /// does it.
    LongestSide {
        /// Length of the longest side, in pixels.
        side: u32,
    },
    /// Both sides become `side`, whatever the aspect ratio.
    Square {
        /// Length of both sides, in pixels.
        side: u32,
    },
    /// It stays as large as it is: the network resizes it. An image of 12 megapixels takes 144 MB as its input.
    None,
}

/// How the long side follows, where the cap on it made the short side shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rounding {
    /// From the short side as it was rounded: GLIP, and Grounding DINO's own code.
    #[default]
    Rounded,
    /// From the short side before it was rounded, so that the long side is at its cap: Grounding DINO in
    /// transformers. At most a pixel longer.
    Exact,
}

impl ResizeRule {
    /// [`ShortSide`](Self::ShortSide), rounded as GLIP does it.
    #[must_use]
    pub const fn short_side(short_side: u32, long_side: u32) -> Self {
        Self::ShortSide {
            short_side,
            long_side,
            rounding: Rounding::Rounded,
        }
    }

    /// [`LongestSide`](Self::LongestSide).
    #[must_use]
    pub const fn longest_side(side: u32) -> Self {
        Self::LongestSide { side }
    }

    /// [`Square`](Self::Square).
    #[must_use]
    pub const fn square(side: u32) -> Self {
        Self::Square { side }
    }

    /// The same rule with other sides: a rule with one side takes the long one, and one without stays.
    ///
    /// ```
    /// use glip::ResizeRule;
    ///
    /// assert_eq!(ResizeRule::short_side(800, 1333).with_sides(480, 800), ResizeRule::short_side(480, 800));
    /// assert_eq!(ResizeRule::square(640).with_sides(480, 800), ResizeRule::square(800));
    /// ```
    #[must_use]
    pub const fn with_sides(self, short_side: u32, long_side: u32) -> Self {
        match self {
            Self::ShortSide { rounding, .. } => Self::ShortSide {
                short_side,
                long_side,
                rounding,
            },
            Self::LongestSide { .. } => Self::longest_side(long_side),
            Self::Square { .. } => Self::square(long_side),
            Self::None => self,
        }
    }

    /// The size that an image of this size is resized to, at least one pixel each way.
    ///
    /// # Errors
    /// - [`Error::EmptyImage`]: the image has no pixels.
    pub fn apply(&self, size: ImageSize) -> Result<ImageSize> {
        let ImageSize { width, height } = size.non_empty()?;
        let (min, max) = (width.min(height), width.max(height));
        let (short, long) = match *self {
            Self::Square { side } => (side, side),
            Self::None => (min, max),
            Self::LongestSide { side } => (nearest(side, min, max).max(1), side),
            Self::ShortSide {
                short_side,
                long_side,
                rounding,
            } => by_short_side(short_side, long_side, rounding, min, max),
        };
        Ok(if width < height {
            ImageSize::new(short, long)
        } else {
            ImageSize::new(long, short)
        })
    }

    pub(super) fn validate(&self) -> Result<()> {
        let sides = match *self {
            Self::ShortSide {
                short_side,
                long_side,
                ..
            } => vec![
                ("resize.short_side", short_side),
                ("resize.long_side", long_side),
            ],
            Self::LongestSide { side } | Self::Square { side } => vec![("resize.side", side)],
            Self::None => vec![],
        };
        for (option, side) in sides {
            check_side(option, side)?;
        }
        Ok(())
    }
}

pub(super) fn check_side(option: &'static str, side: u32) -> Result<()> {
    if (1..=LARGEST_SIDE).contains(&side) {
        return Ok(());
    }
    Err(Error::InvalidOption {
        option,
        found: side.to_string(),
        expected: "1 to 16384 pixels",
    })
}

/// The short and the long side, with floating point and rounding to even as in the official Python, so
/// that sizes agree to the pixel. Where the official rule would round the short side of a very thin image
/// to 0 pixels, it stays at 1 and the long side is capped.
fn by_short_side(
    short_side: u32,
    long_side: u32,
    rounding: Rounding,
    min: u32,
    max: u32,
) -> (u32, u32) {
    let (shortest, longest, limit) = (f64::from(min), f64::from(max), f64::from(long_side));
    if longest / shortest * f64::from(short_side) <= limit {
        return (short_side, truncated_ratio(short_side, max, min));
    }
    let exact = limit * shortest / longest;
    let short = exact.round_ties_even() as u32;
    let long = match rounding {
        _ if short == 0 => long_side,
        Rounding::Rounded => truncated_ratio(short, max, min),
        Rounding::Exact => (exact * longest / shortest) as u32,
    };
    (short.max(1), long)
}

/// `side * numerator / denominator`, truncated, saturating.
fn truncated_ratio(side: u32, numerator: u32, denominator: u32) -> u32 {
    let product = u64::from(side) * u64::from(numerator);
    u32::try_from(product / u64::from(denominator)).unwrap_or(u32::MAX)
}

/// `side * numerator / denominator`, to the nearest pixel, halves up. The result is at most `side`.
fn nearest(side: u32, numerator: u32, denominator: u32) -> u32 {
    (f64::from(side) / f64::from(denominator) * f64::from(numerator) + 0.5) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICIAL: ResizeRule = ResizeRule::short_side(800, 1333);

    fn resized(rule: ResizeRule, width: u32, height: u32) -> (u32, u32) {
        let size = rule.apply(ImageSize::new(width, height)).unwrap();
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
        let small = ResizeRule::short_side(320, 533);
        assert_eq!(resized(small, 650, 417), (498, 320));
    }

    /// transformers' `get_size_with_aspect_ratio`; official's long sides are 1332 and 1331.
    #[test]
    fn the_long_side_may_follow_from_the_exact_short_side() {
        let exact = ResizeRule::ShortSide {
            short_side: 800,
            long_side: 1333,
            rounding: Rounding::Exact,
        };
        for (width, height, short) in [(1000, 333, 444), (2000, 777, 518)] {
            assert_eq!(resized(exact, width, height), (1333, short));
            assert_eq!(resized(OFFICIAL, width, height).1, short);
            assert!(resized(OFFICIAL, width, height).0 < 1335);
        }
        assert_eq!(resized(exact, 640, 480), (1066, 800));
    }

    #[test]
    fn longest_side_and_square() {
        let longest = ResizeRule::longest_side(1024);
        assert_eq!(resized(longest, 1200, 1800), (683, 1024));
        assert_eq!(resized(longest, 10_000, 1), (1024, 1));
        assert_eq!(resized(ResizeRule::square(640), 10, 3000), (640, 640));
        assert_eq!(resized(ResizeRule::None, 10, 3000), (10, 3000));
    }

    #[test]
    fn very_thin_images_keep_a_pixel() {
        assert_eq!(resized(OFFICIAL, 1, 10_000), (1, 1333));
        assert_eq!(resized(OFFICIAL, 10_000, 1), (1333, 1));
        assert_eq!(resized(OFFICIAL, u32::MAX, 1), (1333, 1));
    }

    #[test]
    fn empty_images_are_an_error() {
        let error = OFFICIAL.apply(ImageSize::new(0, 5)).unwrap_err();
        assert!(matches!(
            error,
            Error::EmptyImage {
                width: 0,
                height: 5
            }
        ));
    }
}
