//! From words to tokens: what to look for, and where each phrase lies in the model's input.

mod caption;
mod category;
mod category_file;
mod describe;
mod learned;
#[cfg(feature = "captions")]
mod noun_phrases;
mod tokens;
mod vocabulary;

use std::{collections::HashMap, ops::Range};

#[cfg(test)]
pub(crate) use self::learned::tests::learned_file;
#[cfg(feature = "captions")]
pub use self::noun_phrases::{NounPhrases, PerceptronTagger, PhraseExtractor};
pub use self::{
    caption::PhraseSpans,
    category::{Category, Wording},
    learned::LearnedPrompt,
    tokens::{TokenizedPhrase, TokenizedPrompt, Tokenizer},
    vocabulary::Vocabulary,
};
use crate::error::{Error, Result};

/// What stands between the phrases of a list, in training and evaluation; none after the last.
const SEPARATOR: &str = ". ";

/// What to look for: a text, and the phrases in it that shall be found in the image.
///
/// | made by | text | phrases |
/// | --- | --- | --- |
/// | `Prompt::from("a cat . red car")` | pieces joined by `". "` | each piece between dots; empty pieces are skipped |
/// | [`Prompt::categories`] | cleaned names, with their context, joined by `". "` | each name |
/// | [`Prompt::caption`] | the caption as it is | those given by [`phrases`](Prompt::phrases), [`spans`](Prompt::spans) and [`char_spans`](Prompt::char_spans) |
///
/// A phrase's index is its place in what the caller gave, and detections carry it. Making a prompt
/// never fails; what is wrong with one is reported when it is used, and by [`locate`](Prompt::locate).
///
/// ```
/// use glip::Prompt;
///
/// let list = Prompt::from("a red car . bicycle");
/// assert_eq!(list.text(), "a red car. bicycle");
///
/// let names = Prompt::categories(["traffic_light", "flip-flop (sandal)"]);
/// assert_eq!(names.text(), "traffic light. flip-flop");
///
/// let caption = Prompt::caption("A dog chases a dog").phrases(["a dog", "a dog"]);
/// let spans: Vec<_> = caption.locate()?.into_iter().map(|phrase| phrase.spans).collect();
/// assert_eq!(spans, [[0..5], [13..18]]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    text: String,
    targets: Vec<Target>,
    kind: Kind,
}

/// A phrase as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// The caller's name for it, if that is not the phrase itself.
    label: Option<String>,
    index: usize,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Byte ranges in the text.
    Spans(Vec<Range<usize>>),
    /// Character ranges in the text.
    CharSpans(Vec<Range<usize>>),
    /// Words, which are looked for in the text.
    Words(String),
    /// Nowhere: nothing is left of a name. 0 is a category's own, synonyms follow.
    Nowhere { synonym: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The text is nothing but the phrases, their context and separators.
    List,
    Caption,
}

/// A phrase at its place in a prompt's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// What detections of it are called: the category's label as the caller gave it, or the phrase
    /// as it stands in a caption.
    pub label: String,
    /// Its place among the phrases or categories that the caller gave. Synonyms share one.
    pub index: usize,
    /// Where it stands in the text, as byte ranges in rising order; more than one if other words
    /// stand between its own.
    pub spans: Vec<Range<usize>>,
}

/// A name that is wanted, and of which category.
struct Wanted<'a> {
    label: &'a str,
    index: usize,
    synonym: usize,
    wording: &'a Wording,
}

impl<'a> Wanted<'a> {
    /// All names of all categories.
    fn of(categories: &'a [Category]) -> Vec<Self> {
        let numbered = categories.iter().enumerate();
        let names = numbered.flat_map(|(index, Category { label, wordings })| {
            let numbered = wordings.iter().enumerate();
            numbered.map(move |(synonym, wording)| Self {
                label,
                index,
                synonym,
                wording,
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
        Self::list(Wanted::of(&categories))
    }

    /// A sentence, whose phrases are then given with [`phrases`](Self::phrases),
    /// [`spans`](Self::spans) or [`char_spans`](Self::char_spans).
    ///
    /// ```
    /// use glip::Prompt;
    ///
    /// let prompt = Prompt::caption("a cat on the left of a dog").phrases(["a cat", "a dog"]);
    /// assert_eq!(prompt.locate()?[1].spans, [21..26]);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn caption(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            targets: Vec::new(),
            kind: Kind::Caption,
        }
    }

    /// Adds phrases by their words, which are looked for in the text: whole words, in any letter
    /// case.
    ///
    /// A phrase that occurs several times is taken after the phrase before it, or, if it does not
    /// occur there, from the start. The same phrase given again takes the next occurrence. For text
    /// without spaces between words use [`spans`](Self::spans).
    pub fn phrases<I>(self, phrases: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let words = phrases
            .into_iter()
            .map(|phrase| match phrase.as_ref().trim() {
                "" => Place::Nowhere { synonym: 0 },
                words => Place::Words(words.to_owned()),
            });
        self.with_places(words)
    }

    /// Adds phrases by their byte ranges in the text: one range a phrase, or several.
    ///
    /// ```
    /// use glip::Prompt;
    ///
    /// let prompt = Prompt::caption("a cat and a dog").spans([0..5, 10..15]);
    /// assert_eq!(prompt.locate()?[1].label, "a dog");
    ///
    /// // One phrase, "a big dog", with other words in between.
    /// let prompt = Prompt::caption("a big and hungry dog").spans([[0..5, 17..20]]);
    /// assert_eq!(prompt.locate()?[0].label, "a big dog");
    /// # Ok::<(), glip::Error>(())
    /// ```
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
    /// use glip::Prompt;
    ///
    /// let prompt = Prompt::caption("ein süßer Hund").char_spans([10..14]);
    /// assert_eq!(prompt.locate()?[0].label, "Hund");
    /// assert_eq!(prompt.locate()?[0].spans, [12..16]);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn char_spans<I>(self, spans: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<PhraseSpans>,
    {
        let spans = spans.into_iter();
        self.with_places(spans.map(|spans| Place::CharSpans(spans.into().0)))
    }

    /// Adds the phrases that an extractor finds in the text, for example its noun phrases (feature
    /// `captions`).
    ///
    /// ```
    /// use glip::{NounPhrases, Prompt};
    ///
    /// let prompt = Prompt::caption("the cat on a mat").extract(&NounPhrases);
    /// let labels: Vec<_> = prompt.locate()?.into_iter().map(|phrase| phrase.label).collect();
    /// assert_eq!(labels, ["the cat", "a mat"]);
    /// # Ok::<(), glip::Error>(())
    /// ```
    #[cfg(feature = "captions")]
    pub fn extract(self, extractor: &(impl PhraseExtractor + ?Sized)) -> Self {
        let spans = extractor.extract(&self.text);
        self.spans(spans)
    }

    /// The text that the model reads.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The phrases, in the order they were given, at their places in the text.
    ///
    /// # Errors
    /// - [`Error::EmptyPrompt`]: there are no phrases.
    /// - [`Error::EmptyPhrase`], [`Error::EmptySynonym`]: a phrase is empty, or a name is after
    ///   cleaning.
    /// - [`Error::DuplicateLabel`]: two categories have one label.
    /// - [`Error::ContextOverlap`]: a category's context runs into its name.
    /// - [`Error::PhraseNotInCaption`]: a phrase does not occur in the text, or less often than it
    ///   was given.
    /// - [`Error::SpanOutOfRange`], [`Error::SpanInsideCharacter`]: a span is not a range of
    ///   characters of the text.
    pub fn locate(&self) -> Result<Vec<Phrase>> {
        let mut phrases: Vec<Phrase> = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            let spans = self.place(target, &phrases)?;
            let label = match &target.label {
                Some(label) => label.clone(),
                None => caption::words(&self.text, &spans),
            };
            phrases.push(Phrase {
                label,
                index: target.index,
                spans,
            });
        }
        if phrases.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if self.kind == Kind::List {
            self.check_list(&phrases)?;
        }
        Ok(phrases)
    }

    /// Where a phrase stands; `before` are those that were given before it.
    fn place(&self, target: &Target, before: &[Phrase]) -> Result<Vec<Range<usize>>> {
        let index = target.index;
        match &target.place {
            Place::Spans(spans) => caption::check_spans(&self.text, spans, index),
            Place::CharSpans(spans) => {
                let spans = caption::byte_spans(&self.text, spans)?;
                caption::check_spans(&self.text, &spans, index)
            }
            Place::Words(words) => Ok(vec![caption::find(&self.text, words, before)?]),
            Place::Nowhere { synonym: 0 } => Err(Error::EmptyPhrase { index }),
            Place::Nowhere { synonym } => Err(Error::EmptySynonym {
                label: target.label.clone().unwrap_or_default(),
                synonym: synonym - 1,
            }),
        }
    }

    /// That every label is there once, and that context and names are different words.
    fn check_list(&self, phrases: &[Phrase]) -> Result<()> {
        let mut indices = HashMap::new();
        for Phrase {
            label,
            index,
            spans,
        } in phrases
        {
            let first = *indices.entry(label).or_insert(*index);
            if first != *index {
                return Err(Error::DuplicateLabel {
                    label: label.clone(),
                    first,
                    second: *index,
                });
            }
            let mut ends = spans.iter().flat_map(|span| [span.start, span.end]);
            if ends.any(|end| caption::cuts_word(&self.text, end)) {
                return Err(Error::ContextOverlap {
                    label: label.clone(),
                    words: caption::whole_words(&self.text, &spans[0]).to_owned(),
                });
            }
        }
        Ok(())
    }

    fn with_places(mut self, places: impl Iterator<Item = Place>) -> Self {
        let first = self.targets.last().map_or(0, |target| target.index + 1);
        let targets = (first..).zip(places).map(|(index, place)| Target {
            label: None,
            index,
            place,
        });
        self.targets.extend(targets);
        self.kind = Kind::Caption;
        self
    }

    /// A list of names in this order.
    fn list(wanted: Vec<Wanted<'_>>) -> Self {
        let mut text = String::new();
        let mut targets = Vec::with_capacity(wanted.len());
        for (position, wanted) in wanted.iter().enumerate() {
            if position > 0 {
                text.push_str(SEPARATOR);
            }
            let begin = text.len() + wanted.wording.prefix.len();
            let span = begin..begin + wanted.wording.name.len();
            text.push_str(&wanted.wording.text());
            targets.push(Target {
                label: Some(wanted.label.to_owned()),
                index: wanted.index,
                place: match span.is_empty() {
                    true => Place::Nowhere {
                        synonym: wanted.synonym,
                    },
                    false => Place::Spans(vec![span]),
                },
            });
        }
        Self {
            text,
            targets,
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
        Self::categories(pieces.map(Category::verbatim))
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
            .map(|phrase| phrase.label)
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
    fn categories_may_hold_dots_and_keep_their_names() {
        let prompt = Prompt::categories(["U.S._flag", "bow_(weapon)", "bow_(ribbon)"]);
        assert_eq!(prompt.text(), "U.S. flag. bow. bow");
        assert_eq!(
            texts(&prompt),
            ["U.S._flag", "bow_(weapon)", "bow_(ribbon)"]
        );
    }

    #[test]
    fn only_the_name_counts_of_a_name_in_context() {
        let prompt = Prompt::categories([
            Category::new("stingray").with_prefix("flat and round "),
            Category::labelled("hand", Wording::new("hand").with_suffix(" of a person"))
                .with_synonym("palm"),
        ]);
        let text = "flat and round stingray. hand of a person. palm";
        assert_eq!(prompt.text(), text);
        let found = prompt.locate().unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|phrase| (&text[phrase.spans[0].clone()], phrase.index))
            .collect();
        assert_eq!(names, [("stingray", 0), ("hand", 1), ("palm", 1)]);
    }

    #[test]
    fn context_that_runs_into_the_name_is_an_error() {
        let package = || Category::new("package");
        for (category, expected) in [
            (package().with_prefix("there is a"), "apackage"),
            (package().with_suffix("on the porch"), "packageon"),
        ] {
            match Prompt::categories([category]).locate() {
                Err(Error::ContextOverlap { label, words }) => {
                    assert_eq!((label.as_str(), words.as_str()), ("package", expected));
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
        let comma = package().with_suffix(", brown");
        assert!(Prompt::categories([comma]).locate().is_ok());
    }

    #[test]
    fn labels_are_unique_phrases_need_not_be() {
        for prompt in [
            Prompt::categories(["cat", "dog", "cat"]),
            Prompt::from("cat. dog. cat"),
        ] {
            assert!(matches!(
                prompt.locate(),
                Err(Error::DuplicateLabel {
                    first: 0,
                    second: 2,
                    ..
                })
            ));
        }
        let synonym = Category::new("sofa").with_synonym("couch");
        assert!(
            Prompt::categories([synonym, "couch".into()])
                .locate()
                .is_ok()
        );
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
        let synonym = Category::new("cat").with_synonym("kitty").with_synonym(" ");
        assert!(matches!(
            Prompt::categories([Category::new("dog"), synonym]).locate(),
            Err(Error::EmptySynonym { label, synonym: 1 }) if label == "cat"
        ));
        let no_span = Prompt::caption("a cat").spans([Vec::new()]);
        assert!(matches!(
            no_span.locate(),
            Err(Error::EmptyPhrase { index: 0 })
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
            .spans([4..11, 0..3])
            .char_spans([vec![10..14, 0..3]]);
        assert_eq!(texts(&prompt), ["Hund", "süßer", "ein", "ein Hund"]);
        let indices: Vec<_> = prompt.locate().unwrap().iter().map(|p| p.index).collect();
        assert_eq!(indices, [0, 1, 2, 3]);
    }
}
