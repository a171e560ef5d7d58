//! Memory of the caller's that is given back later.

use std::{ffi::c_void, sync::Arc};

/// Takes back memory that was lent. It is called once, on any thread, and may not call this library.
pub type glip_release_callback = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// Memory of the caller's, given back when it is dropped.
pub(crate) struct Lent {
    pub(crate) release: glip_release_callback,
    pub(crate) user_data: *mut c_void,
}

/// Bytes in memory that is lent as long as there are any of it.
pub(crate) struct LentBytes {
    bytes: &'static [u8],
    _lent: Arc<Lent>,
}

impl Lent {
    pub(crate) fn bytes(self: &Arc<Self>, bytes: &'static [u8]) -> LentBytes {
        LentBytes {
            bytes,
            _lent: Arc::clone(self),
        }
    }
}

// SAFETY: the header says that it is given back on any thread, and so must be its data's use.
unsafe impl Send for Lent {}
// SAFETY: likewise.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for LentBytes {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it has the type of the header, and its data is what it came with.
            unsafe { release(self.user_data) };
        }
    }
}
