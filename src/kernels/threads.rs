//! Work in pieces, for as many threads as whoever calls has.

use std::sync::{Mutex, PoisonError};

/// Calls a function once for each number below another, from any of its threads, and returns when all calls have.
pub(crate) type ForEach<'a> = dyn Fn(usize, &(dyn Fn(usize) + Sync)) + 'a;

/// The threads of whoever calls.
pub(crate) struct Threads<'a>(pub(crate) &'a ForEach<'a>);

impl Threads<'_> {
    /// The thread that calls.
    pub(crate) const NONE: Threads<'static> = Threads(&|count, work| (0..count).for_each(work));

    /// Does something with each piece, whose places in the iterator it is told.
    pub(super) fn for_each<T: Send>(
        &self,
        pieces: impl ExactSizeIterator<Item = T> + Send,
        work: impl Fn(usize, T) + Sync,
    ) {
        let count = pieces.len();
        let pieces = Mutex::new(pieces.enumerate());
        (self.0)(count, &|_| {
            // Its own statement: the lock is free while there is work.
            let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
            if let Some((place, piece)) = next {
                work(place, piece);
            }
        });
    }
}
