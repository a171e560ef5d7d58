//! What went wrong with single images, and is no reason to end.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts faults, and logs those that differ from the one before: an image that cannot be read is mostly followed by another.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Record>);

/// How many there were, and the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) count: u64,
    pub(crate) last: String,
}

impl Faults {
    pub(crate) fn add(&self, fault: String) {
        let mut record = self.lock();
        record.count += 1;
        if record.last != fault {
            log::error!("{fault}");
            record.last = fault;
        }
    }

    pub(crate) fn record(&self) -> Record {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
