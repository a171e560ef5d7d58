//! Pieces of pictures around boxes.

use image::{
    Rgb, RgbImage,
    imageops::{self, FilterType},
};

/// Sides of a piece, at most, in pixels.
const SIDE: u32 = 240;

/// What is drawn into a piece: a box `[x, y, width, height]` in pixels of the picture, and its colour.
pub(super) type Outline = ([f64; 4], Rgb<u8>);

/// The piece of a picture around its first outline, with a margin that shows where it is, and all
/// outlines drawn.
pub(super) fn crop(picture: &RgbImage, outlines: &[Outline]) -> RgbImage {
    let Some(((x, y, width, height), _)) =
        outlines.first().map(|(b, c)| ((b[0], b[1], b[2], b[3]), c))
    else {
        return RgbImage::new(1, 1);
    };
    let margin = (width.max(height) * 0.5).max(24.0);
    let on = |place: f64, side: u32| place.clamp(0.0, f64::from(side)) as u32;
    let (left, top) = (
        on(x - margin, picture.width()),
        on(y - margin, picture.height()),
    );
    let right = on((x + width + margin).ceil(), picture.width()).max(left + 1);
    let bottom = on((y + height + margin).ceil(), picture.height()).max(top + 1);
    let piece = imageops::crop_imm(picture, left, top, right - left, bottom - top).to_image();
    let scale = f64::from(SIDE) / f64::from(piece.width().max(piece.height()).max(1));
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let (width, height) = (side(piece.width()), side(piece.height()));
    let mut piece = imageops::resize(&piece, width, height, FilterType::Triangle);
    // The first one last, so that it is on top.
    for (bbox, color) in outlines.iter().rev() {
        let corners = [
            (bbox[0] - f64::from(left)) * scale,
            (bbox[1] - f64::from(top)) * scale,
            (bbox[0] + bbox[2] - f64::from(left)) * scale,
            (bbox[1] + bbox[3] - f64::from(top)) * scale,
        ];
        draw_outline(&mut piece, corners.map(|edge| edge.round() as i64), *color);
    }
    piece
}

/// A line of two pixels along the box's edges, as far as they are in the picture.
fn draw_outline(picture: &mut RgbImage, [x1, y1, x2, y2]: [i64; 4], color: Rgb<u8>) {
    let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
    let mut put = |x: i64, y: i64| {
        if (0..width).contains(&x) && (0..height).contains(&y) {
            picture.put_pixel(x as u32, y as u32, color);
        }
    };
    for inset in 0..2 {
        for x in x1.max(0)..=x2.min(width) {
            put(x, y1 + inset);
            put(x, y2 - inset);
        }
        for y in y1.max(0)..=y2.min(height) {
            put(x1 + inset, y);
            put(x2 - inset, y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Rgb<u8> = Rgb([255, 0, 0]);

    #[test]
    fn the_piece_is_around_the_box() {
        let mut picture = RgbImage::new(400, 300);
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            *pixel = Rgb([0, (x / 2) as u8, (y / 2) as u8]);
        }
        let piece = crop(&picture, &[([100.0, 100.0, 60.0, 40.0], RED)]);
        // 30 pixels of margin: 120 x 100 pixels, of which the larger side becomes 240.
        assert_eq!(piece.dimensions(), (240, 200));
        assert_eq!(*piece.get_pixel(60, 100), RED);
        let middle = piece.get_pixel(120, 100).0;
        assert!(
            middle[1].abs_diff(65) <= 1 && middle[2].abs_diff(60) <= 1,
            "{middle:?}"
        );
    }

    #[test]
    fn any_box_has_a_piece() {
        let picture = RgbImage::new(10, 10);
        for bbox in [
            [-50.0, -50.0, 10.0, 10.0],
            [500.0, 0.0, 1e9, 1e9],
            [3.0, 3.0, 0.0, 0.0],
        ] {
            let piece = crop(&picture, &[(bbox, RED)]);
            assert!(piece.width() > 0 && piece.height() > 0, "{bbox:?}");
        }
    }
}
