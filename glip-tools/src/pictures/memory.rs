//! Memory for decoded pictures, which all decoders of a run share.

use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// So many bytes, and the decoders that wait for some.
///
/// They are served in the order in which they lined up. Results are wanted in that order too: if a later
/// picture could take what an earlier one waits for, both would wait forever.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    next_place: u64,
    waiting: BTreeSet<u64>,
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(Shared {
            bytes,
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// The last place in the line.
    pub(crate) fn line_up(&self) -> Place {
        let mut state = self.0.state();
        let number = state.next_place;
        state.next_place += 1;
        state.waiting.insert(number);
        Place {
            memory: Arc::clone(&self.0),
            number,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// A decoder's place in the line. It is left when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    memory: Arc<Shared>,
    number: u64,
}

impl Place {
    /// Waits until this is the first place, and so many bytes are free. An error, the bytes that there are
    /// at all, if they never will be.
    pub(crate) fn take(self, bytes: u64) -> Result<Share, u64> {
        let memory = &self.memory;
        if bytes > memory.bytes {
            return Err(memory.bytes);
        }
        let must_wait = |state: &mut State| {
            state.waiting.first() != Some(&self.number) || state.used + bytes > memory.bytes
        };
        let state = memory.changed.wait_while(memory.state(), must_wait);
        state.unwrap_or_else(PoisonError::into_inner).used += bytes;
        Ok(Share {
            memory: Arc::clone(memory),
            bytes,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.memory.change(|state| {
            state.waiting.remove(&self.number);
        });
    }
}

/// Bytes that a picture has. They are free when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Shared>,
    bytes: u64,
}

impl Share {
    /// Gives back all but so many bytes.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.memory.change(|state| state.used -= surplus);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering::SeqCst},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let memory = Memory::new(100);
        let (used, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for worker in 0..4 {
                let (memory, used, most) = (&memory, &used, &most);
                scope.spawn(move || {
                    for round in 0..50 {
                        let bytes = 1 + (37 * round + 11 * worker) % 100;
                        let mut share = memory.line_up().take(bytes).unwrap();
                        most.fetch_max(used.fetch_add(bytes, SeqCst) + bytes, SeqCst);
                        used.fetch_sub(bytes - bytes / 2, SeqCst);
                        share.shrink(bytes / 2);
                        used.fetch_sub(bytes / 2, SeqCst);
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= 100, "{most:?}");
        assert_eq!(memory.line_up().take(101).unwrap_err(), 100);
        assert!(memory.line_up().take(100).is_ok());
    }

    #[test]
    fn the_first_in_line_is_served_first() {
        let memory = Memory::new(10);
        let held = memory.line_up().take(6).unwrap();
        let (large, small, gone) = (memory.line_up(), memory.line_up(), memory.line_up());
        thread::scope(|scope| {
            let (large_has, small_has) = std::sync::mpsc::channel();
            let has = large_has.clone();
            scope.spawn(move || {
                let share = small.take(1);
                has.send("small").unwrap();
                drop(share);
            });
            // There is room for it, but not for the one before.
            assert!(small_has.recv_timeout(Duration::from_millis(50)).is_err());
            scope.spawn(move || {
                let share = large.take(9);
                large_has.send("large").unwrap();
                drop(share);
            });
            drop((held, gone));
            let order: Vec<_> = small_has.iter().take(2).collect();
            assert_eq!(order.len(), 2);
        });
    }
}
