//! Memory that goes from one call to the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The memory of calls that are over, for those to come: as many as there were at the same time. A system hands
/// out fresh memory page by page, which for a network's input takes as long as resizing an image.
#[derive(Default)]
pub(crate) struct Spare<T>(Mutex<Vec<T>>);

impl<T: Default> Spare<T> {
    /// What a call left, or nothing yet.
    pub(crate) fn take(&self) -> T {
        self.lock().pop().unwrap_or_default()
    }

    pub(crate) fn put(&self, kept: T) {
        self.lock().push(kept);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // Whoever panicked left a whole list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shares a value, in the place of one that is shared with nobody any more.
pub(crate) fn share_in<T>(place: Option<Arc<T>>, value: T) -> Arc<T> {
    match place {
        Some(mut shared) => match Arc::get_mut(&mut shared) {
            Some(place) => {
                *place = value;
                shared
            }
            None => Arc::new(value),
        },
        None => Arc::new(value),
    }
}
