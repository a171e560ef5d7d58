//! What a segmenter says of a prompt, before it is a mask.

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis};

use crate::{
    error::{Error, Result},
    geometry::ImageGeometry,
    mask::Mask,
    postprocess::{upsample_logits, upsample_mask},
};

/// What a segmenter says of a prompt, before it is a mask: small maps of logits, one for each thing that the prompt may mean.
///
/// [`Segmenter::masks`](crate::Segmenter::masks) takes the [best](Self::best) of them, cut at 0. Who wants another one of them, or
/// to cut elsewhere, has them here.
///
/// ```no_run
/// use glip::{MaskPrompt, Segmenter};
///
/// # let image = image::open("examples/images/coffee.jpg")?;
/// let segmenter = Segmenter::from_dir("models/mobile-sam")?;
/// for candidates in segmenter.mask_logits(&image, [MaskPrompt::at(90.0, 40.0)])? {
///     for (candidate, score) in candidates.scores().iter().enumerate() {
///         println!("{score}: {} pixels", candidates.mask(candidate)?.area());
///     }
///     let sure = candidates.upsampled(candidates.best())?.mapv(|logit| logit > 2.0);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MaskLogits {
    pub(super) logits: Array3<f32>,
    pub(super) scores: Array1<f32>,
    pub(super) best: usize,
    pub(super) geometry: ImageGeometry,
}

impl MaskLogits {
    /// The maps, `[candidates, rows, columns]`: above 0 is on the thing.
    pub fn logits(&self) -> &Array3<f32> {
        &self.logits
    }

    /// How well the model expects each candidate to overlap with a thing, `[candidates]`. Mostly from 0 to 1.
    pub fn scores(&self) -> &Array1<f32> {
        &self.scores
    }

    /// The candidate that the model's own code takes for such a prompt.
    pub fn best(&self) -> usize {
        self.best
    }

    /// How the maps lie over the image, as [`upsample_logits`] wants to know it.
    pub fn geometry(&self) -> ImageGeometry {
        self.geometry
    }

    /// The pixels of the image where a candidate's logits are above 0, with its score within 0 and 1.
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: there are not as many candidates.
    /// - [`Error::MaskSize`]: a side of the image has more than 65,535 pixels.
    pub fn mask(&self, candidate: usize) -> Result<Mask> {
        let mask = upsample_mask(self.map(candidate)?, &self.geometry)?;
        Ok(mask.with_score(self.scores[candidate].clamp(0.0, 1.0)))
    }

    /// A candidate's logits in the size of the image, `[height, width]`.
    ///
    /// # Errors
    /// As [`mask`](Self::mask).
    pub fn upsampled(&self, candidate: usize) -> Result<Array2<f32>> {
        upsample_logits(self.map(candidate)?, &self.geometry)
    }

    fn map(&self, candidate: usize) -> Result<ArrayView2<'_, f32>> {
        if candidate >= self.scores.len() {
            return Err(Error::InvalidOption {
                option: "candidate",
                found: candidate.to_string(),
                expected: "less than the number of scores",
            });
        }
        Ok(self.logits.index_axis(Axis(0), candidate))
    }
}
