//! Drawing detections and their masks onto the image they were found in.

mod label;

use image::{Rgb, RgbImage};
use imageproc::{drawing::draw_hollow_rect_mut, rect::Rect};

use self::label::Labels;
use crate::{
    detection::Detections,
    error::{Error, Result},
    geometry::{BBox, ImageSize},
    mask::Mask,
};

/// Colours that differ well from one another and from most photographs, for eight phrases in turn.
const PALETTE: [Rgb<u8>; 8] = [
    Rgb([230, 25, 75]),
    Rgb([0, 130, 200]),
    Rgb([60, 180, 75]),
    Rgb([255, 190, 25]),
    Rgb([145, 30, 180]),
    Rgb([245, 130, 48]),
    Rgb([70, 220, 230]),
    Rgb([240, 50, 230]),
];

/// Draws a box and a label, `phrase score`, for every detection.
///
/// The image is the one the detections are from, at its original size. Each phrase has its own
/// colour, lines and letters grow with the image, labels stay inside it and keep clear of one
/// another where there is room. A phrase too long for the image is shortened, and labels are left out
/// of images too small for them. The font has Latin, Greek and Cyrillic letters; others are drawn
/// as empty boxes.
///
/// ```
/// use glip::{BBox, Detection, Detections, draw_detections};
/// use image::RgbImage;
///
/// let mut image = RgbImage::new(320, 240);
/// let bbox = BBox::new(100.0, 80.0, 200.0, 180.0)?;
/// let cat = Detection::new("a cat", 0, 0.87, bbox);
/// draw_detections(&mut image, &Detections::from_iter([cat]));
/// assert_ne!(image.get_pixel(100, 130), image.get_pixel(150, 130));
/// # Ok::<(), glip::Error>(())
/// ```
pub fn draw_detections(image: &mut RgbImage, detections: &Detections) {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return;
    }
    // The best last, so that it is on top.
    for detection in detections.iter().rev() {
        let outline = pixels_of(detection.bbox, image);
        draw_outline(image, outline, color_of(detection.phrase_index));
    }
    let mut labels = Labels::new(width, height);
    for detection in detections {
        let outline = pixels_of(detection.bbox, image);
        labels.draw(image, detection, outline, color_of(detection.phrase_index));
    }
}

/// Tints the pixels of every detection's mask, half and half, in the colour that
/// [`draw_detections`] gives its phrase; boxes and labels come on top if they are drawn afterwards.
///
/// The image is the one the masks are of, at its original size; there is a mask for each detection, in their order.
///
/// ```
/// use glip::{BBox, Detection, Detections, Mask, draw_detections, draw_masks};
/// use image::RgbImage;
///
/// let mut image = RgbImage::new(320, 240);
/// let bbox = BBox::new(100.0, 80.0, 200.0, 180.0)?;
/// let found = Detections::from_iter([Detection::new("a ball", 0, 0.87, bbox)]);
/// let ball = Mask::from_fn(image.dimensions().into(), |x, y| x.abs_diff(150).pow(2) + y.abs_diff(130).pow(2) < 2500)?;
/// draw_masks(&mut image, &found, &[ball])?;
/// draw_detections(&mut image, &found);
/// assert_ne!(image.get_pixel(150, 100), image.get_pixel(195, 175));
/// # Ok::<(), glip::Error>(())
/// ```
///
/// # Errors
/// - [`Error::Shape`]: there are not as many masks as detections.
/// - [`Error::MaskMismatch`]: a mask is not of the image's size. Nothing is drawn then.
pub fn draw_masks(image: &mut RgbImage, detections: &Detections, masks: &[Mask]) -> Result<()> {
    if masks.len() != detections.len() {
        return Err(Error::Shape {
            tensor: "masks".to_owned(),
            expected: format!("[{}], one for each detection", detections.len()),
            found: vec![masks.len()],
        });
    }
    let size = ImageSize::from(image.dimensions());
    masks
        .iter()
        .try_for_each(|mask| mask.fits(size).map(drop))?;
    // The best last, so that it is on top.
    for (detection, mask) in detections.iter().zip(masks).rev() {
        tint(image, mask, color_of(detection.phrase_index));
    }
    Ok(())
}

/// Mixes a colour with the pixels of a mask of the image's size.
fn tint(image: &mut RgbImage, mask: &Mask, Rgb(color): Rgb<u8>) {
    for y in 0..image.height() {
        for x in mask.runs(y).flatten() {
            let Rgb(pixel) = image.get_pixel_mut(x, y);
            for (level, color) in pixel.iter_mut().zip(color) {
                *level = level.midpoint(color);
            }
        }
    }
}

fn color_of(phrase_index: usize) -> Rgb<u8> {
    PALETTE[phrase_index % PALETTE.len()]
}

/// The pixels of a box that are on the image, at least one.
fn pixels_of(bbox: BBox, image: &RgbImage) -> Rect {
    let on_image = |place: f32, size: u32| place.round().clamp(0.0, (size - 1) as f32) as i32;
    let (width, height) = image.dimensions();
    // A box ends where its last pixel does.
    let (x1, x2) = (on_image(bbox.x1(), width), on_image(bbox.x2() - 1.0, width));
    let (y1, y2) = (
        on_image(bbox.y1(), height),
        on_image(bbox.y2() - 1.0, height),
    );
    Rect::at(x1, y1).of_size(x1.abs_diff(x2) + 1, y1.abs_diff(y2) + 1)
}

/// Draws lines inwards from the rectangle's edge, as many as it has room for.
fn draw_outline(image: &mut RgbImage, outline: Rect, color: Rgb<u8>) {
    let short_side = image.width().min(image.height());
    let thickness = (short_side / 250).clamp(2, 8);
    for inset in 0..thickness {
        let (width, height) = (outline.width(), outline.height());
        if width.min(height) <= 2 * inset {
            break;
        }
        let inner = Rect::at(outline.left() + inset as i32, outline.top() + inset as i32)
            .of_size(width - 2 * inset, height - 2 * inset);
        draw_hollow_rect_mut(image, inner, color);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detection::Detection;

    fn detection(phrase_index: usize, corners: [f32; 4]) -> Detection {
        let bbox = BBox::try_from(corners).unwrap();
        Detection {
            phrase: format!("phrase {phrase_index}"),
            phrase_index,
            score: 0.5,
            phrase_score: 0.6,
            bbox,
        }
    }

    #[test]
    fn boxes_are_drawn_where_they_are_in_their_phrases_color() {
        let mut image = RgbImage::new(300, 200);
        let found = [
            detection(0, [20.0, 60.0, 90.0, 150.0]),
            detection(9, [150.0, 60.0, 250.0, 90.0]),
        ];
        draw_detections(&mut image, &Detections::from_iter(found));
        for (x, y) in [(20, 100), (89, 100), (50, 60), (50, 149)] {
            assert_eq!(*image.get_pixel(x, y), PALETTE[0], "({x}, {y})");
        }
        assert_eq!(*image.get_pixel(150, 75), PALETTE[1]);
        for (x, y) in [(50, 100), (19, 100), (90, 100), (50, 150)] {
            assert_eq!(*image.get_pixel(x, y), Rgb([0; 3]), "({x}, {y})");
        }
    }

    #[test]
    fn the_best_box_is_on_top() {
        let mut image = RgbImage::new(100, 100);
        let corners = [10.0, 50.0, 60.0, 90.0];
        let best = Detection {
            score: 0.9,
            ..detection(1, corners)
        };
        draw_detections(
            &mut image,
            &Detections::from_iter([detection(0, corners), best]),
        );
        assert_eq!(*image.get_pixel(10, 80), PALETTE[1]);
    }

    #[test]
    fn masks_are_tinted_in_their_phrases_color() {
        let corners = [0.0, 0.0, 4.0, 2.0];
        let found = Detections::from_iter([detection(0, corners), detection(1, corners)]);
        let mask = |left| {
            Mask::from_fn(ImageSize::new(4, 1), |x, _| (left..left + 2).contains(&x)).unwrap()
        };
        let mut image = RgbImage::from_pixel(4, 1, Rgb([100; 3]));
        draw_masks(&mut image, &found, &[mask(0), mask(1)]).unwrap();
        let mix = |below: Rgb<u8>, color: Rgb<u8>| {
            Rgb([0, 1, 2].map(|channel| below[channel].midpoint(color[channel])))
        };
        let (before, second) = (Rgb([100; 3]), mix(Rgb([100; 3]), PALETTE[1]));
        let expected = [
            mix(before, PALETTE[0]),
            mix(second, PALETTE[0]),
            second,
            before,
        ];
        assert_eq!(image.pixels().copied().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn masks_that_do_not_fit_are_refused() {
        let found = Detections::from_iter([detection(0, [0.0, 0.0, 1.0, 1.0])]);
        let mut image = RgbImage::new(4, 1);
        let other = Mask::from_fn(ImageSize::new(1, 4), |_, _| true).unwrap();
        for (masks, expected) in [
            (
                &[][..],
                "masks should have shape [1], one for each detection, found [0]",
            ),
            (&[other], "the mask is 1 x 4 pixels, 4 x 1 are needed"),
        ] {
            let error = draw_masks(&mut image, &found, masks).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(image.pixels().all(|&pixel| pixel == Rgb([0; 3])));
    }

    proptest! {
        #[test]
        fn any_box_can_be_drawn_on_any_image(
            width in 0u32..120, height in 0u32..120,
            corners in prop::array::uniform4(-1e9f32..1e9),
            near in prop::array::uniform4(-50f32..150.0),
            phrase: String,
        ) {
            let mut image = RgbImage::new(width, height);
            let found = [
                Detection { phrase, ..detection(3, corners) },
                detection(usize::MAX, near),
            ];
            draw_detections(&mut image, &Detections::from_iter(found));
        }
    }
}
