//! Errors with what caused them.

use std::{error::Error, iter::successors};

/// What caused an error: its source, that one's source, and so on.
///
/// ```
/// use glip_tools::{Picture, PictureLimits, causes};
///
/// let error = Picture::read("no such picture.jpg", PictureLimits::default()).unwrap_err();
/// assert_eq!(causes(&error).count(), 1);
/// ```
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(error.source(), |&cause| cause.source())
}

/// An error with what caused it, in one line.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
