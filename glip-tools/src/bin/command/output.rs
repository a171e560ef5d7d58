//! What a command leaves behind: its output and its exit code.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use glip_tools::{Error, Result, printable};

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

/// What errors call the standard output.
const STANDARD_OUTPUT: &str = "the standard output";

/// Writes text to the standard output, at once, without what a terminal would obey.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(printable(text).as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(unprintable)
}

/// The error of the standard output.
pub(crate) fn unprintable(source: io::Error) -> Error {
    Error::Write {
        path: STANDARD_OUTPUT.into(),
        source,
    }
}

/// Whether nobody reads the standard output any more, as after `head`.
pub(crate) fn has_no_reader(error: &Error) -> bool {
    match error {
        Error::Write { path, source } => {
            path == Path::new(STANDARD_OUTPUT) && source.kind() == io::ErrorKind::BrokenPipe
        }
        _ => false,
    }
}
