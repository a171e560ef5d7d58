//! Threads that help with an image.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use crate::affinity::bind_thread;

/// Threads that help the one that has them, and wait until there is something to do again. To start a thread for every
/// image takes memory each time, and longer than to wake one.
#[derive(Default)]
pub(super) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    work: Option<Work>,
    /// Goes up with each piece of work.
    round: u64,
    /// Threads that have not done with it.
    busy: usize,
    panic: Option<Box<dyn Any + Send>>,
    is_over: bool,
}

/// What all threads call, each once.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn() + Sync));

// SAFETY: what it points to is `Sync`, and is called only while the one who has it waits, see `Crew::run`.
#[allow(unsafe_code)]
unsafe impl Send for Work {}

impl Crew {
    /// Calls `work` in this thread and in so many others, which are started if there are not enough, each on the next of
    /// `cores` after this thread's, the first. What threads and cores the system does not give are done without.
    #[allow(unsafe_code)]
    pub(super) fn run(&mut self, helpers: usize, cores: &[usize], work: &(dyn Fn() + Sync)) {
        while self.threads.len() < helpers {
            let shared = Arc::clone(&self.shared);
            let seen = self.shared.lock().round;
            let core = cores.get(1 + self.threads.len()).copied();
            let thread = thread::Builder::new().name("glip-pixels".to_owned());
            let help = move || {
                core.map(bind_thread);
                shared.help(seen);
            };
            let Ok(thread) = thread.spawn(help) else {
                break;
            };
            self.threads.push(thread);
        }
        if self.threads.is_empty() || helpers == 0 {
            return work();
        }
        // SAFETY: only the lifetime is another. `Rest` waits for all threads before it ends, whether this one panics or not,
        // and no thread calls what another round had.
        let work_of_all =
            Work(unsafe { mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) });
        self.shared.begin(work_of_all, self.threads.len());
        let rest = Rest(&self.shared);
        work();
        drop(rest);
        if let Some(panic) = self.shared.lock().panic.take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // What it panicked with, `run` had.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it has the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, work: Work, threads: usize) {
        let mut state = self.lock();
        state.work = Some(work);
        state.round += 1;
        state.busy = threads;
        state.panic = None;
        self.changed.notify_all();
    }

    /// What a thread does, which has seen a number of rounds.
    #[allow(unsafe_code)]
    fn help(&self, mut seen: u64) {
        let mut state = self.lock();
        while !state.is_over {
            let Some(work) = state.work.filter(|_| state.round != seen) else {
                state = self.wait(state);
                continue;
            };
            seen = state.round;
            drop(state);
            // SAFETY: whoever has it waits until this thread is no longer busy.
            let called = catch_unwind(AssertUnwindSafe(|| unsafe { (*work.0)() }));
            state = self.lock();
            state.panic = called.err().or(state.panic.take());
            state.busy -= 1;
            self.changed.notify_all();
        }
    }
}

/// The end of a round: waits for all threads when it is dropped.
struct Rest<'a>(&'a Shared);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        while state.busy > 0 {
            state = self.0.wait(state);
        }
        state.work = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_thread_is_called_once_a_round_and_stays() {
        let mut crew = Crew::default();
        for (round, helpers) in [0, 2, 2, 1, 3, 0].into_iter().enumerate() {
            let (calls, threads) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
            crew.run(helpers, &[], &|| {
                calls.fetch_add(1, Ordering::Relaxed);
                threads.lock().unwrap().push(thread::current().id());
            });
            // Those that are there help, unless nobody is asked to.
            let expected = [1, 3, 3, 3, 4, 1][round];
            assert_eq!(calls.into_inner(), expected, "round {round}");
            let mut threads = threads.into_inner().unwrap();
            threads.sort_unstable_by_key(|id| format!("{id:?}"));
            threads.dedup();
            assert_eq!(threads.len(), expected, "round {round}");
        }
    }

    #[test]
    fn a_panic_comes_back_when_all_are_done_and_leaves_the_crew_whole() {
        let mut crew = Crew::default();
        let own = thread::current().id();
        for in_helper in [true, false] {
            let done = AtomicUsize::new(0);
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                crew.run(1, &[], &|| {
                    if in_helper == (thread::current().id() != own) {
                        panic!("in one of them");
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }));
            let message = panicked.unwrap_err();
            assert_eq!(message.downcast_ref(), Some(&"in one of them"));
            assert_eq!(done.into_inner(), 1);
        }
        let calls = AtomicUsize::new(0);
        crew.run(1, &[], &|| {
            calls.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 2);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn helpers_stay_on_their_cores() {
        use crate::affinity::tests::{cores, last_core};

        let before = cores();
        let (own, found) = (thread::current().id(), Mutex::new(Vec::new()));
        Crew::default().run(1, &[0, last_core()], &|| {
            let is_helper = thread::current().id() != own;
            found.lock().unwrap().push((is_helper, cores()));
        });
        let mut found = found.into_inner().unwrap();
        found.sort();
        assert_eq!(found, [(false, before), (true, last_core().to_string())]);
    }
}
