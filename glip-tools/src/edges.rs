//! Boxes as edges, which is how everything here counts them.

use glip::BBox;

/// The edges of a box that is given by its first and its last column and row, which both belong to it:
/// width is `x2 - x1` then. The detector gives boxes so, and journals of version 1 have them so.
pub(crate) fn edges(pixels: BBox) -> BBox {
    let [x1, y1, x2, y2] = pixels.into();
    // As finite as they were.
    BBox::new(x1, y1, x2 + 1.0, y2 + 1.0).unwrap_or(pixels)
}
