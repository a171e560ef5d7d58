//! What the library says besides its results.

use std::{
    ffi::{c_char, c_void},
    sync::{PoisonError, RwLock},
};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::{
    fault::{Fault, c_string, guard},
    status::glip_status,
};

/// How grave a message is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum glip_log_level {
    /// Nothing.
    Off = 0,
    /// Something failed.
    Error = 1,
    /// Something is not as it was asked for.
    Warn = 2,
    /// What is being done.
    Info = 3,
    /// Details for whoever looks for a fault.
    Debug = 4,
    /// All details.
    Trace = 5,
}

/// Takes a message, on whatever thread it arises, perhaps on several at a time. The message lives until it returns.
/// It may not call this library.
pub type glip_log_callback = Option<
    unsafe extern "C" fn(level: glip_log_level, message: *const c_char, user_data: *mut c_void),
>;

#[derive(Clone, Copy)]
struct Listener {
    callback: unsafe extern "C" fn(glip_log_level, *const c_char, *mut c_void),
    user_data: *mut c_void,
}

// SAFETY: the header says that the callback is called on any thread, and so must be its data's use.
unsafe impl Send for Listener {}
// SAFETY: likewise.
unsafe impl Sync for Listener {}

struct Logger(RwLock<Option<Listener>>);

static LOGGER: Logger = Logger(RwLock::new(None));

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        // Held during the call, so that whoever sets another callback knows that this one is over.
        let listener = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let (Some(listener), true) = (*listener, self.enabled(record.metadata())) {
            let message = c_string(&record.args().to_string());
            let level = level_of(record.level());
            // SAFETY: it has the type of the header, and its data is what it came with.
            unsafe { (listener.callback)(level, message.as_ptr(), listener.user_data) };
        }
    }

    fn flush(&self) {}
}

fn level_of(level: Level) -> glip_log_level {
    match level {
        Level::Error => glip_log_level::Error,
        Level::Warn => glip_log_level::Warn,
        Level::Info => glip_log_level::Info,
        Level::Debug => glip_log_level::Debug,
        Level::Trace => glip_log_level::Trace,
    }
}

/// Has messages up to `max_level`, a `glip_log_level`, given to a callback, with `user_data`; GLIP_LOG_LEVEL_WARN is a good
/// choice. NULL, or GLIP_LOG_LEVEL_OFF, ends that, and is how it is at first. Once this has returned, the callback of before is not called
/// any more. It may not be called from a log callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_set_log_callback(
    callback: glip_log_callback,
    user_data: *mut c_void,
    max_level: u32,
) -> glip_status {
    guard(|| {
        let level = match max_level {
            0 => LevelFilter::Off,
            1 => LevelFilter::Error,
            2 => LevelFilter::Warn,
            3 => LevelFilter::Info,
            4 => LevelFilter::Debug,
            5 => LevelFilter::Trace,
            other => {
                return Err(Fault::option(
                    "max_level",
                    other,
                    "a glip_log_level, 0 to 5",
                ));
            }
        };
        let listener = callback.map(|callback| Listener {
            callback,
            user_data,
        });
        // It is this library's own, so that only a call of before can have set it.
        let _ = log::set_logger(&LOGGER);
        *LOGGER.0.write().unwrap_or_else(PoisonError::into_inner) = listener;
        log::set_max_level(match listener {
            Some(_) => level,
            None => LevelFilter::Off,
        });
        Ok(())
    })
}
