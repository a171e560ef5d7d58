//! The border: faults become statuses and messages, and no panic gets across.

use std::{
    any::Any,
    cell::RefCell,
    ffi::{CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{remedies, status::glip_status};

pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: glip_status,
    pub(crate) message: String,
}

impl Fault {
    /// Of what the caller handed over.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self {
            status: glip_status::Argument,
            message: message.into(),
        }
    }

    /// An option has a value that it cannot have.
    pub(crate) fn option(
        option: &'static str,
        found: impl ToString,
        expected: &'static str,
    ) -> Self {
        glip::Error::InvalidOption {
            option,
            found: found.to_string(),
            expected,
        }
        .into()
    }

    fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self {
            status: glip_status::Internal,
            message: format!(
                "the library panicked: {}; please report it",
                text.unwrap_or("it did not say why")
            ),
        }
    }
}

impl From<&glip::Error> for Fault {
    fn from(error: &glip::Error) -> Self {
        Self {
            status: error.kind().into(),
            message: remedies::in_c(error),
        }
    }
}

impl From<glip::Error> for Fault {
    fn from(error: glip::Error) -> Self {
        Self::from(&error)
    }
}

/// Does what a function is for; a fault is kept as the thread's last.
pub(crate) fn guard(work: impl FnOnce() -> Result<()>) -> glip_status {
    let result = catch_unwind(AssertUnwindSafe(work));
    let Err(fault) = result.unwrap_or_else(|panic| Err(Fault::panicked(&*panic))) else {
        return glip_status::Ok;
    };
    let message = c_string(&fault.message);
    // At the end of a thread there is nobody left to read it.
    let _ = LAST.try_with(|last| *last.borrow_mut() = message);
    fault.status
}

/// As far as C can have it: without zero bytes.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// The message of the last call that failed on this thread: what is wrong, and what to do about it. Empty if none did.
/// It is there until the next call fails on this thread. Calls that go well leave it as it is.
#[unsafe(no_mangle)]
pub extern "C" fn glip_last_error() -> *const c_char {
    let message = LAST.try_with(|last| last.borrow().as_ptr());
    message.unwrap_or(c"".as_ptr())
}
