//! A thread that looks at the newest frame.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    frame::Frame,
    options::LiveOptions,
    result::{FrameResult, Outcome},
    stats::{LiveStats, Recent, Record, Times},
};
#[cfg(feature = "tracks")]
use crate::tracks::{Track, Tracker};
use crate::{
    affinity::bind_thread,
    detection::Detections,
    detector::{Stage, Watch},
    error::{Error, Result},
    geometry::ImageSize,
    preprocess::PixelFormat,
};

/// What time it is.
pub(super) type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

/// A thread that looks at the newest frame, in the way that it was started with, for a prompt in the form `P`.
pub(super) struct Engine<P> {
    shared: Arc<Shared<P>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<P> {
    options: LiveOptions,
    clock: Clock,
    /// Held for moments only: whoever pushes waits for nothing that takes long.
    state: Mutex<State<P>>,
    changed: Condvar,
}

struct State<P> {
    waiting: Option<Waiting>,
    warm_ups: VecDeque<WarmUp>,
    prompt: Arc<Numbered<P>>,
    end: End,
    record: Record,
    latest: Option<Arc<FrameResult>>,
    /// Memory of frames that are done. The last is taken first: of a frame's planes, that of the first.
    spare: Vec<Vec<u8>>,
}

struct Numbered<P> {
    number: u64,
    prompt: P,
}

/// A frame, and when it was pushed.
struct Waiting {
    frame: Frame,
    pushed: Instant,
}

/// Sizes to be ready for, and who wants to know how long each takes.
struct WarmUp {
    sizes: Vec<ImageSize>,
    times: mpsc::Sender<Result<Vec<Duration>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    WhenNothingWaits,
    Now,
}

enum Next {
    Frame(Waiting),
    WarmUp(WarmUp),
}

/// Frames whose memory is kept, as many as there are at a time: one is filled, one waits, one is looked at.
const SPARE_FRAMES: usize = 3;

impl<P: Send + Sync + 'static> Engine<P> {
    /// Starts a thread, on a core if one is given, that looks at frames by `look`.
    pub(super) fn start<L>(
        prompt: P,
        options: LiveOptions,
        clock: Clock,
        core: Option<usize>,
        look: L,
    ) -> Result<Self>
    where
        L: FnMut(&Frame, &P, Watch<'_>) -> Result<Detections> + Send + 'static,
    {
        #[cfg(feature = "tracks")]
        let tracker = options.tracks.clone().map(Tracker::new).transpose()?;
        let state = State {
            waiting: None,
            warm_ups: VecDeque::new(),
            prompt: Arc::new(Numbered { number: 0, prompt }),
            end: End::NotYet,
            record: Record::default(),
            latest: None,
            spare: Vec::with_capacity(SPARE_FRAMES * PixelFormat::MOST_PLANES),
        };
        let shared = Arc::new(Shared {
            options,
            clock,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            look,
            #[cfg(feature = "tracks")]
            tracker,
            lately: Recent::default(),
            prompt: 0,
            refused: 0,
        };
        let thread = thread::Builder::new().name("glip-live".to_owned());
        let thread = thread.spawn(move || {
            if let Some(core) = core
                && let Err(error) = bind_thread(core)
            {
                log::warn!("frames are looked at on any core, not on {core} alone: {error}");
            }
            worker.work();
        });
        Ok(Self {
            shared,
            thread: Some(thread.map_err(|source| Error::Thread { source })?),
        })
    }

    /// Puts a frame in the place of the one that waits, whose number it returns.
    pub(super) fn push(&self, frame: Frame) -> Option<u64> {
        let pushed = (self.shared.clock)();
        let mut state = self.shared.lock();
        state.record.counts.pushed += 1;
        let dropped = state.waiting.replace(Waiting { frame, pushed });
        self.shared.changed.notify_one();
        let frame = dropped?.frame;
        state.record.counts.dropped += 1;
        let id = frame.id();
        state.take_back(frame);
        Some(id)
    }

    /// Looks for another prompt, from the next frame on.
    pub(super) fn set_prompt(&self, prompt: P) -> u64 {
        let mut state = self.shared.lock();
        let number = state.prompt.number + 1;
        state.prompt = Arc::new(Numbered { number, prompt });
        number
    }

    pub(super) fn latest(&self) -> Option<Arc<FrameResult>> {
        self.shared.lock().latest.clone()
    }

    pub(super) fn stats(&self) -> LiveStats {
        let record = self.shared.lock().record.clone();
        record.stats()
    }

    pub(super) fn spare_buffer(&self) -> Vec<u8> {
        let mut buffer = self.shared.lock().spare.pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Looks at an empty picture of each size twice, and tells how long the second took.
    pub(super) fn warm_up(&self, sizes: Vec<ImageSize>) -> Result<Vec<Duration>> {
        let (sender, times) = mpsc::channel();
        let warm_up = WarmUp {
            sizes,
            times: sender,
        };
        self.shared.lock().warm_ups.push_back(warm_up);
        self.shared.changed.notify_one();
        times.recv().unwrap_or(Err(Error::Stopped))
    }

    /// Ends the thread, after the frame that waits.
    pub(super) fn finish(&mut self) {
        self.end(End::WhenNothingWaits);
    }
}

impl<P> Engine<P> {
    fn end(&mut self, end: End) {
        self.shared.lock().end = end;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            // A callback may have been the last to have it: a thread cannot wait for itself.
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            log::error!("the thread that looks at frames panicked");
        }
    }
}

impl<P> Drop for Engine<P> {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end(End::Now);
        }
    }
}

impl<P> Shared<P> {
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do, and tells for which prompt; `None` at the end.
    fn next(&self) -> Option<(Next, Arc<Numbered<P>>)> {
        let mut state = self.lock();
        loop {
            let next = match state.end {
                End::Now => return None,
                _ => state.next(),
            };
            if let Some(next) = next {
                return Some((next, Arc::clone(&state.prompt)));
            }
            if state.end == End::WhenNothingWaits {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps what became of a frame, and how long it took.
    fn keep(&self, frame: Frame, result: &Arc<FrameResult>, times: &Times) {
        let mut state = self.lock();
        let counts = &mut state.record.counts;
        match &result.outcome {
            Outcome::Found(_) => counts.done += 1,
            Outcome::NotStarted { .. } | Outcome::Overdue => counts.late += 1,
            Outcome::Failed(_) => counts.failed += 1,
        }
        if result.found().is_some() {
            state.record.add(times);
        }
        if matches!(&result.outcome, Outcome::Found(_) | Outcome::Failed(_)) {
            state.latest = Some(Arc::clone(result));
        }
        state.take_back(frame);
    }
}

impl<P> State<P> {
    fn next(&mut self) -> Option<Next> {
        let warm_up = self.warm_ups.pop_front().map(Next::WarmUp);
        warm_up.or_else(|| self.waiting.take().map(Next::Frame))
    }

    fn take_back(&mut self, frame: Frame) {
        let most = SPARE_FRAMES * frame.buffer_count();
        let room = most.saturating_sub(self.spare.len());
        self.spare.extend(frame.into_buffers().take(room));
    }
}

/// Frames that must have been measured before the measurement is gone by.
const ENOUGH: usize = 20;

/// Frames that are not begun, one after another, before one is all the same.
const PATIENCE: u32 = 9;

/// What the thread does.
struct Worker<P, L> {
    shared: Arc<Shared<P>>,
    look: L,
    #[cfg(feature = "tracks")]
    tracker: Option<Tracker>,
    /// How long frames took, from their turn to their result.
    lately: Recent,
    /// The number of the prompt that this is of.
    prompt: u64,
    /// Frames that were not begun since the last one that was.
    refused: u32,
}

impl<P, L> Worker<P, L>
where
    L: FnMut(&Frame, &P, Watch<'_>) -> Result<Detections>,
{
    fn work(mut self) {
        while let Some((next, prompt)) = self.shared.next() {
            match next {
                Next::Frame(waiting) => self.take(waiting, &prompt),
                Next::WarmUp(WarmUp { sizes, times }) => {
                    let result = sizes.into_iter().map(|size| self.warm_up(size, &prompt));
                    // Who asked may have gone.
                    let _ = times.send(result.collect());
                }
            }
        }
    }

    /// From a frame to its result.
    fn take(&mut self, Waiting { frame, pushed }: Waiting, prompt: &Numbered<P>) {
        let mut times = Times {
            waiting: self.now().saturating_duration_since(pushed),
            ..Times::default()
        };
        if self.prompt != prompt.number {
            self.prompt = prompt.number;
            self.lately.clear();
            #[cfg(feature = "tracks")]
            self.tracker.iter_mut().for_each(Tracker::reset);
        }
        let outcome = match self.too_late(times.waiting) {
            Some(expected) => Outcome::NotStarted { expected },
            None => self.look_at(&frame, pushed, prompt, &mut times),
        };
        #[cfg(feature = "tracks")]
        let (outcome, tracks) = self.track(outcome, frame.stamp());
        times.total = self.now().saturating_duration_since(pushed);
        let result = Arc::new(FrameResult {
            id: frame.id(),
            stamp: frame.stamp(),
            prompt: prompt.number,
            latency: times.total,
            outcome,
            #[cfg(feature = "tracks")]
            tracks,
        });
        self.shared.keep(frame, &result, &times);
        self.tell(result);
    }

    /// When the result is to be expected, counted from the push, if that is too late to begin.
    fn too_late(&mut self, waiting: Duration) -> Option<Duration> {
        let deadline = self.shared.options.deadline?;
        let expected = match self.lately.len() >= ENOUGH {
            true => waiting + self.lately.percentile(95),
            false => waiting,
        };
        if expected <= deadline {
            self.refused = 0;
            return None;
        }
        if self.refused == PATIENCE {
            return None;
        }
        self.refused += 1;
        Some(expected)
    }

    fn look_at(
        &mut self,
        frame: &Frame,
        pushed: Instant,
        prompt: &Numbered<P>,
        times: &mut Times,
    ) -> Outcome {
        let deadline = self.shared.options.deadline;
        let deadline = deadline.and_then(|deadline| pushed.checked_add(deadline));
        let clock = &self.shared.clock;
        let begin = clock();
        let mut last = begin;
        let mut after = |stage| {
            let now = clock();
            *times.of(stage) += now.saturating_duration_since(last);
            last = now;
            // What is left after these is little.
            let is_nearly_done = matches!(stage, Stage::Head | Stage::Postprocess);
            match deadline {
                Some(deadline) if deadline <= now && !is_nearly_done => Err(Error::DeadlinePassed),
                _ => Ok(()),
            }
        };
        let look = &mut self.look;
        let looked = look_without_panic(|| look(frame, &prompt.prompt, &mut after));
        let end = clock();
        let is_in_time = deadline.is_none_or(|deadline| end <= deadline);
        let took = end.saturating_duration_since(begin);
        match looked {
            Ok(found) => {
                self.measured(took, is_in_time);
                Outcome::Found(found)
            }
            Err(Error::DeadlinePassed) => {
                // It would have taken longer, and perhaps no longer than others.
                let took = took.max(self.lately.percentile(95));
                self.measured(took, is_in_time);
                Outcome::Overdue
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Gives what was found its ids, if it is to have some.
    #[cfg(feature = "tracks")]
    fn track(&mut self, outcome: Outcome, stamp: Duration) -> (Outcome, Vec<Track>) {
        let (Some(tracker), Outcome::Found(found)) = (&mut self.tracker, &outcome) else {
            return (outcome, Vec::new());
        };
        match tracker.update(found, stamp) {
            Ok(tracks) => (outcome, tracks),
            Err(error) => (Outcome::Failed(error), Vec::new()),
        }
    }

    /// Goes by how long a frame took. If it was begun against the measurement and was in time, that is out of date.
    fn measured(&mut self, took: Duration, is_in_time: bool) {
        if self.refused == PATIENCE && is_in_time {
            self.lately.clear();
        }
        self.refused = 0;
        self.lately.add(took);
    }

    fn warm_up(&mut self, size: ImageSize, prompt: &Numbered<P>) -> Result<Duration> {
        let frame = Frame::blank(size)?;
        let mut took = Duration::ZERO;
        for _ in 0..2 {
            let begin = self.now();
            look_without_panic(|| (self.look)(&frame, &prompt.prompt, &mut |_| Ok(())))?;
            took = self.now().saturating_duration_since(begin);
        }
        Ok(took)
    }

    /// Calls who wants to know of results.
    fn tell(&self, result: Arc<FrameResult>) {
        let Some(callback) = &self.shared.options.on_result else {
            return;
        };
        let id = result.id;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(result))) {
            log::error!("the callback panicked at frame {id}: {}", message(&*panic));
            self.shared.lock().record.counts.callback_panics += 1;
        }
    }

    fn now(&self) -> Instant {
        (self.shared.clock)()
    }
}

/// What looking at a frame gives; a panic ends that frame alone.
fn look_without_panic(look: impl FnOnce() -> Result<Detections>) -> Result<Detections> {
    catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|panic| {
        Err(Error::Panicked {
            message: message(&*panic).to_owned(),
        })
    })
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it did not say why")
}
