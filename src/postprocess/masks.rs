//! From the small maps of logits that a segmentation graph gives to masks.

use std::{array, ops::Range};

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayView3, Axis, Zip, s};
use serde::Deserialize;

use crate::{
    error::{Error, Result},
    geometry::{ImageGeometry, ImageSize},
    mask::{Mask, checked_size},
};

/// The pixels of the original image whose logits, [upsampled](upsample_logits), are above 0; with a score of 1.
///
/// It holds one row of the large map at a time.
///
/// ```
/// use glip::{ImageSize, parts::ImageGeometry, postprocess::upsample_mask};
/// use ndarray::array;
///
/// // What SAM makes of a 12 x 6 image, if its input were 8 x 8 and its masks 4 x 4.
/// let geometry = ImageGeometry {
///     original: ImageSize::new(12, 6),
///     resized: ImageSize::new(8, 4),
///     padded: ImageSize::new(8, 8),
/// };
/// let logits = array![
///     [-5.0, 5.0, 5.0, -5.0],
///     [-5.0, 5.0, 5.0, -5.0],
///     [-9.0, -9.0, -9.0, -9.0],
///     [-9.0, -9.0, -9.0, -9.0],
/// ];
/// let mask = upsample_mask(logits.view(), &geometry)?.with_score(0.9);
/// assert_eq!(mask.runs(0).collect::<Vec<_>>(), [3..9]);
/// # Ok::<(), glip::Error>(())
/// ```
///
/// # Errors
/// - As those of [`upsample_logits`].
pub fn upsample_mask(logits: ArrayView2<'_, f32>, geometry: &ImageGeometry) -> Result<Mask> {
    let mut upsampling = Upsampling::new(logits, geometry)?;
    Mask::from_runs(geometry.original, |y, runs| upsampling.runs(y, runs))
}

/// Logits [rows, columns] of a small map, in the size of the original image [height, width].
///
/// The map lies over the network's input. As SAM does it, it is resized to `padded`, cut to `resized`, and
/// that is resized to `original`, each time as PyTorch's `interpolate(mode="bilinear", align_corners=False)`. A model
/// that resizes its maps at once, as SAM 2, has `padded` and `resized` of the map's own size.
///
/// # Errors
/// - [`Error::MaskSize`]: a side of the original image has no pixel, or more than 65,535.
/// - [`Error::Shape`]: there are no logits, or the resized image does not lie within the padded one.
pub fn upsample_logits(
    logits: ArrayView2<'_, f32>,
    geometry: &ImageGeometry,
) -> Result<Array2<f32>> {
    let mut upsampling = Upsampling::new(logits, geometry)?;
    let ImageSize { width, height } = geometry.original;
    let mut large = Array2::zeros((height as usize, width as usize));
    for (y, mut row) in (0..height).zip(large.rows_mut()) {
        upsampling.blend_down(y);
        let across = row.iter_mut().enumerate();
        across.for_each(|(x, logit)| *logit = upsampling.blend_across(x));
    }
    Ok(large)
}

/// How far a mask depends on where its logits are cut: the pixels above `offset` as a share of those above `-offset`,
/// from 0 to 1. SAM keeps masks from 0.95 on, at an offset of 1; SAM 2 looks at an offset of 0.05.
///
/// Logits may be of the small map or of the large one. If none is above `-offset`, the mask is empty either way
/// and the score 1, as in SAM 2.
///
/// ```
/// use glip::postprocess::stability_score;
/// use ndarray::array;
///
/// let logits = array![[8.0, 0.5, -8.0], [8.0, -0.5, -8.0]];
/// assert_eq!(stability_score(logits.view(), 1.0)?, 0.5);
/// # Ok::<(), glip::Error>(())
/// ```
///
/// # Errors
/// - [`Error::InvalidOption`]: the offset is negative, or no number.
pub fn stability_score(logits: ArrayView2<'_, f32>, offset: f32) -> Result<f32> {
    if offset.is_nan() || offset < 0.0 {
        return Err(Error::InvalidOption {
            option: "offset",
            found: offset.to_string(),
            expected: "at least 0",
        });
    }
    let above = |threshold: f32| logits.iter().filter(|&&logit| logit > threshold).count();
    let (small, large) = (above(offset), above(-offset));
    Ok(if large == 0 {
        1.0
    } else {
        (small as f64 / large as f64) as f32
    })
}

/// Which of the masks that a decoder gives for a prompt is taken.
///
/// ```
/// use glip::postprocess::MaskChoice;
/// use ndarray::{Array3, array};
///
/// let (logits, scores) = (Array3::zeros((4, 8, 8)), array![0.5, 0.7, 0.9, 0.8]);
/// let choose = |choice: MaskChoice| choice.choose(logits.view(), scores.view());
/// assert_eq!((choose(MaskChoice::First)?, choose(MaskChoice::BestScore)?), (0, 2));
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MaskChoice {
    /// The first: SAM's own for boxes, where its decoder gives four.
    First,
    /// The one with the highest score: where a decoder gives only what a prompt can mean.
    BestScore,
    /// The first, if it is [stable](stability_score), otherwise the best of the others: SAM 2's own.
    Stability,
    /// The best of all but the first: SAM's and SAM 2's own for prompts that can mean several things.
    BestAlternative,
}

/// At which offset SAM 2 looks how stable a mask is, and how stable one has to be: its configurations of all sizes.
const STABILITY: (f32, f32) = (0.05, 0.98);

impl MaskChoice {
    /// The place of the mask: `logits` are [candidates, rows, columns], `scores` as many. 0, if there is only one.
    ///
    /// # Errors
    /// - [`Error::Shape`]: there are no candidates, or not as many scores.
    pub fn choose(self, logits: ArrayView3<'_, f32>, scores: ArrayView1<'_, f32>) -> Result<usize> {
        if scores.is_empty() || scores.len() != logits.len_of(Axis(0)) {
            return Err(Error::Shape {
                tensor: "scores".to_owned(),
                expected: format!("[{}], at least one", logits.len_of(Axis(0))),
                found: vec![scores.len()],
            });
        }
        let best_from = |first: usize| {
            let candidates = first.min(scores.len() - 1)..scores.len();
            // Of equals the first, as in PyTorch's argmax.
            let better = |best: usize, next: usize| match scores[next] > scores[best] {
                true => next,
                false => best,
            };
            candidates.reduce(better).unwrap_or_default()
        };
        Ok(match self {
            Self::First => 0,
            Self::BestScore => best_from(0),
            Self::BestAlternative => best_from(1),
            Self::Stability => {
                let (offset, enough) = STABILITY;
                let first = logits.index_axis(Axis(0), 0);
                match stability_score(first, offset)? >= enough {
                    true => 0,
                    false => best_from(1),
                }
            }
        })
    }

    /// The choice for a prompt that can mean several things, such as a point on a wheel of a car.
    pub(crate) fn of_an_ambiguous_prompt(self) -> Self {
        match self {
            Self::First | Self::Stability => Self::BestAlternative,
            best => best,
        }
    }
}

/// What a value is made of, two resizes on end: two pairs of neighbours, and how much each of the four counts. No share is
/// negative.
#[derive(Clone, Copy)]
struct Taps {
    /// The first of each pair, in order. Its second may be one past the last place, which is as the last.
    pairs: [usize; 2],
    shares: [f32; 4],
}

impl Taps {
    fn blend(&self, values: [f32; 4]) -> f32 {
        let [a, b, c, d] = array::from_fn(|tap| self.shares[tap] * values[tap]);
        (a + b) + (c + d)
    }

    /// The first and the last place that may count.
    fn ends(&self) -> (usize, usize) {
        (self.pairs[0], self.pairs[1] + 1)
    }
}

/// A map on its way to the size of the original image, a row at a time. Down first, as the small map's rows are the shorter
/// ones.
struct Upsampling<'a> {
    logits: ArrayView2<'a, f32>,
    /// For each row of the original image, rows of the map.
    rows: Vec<Taps>,
    /// For each column of the original image, columns of the map.
    columns: Vec<Taps>,
    /// For each column of the map, the first of the original image that columns beyond it count for.
    beyond: Vec<usize>,
    /// A row of the original image, in the map's columns and one more, which is as the last.
    short: Array1<f32>,
}

impl<'a> Upsampling<'a> {
    fn new(logits: ArrayView2<'a, f32>, geometry: &ImageGeometry) -> Result<Self> {
        let &ImageGeometry {
            original,
            resized,
            padded,
        } = geometry;
        checked_size(original)?;
        let (rows, columns) = logits.dim();
        if rows == 0 || columns == 0 {
            return Err(Error::Shape {
                tensor: "logits".to_owned(),
                expected: "[rows, columns], at least one of each".to_owned(),
                found: vec![rows, columns],
            });
        }
        let fits = |side: u32, padded: u32| (1..=padded).contains(&side);
        if !fits(resized.width, padded.width) || !fits(resized.height, padded.height) {
            return Err(Error::Shape {
                tensor: "the resized image".to_owned(),
                expected: format!(
                    "[1 to {}, 1 to {}], as padded is",
                    padded.height, padded.width
                ),
                found: vec![resized.height as usize, resized.width as usize],
            });
        }
        let across = taps(columns, padded.width, resized.width, original.width);
        let beyond = |column| across.partition_point(|taps| taps.ends().1 <= column);
        Ok(Self {
            logits,
            rows: taps(rows, padded.height, resized.height, original.height),
            beyond: (0..=columns).map(beyond).collect(),
            columns: across,
            short: Array1::zeros(columns + 1),
        })
    }

    /// Makes `short` that of row `y`.
    fn blend_down(&mut self, y: u32) {
        let taps = self.rows[y as usize];
        let (rows, columns) = self.logits.dim();
        let row = |row: usize| self.logits.row(row.min(rows - 1));
        let [near, far] = taps.pairs;
        let short = Zip::from(self.short.slice_mut(s![..columns]));
        short
            .and(row(near))
            .and(row(near + 1))
            .and(row(far))
            .and(row(far + 1))
            .for_each(|short, &a, &b, &c, &d| *short = taps.blend([a, b, c, d]));
        self.short[columns] = self.short[columns - 1];
    }

    /// The logit of column `x` in the row of `short`.
    fn blend_across(&self, x: usize) -> f32 {
        let taps = &self.columns[x];
        let [near, far] = taps.pairs;
        let short = &self.short;
        taps.blend([short[near], short[near + 1], short[far], short[far + 1]])
    }

    /// Hands on the ranges of columns of row `y` whose logits are above 0.
    ///
    /// As no share is negative, a column is on that side of 0 on which all is that it is made of, and so are those after it until
    /// something of the other side counts. Only near outlines there is something to calculate.
    fn runs(&mut self, y: u32, found: &mut dyn FnMut(Range<usize>)) {
        self.blend_down(y);
        let side = |column: usize| Side::of(self.short[column]);
        let mut last_alike = 0;
        let mut run = 0..0;
        while run.end < self.columns.len() {
            let x = run.end;
            let (first, last) = self.columns[x].ends();
            let of_first = side(first);
            last_alike = first.max(last_alike);
            while last_alike + 1 < self.short.len() && side(last_alike + 1) == of_first {
                last_alike += 1;
            }
            let (end, above) = match of_first {
                Side::Below if last <= last_alike => (self.beyond[last_alike], false),
                Side::Above if last <= last_alike => (self.beyond[last_alike], true),
                _ => (x + 1, self.blend_across(x) > 0.0),
            };
            run.end = end;
            if !above {
                found(run.start..x);
                run.start = end;
            }
        }
        found(run);
    }
}

/// On which side of 0 a logit is, as far as what is made of it is there too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    Above,
    /// Above, but so little or so much that shares of it are 0, or no numbers.
    Extreme,
}

impl Side {
    fn of(logit: f32) -> Self {
        match logit {
            1e-30..=1e30 => Self::Above,
            logit if logit > 0.0 => Self::Extreme,
            _ => Self::Below,
        }
    }
}

/// For each of `original` pixels the places of a side of `map` logits that it is made of.
fn taps(map: usize, padded: u32, resized: u32, original: u32) -> Vec<Taps> {
    let of_pixel = |pixel| {
        let (near, shares) = neighbours(pixel, resized as usize, original as usize);
        let far = (near + 1).min(resized as usize - 1);
        let through = |place| neighbours(place, map, padded as usize);
        let ((near, [a, b]), (far, [c, d])) = (through(near), through(far));
        let [of_near, of_far] = shares;
        Taps {
            pairs: [near, far],
            shares: [of_near * a, of_near * b, of_far * c, of_far * d],
        }
    };
    (0..original as usize).map(of_pixel).collect()
}

/// The first of the two of `from` places between which place `index` of `to` lies, and how much each counts. In PyTorch's float32, as another rounding moves the shares by as much as 1e-4.
fn neighbours(index: usize, from: usize, to: usize) -> (usize, [f32; 2]) {
    let scale = from as f32 / to as f32;
    let place = (scale * (index as f32 + 0.5) - 0.5).max(0.0);
    let near = (place as usize).min(from - 1);
    let share = (place - near as f32).clamp(0.0, 1.0);
    (near, [1.0 - share, share])
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};
    use proptest::prelude::*;

    use super::*;

    fn geometry([original, resized, padded]: [(u32, u32); 3]) -> ImageGeometry {
        ImageGeometry {
            original: original.into(),
            resized: resized.into(),
            padded: padded.into(),
        }
    }

    #[test]
    fn what_cannot_be_upsampled_is_refused_by_name() {
        let logits = array![[1.0, -1.0]];
        for (sizes, expected) in [
            ([(0, 4), (1, 1), (1, 1)], "a mask of 0 x 4 pixels"),
            (
                [(4, 4), (3, 1), (2, 2)],
                "the resized image should have shape [1 to 2, 1 to 2]",
            ),
            ([(4, 4), (1, 0), (2, 2)], "found [0, 1]"),
        ] {
            let error = upsample_mask(logits.view(), &geometry(sizes)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let none = Array2::zeros((0, 3));
        let error = upsample_logits(none.view(), &geometry([(4, 4); 3])).unwrap_err();
        assert!(
            error.to_string().contains("logits should have shape"),
            "{error}"
        );
    }

    #[test]
    fn stability_is_1_for_steep_logits_and_0_for_flat_ones() {
        for (logits, expected) in [
            (array![[9.0, -9.0]], 1.0),
            (array![[0.5, -9.0]], 0.0),
            (array![[-9.0, -9.0]], 1.0),
            // On the threshold is not above it.
            (array![[1.0, 2.0, -1.0]], 0.5),
        ] {
            assert_eq!(
                stability_score(logits.view(), 1.0).unwrap(),
                expected,
                "{logits}"
            );
        }
        for offset in [-1.0, f32::NAN] {
            let error = stability_score(array![[1.0]].view(), offset).unwrap_err();
            assert!(error.to_string().contains("option offset is"), "{error}");
        }
    }

    #[test]
    fn a_choice_goes_by_place_score_or_stability() {
        let steep = Array3::from_elem((4, 1, 2), 9.0);
        let flat = Array3::from_elem((4, 1, 2), 0.01);
        let scores = array![0.9, 0.3, 0.6, 0.6];
        for (choice, logits, expected) in [
            (MaskChoice::First, &flat, 0),
            (MaskChoice::BestScore, &flat, 0),
            (MaskChoice::BestAlternative, &steep, 2), // of equals the first
            (MaskChoice::Stability, &steep, 0),
            (MaskChoice::Stability, &flat, 2),
        ] {
            let found = choice.choose(logits.view(), scores.view()).unwrap();
            assert_eq!(found, expected, "{choice:?}");
            // Where there is one, it is that.
            let (only, score) = (logits.slice(s![..1, .., ..]), scores.slice(s![..1]));
            assert_eq!(choice.choose(only, score).unwrap(), 0, "{choice:?}");
        }
        for scores in [array![], array![0.5]] {
            let error = MaskChoice::First
                .choose(steep.view(), scores.view())
                .unwrap_err();
            assert!(
                error.to_string().contains("scores should have shape"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_mask_is_where_logits_are_above_0(
            logits in prop::array::uniform12(-9.0f32..9.0),
            original in (1u32..40, 1u32..40),
            padded in (1u32..40, 1u32..40), cut in (0.0f32..1.0, 0.0f32..1.0),
        ) {
            let map = ArrayView2::from_shape((3, 4), &logits).unwrap();
            let kept = |side: u32, cut: f32| ((side as f32 * cut) as u32).max(1);
            let resized = (kept(padded.0, cut.0), kept(padded.1, cut.1));
            let geometry = geometry([original, resized, padded]);
            let large = upsample_logits(map, &geometry).unwrap();
            let mask = upsample_mask(map, &geometry).unwrap();
            prop_assert_eq!(mask.to_bitmap(), large.mapv(|logit| logit > 0.0));
            let (low, high) = map.iter().fold((9.0f32, -9.0f32), |(low, high), &v| (low.min(v), high.max(v)));
            prop_assert!(large.iter().all(|logit| (low - 1e-4..=high + 1e-4).contains(logit)));
        }
    }
}
