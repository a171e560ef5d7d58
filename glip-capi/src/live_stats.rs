//! How live detection does.

use std::time::Duration;

use glip::live::{Latency, LiveStats};

use crate::extensible::Extensible;

/// How long something took, in the last 512 frames that were looked at.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct glip_latency {
    /// Half of the frames took at most so long.
    pub p50_ns: u64,
    /// 95 of 100 frames took at most so long.
    pub p95_ns: u64,
    /// 99 of 100 frames took at most so long.
    pub p99_ns: u64,
    /// The longest since the start, not of the last frames alone.
    pub max_ns: u64,
}

/// How many frames there were since the start, and how long the last of them took.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct glip_live_stats {
    /// `sizeof(glip_live_stats)`, set by the caller.
    pub struct_size: usize,
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
    /// The memory of the process that is in use, in bytes; 0 where the system does not say.
    pub resident_bytes: u64,
    /// From a frame's push to its turn.
    pub waiting: glip_latency,
    /// From its pixels to the network's input.
    pub preprocess: glip_latency,
    /// The image encoder.
    pub image_encoder: glip_latency,
    /// The fusion of image and words.
    pub fusion: glip_latency,
    /// The head.
    pub head: glip_latency,
    /// From what the head says to detections.
    pub postprocess: glip_latency,
    /// From a frame's push to its result.
    pub total: glip_latency,
}

// SAFETY: it is `repr(C)`, begins with its size, and is of numbers.
unsafe impl Extensible for glip_live_stats {
    const NAME: &'static str = "glip_live_stats";
    const FIRST: usize = size_of::<Self>();
}

impl From<&LiveStats> for glip_live_stats {
    fn from(stats: &LiveStats) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            pushed: stats.pushed,
            done: stats.done,
            dropped: stats.dropped,
            late: stats.late,
            failed: stats.failed,
            resident_bytes: stats.resident_bytes.unwrap_or(0),
            waiting: stats.waiting.into(),
            preprocess: stats.preprocess.into(),
            image_encoder: stats.image_encoder.into(),
            fusion: stats.fusion.into(),
            head: stats.head.into(),
            postprocess: stats.postprocess.into(),
            total: stats.total.into(),
        }
    }
}

impl From<Latency> for glip_latency {
    fn from(latency: Latency) -> Self {
        Self {
            p50_ns: nanoseconds(latency.p50),
            p95_ns: nanoseconds(latency.p95),
            p99_ns: nanoseconds(latency.p99),
            max_ns: nanoseconds(latency.max),
        }
    }
}

/// As far as 64 bits go, which is 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
