//! Bilinear resize of 8-bit RGB, equal to Pillow's to the last bit, one row after another.
//!
//! GLIP was evaluated on images that Pillow resized, and a pixel that is one level off can move a
//! score by a thousandth. What makes a pixel's last bit is Pillow's order of work (rows first, then
//! columns, rounded to 8 bits in between) and its weights in fixed point; both are kept here. (Pillow
//! 13 begins with the columns if it reduces an image more than twice as tall as wide, or makes it
//! wider and lower; levels can differ by one there.)
//!
//! An output row needs a few input rows only, so that is all that is ever held: no image in between.

use std::ops::Range;

use super::{
    column_pass::{self, BLOCK},
    row_pass::RowPass,
    window::{RGB, Window, widest, windows},
};
use crate::{geometry::ImageSize, preprocess::source_image::SourceImage};

/// Resizes images of one size to another.
pub(in crate::preprocess) struct Resizer {
    from: ImageSize,
    to: ImageSize,
    row_pass: RowPass,
    windows: Vec<Window>,
}

/// The rows that one thread works on.
pub(in crate::preprocess) struct Rows {
    source: Vec<u8>,
    /// The input rows of the current window, at the new width; row `y` is at `y % tallest`.
    narrowed: Vec<u8>,
    resized: Vec<u8>,
}

impl Resizer {
    /// Neither size may be zero.
    pub(in crate::preprocess) fn new(from: ImageSize, to: ImageSize) -> Self {
        Self {
            from,
            to,
            row_pass: RowPass::new(windows(from.width as usize, to.width as usize)),
            windows: windows(from.height as usize, to.height as usize),
        }
    }

    /// Whether it is for these sizes.
    pub(in crate::preprocess) fn fits(&self, from: ImageSize, to: ImageSize) -> bool {
        (self.from, self.to) == (from, to)
    }

    /// Rows of a resized image.
    pub(in crate::preprocess) fn height(&self) -> usize {
        self.windows.len()
    }

    /// Memory for one thread.
    pub(in crate::preprocess) fn rows(&self) -> Rows {
        Rows {
            source: vec![0; RGB * self.from.width as usize + self.row_pass.padding()],
            narrowed: vec![0; widest(&self.windows) * stride(self.to)],
            resized: vec![0; stride(self.to)],
        }
    }

    /// Makes some rows of the resized image, which must be of the size, and hands them out with their numbers, from
    /// the top: a row is its red levels, then its green ones, then its blue ones.
    pub(in crate::preprocess) fn run(
        &self,
        image: &SourceImage<'_>,
        range: Range<usize>,
        rows: &mut Rows,
        mut take_row: impl FnMut(usize, &[u8]),
    ) {
        let row_length = RGB * self.to.width as usize;
        let stride = stride(self.to);
        let tallest = widest(&self.windows);
        let mut unread = 0;
        for (index, window) in range.clone().zip(&self.windows[range]) {
            let end = window.begin + window.weights.len();
            for y in unread.max(window.begin)..end {
                image.read_row(y, &mut rows.source[..RGB * self.from.width as usize]);
                let narrowed = &mut rows.narrowed[y % tallest * stride..][..row_length];
                let next = image.memory_of_row(y + 1);
                self.row_pass.add_pixels(&rows.source, narrowed, next);
            }
            unread = end;
            let narrowed =
                (window.begin..end).map(|y| &rows.narrowed[y % tallest * stride..][..stride]);
            let narrowed = narrowed.zip(window.weights.iter().copied());
            column_pass::add_rows(narrowed, &mut rows.resized);
            take_row(index, &rows.resized[..row_length]);
        }
    }
}

/// Bytes from one row of the result to the next: whole blocks.
fn stride(to: ImageSize) -> usize {
    (RGB * to.width as usize).next_multiple_of(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> ImageSize {
        ImageSize::new(width, height)
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
        let resizer = Resizer::new(from, to);
        // In two parts, which is what several threads do.
        let (height, mut rows) = (to.height as usize, resizer.rows());
        for range in [0..height / 3, height / 3..height] {
            resizer.run(&source, range, &mut rows, |_, row| {
                let width = row.len() / RGB;
                let pixel = |x| [row[x], row[width + x], row[2 * width + x]];
                pixels.extend((0..width).flat_map(pixel));
            });
        }
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
}
