//! Threads of the node's own.

use std::thread;

use crate::error::{Error, Result};

/// Does some work on a thread of its own, which ends with the program.
pub(crate) fn start(
    what: &'static str,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    match thread {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Start {
            what,
            source: source.into(),
        }),
    }
}
