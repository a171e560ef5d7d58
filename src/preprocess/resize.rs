//! Bilinear resize of 8-bit RGB, equal to Pillow's to the last bit, one row after another.
//!
//! GLIP was evaluated on images that Pillow resized, and a pixel that is one level off can move a
//! score by a thousandth. What makes a pixel's last bit is Pillow's order of work (rows first, then
//! columns, rounded to 8 bits in between) and its weights in fixed point; both are kept here. (Pillow
//! 13 begins with the columns if it reduces an image more than twice as tall as wide, or makes it
//! wider and lower; levels can differ by one there.)
//!
//! An output row needs a few input rows only, so that is all that is ever held: no image in between.

#[cfg(target_arch = "x86_64")]
mod avx2;

use super::source_image::SourceImage;
use crate::geometry::ImageSize;

/// Bytes per pixel.
const RGB: usize = 3;

/// Bits after the point of a weight. 8 bits of pixel, 22 of weight and 2 for the sum fill an `i32`.
const FRACTION_BITS: u32 = 22;

/// One half, added before the fraction is cut off.
const ROUNDING: i32 = 1 << (FRACTION_BITS - 1);

/// Resizes an image and hands out the rows of the result with their numbers, from the top: a row is
/// its red levels, then its green ones, then its blue ones. Neither size may be zero.
pub(super) fn resize(
    image: &SourceImage<'_>,
    to: ImageSize,
    mut take_row: impl FnMut(usize, &[u8]),
) {
    let from = image.size();
    let passes = Passes::new(windows(from.width as usize, to.width as usize));
    let windows = windows(from.height as usize, to.height as usize);
    let tallest = widest(&windows);
    let row_length = RGB * to.width as usize;
    let stride = row_length.next_multiple_of(BLOCK);

    let mut source_row = vec![0; RGB * from.width as usize + passes.padding()];
    // The input rows of the current window, at the new width; row `y` is at `y % tallest`.
    let mut narrowed = vec![0; tallest * stride];
    let mut resized = vec![0; stride];
    let mut unread = 0;
    for (index, window) in windows.into_iter().enumerate() {
        let end = window.begin + window.weights.len();
        for y in unread..end {
            image.read_row(y, &mut source_row[..RGB * from.width as usize]);
            let narrowed = &mut narrowed[y % tallest * stride..][..row_length];
            passes.add_pixels(&source_row, narrowed);
        }
        unread = end;
        let rows = (window.begin..end).map(|y| &narrowed[y % tallest * stride..][..stride]);
        passes.add_rows(rows.zip(window.weights.iter().copied()), &mut resized);
        take_row(index, &resized[..row_length]);
    }
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

/// The most pixels that a window has.
fn widest(windows: &[Window]) -> usize {
    let sizes = windows.iter().map(|window| window.weights.len());
    sizes.max().unwrap_or_default()
}

/// The two passes: over the pixels of a row and over the rows of a column. All ways give the same.
enum Passes {
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Passes),
    Portable(Vec<Window>),
}

impl Passes {
    fn new(windows: Vec<Window>) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(passes) = avx2::Passes::new(&windows) {
            return Self::Avx2(passes);
        }
        Self::Portable(windows)
    }

    /// How many bytes a row must have beyond its pixels; their values do not matter.
    fn padding(&self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(passes) => passes.padding(),
            Self::Portable(_) => 0,
        }
    }

    /// Gives a row of pixels its new width, and sorts it by channel.
    fn add_pixels(&self, row: &[u8], narrowed: &mut [u8]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(passes) => passes.add_pixels(row, narrowed),
            Self::Portable(windows) => add_pixels(row, windows, narrowed),
        }
    }

    /// Makes one row of several and their weights. Rows are whole blocks.
    fn add_rows<'a>(&self, rows: impl WeightedRows<'a>, resized: &mut [u8]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(passes) => passes.add_rows(rows, resized),
            Self::Portable(_) => add_rows(rows, resized),
        }
    }
}

/// The row pass on any processor.
fn add_pixels(row: &[u8], windows: &[Window], narrowed: &mut [u8]) {
    let [red, green, blue] = channels(narrowed);
    let outputs = red.iter_mut().zip(green).zip(blue);
    for (window, ((red, green), blue)) in windows.iter().zip(outputs) {
        let mut sums = [ROUNDING; RGB];
        let pixels = row[RGB * window.begin..].chunks_exact(RGB);
        for (pixel, weight) in pixels.zip(&window.weights) {
            for (sum, &level) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(level) * weight;
            }
        }
        [*red, *green, *blue] = sums.map(to_level);
    }
}

/// The three parts of a row that is sorted by channel.
fn channels(row: &mut [u8]) -> [&mut [u8]; RGB] {
    let width = row.len() / RGB;
    let (red, rest) = row.split_at_mut(width);
    let (green, blue) = rest.split_at_mut(width);
    [red, green, blue]
}

/// Rows of the column pass.
trait WeightedRows<'a>: Iterator<Item = (&'a [u8], i32)> + Clone {}

impl<'a, I: Iterator<Item = (&'a [u8], i32)> + Clone> WeightedRows<'a> for I {}

/// Bytes of a row that the column pass adds at a time.
const BLOCK: usize = 64;

/// The column pass on any processor; the compiler vectorises it for the one it is inlined for.
#[inline(always)]
fn add_rows<'a>(rows: impl WeightedRows<'a>, resized: &mut [u8]) {
    for (index, resized) in resized.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut sums = [ROUNDING; BLOCK];
        for (row, weight) in rows.clone() {
            let (blocks, _) = row.as_chunks::<BLOCK>();
            for (sum, &level) in sums.iter_mut().zip(&blocks[index]) {
                *sum += i32::from(level) * weight;
            }
        }
        *resized = sums.map(to_level);
    }
}

fn to_level(sum: i32) -> u8 {
    // Weights are not negative and their sum is 1 up to rounding: above 255 by less than a level.
    (sum >> FRACTION_BITS).min(255) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// All rows of the result, three bytes a pixel.
    fn resized(rgb: &[u8], from: ImageSize, to: ImageSize) -> Vec<u8> {
        let mut pixels = Vec::new();
        let source = SourceImage::from_rgb(from, rgb).unwrap();
        resize(&source, to, |_, row| {
            let width = row.len() / RGB;
            let pixel = |x| [row[x], row[width + x], row[2 * width + x]];
            pixels.extend((0..width).flat_map(pixel));
        });
        pixels
    }

    #[test]
    fn one_colour_stays_that_colour() {
        for level in [0, 1, 127, 254, 255] {
            for (from, to) in [((7, 5), (20, 3)), ((1, 1), (9, 9)), ((1, 300), (2, 1))] {
                let (from, to) = (size(from.0, from.1), size(to.0, to.1));
                let pixels = vec![level; (from.width * from.height * 3) as usize];

                let resized = resized(&pixels, from, to);

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
    const PILLOW: [(Sides, Sides, u64); 10] = [
        ((64, 48), (107, 80), 0x35449ec7e3c54328),
        ((107, 80), (64, 48), 0xce131927dacc045),
        ((200, 3), (31, 1), 0x76f41a44dd7a3736),
        ((1, 1), (5, 7), 0x9a6aed86b3043d1d),
        ((1, 1000), (1, 133), 0x98ebff839760c203),
        ((333, 250), (266, 200), 0x8d0702f6a9525e3f),
        ((50, 60), (50, 33), 0x2890a2a9079cd5b6),
        ((50, 60), (33, 60), 0xa9198e4c2f581cbd),
        ((400, 300), (107, 80), 0xfdb17966d7f6e687),
        ((1003, 70), (97, 7), 0x5497898a657c8efc),
    ];

    #[test]
    fn every_bit_is_pillows() {
        for (from, to, expected) in PILLOW {
            let (from, to) = (size(from.0, from.1), size(to.0, to.1));
            let pixels = noise(from);
            assert_eq!(
                hash(&resized(&pixels, from, to)),
                expected,
                "{from} to {to}"
            );
        }
    }

    proptest! {
        /// Where the processor has one way only, it is compared with itself.
        #[test]
        fn every_passes_gives_the_same(
            from in 1usize..400, to in 1usize..400, seed in any::<u32>(),
        ) {
            let mut row = noise(size(2 * from as u32 + 50, 1));
            let shift = seed as usize % row.len();
            row.rotate_left(shift);
            let passes = Passes::new(windows(from, to));
            row.truncate(RGB * from + passes.padding());
            let mut found = vec![0; RGB * to];
            passes.add_pixels(&row, &mut found);

            let mut expected = vec![0; RGB * to];
            add_pixels(&row, &windows(from, to), &mut expected);
            prop_assert_eq!(found, expected);
        }
    }
}
