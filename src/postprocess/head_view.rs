//! One image's share of the head's outputs.

use std::{borrow::Cow, ops::Range};

use ndarray::{ArrayView1, ArrayView2, s};

use crate::{
    error::{Error, Result},
    geometry::GridSize,
    head_output::{HeadBoxes, HeadOutput},
};

/// What the head says about one image of a batch.
#[derive(Clone, Copy, Debug)]
pub struct HeadView<'a> {
    logits: ArrayView2<'a, f32>,
    boxes: BoxesView<'a>,
}

/// Where the boxes of one image are, in the form that the kind of head has: see [`HeadBoxes`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BoxesView<'a> {
    /// Relative to anchors.
    Anchors {
        /// Box regression, `[rows, 4]`.
        deltas: ArrayView2<'a, f32>,
        /// Centerness before the sigmoid, `[rows]`.
        centerness: ArrayView1<'a, f32>,
        /// The sizes of the pyramid levels, finest first.
        level_sizes: &'a [GridSize],
    },
    /// As they are.
    Queries {
        /// Centre x, centre y, width and height, relative to the image: `[rows, 4]`.
        boxes: ArrayView2<'a, f32>,
    },
}

impl<'a> HeadView<'a> {
    /// The share of the batch's image with this index.
    ///
    /// # Errors
    /// - [`Error::Shape`]: there is no such image.
    pub fn new(output: &'a HeadOutput, image: usize) -> Result<Self> {
        if image >= output.batch() {
            return Err(Error::Shape {
                tensor: "logits".to_owned(),
                expected: format!("batch above {image}"),
                found: output.logits().shape().to_vec(),
            });
        }
        let boxes = match output.boxes() {
            HeadBoxes::Anchors {
                deltas,
                centerness,
                level_sizes,
            } => BoxesView::Anchors {
                deltas: deltas.slice(s![image, .., ..]),
                centerness: centerness.slice(s![image, ..]),
                level_sizes,
            },
            HeadBoxes::Queries { boxes } => BoxesView::Queries {
                boxes: boxes.slice(s![image, .., ..]),
            },
        };
        Ok(Self {
            logits: output.logits().slice(s![image, .., ..]),
            boxes,
        })
    }

    /// Alignment with every token before the sigmoid, `[rows, tokens]`.
    pub fn logits(&self) -> ArrayView2<'a, f32> {
        self.logits
    }

    /// Where the boxes are.
    pub fn boxes(&self) -> BoxesView<'a> {
        self.boxes
    }

    /// The number of places that the head looked at.
    pub fn rows(&self) -> usize {
        self.logits.nrows()
    }

    /// The number of tokens.
    pub fn tokens(&self) -> usize {
        self.logits.ncols()
    }

    /// The logits of some rows, one after another; a copy only if they do not lie so in memory.
    pub(super) fn logits_of(&self, rows: Range<usize>) -> Cow<'a, [f32]> {
        let rows = self.logits.slice_move(s![rows, ..]);
        match rows.to_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(rows.iter().copied().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3};

    use super::*;

    #[test]
    fn a_view_has_the_shapes_of_one_image() {
        let boxes = HeadBoxes::Anchors {
            deltas: Array3::zeros((2, 6, 4)),
            centerness: Array2::zeros((2, 6)),
            level_sizes: vec![GridSize::new(3, 2)],
        };
        let output = HeadOutput::new(Array3::zeros((2, 6, 7)), boxes).unwrap();
        let view = HeadView::new(&output, 1).unwrap();
        assert_eq!(
            (view.logits().dim(), view.rows(), view.tokens()),
            ((6, 7), 6, 7)
        );
        let BoxesView::Anchors {
            deltas, centerness, ..
        } = view.boxes()
        else {
            panic!("{view:?}");
        };
        assert_eq!((deltas.dim(), centerness.dim()), ((6, 4), 6));
        let beyond = HeadView::new(&output, 2).unwrap_err();
        assert!(matches!(beyond, Error::Shape { .. }), "{beyond}");
    }
}
