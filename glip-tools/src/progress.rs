//! How far a long run is.

use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressDrawTarget, ProgressStyle};

use crate::terminal::say;

/// A bar on the standard error with how much is done, at what rate, and the time left. Where the
/// standard error is no terminal, nothing is drawn.
///
/// ```
/// use glip_tools::ProgressBar;
///
/// let progress = ProgressBar::new(Some(10), "images").starting_at(4); // four were done before
/// for _ in 4..10 {
///     progress.advance();
/// }
/// progress.finish();
/// ```
#[derive(Debug)]
pub struct ProgressBar(indicatif::ProgressBar);

impl ProgressBar {
    /// A bar of so many things, or of a stream whose length is not known.
    pub fn new(total: Option<u64>, things: impl Into<Cow<'static, str>>) -> Self {
        let target = ProgressDrawTarget::stderr();
        let bar = indicatif::ProgressBar::with_draw_target(total, target).with_message(things);
        let layout = match total {
            Some(_) => "{wide_bar} {pos} of {len} {msg}, {per_sec}, {eta} left",
            None => "{spinner} {pos} {msg}, {per_sec}, {elapsed}",
        };
        // That the layouts can be parsed is tested.
        if let Ok(style) = ProgressStyle::with_template(layout) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// A bar that is never drawn.
    pub fn hidden() -> Self {
        Self(indicatif::ProgressBar::hidden())
    }

    /// Counts what an earlier run did, which the rate leaves out.
    #[must_use]
    pub fn starting_at(self, done: u64) -> Self {
        self.0.set_position(done);
        self.0.reset_eta();
        self
    }

    /// One more is done.
    pub fn advance(&self) {
        self.0.inc(1);
    }

    /// Prints a line above the bar, or on the standard error where none is drawn.
    pub fn say(&self, line: &str) {
        self.0.suspend(|| say(line));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_count_on_from_where_they_start() {
        for total in [Some(5), None] {
            let bar = ProgressBar::new(total, "images").starting_at(3);
            bar.advance();
            assert_eq!(bar.0.position(), 4);
            bar.finish();
        }
        for layout in [
            "{wide_bar} {pos} of {len} {msg}, {per_sec}, {eta} left",
            "{spinner} {pos} {msg}, {per_sec}, {elapsed}",
        ] {
            assert!(ProgressStyle::with_template(layout).is_ok());
        }
    }
}
