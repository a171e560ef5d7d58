//! One image's share of the head's outputs.

use std::{borrow::Cow, ops::Range};

use ndarray::{ArrayView1, ArrayView2, s};

use crate::{
    error::{Error, Result},
    graph::{GridSize, HeadOutput},
};

/// What the head says about one image of a batch; its shapes are known to agree.
#[derive(Clone, Copy, Debug)]
pub struct HeadView<'a> {
    logits: ArrayView2<'a, f32>,
    deltas: ArrayView2<'a, f32>,
    centerness: ArrayView1<'a, f32>,
    level_sizes: &'a [GridSize],
}

impl<'a> HeadView<'a> {
    /// The share of the batch's image with this index.
    ///
    /// # Errors
    /// - [`Error::Shape`]: there is no such image, or the arrays' shapes do not agree with one
    ///   another.
    pub fn new(output: &'a HeadOutput, image: usize) -> Result<Self> {
        let HeadOutput {
            logits,
            deltas,
            centerness,
            level_sizes,
        } = output;
        let (batch, anchors, _) = logits.dim();
        let cells = level_sizes
            .iter()
            .fold(0usize, |sum, level| sum.saturating_add(level.cells()));
        check("logits", logits.shape(), image < batch, || {
            format!("batch above {image}")
        })?;
        check("logits", logits.shape(), anchors == cells, || {
            format!("[batch, {cells}, tokens]")
        })?;
        let fits = deltas.dim() == (batch, anchors, 4);
        check("deltas", deltas.shape(), fits, || {
            format!("[{batch}, {anchors}, 4]")
        })?;
        let fits = centerness.dim() == (batch, anchors);
        check("centerness", centerness.shape(), fits, || {
            format!("[{batch}, {anchors}]")
        })?;
        Ok(Self {
            logits: logits.slice(s![image, .., ..]),
            deltas: deltas.slice(s![image, .., ..]),
            centerness: centerness.slice(s![image, ..]),
            level_sizes,
        })
    }

    /// Alignment with every token before the sigmoid, `[anchors, tokens]`.
    pub fn logits(&self) -> ArrayView2<'a, f32> {
        self.logits
    }

    /// Box regression, `[anchors, 4]`.
    pub fn deltas(&self) -> ArrayView2<'a, f32> {
        self.deltas
    }

    /// Centerness before the sigmoid, `[anchors]`.
    pub fn centerness(&self) -> ArrayView1<'a, f32> {
        self.centerness
    }

    /// The sizes of the pyramid levels, finest first.
    pub fn level_sizes(&self) -> &'a [GridSize] {
        self.level_sizes
    }

    /// The number of tokens.
    pub fn tokens(&self) -> usize {
        self.logits.ncols()
    }

    /// The logits of some anchors, row by row; a copy only if they do not lie so in memory.
    pub(super) fn logits_of(&self, anchors: Range<usize>) -> Cow<'a, [f32]> {
        let rows = self.logits.slice_move(s![anchors, ..]);
        match rows.to_slice() {
            Some(slice) => Cow::Borrowed(slice),
            None => Cow::Owned(rows.iter().copied().collect()),
        }
    }
}

fn check(
    tensor: &str,
    found: &[usize],
    fits: bool,
    expected: impl FnOnce() -> String,
) -> Result<()> {
    if fits {
        return Ok(());
    }
    Err(Error::Shape {
        tensor: tensor.to_owned(),
        expected: expected(),
        found: found.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3};

    use super::*;

    fn output(batch: usize, anchors: usize) -> HeadOutput {
        HeadOutput {
            logits: Array3::zeros((batch, anchors, 7)),
            deltas: Array3::zeros((batch, anchors, 4)),
            centerness: Array2::zeros((batch, anchors)),
            level_sizes: vec![GridSize {
                width: 3,
                height: 2,
            }],
        }
    }

    #[test]
    fn a_view_has_the_shapes_of_one_image() {
        let output = output(2, 6);
        let view = HeadView::new(&output, 1).unwrap();
        assert_eq!((view.logits().dim(), view.tokens()), ((6, 7), 7));
        assert_eq!((view.deltas().dim(), view.centerness().dim()), ((6, 4), 6));
    }

    #[test]
    fn shapes_that_do_not_agree_are_errors() {
        let mut cases = vec![("logits", output(2, 5), 0), ("logits", output(2, 6), 2)];
        let deltas = HeadOutput {
            deltas: Array3::zeros((2, 6, 5)),
            ..output(2, 6)
        };
        let centerness = HeadOutput {
            centerness: Array2::zeros((2, 5)),
            ..output(2, 6)
        };
        cases.extend([("deltas", deltas, 0), ("centerness", centerness, 0)]);
        let endless = vec![
            GridSize {
                width: usize::MAX,
                height: 2
            };
            2
        ];
        cases.push((
            "logits",
            HeadOutput {
                level_sizes: endless,
                ..output(2, 6)
            },
            0,
        ));
        for (expected, output, image) in cases {
            let error = HeadView::new(&output, image).unwrap_err();
            assert!(
                matches!(&error, Error::Shape { tensor, .. } if tensor == expected),
                "{error}"
            );
        }
    }
}
