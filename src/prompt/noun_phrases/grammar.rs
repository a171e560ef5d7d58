//! From parts of speech to noun phrases.

use std::ops::Range;

use super::treebank::Token;

/// What the grammar tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Determiner,
    Adjective,
    Noun,
    Other,
}

/// The noun phrases of tokens with these parts of speech: `NP: {<DT>?<JJ.*>*<NN.*>+}`, the first and
/// longest matches.
pub(super) fn phrases(tokens: &[Token], parts: impl Iterator<Item = Part>) -> Vec<Range<usize>> {
    let mut phrases = Vec::new();
    let mut begin: Option<&Token> = None;
    let mut last_noun: Option<&Token> = None;
    for (token, part) in tokens.iter().zip(parts) {
        let continues = match part {
            Part::Noun => true,
            Part::Adjective => last_noun.is_none(),
            Part::Determiner | Part::Other => false,
        };
        if !continues {
            phrases.extend(span(begin.take(), last_noun.take()));
        }
        if part != Part::Other {
            begin = begin.or(Some(token));
        }
        if part == Part::Noun {
            last_noun = Some(token);
        }
    }
    phrases.extend(span(begin, last_noun));
    phrases
}

fn span(begin: Option<&Token>, end: Option<&Token>) -> Option<Range<usize>> {
    Some(begin?.span.start..end?.span.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_takes_the_first_and_longest() {
        // D, A, N, and `.` for anything else.
        let cases: [(&str, &[&str]); 8] = [
            ("DAAN.DN", &["DAAN", "DN"]),
            ("DDN", &["DN"]),
            ("DA.N", &["N"]),
            ("NNAN", &["NN", "AN"]),
            ("NDN", &["N", "DN"]),
            ("AADAN", &["DAN"]),
            ("DA", &[]),
            ("", &[]),
        ];
        for (letters, expected) in cases {
            let part = |letter| match letter {
                'D' => Part::Determiner,
                'A' => Part::Adjective,
                'N' => Part::Noun,
                _ => Part::Other,
            };
            let token = |(at, letter): (usize, char)| Token {
                text: letter.to_string(),
                span: at..at + 1,
            };
            let tokens: Vec<_> = letters.char_indices().map(token).collect();
            let found = phrases(&tokens, letters.chars().map(part));
            let found: Vec<_> = found.into_iter().map(|span| &letters[span]).collect();
            assert_eq!(found, expected, "{letters}");
        }
    }
}
