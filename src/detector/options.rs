//! Options of a single call.

use std::{fmt, ops::ControlFlow};

use crate::PostprocessOptions;

/// Options of one call of [`Detector::ground_with`](crate::Detector::ground_with) or
/// [`Detector::ground_batch_with`](crate::Detector::ground_batch_with).
///
/// ```
/// use std::ops::ControlFlow;
///
/// use glip::{Detector, GroundOptions, Vocabulary, postprocess::Aggregation};
///
/// let image = image::open("examples/images/coffee.jpg")?;
/// let detector = Detector::nano()?;
/// let vocabulary = Vocabulary::new(["cup", "spoon", "dining table"]);
///
/// let postprocess = detector.postprocessor().options().clone();
/// let options = GroundOptions::default()
///     .with_postprocess(postprocess.with_aggregation(Aggregation::Max).with_max_per_phrase(1))
///     .with_progress(|progress| {
///         println!("{} of {} prompts", progress.done, progress.total);
///         ControlFlow::Continue(()) // or Break(()), to cancel
///     });
/// let found = detector.ground_with(&image, &vocabulary, options)?;
/// assert!(found.of_phrase(0).count() <= 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
#[non_exhaustive]
pub struct GroundOptions<'a> {
    /// Thresholds, limits and aggregation. Default: the detector's.
    pub postprocess: Option<PostprocessOptions>,
    /// What is called before every prompt and after the last. Default: nothing.
    pub progress: Option<ProgressCallback<'a>>,
}

/// Called with how far a call is; [`ControlFlow::Break`] cancels it.
pub type ProgressCallback<'a> = Box<dyn FnMut(Progress) -> ControlFlow<()> + 'a>;

/// How far a call is. One prompt is one step; a [`Vocabulary`](crate::Vocabulary) may have several, and
/// so has a call with several batches of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The prompts that are done.
    pub done: usize,
    /// All prompts of the call.
    pub total: usize,
}

impl<'a> GroundOptions<'a> {
    /// Sets [`postprocess`](Self::postprocess).
    #[must_use]
    pub fn with_postprocess(self, options: PostprocessOptions) -> Self {
        Self {
            postprocess: Some(options),
            ..self
        }
    }

    /// Sets [`progress`](Self::progress): called before every prompt and after the last. What it
    /// returns then is ignored, as there is nothing left to cancel.
    #[must_use]
    pub fn with_progress(self, callback: impl FnMut(Progress) -> ControlFlow<()> + 'a) -> Self {
        Self {
            progress: Some(Box::new(callback)),
            ..self
        }
    }
}

impl fmt::Debug for GroundOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroundOptions")
            .field("postprocess", &self.postprocess)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}
