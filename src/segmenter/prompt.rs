//! What a mask is asked for by.

use crate::{
    error::{Error, Result},
    geometry::{BBox, ImageGeometry},
};

/// What a mask is asked for by: the box around a thing, points on it or beside it, or both. All are in pixels of the original
/// image, edges continuous. Segmenters that were exported for boxes alone refuse prompts without one
/// ([`Error::PromptWithoutBox`]).
///
/// ```
/// use glip::{BBox, MaskPrompt};
///
/// let cup = MaskPrompt::from(BBox::new(40.0, 60.0, 120.0, 140.0)?);
/// let cup_without_its_handle = cup.and_not_at(115.0, 95.0);
/// let whatever_is_here = MaskPrompt::at(80.0, 100.0);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MaskPrompt {
    bbox: Option<BBox>,
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    x: f32,
    y: f32,
    on_it: bool,
}

impl MaskPrompt {
    /// Whatever is at a point.
    pub fn at(x: f32, y: f32) -> Self {
        Self {
            bbox: None,
            points: vec![Point { x, y, on_it: true }],
        }
    }

    /// The same, which is at this point too.
    #[must_use]
    pub fn and_at(self, x: f32, y: f32) -> Self {
        self.with(Point { x, y, on_it: true })
    }

    /// The same, which is not at this point.
    #[must_use]
    pub fn and_not_at(self, x: f32, y: f32) -> Self {
        self.with(Point { x, y, on_it: false })
    }

    fn with(mut self, point: Point) -> Self {
        self.points.push(point);
        self
    }

    /// The prompt in pixels of the network input; what of its box is outside of the image is cut off. `index` is its place
    /// in the list, for the error.
    pub(super) fn on_network(
        &self,
        index: usize,
        geometry: &ImageGeometry,
    ) -> Result<NetworkPrompt> {
        let image = geometry.original;
        let outside = |what: String| Error::PromptOutside {
            index,
            what,
            image: image.to_string(),
        };
        let resized = geometry.resized;
        let along = |at: f32, from: u32, to: u32| {
            (f64::from(at) * (f64::from(to) / f64::from(from))) as f32
        };
        let place = |x: f32, y: f32| {
            [
                along(x, image.width, resized.width),
                along(y, image.height, resized.height),
            ]
        };
        let whole = BBox::new(0.0, 0.0, image.width as f32, image.height as f32)?;
        let corners = self.bbox.map(|bbox| {
            let inside = bbox
                .intersection(&whole)
                .ok_or_else(|| outside(format!("the box {:?}", <[f32; 4]>::from(bbox))))?;
            Ok([
                place(inside.x1(), inside.y1()),
                place(inside.x2(), inside.y2()),
            ])
        });
        let points = self.points.iter().map(|&Point { x, y, on_it }| {
            // No number is in no range.
            let within = |at: f32, side: u32| (0.0..=side as f32).contains(&at);
            match within(x, image.width) && within(y, image.height) {
                true => Ok((place(x, y), on_it)),
                false => Err(outside(format!("the point ({x}, {y})"))),
            }
        });
        Ok(NetworkPrompt {
            points: points.collect::<Result<_>>()?,
            corners: corners.transpose()?,
        })
    }
}

impl From<BBox> for MaskPrompt {
    fn from(bbox: BBox) -> Self {
        Self {
            bbox: Some(bbox),
            points: Vec::new(),
        }
    }
}

impl From<&BBox> for MaskPrompt {
    fn from(bbox: &BBox) -> Self {
        Self::from(*bbox)
    }
}

impl From<&MaskPrompt> for MaskPrompt {
    fn from(prompt: &MaskPrompt) -> Self {
        prompt.clone()
    }
}

/// A prompt in pixels of the network input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NetworkPrompt {
    /// Points, and whether they are on the thing.
    pub(super) points: Vec<([f32; 2], bool)>,
    /// The upper left and the lower right corner of the box.
    pub(super) corners: Option<[[f32; 2]; 2]>,
}

impl NetworkPrompt {
    /// Whether it can mean a thing, a part of it, or more than it.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.corners.is_none() && self.points.len() == 1
    }

    /// Whether both fit into one tensor.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        self.points.len() == other.points.len() && self.corners.is_some() == other.corners.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::ImageSize;

    fn geometry() -> ImageGeometry {
        ImageGeometry {
            original: ImageSize::new(200, 100),
            resized: ImageSize::new(100, 50),
            padded: ImageSize::new(100, 100),
        }
    }

    fn boxed(corners: [f32; 4]) -> MaskPrompt {
        BBox::try_from(corners).unwrap().into()
    }

    #[test]
    fn prompts_are_scaled_to_the_networks_pixels() {
        let prompt = boxed([10.0, 20.0, 50.0, 60.0])
            .and_at(20.0, 30.0)
            .and_not_at(0.0, 0.0);
        let found = prompt.on_network(0, &geometry()).unwrap();
        assert_eq!(found.corners, Some([[5.0, 10.0], [25.0, 30.0]]));
        assert_eq!(found.points, [([10.0, 15.0], true), ([0.0, 0.0], false)]);
        assert!(!found.is_ambiguous());
        let point = MaskPrompt::at(1.0, 1.0).on_network(0, &geometry()).unwrap();
        assert!(point.is_ambiguous() && !point.goes_with(&found));
    }

    #[test]
    fn of_a_box_what_is_outside_is_cut_off() {
        let prompt = boxed([-10.0, 20.0, 50.0, 600.0]);
        let found = prompt.on_network(0, &geometry()).unwrap();
        assert_eq!(found.corners, Some([[0.0, 10.0], [25.0, 50.0]]));
    }

    #[test]
    fn what_is_outside_is_refused_by_its_place_in_the_list() {
        for (prompt, expected) in [
            (
                boxed([210.0, 0.0, 220.0, 9.0]),
                "the box [210.0, 0.0, 220.0, 9.0]",
            ),
            (MaskPrompt::at(-1.0, 5.0), "the point (-1, 5)"),
            (MaskPrompt::at(5.0, f32::NAN), "the point (5, NaN)"),
            (
                boxed([0.0, 0.0, 9.0, 9.0]).and_at(5.0, 101.0),
                "the point (5, 101)",
            ),
        ] {
            let error = prompt.on_network(7, &geometry()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(
                error.contains("prompt 7") && error.contains("200 x 100"),
                "{error}"
            );
        }
    }
}
