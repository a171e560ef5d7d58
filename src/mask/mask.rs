//! The pixels of an image that belong to something.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};

use super::bits::Bits;
use crate::{
    error::{Error, Result},
    geometry::{BBox, ImageSize},
};

/// The longest side of a mask, so that the number of its pixels fits COCO's 32 bits.
const LONGEST_SIDE: u32 = u16::MAX as u32;

/// The pixels of an image that belong to something.
///
/// It is as large as its image and holds a bit for each pixel, row by row: an eighth of what bytes take (1.5 MB for
/// 12 megapixels), and areas, unions and overlaps are counted 64 pixels at a time.
///
/// As JSON it is COCO's `{"size": [height, width], "counts": "..."}` with the score as a third entry; without one
/// the score is 1.
///
/// ```
/// use glip::{ImageSize, Mask};
///
/// let size = ImageSize::new(6, 4);
/// let left = Mask::from_fn(size, |x, y| x < 4 && y >= 1)?.with_score(0.75);
/// assert_eq!((left.area(), left.bbox().map(|bbox| bbox.xywh())), (12, Some([0.0, 1.0, 4.0, 3.0])));
/// let right = Mask::from_fn(size, |x, y| x >= 2 && y >= 1)?;
/// assert_eq!((left.iou(&right)?, left.union(&right)?.area()), (6.0 / 18.0, 18));
/// assert_eq!(left.rle().counts(), [1, 3, 1, 3, 1, 3, 1, 3, 8]);
///
/// let json = serde_json::to_string(&left)?;
/// assert_eq!(json, r#"{"size":[4,6],"counts":"131000007","score":0.75}"#);
/// assert_eq!(serde_json::from_str::<Mask>(&json)?, left);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    size: ImageSize,
    bits: Bits,
    score: f32,
}

impl Mask {
    /// The pixels of which `contains` is true, which is asked row by row with x and y; with a score of 1.
    ///
    /// # Errors
    /// - [`Error::MaskSize`]: a side has no pixel, or more than 65,535.
    pub fn from_fn(size: ImageSize, mut contains: impl FnMut(u32, u32) -> bool) -> Result<Self> {
        let size = checked_size(size)?;
        let pixels = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y)));
        Ok(Self::of(size, pixels.map(|(x, y)| contains(x, y))))
    }

    /// The pixels that are true in an array [height, width]; with a score of 1.
    ///
    /// ```
    /// use glip::Mask;
    /// use ndarray::array;
    ///
    /// let bitmap = array![[true, false, false], [true, true, false]];
    /// let mask = Mask::from_bitmap(bitmap.view())?;
    /// assert!(mask.contains(1, 1) && !mask.contains(1, 0));
    /// assert_eq!(mask.to_bitmap(), bitmap);
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::MaskSize`]: a side has no pixel, or more than 65,535.
    pub fn from_bitmap(bitmap: ArrayView2<'_, bool>) -> Result<Self> {
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let (height, width) = bitmap.dim();
        let size = checked_size(ImageSize::new(side(width), side(height)))?;
        Ok(Self::of(size, bitmap.iter().copied()))
    }

    /// The pixels of ranges of columns; `runs` is asked for those of row y, which it hands on. With a score of 1.
    ///
    /// # Errors
    /// - [`Error::MaskSize`]: a side has no pixel, or more than 65,535.
    pub(crate) fn from_runs(
        size: ImageSize,
        mut runs: impl FnMut(u32, &mut dyn FnMut(Range<usize>)),
    ) -> Result<Self> {
        let size = checked_size(size)?;
        let mut bits = Bits::zeros(size.pixels() as usize);
        for y in 0..size.height {
            let start = y as usize * size.width as usize;
            runs(y, &mut |run| bits.set(start + run.start..start + run.end));
        }
        Ok(Self::from_bits(size, bits))
    }

    /// `pixels` come row by row.
    fn of(size: ImageSize, pixels: impl Iterator<Item = bool>) -> Self {
        Self::from_bits(size, Bits::collect(size.pixels() as usize, pixels))
    }

    /// A bit for each pixel, row by row, of an image whose size is checked.
    pub(super) fn from_bits(size: ImageSize, bits: Bits) -> Self {
        let score = 1.0;
        Self { size, bits, score }
    }

    /// Sets [`score`](Self::score).
    #[must_use]
    pub fn with_score(self, score: f32) -> Self {
        Self { score, ..self }
    }

    /// The size of the image that it is a mask of.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// How good it is held to be, from 0 to 1: the intersection over union that a model expects.
    pub fn score(&self) -> f32 {
        self.score
    }

    /// Whether a pixel belongs to it; none beyond the image does.
    pub fn contains(&self, x: u32, y: u32) -> bool {
        x < self.size.width && y < self.size.height && self.bits.get(self.index(x, y))
    }

    /// The pixels of a row as ranges of x, each as long as it can be, from left to right; none of a row beyond the image.
    ///
    /// ```
    /// use glip::{ImageSize, Mask};
    ///
    /// let mask = Mask::from_fn(ImageSize::new(8, 2), |x, y| y == 1 && x != 3)?;
    /// assert_eq!(mask.runs(0).count(), 0);
    /// assert_eq!(mask.runs(1).collect::<Vec<_>>(), [0..3, 4..8]);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn runs(&self, y: u32) -> impl Iterator<Item = Range<u32>> + '_ {
        let start = self.index(0, y.min(self.size.height));
        let end = self.index(0, y.saturating_add(1).min(self.size.height));
        let x = move |index: usize| (index - start) as u32;
        let runs = self.bits.runs(start..end);
        runs.map(move |run| x(run.start)..x(run.end))
    }

    /// Its pixels as an array [height, width].
    pub fn to_bitmap(&self) -> Array2<bool> {
        let shape = (self.size.height as usize, self.size.width as usize);
        Array2::from_shape_fn(shape, |(y, x)| self.contains(x as u32, y as u32))
    }

    /// How many pixels belong to it.
    pub fn area(&self) -> u64 {
        self.bits.ones()
    }

    /// The smallest box around its pixels; `None` if it has none.
    pub fn bbox(&self) -> Option<BBox> {
        let mut around: Option<[u32; 4]> = None;
        for y in 0..self.size.height {
            let mut runs = self.runs(y);
            let Some(first) = runs.next() else { continue };
            let end = runs.last().map_or(first.end, |last| last.end);
            let [x1, y1, x2, _] = around.unwrap_or([first.start, y, end, y]);
            around = Some([x1.min(first.start), y1, x2.max(end), y + 1]);
        }
        // Whole numbers below 65,536 are finite, and floats without a remainder.
        BBox::try_from(around?.map(|edge| edge as f32)).ok()
    }

    /// How many pixels belong to both.
    ///
    /// # Errors
    /// - [`Error::MaskMismatch`]: the masks are of different sizes.
    pub fn overlap(&self, other: &Self) -> Result<u64> {
        other.fits(self.size)?;
        Ok(self.bits.ones_in_both(&other.bits))
    }

    /// Intersection over union with another mask, from 0 to 1; 0 if both are empty. It is what COCO's evaluation goes
    /// by, but for crowds.
    ///
    /// # Errors
    /// - [`Error::MaskMismatch`]: the masks are of different sizes.
    pub fn iou(&self, other: &Self) -> Result<f32> {
        let shared = self.overlap(other)?;
        let union = self.area() + other.area() - shared;
        Ok((shared as f64 / union.max(1) as f64) as f32)
    }

    /// The pixels that belong to either, with the higher score.
    ///
    /// # Errors
    /// - [`Error::MaskMismatch`]: the masks are of different sizes.
    pub fn union(&self, other: &Self) -> Result<Self> {
        other.fits(self.size)?;
        Ok(Self {
            size: self.size,
            bits: self.bits.or(&other.bits),
            score: self.score.max(other.score),
        })
    }

    /// The mask itself, if it is one of an image of this size.
    pub(crate) fn fits(&self, image: ImageSize) -> Result<&Self> {
        if self.size != image {
            return Err(Error::MaskMismatch {
                expected: image.to_string(),
                found: self.size.to_string(),
            });
        }
        Ok(self)
    }

    pub(super) fn bits(&self) -> &Bits {
        &self.bits
    }

    fn index(&self, x: u32, y: u32) -> usize {
        y as usize * self.size.width as usize + x as usize
    }
}

/// The size itself, if there can be a mask of it.
pub(crate) fn checked_size(size: ImageSize) -> Result<ImageSize> {
    let ImageSize { width, height } = size;
    let possible = 1..=LONGEST_SIDE;
    if !possible.contains(&width) || !possible.contains(&height) {
        return Err(Error::MaskSize {
            width,
            height,
            limit: LONGEST_SIDE,
        });
    }
    Ok(size)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        /// Of up to 80 x 12 pixels: rows of more than a word, and any of the ways to lie across words.
        pub(in crate::mask) fn any_mask()(
            width in 1usize..80, height in 1usize..12, share in 0.0..=1.0,
        )(
            pixels in prop::collection::vec(prop::bool::weighted(share), width * height),
            width in Just(width), height in Just(height),
        ) -> Mask {
            let bitmap = Array2::from_shape_vec((height, width), pixels).unwrap();
            Mask::from_bitmap(bitmap.view()).unwrap()
        }
    }

    fn pixels_of(mask: &Mask) -> Vec<(u32, u32)> {
        let bitmap = mask.to_bitmap();
        let set = bitmap.indexed_iter().filter(|&(_, &pixel)| pixel);
        set.map(|((y, x), _)| (x as u32, y as u32)).collect()
    }

    #[test]
    fn sizes_that_no_mask_has_are_refused() {
        for (width, height) in [(0, 3), (3, 0), (65_536, 1), (1, u32::MAX)] {
            let error = Mask::from_fn(ImageSize::new(width, height), |_, _| true).unwrap_err();
            let expected = format!("a mask of {width} x {height} pixels");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        let bitmap = Array2::from_elem((0, 3), true);
        assert!(Mask::from_bitmap(bitmap.view()).is_err());
    }

    #[test]
    fn masks_of_different_sizes_do_not_meet() {
        let small = Mask::from_fn(ImageSize::new(3, 4), |_, _| true).unwrap();
        let large = Mask::from_fn(ImageSize::new(4, 3), |_, _| true).unwrap();
        for error in [
            small.overlap(&large).unwrap_err(),
            small.iou(&large).unwrap_err(),
            small.union(&large).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains("is 4 x 3 pixels, 3 x 4"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_mask_is_the_set_of_its_pixels(mask in any_mask()) {
            let pixels = pixels_of(&mask);
            prop_assert_eq!(mask.area(), pixels.len() as u64);
            let ImageSize { height, .. } = mask.size();
            let runs = (0..=height).flat_map(|y| mask.runs(y).flatten().map(move |x| (x, y)));
            prop_assert_eq!(runs.collect::<Vec<_>>(), pixels.clone());
            let left = pixels.iter().map(|&(x, _)| x).min();
            let right = pixels.iter().map(|&(x, _)| x + 1).max();
            let bottom = pixels.last().map(|&(_, y)| y + 1);
            let around = left.zip(right).zip(bottom).map(|((left, right), bottom)| {
                [left, pixels[0].1, right, bottom].map(|edge| edge as f32)
            });
            prop_assert_eq!(mask.bbox().map(<[f32; 4]>::from), around);
        }

        #[test]
        fn overlap_and_union_are_those_of_sets(mask in any_mask(), seed: u64) {
            let noise = |x: u32, y: u32| seed.rotate_left(7 * x + 13 * y) % 3 == 0;
            let other = Mask::from_fn(mask.size(), noise).unwrap().with_score(0.5);
            let (a, b) = (pixels_of(&mask), pixels_of(&other));
            let shared = a.iter().filter(|pixel| b.contains(pixel)).count() as u64;
            prop_assert_eq!(mask.overlap(&other).unwrap(), shared);
            let union = mask.union(&other).unwrap();
            prop_assert_eq!(union.area(), mask.area() + other.area() - shared);
            prop_assert!(a.iter().chain(&b).all(|&(x, y)| union.contains(x, y)));
            prop_assert_eq!(union.score(), 1.0);
            let expected = if union.area() == 0 { 0.0 } else { shared as f64 / union.area() as f64 };
            prop_assert_eq!(mask.iou(&other).unwrap(), expected as f32);
        }
    }
}
