//! What a track is in one frame.

use std::time::Duration;

use crate::detection::Detection;

/// A detection, and the track that it continues or begins.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Track {
    /// The track's number, from 1 on. No other track of its [`Tracker`](super::Tracker) ever has it.
    pub id: u64,
    /// What was found in this frame. A track is of one phrase as long as it lives.
    pub detection: Detection,
    /// The detection's place among those of the frame.
    pub index: usize,
    /// From the frame that it was first found in to this one.
    pub age: Duration,
    /// In how many frames it was found, this one included.
    pub hits: u64,
    /// How its centre moves, in pixels of the original image a second: to the right, and down.
    pub velocity: [f32; 2],
}
