//! A camera's frames looked at as they come: always the newest, with deadlines and statistics.

mod engine;
mod frame;
#[allow(clippy::module_inception, reason = "files are named after their type")]
mod live;
mod memory;
mod options;
mod result;
mod stats;
#[cfg(test)]
mod tests;

pub use self::{
    frame::{Frame, FrameBytes, FramePlane},
    live::Live,
    options::LiveOptions,
    result::{FrameResult, Outcome},
    stats::{Latency, LiveStats},
};
