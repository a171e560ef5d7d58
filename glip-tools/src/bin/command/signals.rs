//! Runs that are stopped from outside.

use std::{
    process::exit,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use glip_tools::{Error, Result, say};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

/// How long a run that is to stop may take for what it has in the works.
const GRACE: Duration = Duration::from_secs(5);

/// What the signal that came is, or 0.
static CAME: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Makes SIGINT (Ctrl-C) and SIGTERM end the run in order: [`check`] tells it, and if it takes too long, the process ends
/// with the same message. A second signal ends it at once.
pub(crate) fn watch() {
    let came = Arc::clone(CAME.get_or_init(Arc::default));
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // What cannot be watched ends the process as ever. The order matters: the first one sets what the second
        // one needs.
        let _ = flag::register_conditional_shutdown(signal, code(signal), Arc::clone(&again))
            .and_then(|_| flag::register(signal, Arc::clone(&again)))
            .and_then(|_| flag::register_usize(signal, Arc::clone(&came), number(signal)));
    }
    thread::spawn(move || {
        while came.load(SeqCst) == 0 {
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(GRACE);
        exit(stopped());
    });
}

/// That the run shall go on.
///
/// # Errors
/// - [`Error::Stopped`]: a signal came.
pub(crate) fn check() -> Result<()> {
    match came() {
        0 => Ok(()),
        _ => Err(Error::Stopped),
    }
}

/// Says how to go on; returns the exit code.
pub(crate) fn stopped() -> i32 {
    say("stopped: the same command goes on from here");
    128 + i32::try_from(came()).unwrap_or(SIGINT)
}

fn came() -> usize {
    CAME.get().map_or(0, |came| came.load(SeqCst))
}

fn number(signal: i32) -> usize {
    signal.unsigned_abs() as usize
}

fn code(signal: i32) -> i32 {
    128 + signal
}
