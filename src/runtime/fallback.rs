//! The CPU in place of a device that cannot be used.

use std::iter;

use super::{device::Device, options::SessionOptions};
use crate::error::{Error, Result, causes};

/// Loads graphs with the options, or on the CPU where that is allowed and a graph cannot run on the device.
///
/// One that cannot takes all of them to the CPU, because what is in the memory of a GPU cannot go into a graph elsewhere.
pub(crate) fn load_or_fall_back<T>(
    options: &SessionOptions,
    allowed: bool,
    load: impl Fn(&SessionOptions) -> Result<T>,
) -> Result<T> {
    let device = options.device;
    let error = match load(options) {
        Err(error) if allowed && device != Device::Cpu => error,
        result => return result,
    };
    let Some((graph, reason)) = device_failure(&error) else {
        return Err(error);
    };
    log::warn!("{device} cannot run graph {graph}, all graphs run on the CPU: {reason}");
    load(&options.on_cpu())
}

/// The graph that failed and the reason with its causes, if another device may do better.
fn device_failure(error: &Error) -> Option<(&str, String)> {
    let (graph, reason) = match error {
        Error::DeviceUnavailable { graph, reason, .. } => (graph, reason.clone()),
        // For example for lack of memory.
        Error::GraphLoad { graph, .. } => (graph, "it cannot be loaded".into()),
        _ => return None,
    };
    let causes = causes(error).map(ToString::to_string);
    let reason = iter::once(reason)
        .chain(causes)
        .collect::<Vec<_>>()
        .join(": ");
    Some((graph, reason))
}
