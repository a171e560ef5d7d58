//! Watching a call, and stopping it from elsewhere.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, Result};

/// Watches calls and stops them, from any thread: give it to
/// [`Detector::controlled`](crate::Detector::controlled), keep a clone, and call [`stop`](Self::stop), or
/// set a deadline. Clones are the same control.
///
/// A graph that runs is told to end and does so between two of its operators; nothing is left half done,
/// and the detector can be asked again at once. A control that has stopped stays so: make a new one for
/// the next call.
///
/// ```
/// use std::time::Duration;
///
/// use glip::{Control, Detector, Error};
///
/// let detector = Detector::nano()?;
/// let image = image::open("examples/images/coffee.jpg")?;
///
/// let control = Control::new().with_timeout(Duration::from_secs(60));
/// assert!(detector.controlled(&control).ground(&image, "cup").is_ok());
///
/// control.stop(); // for example from the thread that knows that nobody waits any more
/// let stopped = detector.controlled(&control).ground(&image, "cup");
/// assert!(matches!(stopped, Err(Error::Stopped)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Control(Option<Arc<State>>);

/// How far a call is. One prompt is one step; a [`Vocabulary`](crate::Vocabulary) may have several, and
/// so has a call with several batches of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The prompts that are done.
    pub done: usize,
    /// All prompts of the call.
    pub total: usize,
}

/// Something that runs and can be told to end.
pub(crate) trait Terminate: Send + Sync {
    fn terminate(&self);
}

/// Takes how far a call is.
type Report = Arc<dyn Fn(Progress) + Send + Sync>;

struct State {
    ending: Mutex<Ending>,
    deadline: Option<Instant>,
    /// Starts the thread that waits for the deadline, when there is something to end.
    watch: Once,
    /// Ends that thread.
    over: Arc<Over>,
    progress: Option<Report>,
}

#[derive(Default)]
struct Ending {
    reason: Option<Reason>,
    running: Vec<Arc<dyn Terminate>>,
}

#[derive(Clone, Copy)]
enum Reason {
    Stopped,
    Deadline,
}

impl Control {
    /// A control that does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::from_state(None, None)
    }

    /// Ends calls that are not done at this time, with [`Error::DeadlinePassed`].
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        Self::from_state(Some(deadline), self.progress())
    }

    /// As [`with_deadline`](Self::with_deadline), so long from now.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.with_deadline(deadline),
            None => self, // beyond the end of time
        }
    }

    /// Calls this before every prompt and after the last, on the thread that makes the call.
    ///
    /// ```
    /// use glip::{Control, Detector, Vocabulary};
    ///
    /// let image = image::open("examples/images/coffee.jpg")?;
    /// let vocabulary = Vocabulary::new(["cup", "spoon", "dining table"]).with_names_per_prompt(1);
    /// let control = Control::new().with_progress(|progress| {
    ///     println!("{} of {} prompts", progress.done, progress.total);
    /// });
    /// let found = Detector::nano()?.controlled(&control).ground(&image, &vocabulary)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_progress(self, report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        let deadline = self.0.as_ref().and_then(|state| state.deadline);
        Self::from_state(deadline, Some(Arc::new(report)))
    }

    /// Stops calls that have this control, now and from now on.
    pub fn stop(&self) {
        if let Some(state) = &self.0 {
            state.end(Reason::Stopped);
        }
    }

    /// Whether it was told to stop or its deadline has passed.
    pub fn is_stopped(&self) -> bool {
        self.check().is_err()
    }

    /// Whether anything can ever stop it.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// Why calls must end, if they must.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(state) = &self.0 else { return Ok(()) };
        if state
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            state.end(Reason::Deadline);
        }
        let reason = state.lock().reason;
        match reason {
            None => Ok(()),
            Some(Reason::Stopped) => Err(Error::Stopped),
            Some(Reason::Deadline) => Err(Error::DeadlinePassed),
        }
    }

    /// Reports how far a call is, and says whether it may go on.
    pub(crate) fn step(&self, done: usize, total: usize) -> Result<()> {
        if let Some(report) = self.progress() {
            report(Progress { done, total });
        }
        self.check()
    }

    /// Ends `run` when the control stops, until the result is dropped.
    pub(crate) fn watch(&self, run: Arc<dyn Terminate>) -> Result<Running<'_>> {
        if let Some(state) = &self.0 {
            state.start_watch();
            state.lock().running.push(Arc::clone(&run));
        }
        let running = Running { control: self, run };
        // Whoever stops from here on sees the run; who did so before is seen here.
        self.check()?;
        Ok(running)
    }

    fn from_state(deadline: Option<Instant>, progress: Option<Report>) -> Self {
        Self(Some(Arc::new(State {
            ending: Mutex::default(),
            deadline,
            watch: Once::new(),
            over: Arc::default(),
            progress,
        })))
    }

    fn progress(&self) -> Option<Report> {
        self.0.as_ref().and_then(|state| state.progress.clone())
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, reason: Reason) {
        let mut ending = self.lock();
        ending.reason.get_or_insert(reason);
        for run in &ending.running {
            run.terminate();
        }
    }

    /// Without a thread for it, the deadline is seen between graphs alone.
    fn start_watch(self: &Arc<Self>) {
        let Some(deadline) = self.deadline else {
            return;
        };
        self.watch.call_once(|| {
            let (state, over) = (Arc::downgrade(self), Arc::clone(&self.over));
            let watch = move || {
                if !over.wait_until(deadline)
                    && let Some(state) = Weak::upgrade(&state)
                {
                    state.end(Reason::Deadline);
                }
            };
            let thread = thread::Builder::new().name("glip-deadline".to_owned());
            if let Err(error) = thread.spawn(watch) {
                log::warn!("no thread can be started to watch a deadline: {error}");
            }
        });
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.over.set();
    }
}

/// A flag that can be waited for.
#[derive(Default)]
struct Over {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Over {
    fn set(&self) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it was set before that time.
    fn wait_until(&self, deadline: Instant) -> bool {
        let time_left = deadline.saturating_duration_since(Instant::now());
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(set, time_left, |set| !*set);
        let (set, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *set
    }
}

/// Something that runs, while the control knows of it.
pub(crate) struct Running<'a> {
    control: &'a Control,
    run: Arc<dyn Terminate>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(state) = &self.control.0 {
            let mut ending = state.lock();
            ending.running.retain(|run| !Arc::ptr_eq(run, &self.run));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Run(Mutex<mpsc::Sender<()>>);

    impl Terminate for Run {
        fn terminate(&self) {
            self.0.lock().unwrap().send(()).unwrap();
        }
    }

    fn run() -> (Arc<Run>, mpsc::Receiver<()>) {
        let (sender, ended) = mpsc::channel();
        (Arc::new(Run(Mutex::new(sender))), ended)
    }

    #[test]
    fn what_runs_is_ended_and_nothing_starts_after() {
        let control = Control::new();
        let (first, first_ended) = run();
        let (second, second_ended) = run();
        let running = control.watch(first).unwrap();
        drop(control.watch(second).unwrap());
        control.clone().stop();
        assert!(first_ended.try_recv().is_ok());
        assert!(second_ended.try_recv().is_err(), "it was over");
        drop(running);
        assert!(matches!(control.watch(run().0), Err(Error::Stopped)));
        assert!(matches!(control.step(0, 1), Err(Error::Stopped)));
    }

    #[test]
    fn what_runs_at_the_deadline_is_ended_by_it() {
        let control = Control::new().with_timeout(Duration::from_millis(30));
        let (run, ended) = run();
        let _running = control.watch(run).unwrap();
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(control.check(), Err(Error::DeadlinePassed)));
        control.stop();
        let first_reason = control.check();
        assert!(matches!(first_reason, Err(Error::DeadlinePassed)));
    }

    #[test]
    fn a_control_that_is_gone_leaves_no_thread_behind() {
        let control = Control::new().with_timeout(Duration::from_secs(3600));
        let (run, ended) = run();
        drop(control.watch(run).unwrap());
        let over = Arc::clone(&control.0.as_ref().unwrap().over);
        drop(control);
        assert!(over.wait_until(Instant::now()), "the thread has been told");
        assert!(ended.try_recv().is_err());
    }

    #[test]
    fn what_was_set_before_stays_set() {
        let control = Control::new()
            .with_progress(|_| {})
            .with_timeout(Duration::ZERO)
            .with_progress(|_| {});
        assert!(control.progress().is_some() && control.is_stopped());
        assert!(!Control::default().is_stopped());
    }
}
