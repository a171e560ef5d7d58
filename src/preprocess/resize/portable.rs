//! The row pass on any processor.

use super::window::{RGB, ROUNDING, Window, channels, to_level};

/// Gives a row of pixels its new width, and sorts it by channel.
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
