//! Threads of the node's own.

use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};

/// Does some work on a thread of its own. What runs a model must be waited for: a program that ends takes ONNX Runtime's memory away
/// under what runs.
pub(crate) fn start(
    what: &'static str,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|source| Error::Start {
        what,
        source: source.into(),
    })
}

/// Waits for the end of a thread that was told to end.
pub(crate) fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        log::error!("a thread panicked");
    }
}
