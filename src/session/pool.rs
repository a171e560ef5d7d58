//! Things that one call at a time may use, any of them.

use std::{
    ops::{Deref, DerefMut},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{control::Control, error::Result};

/// How often someone who waits looks whether to go on waiting.
const PATIENCE: Duration = Duration::from_millis(10);

/// A number of equal things. Whoever comes takes one that is free or, if none is, the first that becomes
/// so.
pub(super) struct Pool<T> {
    things: Vec<Mutex<T>>,
    /// The places of those that nobody has.
    free: Mutex<Vec<usize>>,
    returned: Condvar,
}

impl<T> Pool<T> {
    pub(super) fn new(things: Vec<T>) -> Self {
        Self {
            free: Mutex::new((0..things.len()).collect()),
            things: things.into_iter().map(Mutex::new).collect(),
            returned: Condvar::new(),
        }
    }

    /// Waits for one, as long as the control lets it.
    pub(super) fn take(&self, control: &Control) -> Result<Taken<'_, T>> {
        let mut free = lock(&self.free);
        loop {
            // The one that was used last: what it keeps for its next run is most likely at hand.
            if let Some(place) = free.pop() {
                drop(free);
                return Ok(Taken {
                    pool: self,
                    place,
                    thing: lock(&self.things[place]),
                });
            }
            control.check()?;
            let patience = if control.is_idle() {
                Duration::MAX
            } else {
                PATIENCE
            };
            let waited = self.returned.wait_timeout(free, patience);
            (free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What a panic could have left half-written here, nothing, is no reason to stop others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of the pool's things, until it is dropped.
pub(super) struct Taken<'a, T> {
    pool: &'a Pool<T>,
    place: usize,
    thing: MutexGuard<'a, T>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.thing
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.thing
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        lock(&self.pool.free).push(self.place);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::error::Error;

    #[test]
    fn whoever_is_free_first_is_taken() {
        let pool = Pool::new(vec![1, 2]);
        let control = Control::default();
        let first = pool.take(&control).unwrap();
        let second = pool.take(&control).unwrap();
        let (sender, taken) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let third = pool.take(&control).unwrap();
                sender.send(*third).unwrap();
            });
            // The second is kept: a caller who had been told to wait for it would wait forever.
            let freed = *first;
            drop(first);
            let third = taken.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!(third, freed);
            drop(second);
        });
    }

    #[test]
    fn who_waits_can_be_stopped() {
        let pool = Pool::new(vec![1]);
        let _taken = pool.take(&Control::default()).unwrap();
        let control = Control::new();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take(&control).map(drop));
            thread::sleep(2 * PATIENCE);
            control.stop();
            assert!(matches!(waiting.join().unwrap(), Err(Error::Stopped)));
        });
    }

    #[test]
    fn a_panic_gives_back_what_was_taken() {
        let pool = Pool::new(vec![7]);
        let panicked = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let _taken = pool.take(&Control::default());
                panic!("while it is taken");
            });
            thread.join().is_err()
        });
        assert!(panicked);
        assert_eq!(*pool.take(&Control::default()).unwrap(), 7);
    }
}
