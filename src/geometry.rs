//! Sizes and boxes: what everything else speaks of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An image's size in pixels.
///
/// ```
/// use glip::ImageSize;
///
/// let size = ImageSize::new(640, 480);
/// assert_eq!(size, (640, 480).into());
/// assert_eq!(size.to_string(), "640 x 480");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageSize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl ImageSize {
    /// A size of `width` x `height` pixels.
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Number of pixels.
    #[must_use]
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// The size itself, if it has at least one pixel.
    pub(crate) fn non_empty(self) -> Result<Self> {
        let Self { width, height } = self;
        if width == 0 || height == 0 {
            return Err(Error::EmptyImage { width, height });
        }
        Ok(self)
    }

    /// The smallest size that holds both.
    pub(crate) fn union(self, other: Self) -> Self {
        Self::new(self.width.max(other.width), self.height.max(other.height))
    }
}

/// Width and height, as the `dimensions` of an image are.
impl From<(u32, u32)> for ImageSize {
    fn from((width, height): (u32, u32)) -> Self {
        Self::new(width, height)
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.width, self.height)
    }
}

/// Width and height of a feature map, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GridSize {
    /// Cells in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl GridSize {
    /// A grid of `width` x `height` cells.
    #[must_use]
    pub const fn new(width: usize, height: usize) -> Self {
        Self { width, height }
    }

    /// Number of cells.
    #[must_use]
    pub fn cells(self) -> usize {
        self.width.saturating_mul(self.height)
    }
}

/// A box as `[x1, y1, x2, y2]`, in a frame and a convention that its owner states.
pub type Corners = [f32; 4];

/// A box in pixels of the original image: x from the left, y from the top.
///
/// Its edges are continuous: a box over the first ten columns of an image has `x1 = 0` and `x2 = 10`,
/// and is as wide as `x2 - x1`. Corners are finite and in order, `x1 <= x2` and `y1 <= y2`. As JSON it
/// is `[x1, y1, x2, y2]`.
///
/// ```
/// use glip::BBox;
///
/// let bbox = BBox::new(10.0, 20.0, 40.0, 60.0)?;
/// assert_eq!((bbox.width(), bbox.height(), bbox.area()), (30.0, 40.0, 1200.0));
/// assert_eq!(bbox.center(), (25.0, 40.0));
/// assert_eq!(bbox.xywh(), [10.0, 20.0, 30.0, 40.0]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "[f32; 4]", try_from = "[f32; 4]")]
pub struct BBox {
    x1: f32,
    y1: f32,
    x2: f32,
    y2: f32,
}

impl BBox {
    /// The box between two opposite corners, given in any order.
    ///
    /// # Errors
    /// - [`Error::InvalidBox`]: a coordinate is NaN or infinite.
    pub fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Result<Self> {
        let corners = [x1, y1, x2, y2];
        if !corners.iter().all(|coordinate| coordinate.is_finite()) {
            return Err(Error::InvalidBox { corners });
        }
        Ok(Self {
            x1: x1.min(x2),
            y1: y1.min(y2),
            x2: x1.max(x2),
            y2: y1.max(y2),
        })
    }

    /// The left edge.
    pub fn x1(&self) -> f32 {
        self.x1
    }

    /// The top edge.
    pub fn y1(&self) -> f32 {
        self.y1
    }

    /// The right edge.
    pub fn x2(&self) -> f32 {
        self.x2
    }

    /// The bottom edge.
    pub fn y2(&self) -> f32 {
        self.y2
    }

    /// `x2 - x1`, in pixels.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// `y2 - y1`, in pixels.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }

    /// Width times height, in square pixels.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// The middle, as x and y.
    pub fn center(&self) -> (f32, f32) {
        (0.5 * (self.x1 + self.x2), 0.5 * (self.y1 + self.y2))
    }

    /// `[x, y, width, height]` from the upper left corner, as COCO writes boxes.
    pub fn xywh(&self) -> [f32; 4] {
        [self.x1, self.y1, self.width(), self.height()]
    }

    /// The part that two boxes share; `None` if they do not so much as touch.
    ///
    /// ```
    /// use glip::BBox;
    ///
    /// let left = BBox::new(0.0, 0.0, 10.0, 10.0)?;
    /// let middle = BBox::new(5.0, 2.0, 15.0, 8.0)?;
    /// assert_eq!(left.intersection(&middle), Some(BBox::new(5.0, 2.0, 10.0, 8.0)?));
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let shared = Self {
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
            x2: self.x2.min(other.x2),
            y2: self.y2.min(other.y2),
        };
        (shared.x1 <= shared.x2 && shared.y1 <= shared.y2).then_some(shared)
    }

    /// The box with what lies outside of an image of this size cut off. A box that lies outside as a
    /// whole becomes one without area at the nearest edge.
    ///
    /// ```
    /// use glip::{BBox, ImageSize};
    ///
    /// let bbox = BBox::new(-3.0, 5.0, 80.0, 50.5)?;
    /// let inside = bbox.clamp(ImageSize::new(64, 48));
    /// assert_eq!(inside, BBox::new(0.0, 5.0, 64.0, 48.0)?);
    /// # Ok::<(), glip::Error>(())
    /// ```
    #[must_use]
    pub fn clamp(&self, image: ImageSize) -> Self {
        let (right, bottom) = (image.width as f32, image.height as f32);
        Self {
            x1: self.x1.clamp(0.0, right),
            y1: self.y1.clamp(0.0, bottom),
            x2: self.x2.clamp(0.0, right),
            y2: self.y2.clamp(0.0, bottom),
        }
    }

    /// The whole pixels of an image that the box touches, as x, y, width and height: what cropping
    /// functions take. `None` if it touches none.
    ///
    /// ```
    /// use glip::{BBox, ImageSize};
    ///
    /// let image = ImageSize::new(64, 48);
    /// let bbox = BBox::new(-3.0, 5.2, 10.0, 7.9)?;
    /// assert_eq!(bbox.to_pixels(image), Some([0, 5, 10, 3]));
    /// assert_eq!(BBox::new(70.0, 5.0, 80.0, 9.0)?.to_pixels(image), None);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn to_pixels(&self, image: ImageSize) -> Option<[u32; 4]> {
        let inside = self.clamp(image);
        // A cast of a float saturates, and these are within the image.
        let (x, y) = (inside.x1.floor() as u32, inside.y1.floor() as u32);
        let (right, bottom) = (inside.x2.ceil() as u32, inside.y2.ceil() as u32);
        (x < right && y < bottom).then(|| [x, y, right - x, bottom - y])
    }

    /// Intersection over union with another box, from 0 to 1; 0 if both are without area. It is what
    /// COCO's evaluation and GLIP's suppression go by.
    ///
    /// ```
    /// use glip::BBox;
    ///
    /// let left = BBox::new(0.0, 0.0, 10.0, 10.0)?;
    /// let middle = BBox::new(5.0, 0.0, 15.0, 10.0)?;
    /// assert_eq!(left.iou(&middle), 50.0 / 150.0);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn iou(&self, other: &Self) -> f32 {
        iou((*self).into(), (*other).into(), 0.0)
    }
}

/// Intersection over union of boxes whose sides go so far beyond their second corners: not at all where
/// corners are edges, a pixel where they are the first and the last pixel. 0 if both are without area.
pub(crate) fn iou(a: Corners, b: Corners, beyond: f32) -> f32 {
    let side = |from: f32, to: f32| (to - from + beyond).max(0.0);
    let area = |[x1, y1, x2, y2]: Corners| side(x1, x2) * side(y1, y2);
    let overlap = [
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ];
    let intersection = area(overlap);
    let union = area(a) + area(b) - intersection;
    if union > 0.0 {
        (intersection / union).min(1.0)
    } else {
        0.0
    }
}

/// `[x1, y1, x2, y2]`.
impl From<BBox> for Corners {
    fn from(bbox: BBox) -> Self {
        [bbox.x1, bbox.y1, bbox.x2, bbox.y2]
    }
}

impl TryFrom<Corners> for BBox {
    type Error = Error;

    fn try_from([x1, y1, x2, y2]: Corners) -> Result<Self> {
        Self::new(x1, y1, x2, y2)
    }
}

/// How an image lies in the network input: the sizes that lead from its pixels to the network's and back.
///
/// ```text
/// original --resize--> resized --pad on the right and at the bottom--> padded
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageGeometry {
    /// The image as it was given: the frame of all boxes that are returned.
    pub original: ImageSize,
    /// The image after the resize: the frame in which boxes are decoded and suppressed. Its pixels lie
    /// in the upper left corner of the network input.
    pub resized: ImageSize,
    /// The network input, with padding on the right and at the bottom.
    pub padded: ImageSize,
}

impl ImageGeometry {
    /// The part of a box that lies on the resized image: both are in its pixels, edges continuous.
    #[must_use]
    pub fn clip(&self, [x1, y1, x2, y2]: Corners) -> Corners {
        let (right, bottom) = (self.resized.width as f32, self.resized.height as f32);
        [
            x1.clamp(0.0, right),
            y1.clamp(0.0, bottom),
            x2.clamp(0.0, right),
            y2.clamp(0.0, bottom),
        ]
    }

    /// A box in pixels of the resized image, edges continuous, in those of the original one.
    ///
    /// ```
    /// use glip::{ImageSize, parts::ImageGeometry};
    ///
    /// let (original, resized) = (ImageSize::new(640, 480), ImageSize::new(320, 240));
    /// let geometry = ImageGeometry { original, resized, padded: resized };
    /// assert_eq!(geometry.to_original([10.0, 20.0, 30.0, 40.0])?.xywh(), [20.0, 40.0, 40.0, 40.0]);
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::InvalidBox`]: the box is not finite, or the resized image has no pixels.
    pub fn to_original(&self, [x1, y1, x2, y2]: Corners) -> Result<BBox> {
        let [x, y] = self.scale();
        BBox::new(x1 * x, y1 * y, x2 * x, y2 * y)
    }

    /// How a map of so many rows and columns lies that is to be resized to the original image at once.
    pub(crate) fn of_map_over_image(&self, (rows, columns): (usize, usize)) -> Self {
        let side = |cells: usize| u32::try_from(cells).unwrap_or(u32::MAX);
        let map = ImageSize::new(side(columns), side(rows));
        Self {
            original: self.original,
            resized: map,
            padded: map,
        }
    }

    /// How many pixels of the original image one of the resized image is, across and down.
    pub(crate) fn scale(&self) -> [f32; 2] {
        let ratio = |original: u32, resized: u32| (f64::from(original) / f64::from(resized)) as f32;
        [
            ratio(self.original.width, self.resized.width),
            ratio(self.original.height, self.resized.height),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn boxes_put_their_corners_in_order() {
        let bbox = BBox::new(5.0, 1.0, 2.0, 7.0).unwrap();
        assert_eq!(Corners::from(bbox), [2.0, 1.0, 5.0, 7.0]);
        for corners in [[f32::NAN, 0.0, 1.0, 1.0], [0.0, 0.0, f32::INFINITY, 1.0]] {
            assert!(matches!(
                BBox::try_from(corners),
                Err(Error::InvalidBox { .. })
            ));
        }
    }

    #[test]
    fn iou_of_known_boxes() {
        let square = |from: f32, to: f32| BBox::new(from, from, to, to).unwrap();
        assert_eq!(square(0.0, 2.0).iou(&square(1.0, 3.0)), 1.0 / 7.0);
        assert_eq!(square(0.0, 1.0).iou(&square(2.0, 3.0)), 0.0);
        assert_eq!(square(1.0, 1.0).iou(&square(1.0, 1.0)), 0.0);
    }

    #[test]
    fn boxes_that_touch_share_an_edge_and_boxes_apart_nothing() {
        let square = |from: f32, to: f32| BBox::new(from, from, to, to).unwrap();
        let touching = square(0.0, 2.0).intersection(&square(2.0, 3.0));
        assert_eq!(touching.map(|shared| shared.area()), Some(0.0));
        assert_eq!(square(0.0, 1.0).intersection(&square(2.0, 3.0)), None);
    }

    #[test]
    fn whole_pixels_of_a_box() {
        let image = ImageSize::new(10, 8);
        let pixels = |x1, y1, x2, y2| BBox::new(x1, y1, x2, y2).unwrap().to_pixels(image);
        assert_eq!(pixels(2.0, 3.0, 4.0, 5.0), Some([2, 3, 2, 2]));
        assert_eq!(pixels(2.9, 3.9, 4.1, 5.1), Some([2, 3, 3, 3]));
        assert_eq!(pixels(-9.0, -9.0, 99.0, 99.0), Some([0, 0, 10, 8]));
        assert_eq!(pixels(2.0, 3.0, 2.0, 5.0), None);
    }

    proptest! {
        #[test]
        fn iou_is_symmetric_and_at_most_1(
            a in prop::array::uniform4(-2000.0f32..2000.0),
            b in prop::array::uniform4(-2000.0f32..2000.0),
        ) {
            let (a, b) = (BBox::try_from(a).unwrap(), BBox::try_from(b).unwrap());
            prop_assert_eq!(a.iou(&b), b.iou(&a));
            prop_assert!((0.0..=1.0).contains(&a.iou(&b)));
            if a.area() > 0.0 {
                prop_assert_eq!(a.iou(&a), 1.0);
            }
        }

        #[test]
        fn pixels_hold_what_of_a_box_is_on_the_image(
            corners in prop::array::uniform4(-20.0f32..40.0),
        ) {
            let image = ImageSize::new(17, 13);
            let bbox = BBox::try_from(corners).unwrap();
            if let Some([x, y, width, height]) = bbox.to_pixels(image) {
                let inside = bbox.clamp(image);
                prop_assert!(x as f32 <= inside.x1() && inside.x2() <= (x + width) as f32);
                prop_assert!(y as f32 <= inside.y1() && inside.y2() <= (y + height) as f32);
                prop_assert!(x + width <= image.width && y + height <= image.height);
            } else {
                prop_assert_eq!(bbox.clamp(image).area(), 0.0);
            }
        }
    }
}
