//! Work that is spread over threads, with its results in the order of its inputs.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::Scope,
};

/// Starts `workers` threads that do `work` on each of `inputs`, and returns their results in order.
///
/// A worker takes the next input itself, when it has time for it. So at most `ahead + workers + 1`
/// inputs have been taken whose results have not: memory is bounded without counting anything. The
/// inputs may themselves be such results, which makes a chain of stages that run side by side.
///
/// Once the results are dropped, the threads stop.
pub(crate) fn stage<'scope, I, U>(
    scope: &'scope Scope<'scope, '_>,
    workers: usize,
    ahead: usize,
    inputs: I,
    work: impl Fn(I::Item) -> U + Send + Sync + 'scope,
) -> Ordered<U>
where
    I: Iterator + Send + 'scope,
    I::Item: Send,
    U: Send + 'scope,
{
    let (slots, places) = sync_channel(ahead);
    let stage = Arc::new(Stage {
        inputs: Mutex::new((inputs.fuse(), slots)),
        work,
    });
    for _ in 0..workers.max(1) {
        let stage = Arc::clone(&stage);
        scope.spawn(move || {
            while let Some((input, slot)) = stage.take() {
                // Nobody wants the result of a stage that was dropped.
                let _ = slot.send((stage.work)(input));
            }
        });
    }
    Ordered {
        places,
        front: None,
    }
}

/// What the threads of a stage share.
struct Stage<I: Iterator, U, F> {
    inputs: Mutex<(std::iter::Fuse<I>, SyncSender<Receiver<U>>)>,
    work: F,
}

impl<I: Iterator, U, F> Stage<I, U, F> {
    /// The next input, and where its result goes; the slots are in the order of the inputs.
    fn take(&self) -> Option<(I::Item, SyncSender<U>)> {
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        let input = inputs.0.next()?;
        let (slot, place) = sync_channel(1);
        inputs.1.send(place).ok()?;
        Some((input, slot))
    }
}

/// The results of a [`stage`], in the order of its inputs.
pub(crate) struct Ordered<U> {
    places: Receiver<Receiver<U>>,
    /// The next result's place, if it was looked for before it was there.
    front: Option<Receiver<U>>,
}

impl<U> Iterator for Ordered<U> {
    type Item = U;

    fn next(&mut self) -> Option<U> {
        let place = self.front.take().or_else(|| self.places.recv().ok())?;
        place.recv().ok()
    }
}

/// An iterator whose next item may have to be waited for.
pub(crate) trait Waiting: Iterator {
    /// The next item, if it is there already.
    fn next_ready(&mut self) -> Option<Self::Item>;
}

impl<U> Waiting for Ordered<U> {
    fn next_ready(&mut self) -> Option<U> {
        let place = self.front.take().or_else(|| self.places.try_recv().ok())?;
        let result = place.try_recv();
        if result.is_err() {
            self.front = Some(place);
        }
        result.ok()
    }
}

/// Puts items that belong together into batches, without waiting for more.
pub(crate) struct Batches<I: Waiting, F> {
    items: I,
    most: usize,
    together: F,
    held: Option<I::Item>,
}

impl<I: Waiting, F: Fn(&I::Item, &I::Item) -> bool> Batches<I, F> {
    /// Batches of at most `most` successive items, each of which goes `together` with the first.
    pub(crate) fn new(items: I, most: usize, together: F) -> Self {
        Self {
            items,
            most,
            together,
            held: None,
        }
    }
}

impl<I: Waiting, F: Fn(&I::Item, &I::Item) -> bool> Iterator for Batches<I, F> {
    type Item = Vec<I::Item>;

    fn next(&mut self) -> Option<Vec<I::Item>> {
        let first = self.held.take().or_else(|| self.items.next())?;
        let mut batch = vec![first];
        while batch.len() < self.most {
            match self.items.next_ready() {
                Some(item) if (self.together)(&batch[0], &item) => batch.push(item),
                other => {
                    self.held = other;
                    break;
                }
            }
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
        time::Duration,
    };

    use super::*;

    #[test]
    fn results_are_in_order_whatever_takes_long() {
        let found: Vec<u64> = thread::scope(|scope| {
            let slow_first = |n: u64| {
                thread::sleep(Duration::from_micros(500 * (7 - n % 7)));
                n * n
            };
            let squares = stage(scope, 4, 2, 0..200, slow_first);
            stage(scope, 3, 1, squares, |n| n + 1).collect()
        });
        assert_eq!(found, (0..200).map(|n| n * n + 1).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_is_taken_than_was_said() {
        let (taken, given) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut most = 0;
        thread::scope(|scope| {
            let inputs = (0..5000).inspect(|_| {
                taken.fetch_add(1, SeqCst);
            });
            for _ in stage(scope, 3, 4, inputs, |n| n) {
                given.fetch_add(1, SeqCst);
                most = most.max(taken.load(SeqCst) - given.load(SeqCst));
            }
        });
        // The one that is given now is no longer counted.
        assert!(most <= 4 + 3, "{most} in flight");
    }

    #[test]
    fn dropping_the_results_stops_the_work() {
        let worked = AtomicUsize::new(0);
        thread::scope(|scope| {
            let count = |_| worked.fetch_add(1, SeqCst);
            let mut endless = stage(scope, 2, 3, 0.., count);
            assert!(endless.next().is_some());
        });
        assert!(worked.load(SeqCst) < 20);
    }

    /// Items of which the first few are there already.
    struct Some4(std::vec::IntoIter<u32>, usize);

    impl Iterator for Some4 {
        type Item = u32;

        fn next(&mut self) -> Option<u32> {
            self.0.next()
        }
    }

    impl Waiting for Some4 {
        fn next_ready(&mut self) -> Option<u32> {
            self.1 = self.1.checked_sub(1)?;
            self.0.next()
        }
    }

    #[test]
    fn batches_take_what_is_there_and_fits() {
        let items = Some4(vec![10, 11, 12, 13, 20, 21, 30].into_iter(), 5);
        let same_ten = |a: &u32, b: &u32| a / 10 == b / 10;
        let batches: Vec<_> = Batches::new(items, 3, same_ten).collect();
        // Three at most, then what fits, and at last nothing is there before it is waited for.
        let expected: [&[u32]; 5] = [&[10, 11, 12], &[13], &[20, 21], &[30], &[]];
        assert_eq!(
            batches,
            expected[..4].iter().map(|b| b.to_vec()).collect::<Vec<_>>()
        );
    }
}
