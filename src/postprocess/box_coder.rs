//! From an anchor and what the head says about it to a box.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    geometry::Corners,
};

/// Translates between boxes and the head's deltas `[dx, dy, dw, dh]`, which are relative to an anchor.
///
/// Corners are the first and the last pixel of a box here, so that a side is `x2 - x1 + 1`. Source: the
/// official `BoxCoder`.
///
/// ```
/// use glip::postprocess::BoxCoder;
///
/// let coder = BoxCoder::default();
/// let anchor = [0.0, 0.0, 63.0, 63.0];
/// assert_eq!(coder.decode(anchor, [0.0; 4]), anchor);
/// // dx is ten times the shift in anchor widths.
/// assert_eq!(coder.decode(anchor, [10.0, 0.0, 0.0, 0.0]), [64.0, 0.0, 127.0, 63.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxCoder {
    /// What the deltas are divided by. Default: `[10, 10, 5, 5]`.
    pub weights: [f32; 4],
    /// Upper limit of the logarithm of a box's side over its anchor's, which keeps wild
    /// predictions finite. Default: `ln(1000 / 16)`.
    pub max_log_scale: f32,
}

impl Default for BoxCoder {
    fn default() -> Self {
        Self {
            weights: [10.0, 10.0, 5.0, 5.0],
            max_log_scale: (1000.0f32 / 16.0).ln(),
        }
    }
}

impl BoxCoder {
    pub(super) fn validate(&self) -> Result<()> {
        let is_positive = |value: &f32| value.is_finite() && *value > 0.0;
        if !self.weights.iter().all(is_positive) || !is_positive(&self.max_log_scale) {
            return Err(Error::InvalidOption {
                option: "box_coder",
                found: format!("{self:?}"),
                expected: "four weights and a limit, all above 0",
            });
        }
        Ok(())
    }

    /// The box that the deltas describe, in the anchor's frame.
    pub fn decode(&self, anchor: Corners, deltas: [f32; 4]) -> Corners {
        let (center, side) = center_and_side(anchor);
        let mut corners = [0.0; 4];
        for axis in 0..2 {
            let shift = deltas[axis] / self.weights[axis];
            let log_scale = (deltas[axis + 2] / self.weights[axis + 2]).min(self.max_log_scale);
            let new_center = shift * side[axis] + center[axis];
            let half = 0.5 * (log_scale.exp() * side[axis] - 1.0);
            corners[axis] = new_center - half;
            corners[axis + 2] = new_center + half;
        }
        corners
    }

    /// The deltas that describe `target`: the inverse of [`decode`](Self::decode), up to its limit.
    pub fn encode(&self, anchor: Corners, target: Corners) -> [f32; 4] {
        let (center, side) = center_and_side(anchor);
        let (target_center, target_side) = center_and_side(target);
        let mut deltas = [0.0; 4];
        for axis in 0..2 {
            let shift = (target_center[axis] - center[axis]) / side[axis];
            deltas[axis] = self.weights[axis] * shift;
            deltas[axis + 2] = self.weights[axis + 2] * (target_side[axis] / side[axis]).ln();
        }
        deltas
    }
}

/// The centre (x, y) and the sides (width, height) in whole pixels.
fn center_and_side([x1, y1, x2, y2]: Corners) -> ([f32; 2], [f32; 2]) {
    (
        [(x1 + x2) / 2.0, (y1 + y2) / 2.0],
        [x2 - x1 + 1.0, y2 - y1 + 1.0],
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scales_are_limited() {
        let [x1, _, x2, _] =
            BoxCoder::default().decode([0.0, 0.0, 15.0, 15.0], [0.0, 0.0, 1e9, 0.0]);
        approx::assert_relative_eq!(x2 - x1 + 1.0, 1000.0, max_relative = 1e-5);
    }

    #[test]
    fn senseless_constants_are_errors() {
        let zero_weight = BoxCoder {
            weights: [10.0, 0.0, 5.0, 5.0],
            ..BoxCoder::default()
        };
        let no_limit = BoxCoder {
            max_log_scale: f32::INFINITY,
            ..BoxCoder::default()
        };
        let no_growth = BoxCoder {
            max_log_scale: 0.0,
            ..BoxCoder::default()
        };
        for coder in [zero_weight, no_limit, no_growth] {
            assert!(matches!(coder.validate(), Err(Error::InvalidOption { .. })));
        }
    }

    prop_compose! {
        fn corners()(
            x in -500.0f32..1500.0, y in -500.0f32..1500.0,
            width in 1.0f32..800.0, height in 1.0f32..800.0,
        ) -> Corners {
            [x, y, x + width, y + height]
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(center in 0.0f32..1000.0, size in 64u32..1024, target in corners()) {
            let half = (size as f32 - 1.0) / 2.0;
            let anchor = [center - half, center - half, center + half, center + half];
            let coder = BoxCoder::default();
            let decoded = coder.decode(anchor, coder.encode(anchor, target));
            for (decoded, target) in decoded.into_iter().zip(target) {
                prop_assert!((decoded - target).abs() < 0.01, "{decoded} {target}");
            }
        }
    }
}
