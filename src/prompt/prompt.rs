//! What to look for, before it is a text.

use std::ops::Range;

#[cfg(feature = "captions")]
use super::noun_phrases::PhraseExtractor;
use super::{
    category::{Category, Wording},
    list,
    phrase::PhraseSpans,
};

/// What to look for: a list of names, or a caption and the phrases in it that shall be found.
///
/// | made by | text that the model reads | phrases |
/// | --- | --- | --- |
/// | `Prompt::from("a cat . red car")` | the pieces, as the model wants lists written | each piece between dots; empty pieces are skipped, and a dot in "1.5", "U.S. flag" or "e.g." is none |
/// | [`Prompt::categories`] | cleaned names with their context, likewise | each name |
/// | [`Prompt::caption`] | the caption | those given by [`phrases`](Prompt::phrases), [`spans`](Prompt::spans) and [`char_spans`](Prompt::char_spans) |
///
/// A phrase's index is its place in what the caller gave, and detections carry it. A prompt knows no
/// text of its own: how a list is written is the model's [`PromptRule`](crate::parts::PromptRule). Making a
/// prompt never fails; what is wrong with one is reported when it is used, and by
/// [`PromptRule::render`](crate::parts::PromptRule::render).
///
/// ```
/// use glip::{Prompt, parts::PromptRule};
///
/// let glip = PromptRule::default();
/// let list = Prompt::from("a red car . bicycle");
/// assert_eq!(glip.render(&list)?.text(), "a red car. bicycle");
///
/// let names = Prompt::categories(["traffic_light", "flip-flop (sandal)"]);
/// assert_eq!(glip.render(&names)?.text(), "traffic light. flip-flop");
///
/// let caption = Prompt::caption("A dog chases a dog").phrases(["a dog", "a dog"]);
/// let rendered = glip.render(&caption)?;
/// let spans: Vec<_> = rendered.phrases().iter().map(|phrase| phrase.spans.clone()).collect();
/// assert_eq!(spans, [[0..5], [13..18]]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt(pub(super) Words);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// Phrases between dots. They are told apart when they are looked for, so that a text that is far too
    /// long costs nothing before that is known.
    Text(String),
    /// Names in the order in which they are written.
    List(Vec<Name>),
    Caption {
        text: String,
        /// The place of each phrase, by its index.
        places: Vec<Place>,
    },
}

/// A way to say a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) label: String,
    /// The category's place in what the caller gave.
    pub(super) index: usize,
    /// 0 is a category's own name, synonyms follow.
    pub(super) synonym: usize,
    pub(super) wording: Wording,
}

/// Where a phrase is in a caption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At byte ranges.
    Spans(Vec<Range<usize>>),
    /// At character ranges.
    CharSpans(Vec<Range<usize>>),
    /// Where these words are found.
    Words(String),
}

impl Name {
    /// The phrases of a list between dots.
    pub(super) fn of_text(list: &str) -> Vec<Self> {
        let phrases = list::phrases(list).map(Category::verbatim);
        Self::of(&phrases.collect::<Vec<_>>())
    }

    /// All names of all categories.
    pub(super) fn of(categories: &[Category]) -> Vec<Self> {
        let numbered = categories.iter().enumerate();
        let names = numbered.flat_map(|(index, Category { label, wordings })| {
            let numbered = wordings.iter().enumerate();
            numbered.map(move |(synonym, wording)| Self {
                label: label.clone(),
                index,
                synonym,
                wording: wording.clone(),
            })
        });
        names.collect()
    }
}

impl Prompt {
    /// A list of categories, each of them a name or a [`Category`] with synonyms and context.
    ///
    /// Names are cleaned as the official evaluation does it: text in parentheses is removed, `_`
    /// becomes a space, and spaces are made single. Detections carry the name as it was given.
    pub fn categories<I>(categories: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Category>,
    {
        let categories: Vec<_> = categories.into_iter().map(Into::into).collect();
        Self(Words::List(Name::of(&categories)))
    }

    /// A sentence, whose phrases are then given with [`phrases`](Self::phrases),
    /// [`spans`](Self::spans) or [`char_spans`](Self::char_spans).
    ///
    /// ```
    /// use glip::{Prompt, parts::PromptRule};
    ///
    /// let prompt = Prompt::caption("a cat on the left of a dog").phrases(["a cat", "a dog"]);
    /// assert_eq!(PromptRule::default().render(&prompt)?.phrases()[1].spans, [21..26]);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn caption(text: impl Into<String>) -> Self {
        Self(Words::Caption {
            text: text.into(),
            places: Vec::new(),
        })
    }

    /// Adds phrases by their words, which are looked for in the caption: whole words, in any letter
    /// case.
    ///
    /// A phrase that occurs several times is taken after the phrase before it, or, if it does not
    /// occur there, from the start. The same phrase given again takes the next occurrence. For text
    /// without spaces between words use [`spans`](Self::spans).
    #[must_use]
    pub fn phrases<I>(self, phrases: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let phrases = phrases.into_iter();
        self.with_places(phrases.map(|phrase| Place::Words(phrase.as_ref().trim().to_owned())))
    }

    /// Adds phrases by their byte ranges in the caption: one range a phrase, or several.
    ///
    /// ```
    /// use glip::{Prompt, parts::PromptRule};
    ///
    /// let rule = PromptRule::default();
    /// let prompt = Prompt::caption("a cat and a dog").spans([0..5, 10..15]);
    /// assert_eq!(rule.render(&prompt)?.phrases()[1].label, "a dog");
    ///
    /// // One phrase, "a big dog", with other words in between.
    /// let prompt = Prompt::caption("a big and hungry dog").spans([[0..5, 17..20]]);
    /// assert_eq!(rule.render(&prompt)?.phrases()[0].label, "a big dog");
    /// # Ok::<(), glip::Error>(())
    /// ```
    #[must_use]
    pub fn spans<I>(self, spans: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<PhraseSpans>,
    {
        let places = spans.into_iter().map(|spans| Place::Spans(spans.into().0));
        self.with_places(places)
    }

    /// Adds phrases by ranges of characters (Unicode scalar values), as Python and the
    /// `tokens_positive` of grounding data sets count: one range a phrase, or several.
    ///
    /// ```
    /// use glip::{Prompt, parts::PromptRule};
    ///
    /// let prompt = Prompt::caption("ein süßer Hund").char_spans([10..14]);
    /// let rendered = PromptRule::default().render(&prompt)?;
    /// assert_eq!(rendered.phrases()[0].label, "Hund");
    /// assert_eq!(rendered.phrases()[0].spans, [12..16]);
    /// # Ok::<(), glip::Error>(())
    /// ```
    #[must_use]
    pub fn char_spans<I>(self, spans: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<PhraseSpans>,
    {
        let spans = spans.into_iter();
        self.with_places(spans.map(|spans| Place::CharSpans(spans.into().0)))
    }

    /// Adds the phrases that an extractor finds in the caption, for example its noun phrases (feature
    /// `captions`).
    ///
    /// ```
    /// use glip::{NounPhrases, Prompt, parts::PromptRule};
    ///
    /// let prompt = Prompt::caption("the cat on a mat").extract(&NounPhrases);
    /// let rendered = PromptRule::default().render(&prompt)?;
    /// let labels: Vec<_> = rendered.phrases().iter().map(|phrase| &phrase.label).collect();
    /// assert_eq!(labels, ["the cat", "a mat"]);
    /// # Ok::<(), glip::Error>(())
    /// ```
    #[cfg(feature = "captions")]
    #[must_use]
    pub fn extract(self, extractor: &(impl PhraseExtractor + ?Sized)) -> Self {
        let spans = match &self.0 {
            Words::Caption { text, .. } => extractor.extract(text),
            Words::Text(_) | Words::List(_) => Vec::new(),
        };
        self.spans(spans)
    }

    /// The number of bytes of all that it says.
    pub(super) fn bytes(&self) -> usize {
        match &self.0 {
            Words::Text(text) | Words::Caption { text, .. } => text.len(),
            Words::List(names) => {
                let wordings = names.iter().map(|name| &name.wording);
                let bytes = wordings.map(|w| w.prefix.len() + w.name.len() + w.suffix.len());
                bytes.sum()
            }
        }
    }

    /// A list has no caption to have phrases in: phrases given to one are not found.
    fn with_places(self, new: impl Iterator<Item = Place>) -> Self {
        let (text, mut places) = match self.0 {
            Words::Caption { text, places } => (text, places),
            Words::Text(_) | Words::List(_) => (String::new(), Vec::new()),
        };
        places.extend(new);
        Self(Words::Caption { text, places })
    }
}

/// A list of phrases separated by `.`; each non-empty piece is one phrase, trimmed.
///
/// A dot between letters or digits, and the dots of an abbreviation of single letters, separate nothing:
///
/// ```
/// use glip::{Prompt, parts::PromptRule};
///
/// let prompt = Prompt::from("1.5 inch nail . U.S. flag . cat");
/// let rendered = PromptRule::default().render(&prompt)?;
/// let labels: Vec<_> = rendered.phrases().iter().map(|phrase| &phrase.label).collect();
/// assert_eq!(labels, ["1.5 inch nail", "U.S. flag", "cat"]);
/// # Ok::<(), glip::Error>(())
/// ```
impl From<String> for Prompt {
    fn from(list: String) -> Self {
        Self(Words::Text(list))
    }
}

/// As from a `String`.
impl From<&String> for Prompt {
    fn from(list: &String) -> Self {
        list.clone().into()
    }
}

/// As from a `String`.
impl From<&str> for Prompt {
    fn from(list: &str) -> Self {
        list.to_owned().into()
    }
}

/// Calls a macro with the lists of names that prompts are made from, each with its generics before it.
macro_rules! with_lists_of_names {
    ($then:ident) => {
        $then!(
            [const N: usize] [&str; N],
            [const N: usize] [String; N],
            [const N: usize] [Category; N],
            ['b] &'b [&'b str],
            ['b] &'b [String],
            ['b] &'b [Category],
            ['b] &'b Vec<&'b str>,
            ['b] &'b Vec<String>,
            ['b] &'b Vec<Category>,
            ['b] Vec<&'b str>,
            [] Vec<String>,
            [] Vec<Category>,
        );
    };
}
pub(crate) use with_lists_of_names;

macro_rules! from_names {
    ($([$($generics:tt)*] $list:ty),+ $(,)?) => {$(
        /// As [`Prompt::categories`].
        impl<$($generics)*> From<$list> for Prompt {
            fn from(names: $list) -> Self {
                Self::categories(names)
            }
        }
    )+};
}

with_lists_of_names!(from_names);

/// As [`Prompt::categories`].
impl<C: Into<Category>> FromIterator<C> for Prompt {
    fn from_iter<I: IntoIterator<Item = C>>(categories: I) -> Self {
        Self::categories(categories)
    }
}
