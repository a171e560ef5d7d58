//! How many frames there were, and how long they took.

use std::time::Duration;

use super::memory::resident_bytes;
use crate::detector::Stage;

/// How many frames there were since the start, how long the last of them took, and how much memory the process
/// has.
///
/// `pushed` is the sum of `done`, `dropped`, `late` and `failed`, and at most two more: one that is looked at and
/// one that waits.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LiveStats {
    /// Frames that were pushed.
    pub pushed: u64,
    /// Frames that were looked at.
    pub done: u64,
    /// Frames for which a newer one came before their turn.
    pub dropped: u64,
    /// Frames that were not begun or given up because of the deadline.
    pub late: u64,
    /// Frames that could not be looked at.
    pub failed: u64,
    /// Panics of the callback.
    pub callback_panics: u64,
    /// From a frame's push to its turn.
    pub waiting: Latency,
    /// From its pixels to the network's input.
    pub preprocess: Latency,
    /// The image encoder.
    pub image_encoder: Latency,
    /// The fusion, of all texts of the prompt.
    pub fusion: Latency,
    /// The head, of all texts of the prompt.
    pub head: Latency,
    /// From what the head says to detections.
    pub postprocess: Latency,
    /// From a frame's push to its result.
    pub total: Latency,
    /// The memory of the process that is in use (its resident set); `None` where the system does not say: on
    /// anything but Linux.
    pub resident_bytes: Option<u64>,
}

impl LiveStats {
    /// From a frame's push to its result: each stage with its name, in their order, and the whole last.
    ///
    /// ```
    /// use glip::live::LiveStats;
    ///
    /// for (stage, latency) in LiveStats::default().stages() {
    ///     println!("{stage}: p50 {:?}, p99 {:?}", latency.p50, latency.p99);
    /// }
    /// ```
    pub fn stages(&self) -> [(&'static str, Latency); 7] {
        [
            ("waiting", self.waiting),
            ("preprocess", self.preprocess),
            ("image encoder", self.image_encoder),
            ("fusion", self.fusion),
            ("head", self.head),
            ("postprocess", self.postprocess),
            ("total", self.total),
        ]
    }
}

/// How long something took, in the last 512 frames that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// Half of the frames took at most so long.
    pub p50: Duration,
    /// 95 of 100 frames took at most so long.
    pub p95: Duration,
    /// 99 of 100 frames took at most so long.
    pub p99: Duration,
    /// The longest since the start, not of the last frames alone.
    pub max: Duration,
}

/// How many frames were how.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) pushed: u64,
    pub(super) done: u64,
    pub(super) dropped: u64,
    pub(super) late: u64,
    pub(super) failed: u64,
    pub(super) callback_panics: u64,
}

/// How long each stage of a frame took.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) waiting: Duration,
    pub(super) stages: [Duration; 5],
    pub(super) total: Duration,
}

impl Times {
    pub(super) fn of(&mut self, stage: Stage) -> &mut Duration {
        &mut self.stages[place(stage)]
    }
}

const fn place(stage: Stage) -> usize {
    match stage {
        Stage::Preprocess => 0,
        Stage::ImageEncoder => 1,
        Stage::Fusion => 2,
        Stage::Head => 3,
        Stage::Postprocess => 4,
    }
}

/// What is kept of the frames that were looked at.
#[derive(Clone, Default)]
pub(super) struct Record {
    pub(super) counts: Counts,
    waiting: Recent,
    stages: [Recent; 5],
    total: Recent,
}

impl Record {
    pub(super) fn add(&mut self, times: &Times) {
        self.waiting.add(times.waiting);
        for (recent, &time) in self.stages.iter_mut().zip(&times.stages) {
            recent.add(time);
        }
        self.total.add(times.total);
    }

    pub(super) fn stats(&self) -> LiveStats {
        let counts = self.counts;
        let stage = |stage| self.stages[place(stage)].latency();
        LiveStats {
            pushed: counts.pushed,
            done: counts.done,
            dropped: counts.dropped,
            late: counts.late,
            failed: counts.failed,
            callback_panics: counts.callback_panics,
            preprocess: stage(Stage::Preprocess),
            image_encoder: stage(Stage::ImageEncoder),
            fusion: stage(Stage::Fusion),
            head: stage(Stage::Head),
            postprocess: stage(Stage::Postprocess),
            waiting: self.waiting.latency(),
            total: self.total.latency(),
            resident_bytes: resident_bytes(),
        }
    }
}

/// Frames that percentiles are of.
const RECENT: usize = 512;

/// The last times of something, in microseconds.
#[derive(Clone)]
pub(super) struct Recent {
    times: [u32; RECENT],
    /// How many there ever were.
    count: usize,
    longest: u32,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            times: [0; RECENT],
            count: 0,
            longest: 0,
        }
    }
}

impl Recent {
    pub(super) fn add(&mut self, time: Duration) {
        let time = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.times[self.count % RECENT] = time;
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// How many are looked at.
    pub(super) fn len(&self) -> usize {
        self.count.min(RECENT)
    }

    /// The time that so much of a hundred are within, by the nearest rank.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times;
        let times = &mut times[..self.len()];
        let rank = (percent * times.len()).div_ceil(100);
        if rank == 0 {
            return Duration::ZERO;
        }
        let (_, &mut time, _) = times.select_nth_unstable(rank - 1);
        Duration::from_micros(time.into())
    }

    fn latency(&self) -> Latency {
        Latency {
            p50: self.percentile(50),
            p95: self.percentile(95),
            p99: self.percentile(99),
            max: Duration::from_micros(self.longest.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_times_and_the_longest_is_of_all() {
        let mut recent = Recent::default();
        assert_eq!(recent.latency(), Latency::default());
        recent.add(Duration::from_secs(9));
        for time in 1..=RECENT as u64 {
            recent.add(Duration::from_millis(time));
        }
        let Latency { p50, p95, p99, max } = recent.latency();
        assert_eq!(
            [p50, p95, p99].map(|time| time.as_millis()),
            [256, 487, 507]
        );
        assert_eq!(max, Duration::from_secs(9));
        recent.clear();
        recent.add(Duration::from_millis(3));
        assert_eq!(recent.percentile(95), Duration::from_millis(3));
    }
}
