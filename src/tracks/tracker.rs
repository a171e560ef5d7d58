//! From what was found in frames to tracks.

use std::time::Duration;

use super::{association, motion::Motion, options::TrackOptions, track::Track};
use crate::{
    detection::{Detection, Detections},
    error::{Error, Result},
};

/// How much a detection that may not begin a track must overlap with one to continue it; ByteTrack's number.
const DOUBTFUL_IOU: f32 = 0.5;

/// A track is kept over so many frames that it was not found in, however far apart they are.
const MISSED_FRAMES: u64 = 2;

/// Gives what is found in the frames of a sequence ids that stay.
///
/// ```
/// use std::time::Duration;
///
/// use glip::{
///     BBox, Detection, Detections,
///     tracks::{TrackOptions, Tracker},
/// };
///
/// let cup = |x: f32, score: f32| {
///     let bbox = BBox::new(x, 20.0, x + 30.0, 60.0)?;
///     Ok::<_, glip::Error>(Detection::new("cup", 0, score, bbox))
/// };
/// let mut tracker = Tracker::new(TrackOptions::default())?;
///
/// let first = Detections::from_iter([cup(10.0, 0.9)?, cup(100.0, 0.8)?]);
/// let ids: Vec<_> = tracker.update(&first, Duration::ZERO)?.iter().map(|track| track.id).collect();
/// assert_eq!(ids, [1, 2]);
///
/// // The other is the surer one now.
/// let second = Detections::from_iter([cup(12.0, 0.6)?, cup(103.0, 0.7)?]);
/// let tracks = tracker.update(&second, Duration::from_millis(100))?;
/// assert_eq!((tracks[0].id, tracks[0].index, tracks[0].hits), (2, 0, 2));
/// assert!(tracks[0].velocity[0] > 20.0); // pixels a second
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tracker {
    options: TrackOptions,
    known: Vec<Known>,
    /// Of the last frame.
    stamp: Option<Duration>,
    last_id: u64,
}

/// What is known of a track between frames.
#[derive(Clone, Debug)]
struct Known {
    id: u64,
    phrase_index: usize,
    motion: Motion,
    first_seen: Duration,
    last_seen: Duration,
    hits: u64,
    /// Frames after the one that it was last found in.
    missed: u64,
}

/// A track and a detection that continues it, by their places.
type Pair = (usize, usize);

impl Tracker {
    /// A tracker that knows of nothing yet.
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: an option is out of its range.
    pub fn new(options: TrackOptions) -> Result<Self> {
        options.validate()?;
        Ok(Self {
            options,
            known: Vec::new(),
            stamp: None,
            last_id: 0,
        })
    }

    /// The tracks of what was found in a frame, in the order of the detections. Left out are detections that may
    /// begin no track and continue none.
    ///
    /// The stamp says when the frame was taken, by any clock: what moves is looked for where it should be by then, so that
    /// frames may be missing. A frame in which nothing was found is told of as well. If the stamp is before that of the last
    /// frame, a sequence begins anew: tracks end, which is logged.
    ///
    /// # Errors
    /// - [`Error::SameStamp`]: the last frame had the same stamp. The tracker is as it was.
    pub fn update(&mut self, found: &Detections, stamp: Duration) -> Result<Vec<Track>> {
        self.move_on(stamp)?;
        let mut track_of = vec![None; found.len()];
        for (track, detection) in self.associate(found) {
            self.known[track].see(&found[detection], stamp);
            track_of[detection] = Some(track);
        }
        for (detection, track) in found.iter().zip(&mut track_of) {
            if track.is_none() && self.may_begin(detection) {
                *track = Some(self.known.len());
                self.begin(detection, stamp);
            }
        }
        let tracks = track_of.iter().enumerate();
        let tracks = tracks.filter_map(|(index, track)| Some((index, &self.known[(*track)?])));
        let tracks = tracks.map(|(index, known)| known.track(index, &found[index]));
        Ok(tracks.collect())
    }

    /// Ends all tracks, as where another sequence begins. Ids go on from where they were.
    pub fn reset(&mut self) {
        self.known.clear();
        self.stamp = None;
    }

    /// Moves what is known to where it should be by then, and ends what nothing continued for too long.
    fn move_on(&mut self, stamp: Duration) -> Result<()> {
        if let Some(last) = self.stamp {
            if stamp == last {
                return Err(Error::SameStamp { stamp });
            }
            if stamp < last {
                log::warn!("a frame of {stamp:?} comes after one of {last:?}: tracks begin anew");
                self.reset();
            }
            let seconds = stamp.saturating_sub(last).as_secs_f64();
            let max_unseen = self.options.max_unseen;
            self.known.retain_mut(|known| {
                let is_recent = known.missed <= MISSED_FRAMES
                    || stamp.saturating_sub(known.last_seen) <= max_unseen;
                known.move_on(seconds);
                is_recent
            });
        }
        self.stamp = Some(stamp);
        Ok(())
    }

    /// Which detections continue which tracks: first those that could begin one, then the doubtful ones, which go to
    /// tracks that were in the last frame.
    fn associate(&self, found: &Detections) -> Vec<Pair> {
        let (sure, doubtful): (Vec<_>, Vec<_>) =
            (0..found.len()).partition(|&index| self.may_begin(&found[index]));
        let all: Vec<_> = (0..self.known.len()).collect();
        let mut pairs = self.overlapping(&all, &sure, found, self.options.min_iou);

        let mut left = all;
        left.retain(|&track| {
            let is_paired = pairs.iter().any(|pair| pair.0 == track);
            !is_paired && self.known[track].missed == 1
        });
        let min_iou = self.options.min_iou.max(DOUBTFUL_IOU);
        pairs.extend(self.overlapping(&left, &doubtful, found, min_iou));
        pairs
    }

    /// Pairs of these tracks and detections that are of one phrase and overlap by this much, and most in all.
    fn overlapping(
        &self,
        tracks: &[usize],
        detections: &[usize],
        found: &Detections,
        min_iou: f32,
    ) -> Vec<Pair> {
        let boxes = tracks.iter().map(|&track| self.known[track].motion.bbox());
        let boxes: Vec<_> = boxes.collect();
        let gain = |track: usize, detection: usize| {
            let known = &self.known[tracks[track]];
            let detection = &found[detections[detection]];
            match boxes[track] {
                Some(bbox) if known.phrase_index == detection.phrase_index => {
                    bbox.iou(&detection.bbox) - min_iou
                }
                _ => 0.0,
            }
        };
        let pairs = association::pair(tracks.len(), detections.len(), gain);
        let pairs = pairs.into_iter();
        pairs
            .map(|(track, detection)| (tracks[track], detections[detection]))
            .collect()
    }

    fn may_begin(&self, detection: &Detection) -> bool {
        detection.score >= self.options.start_score
    }

    fn begin(&mut self, detection: &Detection, stamp: Duration) {
        self.last_id += 1;
        self.known.push(Known {
            id: self.last_id,
            phrase_index: detection.phrase_index,
            motion: Motion::new(&detection.bbox),
            first_seen: stamp,
            last_seen: stamp,
            hits: 1,
            missed: 0,
        });
    }
}

impl Known {
    /// Moves on by so many seconds, to a frame that it has not been found in yet.
    fn move_on(&mut self, seconds: f64) {
        self.motion.predict(seconds);
        self.missed += 1;
    }

    fn see(&mut self, detection: &Detection, stamp: Duration) {
        self.motion.correct(&detection.bbox);
        self.last_seen = stamp;
        self.hits += 1;
        self.missed = 0;
    }

    fn track(&self, index: usize, detection: &Detection) -> Track {
        Track {
            id: self.id,
            detection: detection.clone(),
            index,
            age: self.last_seen.saturating_sub(self.first_seen),
            hits: self.hits,
            velocity: self.motion.velocity(),
        }
    }
}
