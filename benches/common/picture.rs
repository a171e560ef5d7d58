//! A picture to measure on.

use image::{Rgb, RgbImage};

/// A picture in which every pixel differs from its neighbours; another seed makes another picture.
pub(crate) fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x + 37 * seed, y + 11 * seed);
        Rgb([(x * 7) as u8, (y * 11) as u8, (x ^ y) as u8])
    })
}
