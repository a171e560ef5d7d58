//! The passes on any processor.

use super::window::{BLOCK, FRACTION_BITS, RGB, ROUNDING, WeightedRows, Window, channels};

/// The row pass on any processor.
pub(super) fn add_pixels(row: &[u8], windows: &[Window], narrowed: &mut [u8]) {
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

/// The column pass on any processor; the compiler vectorises it for the one it is inlined for.
#[inline(always)]
pub(super) fn add_rows<'a>(rows: impl WeightedRows<'a>, resized: &mut [u8]) {
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

pub(super) fn to_level(sum: i32) -> u8 {
    // Weights are not negative and their sum is 1 up to rounding: above 255 by less than a level.
    (sum >> FRACTION_BITS).min(255) as u8
}
