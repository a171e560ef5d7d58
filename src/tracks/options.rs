//! How tracks are kept.

use std::time::Duration;

use crate::error::{Error, Result};

/// Options of [`Tracker`](super::Tracker).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TrackOptions {
    /// The score from which on a detection may begin a track. Those below it only continue one, if they
    /// overlap by half with where it should be. Default: 0, every detection may.
    ///
    /// To bridge frames in which something is hardly to be seen, have the detector give more, by a lower
    /// [`score_threshold`](crate::GroundOptions::score_threshold), and set this to the threshold that it had.
    pub start_score: f32,
    /// How much a detection must overlap with where a track should be to continue it: intersection over union.
    /// Default: 0.2, as ByteTrack.
    pub min_iou: f32,
    /// How long a track is kept while nothing continues it. Default: one second. However far apart frames
    /// are, it is kept over two that it was not found in.
    pub max_unseen: Duration,
}

impl Default for TrackOptions {
    fn default() -> Self {
        Self {
            start_score: 0.0,
            min_iou: 0.2,
            max_unseen: Duration::from_secs(1),
        }
    }
}

impl TrackOptions {
    /// Sets [`start_score`](Self::start_score).
    #[must_use]
    pub fn with_start_score(self, start_score: f32) -> Self {
        Self {
            start_score,
            ..self
        }
    }

    /// Sets [`min_iou`](Self::min_iou).
    #[must_use]
    pub fn with_min_iou(self, min_iou: f32) -> Self {
        Self { min_iou, ..self }
    }

    /// Sets [`max_unseen`](Self::max_unseen).
    #[must_use]
    pub fn with_max_unseen(self, max_unseen: Duration) -> Self {
        Self { max_unseen, ..self }
    }

    pub(super) fn validate(&self) -> Result<()> {
        for (option, value) in [("start_score", self.start_score), ("min_iou", self.min_iou)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::InvalidOption {
                    option,
                    found: value.to_string(),
                    expected: "0 to 1",
                });
            }
        }
        Ok(())
    }
}
