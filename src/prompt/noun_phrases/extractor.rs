//! What finds phrases in a caption.

use std::ops::Range;

/// Finds the phrases of a caption that shall be looked for in the image.
///
/// [`NounPhrases`](crate::NounPhrases) needs nothing else,
/// [`PerceptronTagger`](crate::parts::PerceptronTagger) a file of weights; a closure from `&str` to spans is an
/// extractor too. [`Prompt::extract`](crate::Prompt::extract) takes any of them.
///
/// ```
/// use glip::{Prompt, parts::PromptRule};
///
/// let around_the_space = |caption: &str| match caption.find(' ') {
///     Some(space) => vec![0..space, space + 1..caption.len()],
///     None => Vec::new(),
/// };
/// let prompt = Prompt::caption("wooden table").extract(&around_the_space);
/// assert_eq!(PromptRule::default().render(&prompt)?.phrases()[1].label, "table");
/// # Ok::<(), glip::Error>(())
/// ```
pub trait PhraseExtractor {
    /// Where the phrases of a caption stand: byte ranges in rising order that neither overlap nor cut
    /// a character in two.
    fn extract(&self, caption: &str) -> Vec<Range<usize>>;
}

impl<F: Fn(&str) -> Vec<Range<usize>>> PhraseExtractor for F {
    fn extract(&self, caption: &str) -> Vec<Range<usize>> {
        self(caption)
    }
}
