//! Finding phrases in a caption.

use std::ops::Range;

use super::phrase::Phrase;
use crate::error::{Error, Result};

/// The spans of a phrase in rising order, if each is a range of whole characters and not empty.
pub(super) fn check_spans(
    caption: &str,
    spans: &[Range<usize>],
    index: usize,
) -> Result<Vec<Range<usize>>> {
    if spans.is_empty() {
        return Err(Error::EmptyPhrase { index });
    }
    spans
        .iter()
        .try_for_each(|span| check_span(caption, span))?;
    let mut spans = spans.to_vec();
    spans.sort_by_key(|span| (span.start, span.end));
    Ok(spans)
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

/// Ranges of characters as ranges of bytes.
pub(super) fn byte_spans(caption: &str, spans: &[Range<usize>]) -> Result<Vec<Range<usize>>> {
    let begins: Vec<usize> = caption
        .char_indices()
        .map(|(at, _)| at)
        .chain([caption.len()])
        .collect();
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

/// The words of a phrase as they stand in the caption.
pub(super) fn words(caption: &str, spans: &[Range<usize>]) -> String {
    let words: Vec<_> = spans.iter().map(|span| &caption[span.clone()]).collect();
    words.join(" ")
}

/// The phrase's first occurrence after the last of the phrases `before` it, else from the
/// start; in either case one that is not taken.
pub(super) fn find(caption: &str, phrase: &str, before: &[Phrase]) -> Result<Range<usize>> {
    let is_free =
        |span: &Range<usize>| !before.iter().any(|earlier| earlier.spans == [span.clone()]);
    let last = before.last().and_then(|earlier| earlier.spans.last());
    let begin = last.map_or(0, |span| span.end);
    occurrences(caption, phrase)
        .filter(|span| span.start >= begin)
        .chain(occurrences(caption, phrase))
        .find(is_free)
        .ok_or_else(|| Error::PhraseNotInCaption {
            phrase: phrase.to_owned(),
            caption: caption.to_owned(),
            occurrences: occurrences(caption, phrase).count(),
        })
}

/// Where the phrase stands as whole words, in any letter case.
fn occurrences<'a>(caption: &'a str, phrase: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    caption.char_indices().filter_map(move |(begin, _)| {
        let end = begin + matching_start(&caption[begin..], phrase)?;
        (!cuts_word(caption, begin) && !cuts_word(caption, end)).then_some(begin..end)
    })
}

/// The length in bytes of the start of `text` that reads as `phrase`. It is compared character by
/// character because lower-casing can change a text's length.
fn matching_start(text: &str, phrase: &str) -> Option<usize> {
    let mut rest = text.chars();
    for wanted in phrase.chars() {
        let found = rest.next()?;
        if found != wanted && !found.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    Some(text.len() - rest.as_str().len())
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
