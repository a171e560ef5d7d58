//! From one thread to another, always the newest.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Room for one thing that waits, whose place a newer one takes.
pub(crate) struct Newest<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Option<T>,
    is_closed: bool,
}

impl<T> Newest<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: None,
                is_closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Never waits for whoever takes.
    pub(crate) fn put(&self, thing: T) {
        self.lock().waiting = Some(thing);
        self.changed.notify_one();
    }

    /// Waits for something; `None` once it is closed.
    pub(crate) fn take(&self) -> Option<T> {
        let is_idle = |state: &mut State<T>| state.waiting.is_none() && !state.is_closed;
        let waited = self.changed.wait_while(self.lock(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        match state.is_closed {
            true => None,
            false => state.waiting.take(),
        }
    }

    /// Nothing is taken any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn the_newest_is_taken_until_it_is_closed() {
        let newest = Arc::new(Newest::new());
        newest.put(1);
        newest.put(2);
        assert_eq!(newest.take(), Some(2));
        let taker = Arc::clone(&newest);
        let taken = thread::spawn(move || (taker.take(), taker.take()));
        newest.put(3);
        while newest.lock().waiting.is_some() {
            thread::yield_now();
        }
        newest.close();
        assert_eq!(taken.join().unwrap(), (Some(3), None));
        newest.put(4);
        assert_eq!(newest.take(), None);
    }
}
