//! What is looked for in an image.

use std::ops::Range;

use glip::{
    Category, NounPhrases, Prompt, PromptInput, Vocabulary,
    parts::{PhraseExtractor, PromptRule},
};
use serde::{Deserialize, Serialize};

/// What is looked for in an image: categories, or the phrases of a caption.
///
/// ```
/// use glip_tools::label::Subject;
///
/// let names = Subject::categories(["dog", "traffic_light"]);
/// assert_eq!(names.phrases()?, ["dog", "traffic_light"]);
///
/// let caption = Subject::caption("a cup beside a small spoon");
/// assert_eq!(caption.phrases()?, ["a cup", "a small spoon"]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// Any number of categories.
    Categories(Vec<Category>),
    /// A sentence, and the phrases in it.
    Caption(Caption),
}

/// A sentence, and where the phrases stand that are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object with text and phrases")]
pub struct Caption {
    /// The sentence.
    pub text: String,
    /// The spans of each phrase, in characters of the text (Unicode scalar values), end exclusive.
    pub phrases: Vec<Vec<Range<usize>>>,
}

impl Subject {
    /// Categories, each a name or a [`Category`] with synonyms and context.
    pub fn categories<I>(categories: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Category>,
    {
        Self::Categories(categories.into_iter().map(Into::into).collect())
    }

    /// A caption whose noun phrases are looked for.
    pub fn caption(text: impl Into<String>) -> Self {
        let text = text.into();
        let in_characters = |span: Range<usize>| {
            let characters = |end: usize| text[..end].chars().count();
            vec![characters(span.start)..characters(span.end)]
        };
        let phrases = NounPhrases.extract(&text).into_iter();
        let phrases = phrases.map(in_characters).collect();
        Self::Caption(Caption { text, phrases })
    }

    /// What each phrase is called, by its index.
    ///
    /// # Errors
    /// As [`PromptRule::render`](glip::parts::PromptRule::render).
    pub fn phrases(&self) -> glip::Result<Vec<String>> {
        match self {
            Self::Categories(categories) => Ok(categories
                .iter()
                .map(|category| category.label().to_owned())
                .collect()),
            Self::Caption(caption) => caption.phrases(),
        }
    }

    /// What a detector takes.
    pub(super) fn prompt(&self) -> PromptInput<'static> {
        match self {
            Self::Categories(categories) => Vocabulary::new(categories).into(),
            Self::Caption(caption) => caption.prompt().into(),
        }
    }
}

impl Caption {
    /// What its phrases are called.
    pub(super) fn phrases(&self) -> glip::Result<Vec<String>> {
        // What phrases are called does not depend on how a model wants them written.
        let rendered = PromptRule::default().render(&self.prompt())?;
        let phrases = rendered.phrases().iter();
        Ok(phrases.map(|phrase| phrase.label.clone()).collect())
    }

    fn prompt(&self) -> Prompt {
        Prompt::caption(&self.text).char_spans(self.phrases.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noun_phrases_are_found_in_characters() {
        let Subject::Caption(caption) = Subject::caption("Über dem Haus: a süßer dog and a cat")
        else {
            panic!("a caption is a caption")
        };
        let characters: Vec<char> = caption.text.chars().collect();
        let words = caption.phrases.iter().map(|spans| {
            let spans = spans.iter().cloned();
            spans
                .map(|span| characters[span].iter().collect::<String>())
                .collect::<String>()
        });
        let words: Vec<String> = words.collect();
        assert_eq!(words.last().map(String::as_str), Some("a cat"));
        let subject = Subject::Caption(caption);
        assert_eq!(subject.phrases().unwrap(), words);
    }

    #[test]
    fn a_caption_without_phrases_is_an_error() {
        let error = Subject::caption("of and the").phrases().unwrap_err();
        assert!(matches!(error, glip::Error::EmptyPrompt), "{error}");
    }
}
