//! Lists of phrases: cleaning names, joining them into a text, and grouping them to fit the model.

use std::ops::Range;

use super::{Phrase, Tokenizer};
use crate::error::{Error, Result};

/// What stands between the phrases of a list, in training and evaluation; none after the last.
pub(super) const SEPARATOR: &str = ". ";

/// A category name as official cleans it: without text in parentheses (from the first opening to
/// the last closing one), spaces for underscores, and single spaces.
pub(super) fn clean_name(name: &str) -> String {
    let outside = match (name.find('('), name.rfind(')')) {
        (Some(open), Some(close)) if open < close => [&name[..open], &name[close + 1..]].concat(),
        _ => name.to_owned(),
    };
    let words = outside.split(|c: char| c == '_' || c.is_whitespace());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The phrases as one text, and the byte range of each in it.
pub(super) fn join<S: AsRef<str>>(phrases: &[S]) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let mut spans = Vec::with_capacity(phrases.len());
    for (position, phrase) in phrases.iter().enumerate() {
        if position > 0 {
            text.push_str(SEPARATOR);
        }
        let begin = text.len();
        text.push_str(phrase.as_ref());
        spans.push(begin..text.len());
    }
    (text, spans)
}

/// Ranges of neighbouring phrases that together, with their separators, fit the model. Each is as
/// long as it can be.
pub(super) fn group_to_fit(phrases: &[Phrase], tokenizer: &Tokenizer) -> Result<Vec<Range<usize>>> {
    let limit = tokenizer.max_tokens();
    let empty = tokenizer.special_tokens()?;
    let separator = tokenizer.count(SEPARATOR)?;
    let mut groups = Vec::new();
    let mut begin = 0;
    let mut used = empty;
    for (position, phrase) in phrases.iter().enumerate() {
        let tokens = tokenizer.count(&phrase.text)?;
        if empty + tokens > limit {
            let phrase = phrase.text.clone();
            return Err(Error::PhraseTooLong {
                phrase,
                tokens: empty + tokens,
                limit,
            });
        }
        if position > begin && used + separator + tokens > limit {
            groups.push(begin..position);
            begin = position;
            used = empty;
        }
        used += tokens + if position > begin { separator } else { 0 };
    }
    groups.push(begin..phrases.len());
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Prompt, prompt::tokens::tests::tokenizer};

    #[test]
    fn names_are_cleaned_as_official_does() {
        let cases = [
            ("traffic_light", "traffic light"),
            ("flip-flop_(sandal)", "flip-flop"),
            ("bow_(decorative_ribbons)", "bow"),
            ("a (b) c (d) e", "a e"),
            ("dining  table", "dining table"),
            ("odd) name (", "odd) name ("),
            ("(all)", ""),
        ];
        for (name, cleaned) in cases {
            assert_eq!(clean_name(name), cleaned, "{name}");
        }
    }

    #[test]
    fn spans_are_those_of_the_phrases() {
        let (text, spans) = join(&["a cat", "日本", "dog"]);
        assert_eq!(text, "a cat. 日本. dog");
        let parts: Vec<_> = spans.into_iter().map(|span| &text[span]).collect();
        assert_eq!(parts, ["a cat", "日本", "dog"]);
    }

    #[test]
    fn chunks_fill_the_model_and_keep_indices() {
        // "a red circle" takes 3 tokens, a separator 1, [CLS] and [SEP] 2: three phrases take 13.
        let names = ["a red circle"; 7];
        for (limit, sizes) in [(12, vec![2, 2, 2, 1]), (13, vec![3, 3, 1]), (100, vec![7])] {
            let tokenizer = tokenizer(limit);
            let chunks = Prompt::categories(names).chunks(&tokenizer).unwrap();
            let mut indices = Vec::new();
            for (chunk, size) in chunks.iter().zip(&sizes) {
                let tokens = tokenizer.tokenize(chunk).unwrap();
                assert_eq!(tokens.phrases().len(), *size);
                indices.extend(tokens.phrases().iter().map(|found| found.phrase.index));
            }
            assert_eq!(chunks.len(), sizes.len());
            assert_eq!(indices, [0, 1, 2, 3, 4, 5, 6]);
        }
    }

    #[test]
    fn what_cannot_be_split_is_an_error() {
        let tokenizer = tokenizer(4);
        let error = Prompt::categories(["cat", "a red circle"])
            .chunks(&tokenizer)
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::PhraseTooLong {
                    tokens: 5,
                    limit: 4,
                    ..
                }
            ),
            "{error}"
        );
        let caption = Prompt::caption("a red circle").phrases(["circle"]);
        let error = caption.chunks(&tokenizer).unwrap_err();
        assert!(
            matches!(
                error,
                Error::PromptTooLong {
                    tokens: 5,
                    limit: 4
                }
            ),
            "{error}"
        );
    }
}
