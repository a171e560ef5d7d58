//! How frames are taken.

use std::{fmt, sync::Arc, time::Duration};

use super::result::FrameResult;
#[cfg(feature = "tracks")]
use crate::tracks::TrackOptions;

/// Takes a result, on the thread that looks at frames.
pub(super) type Callback = Arc<dyn Fn(Arc<FrameResult>) + Send + Sync>;

/// Options of [`Live`](super::Live).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct LiveOptions {
    /// The longest that a result may come after its frame was pushed. Default: none.
    ///
    /// What takes longer is of no use to whoever sets one, so it is not begun if what frames took lately
    /// says that it would ([`Outcome::NotStarted`](super::Outcome::NotStarted)), and given up between two graphs if the deadline has
    /// passed ([`Outcome::Overdue`](super::Outcome::Overdue)). After some that were not begun, one is all the same, to see how
    /// long it takes by now.
    pub deadline: Option<Duration>,
    /// How what is found is given ids that stay from frame to frame ([`FrameResult::tracks`]). Default: it is given none.
    #[cfg(feature = "tracks")]
    pub tracks: Option<TrackOptions>,
    pub(super) on_result: Option<Callback>,
}

impl LiveOptions {
    /// Sets the longest that a result may come after its frame was pushed.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Gives what is found ids that stay from frame to frame, in [`FrameResult::tracks`]. Frames need
    /// [stamps](super::Frame::with_stamp), which say how far things may have moved.
    #[cfg(feature = "tracks")]
    #[must_use]
    pub fn with_tracks(mut self, tracks: TrackOptions) -> Self {
        self.tracks = Some(tracks);
        self
    }

    /// Calls this with the result of every frame that was not dropped, in their order, on the thread that looks
    /// at them: while it runs, no frame is looked at. If it panics, that is logged and counted, and the next
    /// frame comes.
    #[must_use]
    pub fn on_result(
        mut self,
        callback: impl Fn(Arc<FrameResult>) + Send + Sync + 'static,
    ) -> Self {
        self.on_result = Some(Arc::new(callback));
        self
    }
}

impl fmt::Debug for LiveOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = f.debug_struct("LiveOptions");
        options.field("deadline", &self.deadline);
        #[cfg(feature = "tracks")]
        options.field("tracks", &self.tracks);
        options
            .field("on_result", &self.on_result.is_some())
            .finish()
    }
}
