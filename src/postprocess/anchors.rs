//! Where the head looks: one square anchor at every cell of every pyramid level.

use std::ops::Range;

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    error::{Error, Result},
    geometry::{Corners, GridSize},
};

/// Strides and sizes of the anchors, one of each for every pyramid level, finest first.
///
/// The defaults are those of all released GLIP models: strides 8 to 128, and squares of 8 strides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorOptions {
    /// Distance between neighbouring cells, in pixels of the network input.
    pub strides: Vec<u32>,
    /// Side of an anchor, in pixels of the network input.
    pub sizes: Vec<u32>,
}

impl Default for AnchorOptions {
    fn default() -> Self {
        Self {
            strides: vec![8, 16, 32, 64, 128],
            sizes: vec![64, 128, 256, 512, 1024],
        }
    }
}

impl AnchorOptions {
    pub(super) fn validate(&self) -> Result<()> {
        let invalid = |option, expected| {
            let found = format!("{self:?}");
            Err(Error::InvalidOption {
                option,
                found,
                expected,
            })
        };
        if self.strides.is_empty() || self.strides.len() != self.sizes.len() {
            return invalid("anchors", "as many strides as sizes, at least one");
        }
        if self
            .strides
            .iter()
            .chain(&self.sizes)
            .any(|&pixels| pixels == 0)
        {
            return invalid("anchors", "strides and sizes of at least 1 pixel");
        }
        Ok(())
    }
}

/// The anchors of one network input, numbered as the rows of the head's outputs are: finest level
/// first, row by row within a level. Their corners are the first and the last pixel.
///
/// ```
/// use glip::{parts::GridSize, postprocess::{AnchorOptions, Anchors}};
///
/// let options = AnchorOptions { strides: vec![8], sizes: vec![64] };
/// let anchors = Anchors::new(&options, &[GridSize::new(3, 2)])?;
/// assert_eq!(anchors.len(), 6);
/// assert_eq!(anchors.levels()[0].anchor(1), [-20.0, -28.0, 43.0, 35.0]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Anchors {
    levels: SmallVec<[AnchorLevel; 8]>,
}

/// The anchors of one pyramid level.
#[derive(Clone, Debug, PartialEq)]
pub struct AnchorLevel {
    stride: u32,
    size: u32,
    grid: GridSize,
    range: Range<usize>,
}

impl Anchors {
    /// The anchors of feature maps with these sizes.
    ///
    /// # Errors
    /// - [`Error::Shape`]: there are not as many levels as in `options`.
    pub fn new(options: &AnchorOptions, level_sizes: &[GridSize]) -> Result<Self> {
        if options.strides.len() != level_sizes.len() {
            return Err(Error::Shape {
                tensor: "level_sizes".to_owned(),
                expected: format!("[{}], one for each anchor stride", options.strides.len()),
                found: vec![level_sizes.len()],
            });
        }
        let mut begin = 0usize;
        let levels = options.strides.iter().zip(&options.sizes).zip(level_sizes);
        let levels = levels.map(|((&stride, &size), &grid)| {
            let range = begin..begin.saturating_add(grid.cells());
            begin = range.end;
            AnchorLevel {
                stride,
                size,
                grid,
                range,
            }
        });
        Ok(Self {
            levels: levels.collect(),
        })
    }

    /// The number of anchors of all levels.
    pub fn len(&self) -> usize {
        self.levels.last().map_or(0, |level| level.range.end)
    }

    /// Whether there are no anchors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The levels, finest first.
    pub fn levels(&self) -> &[AnchorLevel] {
        &self.levels
    }

    /// All anchors, `[anchors, 4]` as x1, y1, x2, y2 in pixels of the network input.
    pub fn to_array(&self) -> Array2<f32> {
        let corners = self
            .levels
            .iter()
            .flat_map(|level| level.range.clone().map(|anchor| level.anchor(anchor)));
        Array2::from(corners.collect::<Vec<Corners>>())
    }
}

impl AnchorLevel {
    /// The numbers of this level's anchors among all.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The corners of an anchor, given its number among all, in pixels of the network input. Numbers
    /// outside [`range`](Self::range) give places outside the feature map.
    pub fn anchor(&self, number: usize) -> Corners {
        let cell = number.wrapping_sub(self.range.start);
        let columns = self.grid.width.max(1);
        let place = |index: usize| {
            let stride = self.stride as f32;
            (stride - 1.0) / 2.0 + stride * index as f32
        };
        let (x, y) = (place(cell % columns), place(cell / columns));
        // Official counts both edges as pixels of the box, so that a side of `size` spans size - 1.
        let half = (self.size as f32 - 1.0) / 2.0;
        [x - half, y - half, x + half, y + half]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_numbered_level_by_level_and_row_by_row() {
        let options = AnchorOptions {
            strides: vec![8, 16],
            sizes: vec![64, 128],
        };
        let sizes = [GridSize::new(3, 2), GridSize::new(2, 1)];
        let anchors = Anchors::new(&options, &sizes).unwrap();
        assert_eq!(anchors.levels()[1].range(), 6..8);
        let array = anchors.to_array();
        assert_eq!(array.dim(), (8, 4));
        assert_eq!(array.row(0).to_vec(), [-28.0, -28.0, 35.0, 35.0]);
        assert_eq!(array.row(5).to_vec(), [-12.0, -20.0, 51.0, 43.0]);
        assert_eq!(array.row(7).to_vec(), [-40.0, -56.0, 87.0, 71.0]);
    }

    #[test]
    fn levels_must_match_the_options() {
        let error = Anchors::new(&AnchorOptions::default(), &[]).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }));
        let uneven = AnchorOptions {
            strides: vec![8],
            sizes: vec![],
        };
        let zero = AnchorOptions {
            strides: vec![0],
            sizes: vec![64],
        };
        for options in [uneven, zero] {
            assert!(matches!(
                options.validate(),
                Err(Error::InvalidOption { .. })
            ));
        }
    }
}
