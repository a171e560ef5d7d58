//! How a model wants prompts written.

use std::{collections::HashMap, ops::Range};

use serde::{Deserialize, Serialize};

use super::{
    caption::{self, Caption},
    category::Wording,
    phrase::Phrase,
    prompt::{Name, Place, Prompt, Words},
};
use crate::error::{Error, Result};

/// How a model wants prompts written: what stands between the names of a list, what ends a text, and
/// which tokens keep phrases apart. A model's manifest states it.
///
/// The default is that of GLIP: names joined by `". "` and nothing after the last, in any letter case.
///
/// ```
/// use glip::{Prompt, parts::PromptRule};
///
/// let prompt = Prompt::categories(["Traffic_light", "U.S. flag"]);
/// let glip = PromptRule::default();
/// assert_eq!(glip.render(&prompt)?.text(), "Traffic light. U.S. flag");
///
/// // As Grounding DINO: every phrase ends with a dot and sees itself alone, so a dot within a name
/// // would break it in two, and is left out.
/// let blocks = PromptRule::default()
///     .with_closing(".")
///     .with_lower_case()
///     .with_block_ends(["[CLS]", "[SEP]", ".", "?"]);
/// assert_eq!(blocks.render(&prompt)?.text(), "traffic light. us flag.");
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PromptRule {
    /// What stands between the names of a list. Default: `". "`, as in GLIP's training.
    pub separator: String,
    /// What a text ends with. Default: nothing.
    pub closing: String,
    /// Whether the text is made lower case. Default: no; tokenizers of BERT do so themselves.
    pub lower_case: bool,
    /// The tokens that end a block, if the model's words see those of their own block alone. Characters
    /// that are such tokens are left out of names. Default: none, all words see each other.
    pub block_ends: Vec<String>,
}

impl Default for PromptRule {
    fn default() -> Self {
        Self {
            separator: ". ".to_owned(),
            closing: String::new(),
            lower_case: false,
            block_ends: Vec::new(),
        }
    }
}

/// A prompt as a model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptText {
    text: String,
    phrases: Vec<Phrase>,
}

impl PromptText {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The phrases, in the order they were given, at their places in the text.
    pub fn phrases(&self) -> &[Phrase] {
        &self.phrases
    }

    pub(super) fn into_parts(self) -> (String, Vec<Phrase>) {
        (self.text, self.phrases)
    }
}

impl PromptRule {
    /// Sets [`separator`](Self::separator).
    #[must_use]
    pub fn with_separator(self, separator: impl Into<String>) -> Self {
        let separator = separator.into();
        Self { separator, ..self }
    }

    /// Sets [`closing`](Self::closing).
    #[must_use]
    pub fn with_closing(self, closing: impl Into<String>) -> Self {
        let closing = closing.into();
        Self { closing, ..self }
    }

    /// Sets [`lower_case`](Self::lower_case).
    #[must_use]
    pub fn with_lower_case(self) -> Self {
        Self {
            lower_case: true,
            ..self
        }
    }

    /// Sets [`block_ends`](Self::block_ends).
    #[must_use]
    pub fn with_block_ends<I>(self, tokens: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self {
            block_ends: tokens.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// The text that the model reads, and the phrases at their places in it.
    ///
    /// # Errors
    /// - [`Error::EmptyPrompt`]: there are no phrases.
    /// - [`Error::EmptyPhrase`], [`Error::EmptySynonym`]: a phrase is empty, or a name is after
    ///   cleaning.
    /// - [`Error::DuplicateLabel`]: two categories have one label.
    /// - [`Error::ContextOverlap`]: a category's context runs into its name.
    /// - [`Error::PhraseNotInCaption`]: a phrase does not occur in the caption, or less often than it
    ///   was given.
    /// - [`Error::SpanOutOfRange`], [`Error::SpanInsideCharacter`]: a span is not a range of
    ///   characters of the caption.
    pub fn render(&self, prompt: &Prompt) -> Result<PromptText> {
        let rendered = match &prompt.0 {
            Words::Text(text) => self.list(&Name::of_text(text))?,
            Words::List(names) => self.list(names)?,
            Words::Caption { text, places } => self.caption(text, places)?,
        };
        match rendered.phrases.is_empty() {
            true => Err(Error::EmptyPrompt),
            false => Ok(rendered),
        }
    }

    /// A name with its context, as it stands in a list.
    pub(super) fn wording(&self, wording: &Wording) -> String {
        let [prefix, name, suffix] = self.parts(wording);
        [prefix, name, suffix].concat()
    }

    /// Prefix, name and suffix.
    fn parts(&self, wording: &Wording) -> [String; 3] {
        [&wording.prefix, &wording.name, &wording.suffix].map(|part| {
            let part = self.without_block_ends(part);
            match self.lower_case {
                true => part.to_lowercase(),
                false => part,
            }
        })
    }

    /// Without the letters that end blocks; a space in their place within a number.
    fn without_block_ends(&self, text: &str) -> String {
        let ends_block = |letter: char| self.block_ends.iter().any(|end| is_letter(end, letter));
        let mut kept = String::with_capacity(text.len());
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            if !ends_block(letter) {
                kept.push(letter);
            } else if kept.ends_with(char::is_numeric)
                && letters.peek().copied().is_some_and(char::is_numeric)
            {
                kept.push(' ');
            }
        }
        kept
    }

    fn list(&self, names: &[Name]) -> Result<PromptText> {
        let mut text = String::new();
        let mut phrases = Vec::with_capacity(names.len());
        for (position, name) in names.iter().enumerate() {
            if position > 0 {
                text.push_str(&self.separator);
            }
            let [prefix, word, suffix] = self.parts(&name.wording);
            if word.trim().is_empty() {
                return Err(empty(name));
            }
            let begin = text.len() + prefix.len();
            let span = begin..begin + word.len();
            text.extend([prefix, word, suffix]);
            phrases.push(Phrase {
                label: name.label.clone(),
                index: name.index,
                spans: vec![span],
            });
        }
        check_list(&text, &phrases)?;
        if !text.is_empty() {
            text.push_str(&self.closing);
        }
        Ok(PromptText { text, phrases })
    }

    fn caption(&self, text: &str, places: &[Place]) -> Result<PromptText> {
        let mut caption = Caption::new(text);
        let mut phrases: Vec<Phrase> = Vec::with_capacity(places.len());
        for (index, place) in places.iter().enumerate() {
            let spans = spans_of(&mut caption, place, index)?;
            phrases.push(Phrase {
                label: caption::words(text, &spans),
                index,
                spans,
            });
        }
        let mut text = text.to_owned();
        if self.lower_case {
            text = lower_case(&text, &mut phrases);
        }
        if !text.trim_end().ends_with(&self.closing) {
            text.push_str(&self.closing);
        }
        Ok(PromptText { text, phrases })
    }
}

/// Whether a token is this one letter.
fn is_letter(token: &str, letter: char) -> bool {
    let mut letters = token.chars();
    letters.next() == Some(letter) && letters.next().is_none()
}

fn empty(name: &Name) -> Error {
    match name.synonym {
        0 => Error::EmptyPhrase { index: name.index },
        synonym => Error::EmptySynonym {
            label: name.label.clone(),
            synonym: synonym - 1,
        },
    }
}

/// That every label is there once, and that context and names are different words.
fn check_list(text: &str, phrases: &[Phrase]) -> Result<()> {
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
        if ends.any(|end| caption::cuts_word(text, end)) {
            return Err(Error::ContextOverlap {
                label: label.clone(),
                words: caption::whole_words(text, &spans[0]).to_owned(),
            });
        }
    }
    Ok(())
}

/// Where a phrase stands in the caption.
fn spans_of(caption: &mut Caption<'_>, place: &Place, index: usize) -> Result<Vec<Range<usize>>> {
    match place {
        Place::Spans(spans) => caption.spans(spans, index),
        Place::CharSpans(spans) => {
            let spans = caption.byte_spans(spans)?;
            caption.spans(&spans, index)
        }
        Place::Words(words) if words.is_empty() => Err(Error::EmptyPhrase { index }),
        Place::Words(words) => Ok(vec![caption.find(words)?]),
    }
}

/// A text in lower case, letter by letter, and its phrases moved to where they are in that.
fn lower_case(text: &str, phrases: &mut [Phrase]) -> String {
    let mut lower = String::with_capacity(text.len());
    let mut moved = HashMap::new();
    for (at, letter) in text.char_indices() {
        moved.insert(at, lower.len());
        lower.extend(letter.to_lowercase());
    }
    moved.insert(text.len(), lower.len());
    for span in phrases.iter_mut().flat_map(|phrase| &mut phrase.spans) {
        // Spans lie between letters, all of which are in the map.
        let place = |at: usize| moved.get(&at).copied().unwrap_or(lower.len());
        *span = place(span.start)..place(span.end);
    }
    lower
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prompt::category::Category;

    fn glip(prompt: &Prompt) -> Result<PromptText> {
        PromptRule::default().render(prompt)
    }

    fn blocks() -> PromptRule {
        PromptRule::default()
            .with_closing(".")
            .with_lower_case()
            .with_block_ends(["[CLS]", "[SEP]", ".", "?"])
    }

    fn labels(rendered: &PromptText) -> Vec<&str> {
        let phrases = rendered.phrases.iter();
        phrases.map(|phrase| phrase.label.as_str()).collect()
    }

    fn spoken(rendered: &PromptText) -> Vec<&str> {
        let phrases = rendered.phrases.iter();
        let spans = phrases.flat_map(|phrase| &phrase.spans);
        spans.map(|span| &rendered.text[span.clone()]).collect()
    }

    #[test]
    fn a_string_is_a_list_of_phrases() {
        let rendered = glip(&Prompt::from(" a red circle .. blue square. ")).unwrap();
        assert_eq!(rendered.text(), "a red circle. blue square");
        assert_eq!(labels(&rendered), ["a red circle", "blue square"]);
        let indices: Vec<_> = rendered.phrases().iter().map(|p| p.index).collect();
        assert_eq!(indices, [0, 1]);
    }

    /// A dot would end the phrase there; a number is not another one without it.
    #[test]
    fn rules_with_blocks_say_numbers_in_two_words() {
        let rendered = blocks()
            .render(&Prompt::from("1.5 inch nail . cat"))
            .unwrap();
        assert_eq!(rendered.text(), "1 5 inch nail. cat.");
        assert_eq!(labels(&rendered), ["1.5 inch nail", "cat"]);
    }

    #[test]
    fn categories_may_hold_dots_and_keep_their_names() {
        let prompt = Prompt::categories(["U.S._flag", "bow_(weapon)", "bow_(ribbon)"]);
        let names = ["U.S._flag", "bow_(weapon)", "bow_(ribbon)"];
        let rendered = glip(&prompt).unwrap();
        assert_eq!(rendered.text(), "U.S. flag. bow. bow");
        assert_eq!(labels(&rendered), names);
        let rendered = blocks().render(&prompt).unwrap();
        assert_eq!(rendered.text(), "us flag. bow. bow.");
        assert_eq!(labels(&rendered), names);
        assert_eq!(spoken(&rendered), ["us flag", "bow", "bow"]);
        let nothing = blocks().render(&Prompt::categories(["a", "..."]));
        assert!(matches!(nothing, Err(Error::EmptyPhrase { index: 1 })));
    }

    #[test]
    fn captions_end_as_the_model_wants_them_to() {
        for (caption, text) in [
            ("A Cat", "a cat."),
            ("A cat. ", "a cat. "),
            ("ẞ, a cat", "ß, a cat."),
        ] {
            let prompt = Prompt::caption(caption).phrases(["cat"]);
            let rendered = blocks().render(&prompt).unwrap();
            assert_eq!(rendered.text(), text);
            assert_eq!(spoken(&rendered), ["cat"]);
            assert_eq!(glip(&prompt).unwrap().text(), caption);
        }
        let label = blocks()
            .render(&Prompt::caption("A Cat").phrases(["cat"]))
            .unwrap();
        assert_eq!(labels(&label), ["Cat"], "as the caller wrote it");
    }

    #[test]
    fn only_the_name_counts_of_a_name_in_context() {
        let prompt = Prompt::categories([
            Category::new("stingray").with_prefix("flat and round "),
            Category::labelled("hand", Wording::new("hand").with_suffix(" of a person"))
                .with_synonym("palm"),
        ]);
        let rendered = glip(&prompt).unwrap();
        let text = "flat and round stingray. hand of a person. palm";
        assert_eq!(rendered.text(), text);
        assert_eq!(spoken(&rendered), ["stingray", "hand", "palm"]);
        let indices: Vec<_> = rendered.phrases().iter().map(|p| p.index).collect();
        assert_eq!(indices, [0, 1, 1]);
    }

    #[test]
    fn context_that_runs_into_the_name_is_an_error() {
        let package = || Category::new("package");
        for (category, expected) in [
            (package().with_prefix("there is a"), "apackage"),
            (package().with_suffix("on the porch"), "packageon"),
        ] {
            match glip(&Prompt::categories([category])) {
                Err(Error::ContextOverlap { label, words }) => {
                    assert_eq!((label.as_str(), words.as_str()), ("package", expected));
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
        let comma = package().with_suffix(", brown");
        assert!(glip(&Prompt::categories([comma])).is_ok());
    }

    #[test]
    fn labels_are_unique_phrases_need_not_be() {
        for prompt in [
            Prompt::categories(["cat", "dog", "cat"]),
            Prompt::from("cat. dog. cat"),
        ] {
            assert!(matches!(
                glip(&prompt),
                Err(Error::DuplicateLabel {
                    first: 0,
                    second: 2,
                    ..
                })
            ));
        }
        let synonym = Category::new("sofa").with_synonym("couch");
        assert!(glip(&Prompt::categories([synonym, "couch".into()])).is_ok());
    }

    #[test]
    fn nothing_to_look_for_is_an_error() {
        for prompt in [
            Prompt::from(""),
            Prompt::from(" . ."),
            Prompt::caption("a cat"),
            Prompt::categories([""; 0]),
        ] {
            for rule in [PromptRule::default(), blocks()] {
                let rendered = rule.render(&prompt);
                assert!(matches!(rendered, Err(Error::EmptyPrompt)), "{prompt:?}");
            }
        }
    }

    #[test]
    fn empty_phrases_are_errors_with_their_index() {
        let cleaned_away = glip(&Prompt::categories(["cat", "(none)"]));
        assert!(matches!(cleaned_away, Err(Error::EmptyPhrase { index: 1 })));
        let synonym = Category::new("cat").with_synonym("kitty").with_synonym(" ");
        assert!(matches!(
            glip(&Prompt::categories([Category::new("dog"), synonym])),
            Err(Error::EmptySynonym { label, synonym: 1 }) if label == "cat"
        ));
        let no_span = glip(&Prompt::caption("a cat").spans([Vec::new()]));
        assert!(matches!(no_span, Err(Error::EmptyPhrase { index: 0 })));
        let empty_words = glip(&Prompt::caption("a cat").phrases([" "]));
        assert!(matches!(empty_words, Err(Error::EmptyPhrase { index: 0 })));
    }

    #[test]
    fn a_list_has_no_caption_to_have_phrases_in() {
        let spans = glip(&Prompt::from("a cat").spans([0..5]));
        assert!(matches!(spans, Err(Error::SpanOutOfRange { .. })));
        let words = glip(&Prompt::from("a cat").phrases(["cat"]));
        assert!(matches!(words, Err(Error::PhraseNotInCaption { .. })));
    }

    #[test]
    fn phrases_and_spans_can_be_mixed() {
        let prompt = Prompt::caption("ein süßer Hund")
            .phrases(["hund"])
            .spans([4..11, 0..3])
            .char_spans([vec![10..14, 0..3]]);
        let rendered = glip(&prompt).unwrap();
        assert_eq!(labels(&rendered), ["Hund", "süßer", "ein", "ein Hund"]);
        let indices: Vec<_> = rendered.phrases().iter().map(|p| p.index).collect();
        assert_eq!(indices, [0, 1, 2, 3]);
    }

    proptest! {
        /// Lower-casing changes lengths; phrases stay the same words.
        #[test]
        fn phrases_move_with_their_letters(text in "\\PC{1,20}", ends in (0usize..20, 0usize..20)) {
            let count = text.chars().count();
            let (begin, end) = (ends.0.min(ends.1).min(count - 1), ends.0.max(ends.1).min(count - 1) + 1);
            let prompt = Prompt::caption(&text).char_spans([begin..end]);
            let rendered = PromptRule::default().with_lower_case().render(&prompt).unwrap();
            let letters = text.chars().skip(begin).take(end - begin);
            let expected: String = letters.flat_map(char::to_lowercase).collect();
            prop_assert_eq!(spoken(&rendered), [expected.as_str()]);
        }
    }
}
