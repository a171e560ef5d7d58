//! Finding phrases in a caption.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use crate::error::{Error, Result};

/// A caption in which phrases are looked for, one after another. What is needed of the whole text for that
/// is found out once.
pub(super) struct Caption<'a> {
    text: &'a str,
    /// Where each character begins, and the end.
    begins: Option<Vec<usize>>,
    lower: Option<LowerCase>,
    /// Where each phrase stands as whole words.
    occurrences: HashMap<String, Vec<Range<usize>>>,
    /// The spans of phrases of one span each.
    taken: HashSet<Range<usize>>,
    /// The end of the phrase before.
    last: usize,
}

impl<'a> Caption<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            begins: None,
            lower: None,
            occurrences: HashMap::new(),
            taken: HashSet::new(),
            last: 0,
        }
    }

    /// The spans of a phrase in rising order, if each is a range of whole characters and not empty.
    pub(super) fn spans(
        &mut self,
        spans: &[Range<usize>],
        index: usize,
    ) -> Result<Vec<Range<usize>>> {
        if spans.is_empty() {
            return Err(Error::EmptyPhrase { index });
        }
        spans
            .iter()
            .try_for_each(|span| check_span(self.text, span))?;
        let mut spans = spans.to_vec();
        spans.sort_by_key(|span| (span.start, span.end));
        if let [only] = spans.as_slice() {
            self.taken.insert(only.clone());
        }
        self.last = spans.last().map_or(self.last, |span| span.end);
        Ok(spans)
    }

    /// Ranges of characters as ranges of bytes.
    pub(super) fn byte_spans(&mut self, spans: &[Range<usize>]) -> Result<Vec<Range<usize>>> {
        let text = self.text;
        let begins = self.begins.get_or_insert_with(|| {
            let begins = text.char_indices().map(|(at, _)| at);
            begins.chain([text.len()]).collect()
        });
        let bytes = |span: &Range<usize>| match (begins.get(span.start), begins.get(span.end)) {
            (Some(&begin), Some(&end)) if begin < end => Ok(begin..end),
            _ => Err(Error::SpanOutOfRange {
                span: span.clone(),
                length: begins.len() - 1,
                unit: "characters",
            }),
        };
        spans.iter().map(bytes).collect()
    }

    /// The phrase's first occurrence after the phrase before it, else from the start; in either case one
    /// that is not taken.
    pub(super) fn find(&mut self, phrase: &str) -> Result<Range<usize>> {
        if !self.occurrences.contains_key(phrase) {
            let lower = self.lower.get_or_insert_with(|| LowerCase::new(self.text));
            let found = lower.find(phrase).into_iter();
            let whole = found.filter(|span| {
                !cuts_word(self.text, span.start) && !cuts_word(self.text, span.end)
            });
            self.occurrences.insert(phrase.to_owned(), whole.collect());
        }
        let occurrences = &self.occurrences[phrase];
        let after = occurrences.partition_point(|span| span.start < self.last);
        let in_turn = occurrences[after..].iter().chain(&occurrences[..after]);
        let free = in_turn.clone().find(|span| !self.taken.contains(*span));
        let Some(span) = free.cloned() else {
            return Err(Error::PhraseNotInCaption {
                phrase: phrase.to_owned(),
                caption: self.text.to_owned(),
                occurrences: occurrences.len(),
            });
        };
        self.taken.insert(span.clone());
        self.last = span.end;
        Ok(span)
    }
}

fn check_span(caption: &str, span: &Range<usize>) -> Result<()> {
    if span.start >= span.end || span.end > caption.len() {
        return Err(Error::SpanOutOfRange {
            span: span.clone(),
            length: caption.len(),
            unit: "bytes",
        });
    }
    if !caption.is_char_boundary(span.start) || !caption.is_char_boundary(span.end) {
        return Err(Error::SpanInsideCharacter {
            span: span.clone(),
            caption: caption.to_owned(),
        });
    }
    Ok(())
}

/// The words of a phrase as they stand in the caption.
pub(super) fn words(caption: &str, spans: &[Range<usize>]) -> String {
    let words: Vec<_> = spans.iter().map(|span| &caption[span.clone()]).collect();
    words.join(" ")
}

/// A text in lower case, whose letters know where they come from: lower case can have another length.
struct LowerCase {
    letters: Vec<char>,
    /// The place in the text of each letter that is the first of its character, and the end.
    places: Vec<Option<usize>>,
}

impl LowerCase {
    fn new(text: &str) -> Self {
        let (mut letters, mut places) = (Vec::new(), Vec::new());
        for (at, character) in text.char_indices() {
            places.push(Some(at));
            letters.extend(character.to_lowercase());
            places.resize(letters.len(), None);
        }
        places.push(Some(text.len()));
        Self { letters, places }
    }

    /// All occurrences of a phrase in any letter case, overlapping ones too, as bytes of the text. No
    /// letter is looked at twice (Knuth, Morris and Pratt).
    fn find(&self, phrase: &str) -> Vec<Range<usize>> {
        let wanted: Vec<char> = phrase.chars().flat_map(char::to_lowercase).collect();
        let borders = borders(&wanted);
        let mut found = Vec::new();
        let mut matched = 0;
        for (at, letter) in self.letters.iter().enumerate() {
            while matched > 0 && wanted.get(matched) != Some(letter) {
                matched = borders[matched - 1];
            }
            matched += usize::from(wanted.get(matched) == Some(letter));
            if matched == wanted.len() && matched > 0 {
                let ends = (self.places[at + 1 - matched], self.places[at + 1]);
                if let (Some(begin), Some(end)) = ends {
                    found.push(begin..end);
                }
            }
        }
        found
    }
}

/// For each start of `word`, how much of it is both its start and its end, but not all of it.
fn borders(word: &[char]) -> Vec<usize> {
    let mut borders = vec![0; word.len()];
    let mut border = 0;
    for at in 1..word.len() {
        while border > 0 && word[border] != word[at] {
            border = borders[border - 1];
        }
        border += usize::from(word[border] == word[at]);
        borders[at] = border;
    }
    borders
}

/// Whether a letter or digit stands on both sides of this place.
pub(super) fn cuts_word(text: &str, place: usize) -> bool {
    let (before, after) = text.split_at(place);
    before.ends_with(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric)
}

/// The span, extended to whole words.
pub(super) fn whole_words<'a>(text: &'a str, span: &Range<usize>) -> &'a str {
    let is_gap = |c: char| !c.is_alphanumeric();
    let begin = text[..span.start].rfind(is_gap);
    let begin = begin.map_or(0, |at| {
        at + text[at..].chars().next().map_or(0, char::len_utf8)
    });
    let end = text[span.end..].find(is_gap);
    &text[begin..end.map_or(text.len(), |at| span.end + at)]
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use crate::{
        error::{Error, Result},
        prompt::{phrase::Phrase, prompt::Prompt, rule::PromptRule},
    };

    fn locate(prompt: &Prompt) -> Result<Vec<Phrase>> {
        let rendered = PromptRule::default().render(prompt)?;
        Ok(rendered.phrases().to_vec())
    }

    /// What each phrase was found as, as bytes of the caption.
    fn found(caption: &str, phrases: &[&str]) -> Vec<usize> {
        let prompt = Prompt::caption(caption).phrases(phrases);
        let located = locate(&prompt).unwrap();
        assert!(
            located
                .iter()
                .enumerate()
                .all(|(i, phrase)| phrase.index == i)
        );
        located
            .into_iter()
            .map(|phrase| phrase.spans[0].start)
            .collect()
    }

    #[test]
    fn phrases_are_whole_words() {
        assert_eq!(found("concatenate a cat", &["cat"]), [14]);
        assert_eq!(found("cats, cat", &["cat"]), [6]);
        assert_eq!(found("\"cat\"", &["cat"]), [1]);
    }

    #[test]
    fn letter_case_does_not_matter() {
        assert_eq!(found("Ärger mit Ölkannen", &["ärger", "ÖLKANNEN"]), [0, 11]);
    }

    #[test]
    fn repeated_phrases_take_the_next_occurrence() {
        assert_eq!(found("a dog and a dog", &["a dog", "a dog"]), [0, 10]);
        assert_eq!(found("a b b", &["b", "a", "b"]), [2, 0, 4]);
    }

    #[test]
    fn the_order_of_the_caption_decides_between_occurrences() {
        assert_eq!(
            found("a red ball, a ball", &["a red ball", "ball"]),
            [0, 14]
        );
        assert_eq!(
            found("the hat of the man in the hat", &["the man", "the hat"]),
            [11, 22]
        );
    }

    #[test]
    fn any_order_and_nesting_are_found() {
        assert_eq!(found("a cat near a dog", &["a dog", "a cat"]), [11, 0]);
        assert_eq!(
            found("the man in a hat", &["the man in a hat", "a hat"]),
            [0, 11]
        );
    }

    #[test]
    fn occurrences_may_overlap_and_change_their_length() {
        assert_eq!(found("a b a b a", &["a b a", "b a b"]), [0, 2]);
        assert_eq!(found("a a a", &["a a", "a a"]), [0, 2]);
        // In lower case, a dotted I is two letters, and the second alone is none of the text's.
        assert_eq!(
            found("\u{130} and i\u{307} dot", &["i\u{307}", "\u{130}"]),
            [0, 7]
        );
    }

    /// 50,000 phrases in a caption of as many words, and a phrase that nearly stands there everywhere.
    #[test]
    fn many_phrases_in_long_captions_take_no_time() {
        let begun = std::time::Instant::now();
        let caption = "a ".repeat(50_000);
        let words = vec!["a"; 50_000];
        assert_eq!(found(&caption, &words).last(), Some(&99_998));
        let nearly = "a ".repeat(20_000) + "b";
        assert!(locate(&Prompt::caption(&caption).phrases([nearly])).is_err());
        let characters = (0..50_000).map(|at| 2 * at..2 * at + 1);
        let spans = locate(&Prompt::caption(&caption).char_spans(characters)).unwrap();
        assert_eq!(spans.len(), 50_000);
        // Quadratic, it is minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    }

    #[test]
    fn missing_phrases_are_errors() {
        let caption = Prompt::caption("a cat");
        for (phrases, expected) in [(vec!["dog"], 0), (vec!["at"], 0), (vec!["cat", "cat"], 1)] {
            match locate(&caption.clone().phrases(&phrases)) {
                Err(Error::PhraseNotInCaption { occurrences, .. }) => {
                    assert_eq!(occurrences, expected, "{phrases:?}");
                }
                other => panic!("{phrases:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn spans_of_characters_become_spans_of_bytes() {
        let caption = Prompt::caption("👩‍🚀 süß");
        let located = locate(&caption.clone().char_spans([4..7, 0..3])).unwrap();
        assert_eq!(located[0].label, "süß");
        assert_eq!(located[1].label, "👩‍🚀");
        for span in [4..8, 7..8, 4..4] {
            let error = locate(&caption.clone().char_spans([span.clone()]));
            assert!(
                matches!(
                    error,
                    Err(Error::SpanOutOfRange {
                        length: 7,
                        unit: "characters",
                        ..
                    })
                ),
                "{span:?}: {error:?}"
            );
        }
    }

    #[test]
    fn wrong_spans_are_errors() {
        let caption = Prompt::caption("süß");
        for span in [2..2, 3..9, 9..10] {
            let error = locate(&caption.clone().spans([span.clone()])).unwrap_err();
            assert!(
                matches!(error, Error::SpanOutOfRange { length: 5, .. }),
                "{span:?}: {error}"
            );
        }
        let reversed = Range { start: 3, end: 1 };
        let reversed = locate(&caption.clone().spans(std::iter::once(reversed))).unwrap_err();
        assert!(matches!(reversed, Error::SpanOutOfRange { .. }));
        for span in [0..2, 2..5] {
            let error = locate(&caption.clone().spans([span])).unwrap_err();
            assert!(
                matches!(error, Error::SpanInsideCharacter { .. }),
                "{error}"
            );
        }
    }
}
