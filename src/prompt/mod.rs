//! From words to tokens: what to look for, and where each phrase lies in the model's input.

mod caption;
mod tokens;
mod vocabulary;

use std::ops::Range;

pub use self::tokens::{TokenizedPhrase, TokenizedPrompt, Tokenizer};
use crate::error::{Error, Result};

/// What to look for: a text, and the phrases in it that shall be found in the image.
///
/// | made by | text | phrases |
/// | --- | --- | --- |
/// | `Prompt::from("a cat . red circle")` | pieces joined by `". "` | each piece between dots; empty pieces are skipped |
/// | [`Prompt::categories`] | cleaned names joined by `". "` | each name |
/// | [`Prompt::caption`] | the caption as it is | those given by [`phrases`](Prompt::phrases) and [`spans`](Prompt::spans) |
///
/// A phrase's index is its place in what the caller gave, and detections carry it. Making a prompt
/// never fails; what is wrong with one is reported when it is used, and by [`locate`](Prompt::locate).
///
/// ```
/// use glip::Prompt;
///
/// let list = Prompt::from("a red circle . blue square");
/// assert_eq!(list.text(), "a red circle. blue square");
///
/// let names = Prompt::categories(["traffic_light", "flip-flop (sandal)"]);
/// assert_eq!(names.text(), "traffic light. flip-flop");
///
/// let caption = Prompt::caption("A dog chases a dog").phrases(["a dog", "a dog"]);
/// let spans: Vec<_> = caption.locate()?.into_iter().map(|phrase| phrase.span).collect();
/// assert_eq!(spans, [0..5, 13..18]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    text: String,
    targets: Vec<Target>,
    /// The caller's index of the first target: above 0 in all but the first of a prompt's chunks.
    first_index: usize,
    kind: Kind,
}

/// A phrase as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// By its byte range in the text.
    Span(Range<usize>),
    /// By its words, which are looked for in the text.
    Words(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The text is nothing but the phrases and their separators, so that it can be split between them.
    List,
    Caption,
}

/// A phrase at its place in a prompt's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// The phrase as it stands in the text.
    pub text: String,
    /// Its place among the phrases that the caller gave.
    pub index: usize,
    /// Where it stands in the text, as a byte range.
    pub span: Range<usize>,
}

impl Prompt {
    /// A list of category names, each of them one phrase.
    ///
    /// Names are cleaned as the official evaluation does it: text in parentheses is removed, `_`
    /// becomes a space, and spaces are made single.
    pub fn categories<I>(names: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let names: Vec<String> = names
            .into_iter()
            .map(|name| vocabulary::clean_name(name.as_ref()))
            .collect();
        Self::list(&names)
    }

    /// A sentence, whose phrases are then given with [`phrases`](Self::phrases) or
    /// [`spans`](Self::spans).
    ///
    /// ```
    /// use glip::Prompt;
    ///
    /// let prompt = Prompt::caption("a cat on the left of a dog").phrases(["a cat", "a dog"]);
    /// assert_eq!(prompt.locate()?[1].span, 21..26);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn caption(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            targets: Vec::new(),
            first_index: 0,
            kind: Kind::Caption,
        }
    }

    /// Adds phrases by their words, which are looked for in the text: whole words, in any letter
    /// case.
    ///
    /// A phrase that occurs several times is taken after the phrase before it, or, if it does not
    /// occur there, from the start. The same phrase given again takes the next occurrence. For text
    /// without spaces between words use [`spans`](Self::spans).
    pub fn phrases<I>(mut self, phrases: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let words = phrases
            .into_iter()
            .map(|phrase| phrase.as_ref().trim().to_owned());
        self.targets.extend(words.map(Target::Words));
        self.kind = Kind::Caption;
        self
    }

    /// Adds phrases by their byte ranges in the text.
    ///
    /// ```
    /// use glip::Prompt;
    ///
    /// let prompt = Prompt::caption("a cat and a dog").spans([0..5, 10..15]);
    /// assert_eq!(prompt.locate()?[1].text, "a dog");
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn spans<I: IntoIterator<Item = Range<usize>>>(mut self, spans: I) -> Self {
        self.targets.extend(spans.into_iter().map(Target::Span));
        self.kind = Kind::Caption;
        self
    }

    /// The text that the model reads.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The phrases, in the order they were given, at their places in the text.
    ///
    /// # Errors
    /// - [`Error::EmptyPrompt`]: there are no phrases.
    /// - [`Error::EmptyPhrase`]: a phrase is empty, or a category name is after cleaning.
    /// - [`Error::PhraseNotInCaption`]: a phrase does not occur in the text, or less often than it
    ///   was given.
    /// - [`Error::SpanOutOfRange`], [`Error::SpanInsideCharacter`]: a span is not a range of
    ///   characters of the text.
    pub fn locate(&self) -> Result<Vec<Phrase>> {
        let mut phrases: Vec<Phrase> = Vec::with_capacity(self.targets.len());
        for (index, target) in (self.first_index..).zip(&self.targets) {
            let span = match target {
                Target::Span(span) => caption::check_span(&self.text, span)?,
                Target::Words(words) if words.is_empty() => {
                    return Err(Error::EmptyPhrase { index });
                }
                Target::Words(words) => caption::find(&self.text, words, &phrases)?,
            };
            phrases.push(Phrase {
                text: self.text[span.clone()].to_owned(),
                index,
                span,
            });
        }
        if phrases.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        Ok(phrases)
    }

    /// Splits a list of phrases into prompts that each fit the model, with as many phrases in each
    /// as fit. Phrases keep their index.
    ///
    /// A caption is one unit of meaning and is not split: one that fits is returned whole.
    ///
    /// ```
    /// use glip::{Prompt, Tokenizer};
    ///
    /// let tokenizer = Tokenizer::from_file("tests/fixtures/tokenizer.json", 7)?;
    /// let chunks = Prompt::categories(["cat", "dog", "red circle", "cat"]).chunks(&tokenizer)?;
    /// let texts: Vec<_> = chunks.iter().map(|chunk| chunk.text()).collect();
    /// assert_eq!(texts, ["cat. dog", "red circle. cat"]);
    /// assert_eq!(chunks[1].locate()?[0].index, 2);
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::PhraseTooLong`]: a single phrase has more tokens than the model takes.
    /// - [`Error::PromptTooLong`]: a caption does not fit.
    /// - Those of [`locate`](Self::locate).
    pub fn chunks(&self, tokenizer: &Tokenizer) -> Result<Vec<Self>> {
        if self.kind == Kind::Caption {
            tokenizer.tokenize(self)?;
            return Ok(vec![self.clone()]);
        }
        let phrases = self.locate()?;
        let groups = vocabulary::group_to_fit(&phrases, tokenizer)?;
        Ok(groups
            .into_iter()
            .map(|group| self.chunk(&phrases[group]))
            .collect())
    }

    /// The part of a list that holds these neighbouring phrases.
    fn chunk(&self, phrases: &[Phrase]) -> Self {
        let begin = phrases.first().map_or(0, |phrase| phrase.span.start);
        let end = phrases.last().map_or(0, |phrase| phrase.span.end);
        let spans = phrases
            .iter()
            .map(|Phrase { span, .. }| span.start - begin..span.end - begin);
        Self {
            text: self.text[begin..end].to_owned(),
            targets: spans.map(Target::Span).collect(),
            first_index: phrases.first().map_or(0, |phrase| phrase.index),
            kind: Kind::List,
        }
    }

    fn list<S: AsRef<str>>(phrases: &[S]) -> Self {
        let (text, spans) = vocabulary::join(phrases);
        let target = |span: Range<usize>| match span.is_empty() {
            true => Target::Words(String::new()),
            false => Target::Span(span),
        };
        let targets = spans.into_iter().map(target).collect();
        Self {
            text,
            targets,
            first_index: 0,
            kind: Kind::List,
        }
    }
}

/// A list of phrases separated by `.`; each non-empty piece is one phrase, trimmed.
impl From<&str> for Prompt {
    fn from(list: &str) -> Self {
        let pieces = list
            .split('.')
            .map(str::trim)
            .filter(|piece| !piece.is_empty());
        Self::list(&pieces.collect::<Vec<_>>())
    }
}

/// As from `&str`.
impl From<&String> for Prompt {
    fn from(list: &String) -> Self {
        list.as_str().into()
    }
}

/// As from `&str`.
impl From<String> for Prompt {
    fn from(list: String) -> Self {
        list.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(prompt: &Prompt) -> Vec<String> {
        prompt
            .locate()
            .unwrap()
            .into_iter()
            .map(|phrase| phrase.text)
            .collect()
    }

    #[test]
    fn a_string_is_a_list_of_phrases() {
        let prompt = Prompt::from(" a red circle .. blue square. ");
        assert_eq!(prompt.text(), "a red circle. blue square");
        assert_eq!(texts(&prompt), ["a red circle", "blue square"]);
        let indices: Vec<_> = prompt.locate().unwrap().iter().map(|p| p.index).collect();
        assert_eq!(indices, [0, 1]);
    }

    #[test]
    fn categories_may_hold_dots_and_repeat() {
        let prompt = Prompt::categories(["U.S. flag", "cat", "cat"]);
        assert_eq!(prompt.text(), "U.S. flag. cat. cat");
        assert_eq!(texts(&prompt), ["U.S. flag", "cat", "cat"]);
    }

    #[test]
    fn nothing_to_look_for_is_an_error() {
        for prompt in [
            Prompt::from(""),
            Prompt::from(" . ."),
            Prompt::caption("a cat"),
        ] {
            assert!(
                matches!(prompt.locate(), Err(Error::EmptyPrompt)),
                "{prompt:?}"
            );
        }
        assert!(matches!(
            Prompt::categories([""; 0]).locate(),
            Err(Error::EmptyPrompt)
        ));
    }

    #[test]
    fn empty_phrases_are_errors_with_their_index() {
        let cleaned_away = Prompt::categories(["cat", "(none)"]);
        assert!(matches!(
            cleaned_away.locate(),
            Err(Error::EmptyPhrase { index: 1 })
        ));
        let empty_words = Prompt::caption("a cat").phrases([" "]);
        assert!(matches!(
            empty_words.locate(),
            Err(Error::EmptyPhrase { index: 0 })
        ));
    }

    #[test]
    fn phrases_and_spans_can_be_mixed() {
        let prompt = Prompt::caption("ein süßer Hund")
            .phrases(["hund"])
            .spans([4..11, 0..3]);
        assert_eq!(texts(&prompt), ["Hund", "süßer", "ein"]);
    }
}
