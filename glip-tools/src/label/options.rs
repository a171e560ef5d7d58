//! Which boxes are kept, and how the work is spread.

use std::{collections::BTreeMap, num::NonZeroUsize, thread};

use glip::Device;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    label::{
        boxes::BoxFilter,
        ranges::{at_least_one, share},
        subject::Subject,
        tiles::Tiling,
    },
    pictures::PictureLimits,
};

/// Options of a [`Labeller`](super::Labeller).
///
/// ```
/// use glip_tools::label::{Band, BoxFilter, LabelOptions, Tiling};
///
/// let options = LabelOptions::default()
///     .with_band(Band::review(0.4, 0.6)) // kept over 0.6, reviewed over 0.4, else dropped
///     .with_phrase_band("traffic light", Band::keep(0.7))
///     .with_tiling(Tiling::new(1024, 128))
///     .with_boxes(BoxFilter::default().with_min_area(64.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LabelOptions {
    /// What becomes of a box by its score. Default: the model's own threshold, nothing in review.
    pub band: Option<Band>,
    /// The bands of single phrases, by what they are called, in place of [`band`](Self::band).
    /// Default: none.
    pub phrase_bands: BTreeMap<String, Band>,
    /// Boxes that overlap a better one by more than this are suppressed. Default: the model's own,
    /// official's 0.6.
    pub nms_iou: Option<f32>,
    /// Whether boxes also suppress those of other phrases, so that a thing that two names fit has one
    /// box. Default: no.
    pub nms_across_phrases: bool,
    /// How large images are cut into tiles. Default: they are not, and small things are lost to
    /// resizing.
    pub tiling: Option<Tiling>,
    /// Which boxes are left out. Default: none.
    pub boxes: BoxFilter,
    /// The most images that are run together; they must have one size. Batches take what is there and
    /// do not wait for more, and a detector with a smaller
    /// [`max_batch`](glip::DetectorBuilder::max_batch) runs them in several turns. Default: 1 on a CPU,
    /// which one image keeps busy, and [`BATCH`](Self::BATCH) on other devices.
    #[serde(skip)]
    pub batch: Option<usize>,
    /// The threads that read and decode. Default: one for each processor, at most 8.
    #[serde(skip)]
    pub decoders: usize,
    /// The images that are decoded ahead of the model. Default: twice the threads. Memory holds this
    /// many images and no more, however many there are.
    #[serde(skip)]
    pub decoded_ahead: usize,
    /// The most that a picture may take.
    #[serde(skip)]
    pub pictures: PictureLimits,
}

impl Default for LabelOptions {
    fn default() -> Self {
        let decoders = thread::available_parallelism()
            .map_or(2, NonZeroUsize::get)
            .min(8);
        Self {
            band: None,
            phrase_bands: BTreeMap::new(),
            nms_iou: None,
            nms_across_phrases: false,
            tiling: None,
            boxes: BoxFilter::default(),
            batch: None,
            decoders,
            decoded_ahead: 2 * decoders,
            pictures: PictureLimits::default(),
        }
    }
}

impl LabelOptions {
    /// The most images that are run together on a device that one does not keep busy.
    pub const BATCH: usize = 8;

    /// The most images that are run together on a device: [`batch`](Self::batch), or its default.
    pub fn batch_on(&self, device: Device) -> usize {
        self.batch.unwrap_or(match device {
            Device::Cpu => 1,
            _ => Self::BATCH,
        })
    }

    /// Sets [`band`](Self::band).
    #[must_use]
    pub fn with_band(mut self, band: Band) -> Self {
        self.band = Some(band);
        self
    }

    /// Sets the [band](Self::phrase_bands) of a phrase.
    #[must_use]
    pub fn with_phrase_band(mut self, phrase: impl Into<String>, band: Band) -> Self {
        self.phrase_bands.insert(phrase.into(), band);
        self
    }

    /// Sets [`nms_iou`](Self::nms_iou).
    #[must_use]
    pub fn with_nms_iou(mut self, iou: f32) -> Self {
        self.nms_iou = Some(iou);
        self
    }

    /// Sets [`nms_across_phrases`](Self::nms_across_phrases).
    #[must_use]
    pub fn with_nms_across_phrases(mut self, across: bool) -> Self {
        self.nms_across_phrases = across;
        self
    }

    /// Sets [`tiling`](Self::tiling).
    #[must_use]
    pub fn with_tiling(mut self, tiling: Tiling) -> Self {
        self.tiling = Some(tiling);
        self
    }

    /// Sets [`boxes`](Self::boxes).
    #[must_use]
    pub fn with_boxes(mut self, boxes: BoxFilter) -> Self {
        self.boxes = boxes;
        self
    }

    /// Sets [`batch`](Self::batch).
    #[must_use]
    pub fn with_batch(mut self, images: usize) -> Self {
        self.batch = Some(images);
        self
    }

    /// Sets [`decoders`](Self::decoders).
    #[must_use]
    pub fn with_decoders(mut self, threads: usize) -> Self {
        self.decoders = threads;
        self
    }

    /// Sets [`decoded_ahead`](Self::decoded_ahead).
    #[must_use]
    pub fn with_decoded_ahead(mut self, images: usize) -> Self {
        self.decoded_ahead = images;
        self
    }

    /// Sets [`pictures`](Self::pictures).
    #[must_use]
    pub fn with_pictures(mut self, limits: PictureLimits) -> Self {
        self.pictures = limits;
        self
    }

    /// Whether there can be boxes for a person to look at.
    pub fn has_review(&self) -> bool {
        let mut bands = self.band.iter().chain(self.phrase_bands.values());
        bands.any(|band| band.review < band.keep)
    }

    /// That phrases with bands of their own are among those that are looked for in all images.
    ///
    /// # Errors
    /// - [`Error::Option`]: one is not.
    pub fn check_phrases(&self, subject: &Subject) -> Result<()> {
        let phrases = subject.phrases()?;
        match self
            .phrase_bands
            .keys()
            .find(|phrase| !phrases.contains(phrase))
        {
            None => Ok(()),
            Some(unknown) => Err(Error::Option {
                option: "phrase_bands",
                found: format!("{unknown:?}"),
                expected: "phrases that are looked for, as they are called there".to_owned(),
            }),
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        for band in self.band.iter().chain(self.phrase_bands.values()) {
            band.validate()?;
        }
        share("nms_iou", self.nms_iou.unwrap_or(0.5))?;
        at_least_one("batch", self.batch.unwrap_or(1))?;
        at_least_one("decoders", self.decoders)?;
        self.tiling.as_ref().map_or(Ok(()), Tiling::validate)?;
        self.boxes.validate()
    }
}

/// What becomes of a box by its score, which is the square root of phrase score x centerness, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Band {
    /// Boxes over this are kept.
    pub keep: f32,
    /// Boxes over this that are not kept are for a person to look at; others are dropped.
    pub review: f32,
}

impl Band {
    /// Keeps boxes over this score, and drops the rest.
    pub fn keep(keep: f32) -> Self {
        Self { keep, review: keep }
    }

    /// Keeps boxes over `keep`, and has a person look at the others over `review`.
    pub fn review(review: f32, keep: f32) -> Self {
        Self { keep, review }
    }

    /// What becomes of a box with this score.
    ///
    /// ```
    /// use glip_tools::label::{Band, Verdict};
    ///
    /// let band = Band::review(0.4, 0.6);
    /// assert_eq!(band.verdict(0.9), Some(Verdict::Keep));
    /// assert_eq!(band.verdict(0.5), Some(Verdict::Review));
    /// assert_eq!(band.verdict(0.3), None);
    /// ```
    pub fn verdict(&self, score: f32) -> Option<Verdict> {
        match score {
            score if score > self.keep => Some(Verdict::Keep),
            score if score > self.review => Some(Verdict::Review),
            _ => None,
        }
    }

    fn validate(&self) -> Result<()> {
        share("keep", self.keep)?;
        share("review", self.review)?;
        if self.review > self.keep {
            return Err(Error::Option {
                option: "review",
                found: self.review.to_string(),
                expected: format!("at most keep, which is {}", self.keep),
            });
        }
        Ok(())
    }
}

/// What becomes of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is kept.
    Keep,
    /// A person shall look at it.
    #[serde(alias = "ask")] // in journals of earlier versions
    Review,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_decides_how_many_run_together() {
        let cuda: Device = "cuda".parse().unwrap();
        let of = |options: LabelOptions| [Device::Cpu, cuda].map(|device| options.batch_on(device));
        assert_eq!(of(LabelOptions::default()), [1, LabelOptions::BATCH]);
        assert_eq!(of(LabelOptions::default().with_batch(3)), [3, 3]);
    }

    #[test]
    fn values_outside_their_range_are_errors_that_name_the_option() {
        let defaults = LabelOptions::default;
        assert!(defaults().validate().is_ok());
        let cases = [
            ("keep", defaults().with_band(Band::keep(1.5))),
            ("review", defaults().with_band(Band::review(f32::NAN, 0.5))),
            (
                "review",
                defaults().with_phrase_band("cat", Band::review(0.6, 0.5)),
            ),
            ("nms_iou", defaults().with_nms_iou(-0.5)),
            ("batch", defaults().with_batch(0)),
            ("decoders", defaults().with_decoders(0)),
            ("overlap", defaults().with_tiling(Tiling::new(100, 100))),
            ("tile side", defaults().with_tiling(Tiling::new(0, 0))),
            (
                "min_area",
                defaults().with_boxes(BoxFilter::default().with_min_area(-1.0)),
            ),
            (
                "max_share",
                defaults().with_boxes(BoxFilter::default().with_max_share(2.0)),
            ),
            (
                "max_aspect",
                defaults().with_boxes(BoxFilter::default().with_max_aspect(0.5)),
            ),
        ];
        for (expected, options) in cases {
            let error = options.validate().unwrap_err();
            assert!(
                matches!(error, Error::Option { option, .. } if option == expected),
                "{error}"
            );
        }
    }
}
