//! What a model expects of its input.

use serde::{Deserialize, Serialize};

use super::resize_rule::{ResizeRule, check_side};
use crate::{
    error::{Error, Result},
    geometry::ImageSize,
};

/// The order of the three channels in the network input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Blue, green, red: what the official models take.
    Bgr,
    /// Red, green, blue.
    Rgb,
}

impl ChannelOrder {
    /// For each channel of the network input, where it is in an RGB pixel.
    pub(super) fn rgb_indices(self) -> [usize; 3] {
        match self {
            Self::Bgr => [2, 1, 0],
            Self::Rgb => [0, 1, 2],
        }
    }
}

/// What a model expects of its input. The defaults are those of all released GLIP models.
///
/// ```
/// use glip::{ResizeRule, parts::PreprocessOptions};
///
/// let options = PreprocessOptions::default().with_resize(ResizeRule::short_side(480, 800));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PreprocessOptions {
    /// The size images are resized to. Default: 800 and 1333 pixels; less is faster and misses
    /// small things.
    pub resize: ResizeRule,
    /// Default: blue, green, red, as the models' image encoders were pre-trained.
    pub channel_order: ChannelOrder,
    /// Subtracted from each channel, on the 0..255 scale, in the order of the network input.
    /// Default: `[103.53, 116.28, 123.675]`, ImageNet's mean.
    pub mean: [f32; 3],
    /// Each channel is divided by this after the mean is subtracted; same scale and order.
    /// Default: `[57.375, 57.12, 58.395]`, ImageNet's standard deviation.
    pub std: [f32; 3],
    /// How the network input becomes larger than the resized image. Default: to multiples of 32, the
    /// stride that the image encoder's levels need.
    pub padding: Padding,
    /// Whether an image may be padded further to share a batch with larger ones, because the image
    /// encoder takes a mask of the pixels that are real. Default: no; GLIP does not mask padding.
    #[serde(default)]
    pub masks_padding: bool,
}

/// How the network input becomes larger than the resized image, on the right and at the bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Padding {
    /// Both sides to the next multiple of this; 1 adds nothing.
    MultipleOf(u32),
    /// Both sides to this length, or to the longer side if that is more.
    Square(u32),
}

impl Padding {
    /// The size that an image of this size is padded to.
    #[must_use]
    pub fn apply(self, size: ImageSize) -> ImageSize {
        let ImageSize { width, height } = size;
        match self {
            Self::MultipleOf(divisor) => {
                let divisor = divisor.max(1);
                let padded = |side: u32| side.checked_next_multiple_of(divisor).unwrap_or(side);
                ImageSize::new(padded(width), padded(height))
            }
            Self::Square(side) => {
                let side = side.max(width).max(height);
                ImageSize::new(side, side)
            }
        }
    }
}

impl Default for PreprocessOptions {
    fn default() -> Self {
        Self {
            resize: ResizeRule::short_side(800, 1333),
            channel_order: ChannelOrder::Bgr,
            mean: [103.53, 116.28, 123.675],
            std: [57.375, 57.12, 58.395],
            padding: Padding::MultipleOf(32),
            masks_padding: false,
        }
    }
}

impl PreprocessOptions {
    /// Sets [`resize`](Self::resize).
    #[must_use]
    pub fn with_resize(self, resize: ResizeRule) -> Self {
        Self { resize, ..self }
    }

    /// Sets [`channel_order`](Self::channel_order).
    #[must_use]
    pub fn with_channel_order(self, channel_order: ChannelOrder) -> Self {
        Self {
            channel_order,
            ..self
        }
    }

    /// Sets [`mean`](Self::mean).
    #[must_use]
    pub fn with_mean(self, mean: [f32; 3]) -> Self {
        Self { mean, ..self }
    }

    /// Sets [`std`](Self::std).
    #[must_use]
    pub fn with_std(self, std: [f32; 3]) -> Self {
        Self { std, ..self }
    }

    /// Sets [`padding`](Self::padding).
    #[must_use]
    pub fn with_padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// Sets [`masks_padding`](Self::masks_padding).
    #[must_use]
    pub fn with_masked_padding(self) -> Self {
        Self {
            masks_padding: true,
            ..self
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let invalid = |option, found: String, expected| {
            Err(Error::InvalidOption {
                option,
                found,
                expected,
            })
        };
        self.resize.validate()?;
        match self.padding {
            Padding::MultipleOf(divisor) => check_side("padding.multiple_of", divisor)?,
            Padding::Square(side) => check_side("padding.square", side)?,
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return invalid("mean", format!("{:?}", self.mean), "three finite numbers");
        }
        if !self.std.iter().all(|std| std.is_finite() && *std > 0.0) {
            return invalid("std", format!("{:?}", self.std), "three numbers above 0");
        }
        Ok(())
    }
}
