//! What a head says about a batch of images: the raw material of post-processing.

use ndarray::{Array2, Array3};

use crate::{
    error::{Error, Result},
    geometry::GridSize,
};

/// What the model says about every place it looks at: how well it fits every token, and where its box
/// is.
///
/// A head looks at a number of *rows*. In a head of anchors these are the cells of all pyramid levels,
/// finest level first, row by row within a level; in a head of queries they are the queries.
///
/// ```
/// use glip::parts::{GridSize, HeadBoxes, HeadOutput};
/// use ndarray::{Array2, Array3};
///
/// let boxes = HeadBoxes::Anchors {
///     deltas: Array3::zeros((1, 6, 4)),
///     centerness: Array2::zeros((1, 6)),
///     level_sizes: vec![GridSize::new(3, 2)],
/// };
/// let output = HeadOutput::new(Array3::zeros((1, 6, 9)), boxes)?;
/// assert_eq!((output.batch(), output.rows(), output.tokens()), (1, 6, 9));
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HeadOutput {
    logits: Array3<f32>,
    boxes: HeadBoxes,
}

/// Where the boxes are, in the form that the kind of head has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum HeadBoxes {
    /// Of GLIP: boxes relative to anchors, one at each cell of the feature pyramid.
    Anchors {
        /// Box regression, to be decoded against the anchors: `[batch, rows, 4]` as dx, dy, dw, dh.
        deltas: Array3<f32>,
        /// How central a row is in its object, before the sigmoid: `[batch, rows]`.
        centerness: Array2<f32>,
        /// The levels' sizes, finest first; their cells are the rows.
        level_sizes: Vec<GridSize>,
    },
    /// Of the DETR family: boxes as they are, `[batch, rows, 4]` as centre x, centre y, width and
    /// height, all relative to the image without padding.
    Queries {
        /// The boxes.
        boxes: Array3<f32>,
    },
}

/// The memory of an output, which is large: 23 MB for a picture of 800 x 1333 and 256 tokens.
#[derive(Debug, Default)]
pub(crate) struct HeadMemory {
    pub(crate) logits: Vec<f32>,
    /// Of the boxes or the deltas.
    pub(crate) boxes: Vec<f32>,
    pub(crate) centerness: Vec<f32>,
    pub(crate) level_sizes: Vec<GridSize>,
}

impl HeadOutput {
    /// Takes the logits, `[batch, rows, tokens]` before the sigmoid, and the boxes.
    ///
    /// # Errors
    /// - [`Error::Shape`]: the shapes do not agree with one another.
    pub fn new(logits: Array3<f32>, boxes: HeadBoxes) -> Result<Self> {
        let (batch, rows, _) = logits.dim();
        match &boxes {
            HeadBoxes::Anchors {
                deltas,
                centerness,
                level_sizes,
            } => {
                let cells = level_sizes
                    .iter()
                    .fold(0usize, |sum, level| sum.saturating_add(level.cells()));
                check("logits", logits.shape(), &[batch, cells, logits.dim().2])?;
                check("deltas", deltas.shape(), &[batch, rows, 4])?;
                check("centerness", centerness.shape(), &[batch, rows])?;
            }
            HeadBoxes::Queries { boxes } => check("boxes", boxes.shape(), &[batch, rows, 4])?,
        }
        Ok(Self { logits, boxes })
    }

    /// Alignment of every row with every token, before the sigmoid: `[batch, rows, tokens]`.
    pub fn logits(&self) -> &Array3<f32> {
        &self.logits
    }

    /// Where the boxes are.
    pub fn boxes(&self) -> &HeadBoxes {
        &self.boxes
    }

    /// The logits and the boxes, without a copy.
    pub fn into_parts(self) -> (Array3<f32>, HeadBoxes) {
        (self.logits, self.boxes)
    }

    /// Its memory, for the next output.
    pub(crate) fn into_memory(self) -> HeadMemory {
        let logits = self.logits.into_raw_vec_and_offset().0;
        match self.boxes {
            HeadBoxes::Anchors {
                deltas,
                centerness,
                level_sizes,
            } => HeadMemory {
                logits,
                boxes: deltas.into_raw_vec_and_offset().0,
                centerness: centerness.into_raw_vec_and_offset().0,
                level_sizes,
            },
            HeadBoxes::Queries { boxes } => HeadMemory {
                logits,
                boxes: boxes.into_raw_vec_and_offset().0,
                ..HeadMemory::default()
            },
        }
    }

    /// Number of images.
    pub fn batch(&self) -> usize {
        self.logits.dim().0
    }

    /// Number of places that the head looks at in each.
    pub fn rows(&self) -> usize {
        self.logits.dim().1
    }

    /// Number of tokens of the prompt.
    pub fn tokens(&self) -> usize {
        self.logits.dim().2
    }
}

fn check(tensor: &str, found: &[usize], expected: &[usize]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Shape {
        tensor: tensor.to_owned(),
        expected: format!("{expected:?}"),
        found: found.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchors(
        rows: usize,
        deltas: usize,
        centerness: usize,
        levels: &[GridSize],
    ) -> Result<HeadOutput> {
        let boxes = HeadBoxes::Anchors {
            deltas: Array3::zeros((2, rows, deltas)),
            centerness: Array2::zeros((2, centerness)),
            level_sizes: levels.to_vec(),
        };
        HeadOutput::new(Array3::zeros((2, rows, 7)), boxes)
    }

    #[test]
    fn shapes_that_do_not_agree_are_errors() {
        let level = GridSize::new(3, 2);
        assert!(anchors(6, 4, 6, &[level]).is_ok());
        let endless = [GridSize::new(usize::MAX, 2); 2];
        let queries = HeadBoxes::Queries {
            boxes: Array3::zeros((2, 6, 5)),
        };
        let cases = [
            ("logits", anchors(5, 4, 5, &[level])),
            ("logits", anchors(6, 4, 6, &endless)),
            ("deltas", anchors(6, 5, 6, &[level])),
            ("centerness", anchors(6, 4, 5, &[level])),
            ("boxes", HeadOutput::new(Array3::zeros((2, 6, 7)), queries)),
        ];
        for (expected, output) in cases {
            let error = output.unwrap_err();
            assert!(
                matches!(&error, Error::Shape { tensor, .. } if tensor == expected),
                "{error}"
            );
        }
    }
}
