//! The segmenter as a stage of labelling.

use glip::{BBox, ImageSize, Mask, Segmenter, parts::Rle};
use image::DynamicImage;
use serde_json::{Value, json};

use crate::{
    error::Result,
    label::{
        record::LabelledBox,
        tiles::{Tile, best_view},
    },
    segmentation::ScoredMask,
};

/// Finds the pixels of things in an image. Tests have one without a model.
pub(super) trait Segmenting: Send + Sync {
    /// What its masks depend on.
    fn identity(&self) -> Value;

    /// The mask of each box.
    fn masks(&self, image: &DynamicImage, boxes: &[BBox]) -> glip::Result<Vec<Mask>>;
}

impl Segmenting for Segmenter {
    fn identity(&self) -> Value {
        let manifest = self.manifest();
        json!({"name": manifest.name(), "identity": manifest.identity()})
    }

    fn masks(&self, image: &DynamicImage, boxes: &[BBox]) -> glip::Result<Vec<Mask>> {
        Self::masks(self, image, boxes)
    }
}

/// Gives each box of a picture its mask, which is asked of the view of the picture that shows it best.
///
/// Views are looked at one after the other, each once, and masks are kept as run lengths: memory holds the pixels and
/// the features of one.
pub(super) fn add_masks(
    segmenting: &dyn Segmenting,
    picture: &DynamicImage,
    views: &[Tile],
    boxes: &mut [LabelledBox],
) -> Result<()> {
    let image = ImageSize::new(picture.width(), picture.height());
    let mut of_views: Vec<Vec<&mut LabelledBox>> = views.iter().map(|_| Vec::new()).collect();
    for found in boxes {
        of_views[best_view(views, found.bbox, image)].push(found);
    }
    for (view, boxes) in views.iter().zip(of_views) {
        if boxes.is_empty() {
            continue;
        }
        let in_view = boxes.iter().map(|found| view.within(found.bbox));
        let in_view = in_view.collect::<glip::Result<Vec<_>>>()?;
        let masks = segmenting.masks(&view.of(picture), &in_view)?;
        for (found, mask) in boxes.into_iter().zip(masks) {
            let mask = in_image(&mask, view, found.bbox, image)?;
            found.mask = Some(mask);
        }
    }
    Ok(())
}

/// The mask of a view as one of the image; of one without pixels, all that is in the box, with a score of 0. Trainers and
/// loaders of data sets have no idea of a thing without pixels, and without its line it would be background.
fn in_image(mask: &Mask, view: &Tile, bbox: BBox, image: ImageSize) -> glip::Result<ScoredMask> {
    if mask.area() == 0 {
        return Ok(ScoredMask {
            rle: pixels_of(bbox, image)?,
            score: 0.0,
        });
    }
    let ScoredMask { rle, score } = ScoredMask::from(mask);
    let rle = rle.placed(image, view.x, view.y)?;
    Ok(ScoredMask { rle, score })
}

/// The pixels that a box touches, at least one.
fn pixels_of(bbox: BBox, image: ImageSize) -> glip::Result<Rle> {
    let [x1, y1, x2, y2] = bbox.clamp(image).into();
    let begin = |edge: f32, side: u32| (edge as u32).min(side.saturating_sub(1));
    let (x, y) = (begin(x1, image.width), begin(y1, image.height));
    let size = ImageSize::new(
        (x2.ceil() as u32).saturating_sub(x).max(1),
        (y2.ceil() as u32).saturating_sub(y).max(1),
    );
    Mask::from_fn(size, |_, _| true)?.rle().placed(image, x, y)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use image::{Luma, RgbImage};

    use super::*;
    use crate::label::{Tiling, Verdict};

    /// Says that what is bright in a box is the thing, and remembers the sizes of what it saw.
    struct Bright(Mutex<Vec<u32>>);

    impl Segmenting for Bright {
        fn identity(&self) -> Value {
            Value::Null
        }

        fn masks(&self, image: &DynamicImage, boxes: &[BBox]) -> glip::Result<Vec<Mask>> {
            self.0.lock().unwrap().push(image.width());
            let grey = image.to_luma8();
            let size = ImageSize::new(image.width(), image.height());
            let mask = |bbox: &BBox| {
                let [x1, y1, x2, y2] = (*bbox).into();
                let is_in = |x: u32, y: u32| {
                    let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
                    x > x1 && x < x2 && y > y1 && y < y2
                };
                let bright = |x, y| is_in(x, y) && *grey.get_pixel(x, y) == Luma([255]);
                Ok(Mask::from_fn(size, bright)?.with_score(0.75))
            };
            boxes.iter().map(mask).collect()
        }
    }

    /// Black, with bright pixels where `is_bright` says so.
    fn picture(is_bright: impl Fn(u32, u32) -> bool) -> DynamicImage {
        let level = |x, y| image::Rgb([if is_bright(x, y) { 255 } else { 0 }; 3]);
        RgbImage::from_fn(180, 90, level).into()
    }

    fn boxed(corners: [f32; 4]) -> LabelledBox {
        LabelledBox {
            phrase: 0,
            score: 0.5,
            verdict: Verdict::Keep,
            bbox: BBox::try_from(corners).unwrap(),
            mask: None,
        }
    }

    const IMAGE: ImageSize = ImageSize {
        width: 180,
        height: 90,
    };

    #[test]
    fn masks_of_tiles_are_those_of_the_image() {
        let rings = |x: u32, y: u32| !(x / 3 + y / 2).is_multiple_of(3) && (x, y) != (85, 25);
        let picture = picture(rings);
        let corners = [
            [4.0, 2.0, 30.0, 40.0],    // in the first tile
            [84.0, 20.0, 94.0, 50.0],  // in both
            [130.0, 5.0, 180.0, 90.0], // at the image's corner
            [20.0, 10.0, 150.0, 80.0], // in none
        ];
        let views = Tiling::new(100, 20).tiles(IMAGE);
        let views = [&views[..], &[Tile::whole(IMAGE)]].concat();
        let mut boxes = corners.map(boxed);
        let bright = Bright(Mutex::default());
        add_masks(&bright, &picture, &views, &mut boxes).unwrap();
        // Each view that has boxes, once.
        assert_eq!(*bright.0.lock().unwrap(), [100, 100, 180]);
        for (found, [x1, y1, x2, y2]) in boxes.iter().zip(corners) {
            let expected = Mask::from_fn(IMAGE, |x, y| {
                (x1..x2).contains(&(x as f32)) && (y1..y2).contains(&(y as f32)) && rings(x, y)
            });
            let expected = ScoredMask::from(&expected.unwrap().with_score(0.75));
            assert_eq!(found.mask.as_ref(), Some(&expected));
        }
        add_masks(&bright, &picture, &views, &mut []).unwrap();
        assert_eq!(bright.0.lock().unwrap().len(), 3);
    }

    #[test]
    fn what_has_no_pixel_is_all_that_is_in_its_box() {
        let picture = picture(|_, _| false);
        for (corners, pixels) in [
            ([8.2, 4.0, 10.0, 5.5], [8, 4, 2, 2]),
            ([8.0, 4.0, 8.0, 4.0], [8, 4, 1, 1]),
            ([175.5, 80.0, 200.0, 95.0], [175, 80, 5, 10]),
            ([180.0, 90.0, 180.0, 90.0], [179, 89, 1, 1]),
        ] {
            let mut boxes = [boxed(corners)];
            let bright = Bright(Mutex::default());
            add_masks(&bright, &picture, &[Tile::whole(IMAGE)], &mut boxes).unwrap();
            let mask = boxes[0].mask.as_ref().unwrap();
            let found = Mask::from(&mask.rle).bbox().unwrap().to_pixels(IMAGE);
            assert_eq!((found, mask.score), (Some(pixels), 0.0), "{corners:?}");
            let [.., width, height] = pixels.map(u64::from);
            assert_eq!(mask.rle.area(), width * height);
        }
    }
}
