//! Work in pieces, for as many threads as whoever calls has.

use std::sync::{Mutex, PoisonError};

/// Calls a function once for each number below another, from any of its threads, and returns when all calls have.
pub(crate) type ForEach<'a> = dyn Fn(usize, &(dyn Fn(usize) + Sync)) + 'a;

/// The threads of whoever calls.
pub(crate) struct Threads<'a>(pub(crate) &'a ForEach<'a>);

impl Threads<'_> {
    /// Does something with each piece, whose places in the iterator it is told.
    pub(super) fn for_each<T: Send>(
        &self,
        pieces: impl Iterator<Item = T>,
        work: impl Fn(usize, T) + Sync,
    ) {
        let pieces: Vec<_> = pieces.map(|piece| Mutex::new(Some(piece))).collect();
        (self.0)(pieces.len(), &|place| {
            let piece = &pieces[place];
            let piece = piece.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(piece) = piece {
                work(place, piece);
            }
        });
    }
}
