//! Which input pixels an output pixel is made of, and what the passes over them share.

/// Bytes per pixel.
pub(super) const RGB: usize = 3;

/// Bits after the point of a weight. 8 bits of pixel, 22 of weight and 2 for the sum fill an `i32`.
pub(super) const FRACTION_BITS: u32 = 22;

/// One half, added before the fraction is cut off.
pub(super) const ROUNDING: i32 = 1 << (FRACTION_BITS - 1);

/// The input pixels that one output pixel is made of, along one axis.
pub(super) struct Window {
    pub(super) begin: usize,
    /// In fixed point; their sum is 1 up to rounding.
    pub(super) weights: Vec<i32>,
}

/// A triangle around each output pixel's centre, as wide as two input pixels when enlarging, and as
/// two output pixels when reducing: that is the antialiasing.
pub(super) fn windows(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let radius = scale.max(1.0);
    let window = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let begin = (centre - radius + 0.5).max(0.0) as usize;
        let end = ((centre + radius + 0.5) as usize).min(from);
        let height = |input: usize| {
            // Pillow multiplies by the inverse; a division would round some weights differently.
            let distance = (input as f64 - centre + 0.5) * (1.0 / radius);
            (1.0 - distance.abs()).max(0.0)
        };
        let heights: Vec<f64> = (begin..end).map(height).collect();
        let sum: f64 = heights.iter().sum();
        let one = f64::from(1 << FRACTION_BITS);
        let fixed = |height: &f64| (0.5 + height / sum * one) as i32;
        let weights = heights.iter().map(fixed).collect();
        Window { begin, weights }
    };
    (0..to).map(window).collect()
}

/// The most pixels that a window has.
pub(super) fn widest(windows: &[Window]) -> usize {
    let sizes = windows.iter().map(|window| window.weights.len());
    sizes.max().unwrap_or_default()
}

/// The three parts of a row that is sorted by channel.
pub(super) fn channels(row: &mut [u8]) -> [&mut [u8]; RGB] {
    let width = row.len() / RGB;
    let (red, rest) = row.split_at_mut(width);
    let (green, blue) = rest.split_at_mut(width);
    [red, green, blue]
}

/// What a sum, which began with [`ROUNDING`], stands for.
#[inline(always)]
pub(super) fn to_level(sum: i32) -> u8 {
    // Weights are not negative and their sum is 1 up to rounding: above 255 by less than a level.
    (sum >> FRACTION_BITS).min(255) as u8
}
