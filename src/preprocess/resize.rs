//! Bilinear resize of 8-bit RGB, equal to Pillow's to the last bit.
//!
//! GLIP was evaluated on images that Pillow resized, and a pixel that is one level off can move a
//! score by a thousandth. What makes a pixel's last bit is Pillow's order of work (rows first, then
//! columns, rounded to 8 bits in between) and its weights in fixed point; both are kept here. (Pillow
//! begins with the columns if an image becomes wider and lower, which no rule that keeps its shape does.)

use std::borrow::Cow;

use super::ImageSize;

/// Bytes per pixel.
const RGB: usize = 3;

/// Bits after the point of a weight. 8 bits of pixel, 22 of weight and 2 for the sum fill an `i32`.
const FRACTION_BITS: u32 = 22;

/// The image at this size, borrowed if it has it already. Neither size may be zero.
pub(super) fn resize(rgb: &[u8], from: ImageSize, to: ImageSize) -> Cow<'_, [u8]> {
    let mut pixels = Cow::Borrowed(rgb);
    if from.width != to.width {
        pixels = Cow::Owned(resize_rows(&pixels, from.width as usize, to.width as usize));
    }
    if from.height != to.height {
        let height = to.height as usize;
        pixels = Cow::Owned(resize_columns(&pixels, to.width as usize, height));
    }
    pixels
}

/// The input pixels that one output pixel is made of, along one axis.
struct Window {
    begin: usize,
    /// In fixed point; their sum is 1 up to rounding.
    weights: Vec<i32>,
}

/// A triangle around each output pixel's centre, as wide as two input pixels when enlarging, and as
/// two output pixels when reducing: that is the antialiasing.
fn windows(from: usize, to: usize) -> Vec<Window> {
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

fn resize_rows(rgb: &[u8], from: usize, to: usize) -> Vec<u8> {
    let windows = windows(from, to);
    let mut resized = Vec::with_capacity(rgb.len() / from * to);
    for row in rgb.chunks_exact(RGB * from) {
        for window in &windows {
            let mut sums = [ROUNDING; RGB];
            let pixels = row[RGB * window.begin..].chunks_exact(RGB);
            for (pixel, weight) in pixels.zip(&window.weights) {
                for (sum, &level) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(level) * weight;
                }
            }
            resized.extend(sums.map(to_level));
        }
    }
    resized
}

/// Whole rows are weighted and added at a time, which the compiler vectorises.
fn resize_columns(rgb: &[u8], width: usize, to: usize) -> Vec<u8> {
    let stride = RGB * width;
    let mut resized = Vec::with_capacity(stride * to);
    let mut sums = vec![ROUNDING; stride];
    for window in windows(rgb.len() / stride, to) {
        sums.fill(ROUNDING);
        let rows = rgb[stride * window.begin..].chunks_exact(stride);
        for (row, weight) in rows.zip(&window.weights) {
            for (sum, &level) in sums.iter_mut().zip(row) {
                *sum += i32::from(level) * weight;
            }
        }
        resized.extend(sums.iter().map(|&sum| to_level(sum)));
    }
    resized
}

/// One half, added before the fraction is cut off.
const ROUNDING: i32 = 1 << (FRACTION_BITS - 1);

fn to_level(sum: i32) -> u8 {
    // Weights are not negative and their sum is 1 up to rounding: above 255 by less than a level.
    (sum >> FRACTION_BITS).min(255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> ImageSize {
        ImageSize { width, height }
    }

    /// A picture without symmetry: the same bytes in Python are
    /// `np.arange(w * h * 3, dtype=np.uint32) * 2654435761 >> 24 & 255`, modulo 2**32 first.
    fn noise(size: ImageSize) -> Vec<u8> {
        let bytes = size.width * size.height * 3;
        (0..bytes)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect()
    }

    /// FNV-1a, to compare many bytes by one number.
    fn hash(bytes: &[u8]) -> u64 {
        let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
    }

    #[test]
    fn an_image_of_the_right_size_is_not_copied() {
        let pixels = noise(size(5, 4));

        assert!(matches!(
            resize(&pixels, size(5, 4), size(5, 4)),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn one_colour_stays_that_colour() {
        for level in [0, 1, 127, 254, 255] {
            for (from, to) in [((7, 5), (20, 3)), ((1, 1), (9, 9)), ((1, 300), (2, 1))] {
                let (from, to) = (size(from.0, from.1), size(to.0, to.1));
                let pixels = vec![level; (from.width * from.height * 3) as usize];

                let resized = resize(&pixels, from, to);

                assert_eq!(resized.len(), (to.width * to.height * 3) as usize);
                assert!(
                    resized.iter().all(|&found| found == level),
                    "{level}: {from} to {to}"
                );
            }
        }
    }

    type Sides = (u32, u32);

    /// Sizes, and the hash of what Pillow 13.0.0 makes of the noise with `Image.Resampling.BILINEAR`.
    const PILLOW: [(Sides, Sides, u64); 8] = [
        ((64, 48), (107, 80), 0x35449ec7e3c54328),
        ((107, 80), (64, 48), 0xce131927dacc045),
        ((200, 3), (31, 1), 0x76f41a44dd7a3736),
        ((1, 1), (5, 7), 0x9a6aed86b3043d1d),
        ((1, 1000), (1, 133), 0x98ebff839760c203),
        ((333, 250), (266, 200), 0x8d0702f6a9525e3f),
        ((50, 60), (50, 33), 0x2890a2a9079cd5b6),
        ((50, 60), (33, 60), 0xa9198e4c2f581cbd),
    ];

    #[test]
    fn every_bit_is_pillows() {
        for (from, to, expected) in PILLOW {
            let (from, to) = (size(from.0, from.1), size(to.0, to.1));
            let pixels = noise(from);
            assert_eq!(hash(&resize(&pixels, from, to)), expected, "{from} to {to}");
        }
    }
}
