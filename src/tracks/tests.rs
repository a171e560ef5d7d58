//! Scenes whose ids are known.

use std::{collections::HashMap, time::Duration};

use super::{Track, TrackOptions, Tracker};
use crate::{
    detection::{Detection, Detections},
    error::{Error, ErrorKind},
    geometry::BBox,
};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn tracker() -> Tracker {
    Tracker::new(TrackOptions::default()).unwrap()
}

/// A thing of a phrase, as wide as it is high, whose centre is here.
fn thing(phrase_index: usize, [x, y]: [f32; 2], score: f32) -> Detection {
    let bbox = BBox::new(x - 20.0, y - 20.0, x + 20.0, y + 20.0).unwrap();
    Detection::new(format!("thing {phrase_index}"), phrase_index, score, bbox)
}

/// Something that moves evenly: where it is at first, in pixels, and how fast, in pixels a second.
#[derive(Clone, Copy)]
struct Mover {
    phrase_index: usize,
    from: [f32; 2],
    velocity: [f32; 2],
}

impl Mover {
    /// What is found of it: its scores are all different and change, so that order tells nothing, and a detector
    /// is never exact.
    fn at(&self, seconds: f32, place: usize) -> Detection {
        let wave = (7.0 * seconds + 2.0 * place as f32).sin();
        let position = [0, 1].map(|axis| self.from[axis] + seconds * self.velocity[axis] + wave);
        thing(self.phrase_index, position, 0.6 + 0.1 * wave)
    }
}

/// Two that come towards each other and pass within less than their height, and one of another phrase that is where they meet.
fn crossing() -> [Mover; 3] {
    let mover = |phrase_index, from, velocity| Mover {
        phrase_index,
        from,
        velocity,
    };
    [
        mover(0, [50.0, 100.0], [60.0, 4.0]),
        mover(0, [350.0, 112.0], [-60.0, -4.0]),
        mover(1, [200.0, 108.0], [0.0, 0.0]),
    ]
}

/// Whether in this frame this mover is found.
type IsFound = dyn Fn(usize, usize) -> bool;

/// The ids that each mover had, in the order of frames.
fn ids_of(
    movers: &[Mover],
    stamps: impl IntoIterator<Item = Duration>,
    is_found: &IsFound,
) -> Vec<Vec<u64>> {
    let mut tracker = tracker();
    let mut ids = vec![vec![]; movers.len()];
    for (frame, stamp) in stamps.into_iter().enumerate() {
        let seen = (0..movers.len()).filter(|&mover| is_found(frame, mover));
        let mut seen: Vec<_> = seen
            .map(|mover| (mover, movers[mover].at(stamp.as_secs_f32(), mover)))
            .collect();
        seen.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        let found = seen
            .iter()
            .map(|(_, detection)| detection.clone())
            .collect();
        let tracks = tracker.update(&found, stamp).unwrap();
        assert_eq!(tracks.len(), seen.len(), "each is in a track");
        for (track, (mover, detection)) in tracks.iter().zip(&seen) {
            assert_eq!(track.detection, *detection);
            assert_eq!(track.detection, found[track.index]);
            ids[*mover].push(track.id);
        }
    }
    ids
}

/// Asserts that each has one id, and no two the same.
fn assert_ids_stay(ids: &[Vec<u64>], case: &str) {
    let mut owner = HashMap::new();
    for (mover, ids) in ids.iter().enumerate() {
        assert!(ids.len() > 5, "{case}: {mover} was found {ids:?}");
        for &id in ids {
            assert_eq!(*owner.entry(id).or_insert(mover), mover, "{case}: {ids:?}");
            assert_eq!(id, ids[0], "{case}: {ids:?}");
        }
    }
}

#[test]
fn ids_stay() {
    let every = |period: u64| (0..5000 / period).map(move |frame| ms(frame * period));
    let uneven = (0..150)
        .filter(|frame| frame % 7 < 3)
        .map(|frame| ms(33 * frame));
    let always = |_: usize, _: usize| true;
    let cases: [(&str, Vec<Duration>, &IsFound); 6] = [
        ("30 frames a second", every(33).collect(), &always),
        ("6 frames a second", every(160).collect(), &always),
        ("frames that were dropped", uneven.collect(), &always),
        (
            "one missed detection",
            every(100).collect(),
            &|frame, mover| (frame + 3 * mover) % 9 != 8,
        ),
        (
            "hidden while they pass",
            every(33).collect(),
            &|frame, mover| mover != 0 || !(66..86).contains(&frame),
        ),
        (
            "a frame without anything",
            every(100).collect(),
            &|frame, _| frame != 12,
        ),
    ];
    for (case, stamps, is_found) in cases {
        assert_ids_stay(&ids_of(&crossing(), stamps, is_found), case);
    }
}

fn ids(tracks: &[Track]) -> Vec<u64> {
    tracks.iter().map(|track| track.id).collect()
}

#[test]
fn a_track_never_changes_its_phrase() {
    let mut tracker = tracker();
    let at = |phrase| Detections::from_iter([thing(phrase, [100.0; 2], 0.5)]);
    let mut seen = vec![];
    for (frame, phrase) in [0, 1, 0, 1].into_iter().enumerate() {
        seen.extend(ids(&tracker
            .update(&at(phrase), ms(100 * frame as u64))
            .unwrap()));
    }
    assert_eq!(seen, [1, 2, 1, 2]);
}

#[test]
fn a_track_tells_age_hits_and_velocity() {
    let mut tracker = tracker();
    let mut last = None;
    for frame in 0..=40 {
        let stamp = ms(50 * frame + 7000);
        let x = 100.0 + 80.0 * 0.05 * frame as f32;
        let found = match frame {
            9 => Detections::default(),
            _ => Detections::from_iter([thing(0, [x, 90.0], 0.5)]),
        };
        last = tracker.update(&found, stamp).unwrap().pop();
    }
    let track = last.unwrap();
    assert_eq!((track.id, track.hits, track.age), (1, 40, ms(2000)));
    let [right, down] = track.velocity;
    assert!(
        (right - 80.0).abs() < 1.0 && down.abs() < 1.0,
        "{right} {down}"
    );
}

#[test]
fn what_is_gone_for_long_is_another_when_it_is_back() {
    let here = Detections::from_iter([thing(0, [100.0; 2], 0.5)]);
    let nothing = Detections::default();
    // Frames in which it is gone, and how far apart they are.
    for (gone, period, id) in [
        (9, 100, 1),
        (10, 100, 2),
        (29, 33, 1),
        (30, 33, 2),
        (2, 9000, 1),
        (3, 9000, 2),
    ] {
        let mut tracker = tracker();
        tracker.update(&here, ms(0)).unwrap();
        for frame in 1..=gone {
            tracker.update(&nothing, ms(period * frame)).unwrap();
        }
        let back = tracker.update(&here, ms(period * (gone + 1))).unwrap();
        assert_eq!(ids(&back), [id], "{gone} frames, {period} ms apart");
    }
}

#[test]
fn low_scores_continue_tracks_and_begin_none() {
    let options = TrackOptions::default().with_start_score(0.4);
    let mut tracker = Tracker::new(options).unwrap();
    let found = |scores: &[(f32, f32)]| {
        let things = scores.iter().map(|&(x, score)| thing(0, [x, 50.0], score));
        things.collect::<Detections>()
    };
    let frames = [
        (found(&[(100.0, 0.5), (300.0, 0.3)]), vec![1]),
        (found(&[(101.0, 0.2), (300.0, 0.3)]), vec![1]),
        (found(&[(102.0, 0.2), (300.0, 0.4)]), vec![2, 1]),
        // It overlaps too little for one so doubtful.
        (found(&[(122.0, 0.2), (300.0, 0.4)]), vec![2]),
    ];
    for (frame, (found, expected)) in frames.into_iter().enumerate() {
        let tracks = tracker.update(&found, ms(100 * frame as u64)).unwrap();
        assert_eq!(ids(&tracks), expected, "frame {frame}");
        for track in tracks {
            assert_eq!(track.detection, found[track.index]);
        }
    }
}

#[test]
fn stamps_go_on_or_begin_anew() {
    let here = Detections::from_iter([thing(0, [100.0; 2], 0.5)]);
    let mut tracker = tracker();
    let mut update = |stamp| tracker.update(&here, ms(stamp)).map(|tracks| ids(&tracks));
    assert_eq!(update(500).unwrap(), [1]);
    let error = update(500).unwrap_err();
    assert!(matches!(error, Error::SameStamp { stamp } if stamp == ms(500)));
    assert_eq!(error.kind(), ErrorKind::Value);
    assert!(error.to_string().contains("500ms"), "{error}");
    assert_eq!(update(600).unwrap(), [1]);
    assert_eq!(update(0).unwrap(), [2]);
    assert_eq!(update(100).unwrap(), [2]);
    tracker.reset();
    assert_eq!(ids(&tracker.update(&here, ms(100)).unwrap()), [3]);
}

#[test]
fn options_out_of_range_are_errors() {
    let options = TrackOptions::default;
    for (options, name) in [
        (options().with_start_score(1.5), "start_score is 1.5"),
        (options().with_min_iou(-0.1), "min_iou is -0.1"),
        (options().with_min_iou(f32::NAN), "min_iou is NaN"),
    ] {
        let error = Tracker::new(options).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn boxes_of_any_size_and_any_gap_of_time_are_taken() {
    let mut tracker = tracker();
    let corners = [
        [0.0; 4],
        [1e38, -1e38, 3e38, 3e38],
        [5.0, 5.0, 5.0, 9.0],
        [-3e38, 0.0, 3e38, 1e-38],
    ];
    let stamps = [0, 1, u64::MAX / 2, u64::MAX].map(Duration::from_secs);
    for (frame, stamp) in stamps.into_iter().enumerate() {
        let found: Detections = corners
            .map(|corners| {
                let [x1, y1, x2, y2] = corners.map(|corner: f32| corner / (frame + 1) as f32);
                Detection::new("thing", 0, f32::NAN, BBox::new(x1, y1, x2, y2).unwrap())
            })
            .into_iter()
            .chain([thing(0, [1.0; 2], 0.5)])
            .collect();
        tracker.update(&found, stamp).unwrap();
    }
}
