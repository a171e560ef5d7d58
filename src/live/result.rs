//! What became of a frame.

use std::time::Duration;

#[cfg(feature = "tracks")]
use crate::tracks::Track;
use crate::{detection::Detections, error::Error};

/// What became of a frame that was not dropped for a newer one.
#[derive(Debug)]
#[non_exhaustive]
pub struct FrameResult {
    /// The frame's number.
    pub id: u64,
    /// When the frame was taken, by the camera's clock.
    pub stamp: Duration,
    /// The number of the prompt that it was asked for: 0 for the first, then what
    /// [`Live::set_prompt`](super::Live::set_prompt) returned.
    pub prompt: u64,
    /// From its push to its result.
    pub latency: Duration,
    /// What was found, or why nothing could be.
    pub outcome: Outcome,
    /// The tracks of what was found, if [`LiveOptions::tracks`](super::LiveOptions::tracks) are given. They begin anew with
    /// each prompt, under ids that go on.
    #[cfg(feature = "tracks")]
    pub tracks: Vec<Track>,
}

/// What was found in a frame, or why nothing could be.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was looked at.
    Found(Detections),
    /// It was not begun: by what frames took lately (p95), its result would have come so long after its push,
    /// which is over the deadline.
    NotStarted {
        /// From its push to its result, as expected.
        expected: Duration,
    },
    /// It was begun, and given up between two graphs, as the deadline had passed.
    Overdue,
    /// It could not be looked at.
    Failed(Error),
}

impl FrameResult {
    /// What was found; `None` if the frame was late or could not be looked at.
    pub fn found(&self) -> Option<&Detections> {
        match &self.outcome {
            Outcome::Found(found) => Some(found),
            _ => None,
        }
    }
}
