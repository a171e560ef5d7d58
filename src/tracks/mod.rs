//! Ids that what is found keeps from frame to frame.
//!
//! A [`Tracker`] is given what was found in each frame of a sequence, and when the frame was taken. It predicts
//! where what it knows should be by then, a Kalman filter of constant velocity for each, and has detections continue
//! tracks so that they overlap most in all, as in [SORT](https://arxiv.org/abs/1602.00763). Detections of low scores
//! continue tracks without beginning any, as in [ByteTrack](https://arxiv.org/abs/2110.06864). It looks at boxes alone, not at
//! what is in them: what was gone for longer than [`TrackOptions::max_unseen`] has another id when it is back.

mod association;
mod motion;
mod options;
#[cfg(test)]
mod tests;
mod track;
mod tracker;

pub use self::{options::TrackOptions, track::Track, tracker::Tracker};
