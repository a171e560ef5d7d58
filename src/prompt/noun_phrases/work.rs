//! Counts steps, so that tests can tell linear time from quadratic without a clock.

use std::cell::Cell;

thread_local!(static STEPS: Cell<usize> = const { Cell::new(0) });

pub(super) fn count(steps: usize) {
    STEPS.set(STEPS.get() + steps);
}

/// The steps that something takes.
pub(super) fn of<T>(run: impl FnOnce() -> T) -> usize {
    let before = STEPS.get();
    run();
    STEPS.get() - before
}
