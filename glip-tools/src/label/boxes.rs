//! Boxes that are left out whatever their score.

use glip::{BBox, ImageSize};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    label::ranges::share,
};

/// Which boxes are left out: by area, by shape, by the image's border. Default: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BoxFilter {
    /// Boxes with a smaller area, in square pixels, are left out.
    pub min_area: Option<f32>,
    /// Boxes that take a larger share of the image, 0 to 1, are left out.
    pub max_share: Option<f32>,
    /// Boxes whose longer side is more than this many times the shorter are left out.
    pub max_aspect: Option<f32>,
    /// Boxes that come closer to the image's border than this many pixels are left out: things that
    /// the border cuts. 0.5 is for those that touch it.
    pub border: Option<f32>,
}

impl BoxFilter {
    /// Sets [`min_area`](Self::min_area).
    #[must_use]
    pub fn with_min_area(self, area: f32) -> Self {
        Self {
            min_area: Some(area),
            ..self
        }
    }

    /// Sets [`max_share`](Self::max_share).
    #[must_use]
    pub fn with_max_share(self, share: f32) -> Self {
        Self {
            max_share: Some(share),
            ..self
        }
    }

    /// Sets [`max_aspect`](Self::max_aspect).
    #[must_use]
    pub fn with_max_aspect(self, aspect: f32) -> Self {
        Self {
            max_aspect: Some(aspect),
            ..self
        }
    }

    /// Sets [`border`](Self::border).
    #[must_use]
    pub fn with_border(self, pixels: f32) -> Self {
        Self {
            border: Some(pixels),
            ..self
        }
    }

    /// Whether a box, given by its edges, in an image of this size stays.
    ///
    /// ```
    /// use glip::{BBox, ImageSize};
    /// use glip_tools::label::BoxFilter;
    ///
    /// let size = ImageSize { width: 100, height: 100 };
    /// let bbox = BBox::new(0.0, 10.0, 30.0, 20.0)?; // 30 x 10 pixels, at the left border
    /// assert!(BoxFilter::default().passes(bbox, size));
    /// assert!(!BoxFilter::default().with_min_area(301.0).passes(bbox, size));
    /// assert!(!BoxFilter::default().with_max_share(0.02).passes(bbox, size));
    /// assert!(!BoxFilter::default().with_max_aspect(2.5).passes(bbox, size));
    /// assert!(!BoxFilter::default().with_border(0.5).passes(bbox, size));
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn passes(&self, bbox: BBox, image: ImageSize) -> bool {
        let (width, height) = (bbox.width(), bbox.height());
        let share = bbox.area() / (image.width as f32 * image.height as f32);
        let aspect = width.max(height) / width.min(height);
        let right = image.width as f32 - bbox.x2();
        let bottom = image.height as f32 - bbox.y2();
        let distance = bbox.x1().min(bbox.y1()).min(right).min(bottom);
        self.min_area.is_none_or(|least| bbox.area() >= least)
            && self.max_share.is_none_or(|most| share <= most)
            && self.max_aspect.is_none_or(|most| aspect <= most)
            && self.border.is_none_or(|least| distance >= least)
    }

    pub(super) fn validate(&self) -> Result<()> {
        share("max_share", self.max_share.unwrap_or(1.0))?;
        let least = [
            ("min_area", self.min_area, 0.0),
            ("max_aspect", self.max_aspect, 1.0),
            ("border", self.border, 0.0),
        ];
        for (option, value, least) in least {
            if let Some(value) = value.filter(|value| !(*value >= least && value.is_finite())) {
                return Err(Error::Option {
                    option,
                    found: value.to_string(),
                    expected: format!("at least {least}"),
                });
            }
        }
        Ok(())
    }
}
