//! What a command leaves behind: its output and its exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use glip_tools::{Error, Result};

/// How a command that could do its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Complete,
    /// It was done, but for inputs that could not be used.
    Partial,
}

impl Outcome {
    /// What it came to if so many inputs could not be used.
    pub(crate) fn of_failures(failures: u64) -> Self {
        match failures {
            0 => Self::Complete,
            _ => Self::Partial,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Complete => Self::SUCCESS,
            Outcome::Partial => Self::from(1),
        }
    }
}

/// Writes to the standard output. That its reader has gone, as `head` does, is no error.
pub(crate) fn print(text: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Write {
            path: "the standard output".into(),
            source: error,
        }),
        _ => Ok(()),
    }
}
