//! Words as the Penn Treebank splits them, each with its place in the text.
//!
//! The rules and their order are those of NLTK's `NLTKWordTokenizer`, which taggers are trained with.
//! Each of them puts spaces around something, or turns `"` into the Treebank's quotation marks; in
//! the end, tokens are what stands between spaces. Here characters remember where they come from, so
//! that a token's place is known and need not be searched for.

use std::ops::Range;

#[cfg(test)]
use super::work;

/// A word or a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    /// Where it stands in the whole text, in bytes.
    pub(super) span: Range<usize>,
}

/// The tokens of one sentence that begins at byte `start` of the whole text. `change` can replace
/// characters before they are looked at.
pub(super) fn tokens(sentence: &str, start: usize, change: impl Fn(char) -> char) -> Vec<Token> {
    let mut characters = Characters::default();
    for (at, character) in sentence.char_indices() {
        let begin = start + at;
        characters.push(change(character), begin..begin + character.len_utf8());
    }
    characters.split_words();
    characters.into_tokens()
}

/// The tokens of one sentence in lower case, with their places in the sentence as it is.
pub(super) fn lowercase_tokens(sentence: &str, start: usize) -> Vec<Token> {
    let mut characters = Characters::default();
    // The whole at once, because the lower case of a sigma depends on what is around it.
    let lowercase = sentence.to_lowercase();
    let mut rest = lowercase.chars();
    for (at, character) in sentence.char_indices() {
        let begin = start + at;
        for lower in rest.by_ref().take(character.to_lowercase().count()) {
            characters.push(lower, begin..begin + character.len_utf8());
        }
    }
    characters.split_words();
    characters.into_tokens()
}

/// Where the sentences of a text stand: a sentence ends with `.`, `?` or `!`, closing marks, and
/// white space, unless the full stop belongs to an abbreviation.
pub(super) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut sentences = Vec::new();
    let (mut begin, mut word, mut ends) = (0, 0, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if character.is_whitespace() => {
                if ends && !is_abbreviation(&text[word..at]) {
                    sentences.push(begin..at);
                    begin = at;
                }
                ends = false;
                word = at + character.len_utf8();
            }
            '.' | '?' | '!' => ends = true,
            '"' | '\'' | ')' | ']' | '}' | '»' | '”' | '’' => {}
            _ => ends = false,
        }
    }
    sentences.push(begin..text.len());
    sentences
}

/// Whether a word with a full stop at its end is one that has it inside a sentence too.
fn is_abbreviation(word: &str) -> bool {
    const TITLES: [&str; 16] = [
        "approx", "ave", "dr", "etc", "fig", "ft", "jr", "mr", "mrs", "ms", "mt", "no", "prof",
        "sr", "st", "vs",
    ];
    let Some(stem) = word.strip_suffix('.') else {
        return false;
    };
    let stem = stem.trim_start_matches(|c: char| !c.is_alphanumeric());
    let is_initial = stem.chars().count() == 1 && stem.chars().all(char::is_alphabetic);
    let has_dots = stem.contains('.') && stem.chars().any(char::is_alphabetic);
    is_initial || has_dots || TITLES.iter().any(|title| stem.eq_ignore_ascii_case(title))
}

/// A text while it is being split, with the place each character comes from.
#[derive(Default)]
struct Characters {
    characters: Vec<char>,
    places: Vec<Range<usize>>,
}

/// What a rule found: the number of characters it covers, and before which of them (or after the
/// last) a space goes.
type Found = (usize, Vec<usize>);

/// Spaces on both sides.
fn around(length: usize) -> Option<Found> {
    (length > 0).then(|| (length, vec![0, length]))
}

impl Characters {
    fn push(&mut self, character: char, place: Range<usize>) {
        self.characters.push(character);
        self.places.push(place);
    }

    fn split_words(&mut self) {
        self.split_opening_quotes();
        self.split_final_stop();
        self.split_punctuation();
        self.push(' ', 0..0);
        self.split_closing_quotes();
        self.split_endings();
    }

    fn split_opening_quotes(&mut self) {
        self.insert(|_, rest| match rest {
            ['«' | '“' | '‘' | '„', ..] => around(1),
            _ => around(run(rest, |c| c == '`')),
        });
        self.quote('`', |before, rest| match (before, rest) {
            (None, ['"', ..]) => 1,
            _ => 0,
        });
        self.insert(|_, rest| around(if rest.starts_with(&['`', '`']) { 2 } else { 0 }));
        self.quote('`', |before, rest| match (before, rest) {
            (Some(' ' | '(' | '[' | '{' | '<'), ['"', ..]) => 1,
            (Some(' ' | '(' | '[' | '{' | '<'), ['\'', '\'', ..]) => 2,
            _ => 0,
        });
        // An apostrophe before a word that is no clitic opens a quotation.
        self.insert(|before, rest| match rest {
            ['\'', word, ..] if is_word(*word) && !before.is_some_and(is_word) => {
                let is_clitic = |clitic: &&str| starts_with_word(&rest[1..], clitic, is_word);
                let clitics = ["re", "ve", "ll", "m", "t", "s", "d", "n"];
                (!clitics.iter().any(is_clitic)).then(|| (1, vec![1]))
            }
            _ => None,
        });
    }

    /// The full stop at the end, with what closes after it. Others belong to abbreviations.
    fn split_final_stop(&mut self) {
        let closes = |c: &char| {
            matches!(
                c,
                ']' | ')' | '}' | '>' | '"' | '\'' | '»' | '”' | '’' | ' '
            )
        };
        let text = self.characters.as_slice();
        let Some(stop) = text.iter().rposition(|&c| c == '.') else {
            return;
        };
        let closing = text[stop + 1..].iter().take_while(|c| closes(c)).count();
        let ends = text[stop + 1 + closing..].iter().all(|c| c.is_whitespace());
        if !ends || stop == 0 || text[stop - 1] == '.' {
            return;
        }
        self.insert_at(&[stop, stop + 1, stop + 1 + closing]);
    }

    fn split_punctuation(&mut self) {
        self.insert(|_, rest| match rest {
            [':' | ',', next, ..] if !next.is_numeric() => Some((2, vec![0, 1])),
            [':' | ','] => around(1),
            _ => None,
        });
        self.insert(|_, rest| match run(rest, |c| c == '.') {
            0 | 1 => None,
            dots => around(dots),
        });
        self.insert(|_, rest| match rest {
            [
                ';' | '@' | '#' | '$' | '%' | '&' | '\u{2012}'..='\u{2015}' | '?' | '!',
                ..,
            ] => around(1),
            _ => None,
        });
        self.insert(|_, rest| match rest {
            [word, '\'', ' ', ..] if *word != '\'' => Some((3, vec![1])),
            _ => None,
        });
        self.insert(|_, rest| match rest {
            ['*' | '[' | ']' | '(' | ')' | '{' | '}' | '<' | '>', ..] => around(1),
            ['-', '-', ..] => around(2),
            _ => None,
        });
    }

    fn split_closing_quotes(&mut self) {
        self.insert(|_, rest| match rest {
            ['»' | '”' | '’', ..] => around(1),
            ['\'', '\'', ..] => around(2),
            _ => None,
        });
        self.quote('\'', |_, rest| usize::from(rest.starts_with(&['"'])));
        for character in &mut self.characters {
            if character.is_whitespace() {
                *character = ' ';
            }
        }
    }

    /// Endings that are words: `'s`, `n't` and the like, and the parts of contractions.
    fn split_endings(&mut self) {
        self.insert(|_, rest| {
            let [word, ending @ ..] = rest else {
                return None;
            };
            let length = match ending {
                ['\'', ' ', ..] => 1,
                ['\'', 's' | 'S' | 'm' | 'M' | 'd' | 'D', ' ', ..] => 2,
                _ => return None,
            };
            (!matches!(word, '\'' | ' ')).then(|| (length + 2, vec![1]))
        });
        self.insert(|_, rest| {
            let [word, ending @ ..] = rest else {
                return None;
            };
            let [a, b, c, ' ', ..] = ending else {
                return None;
            };
            let is_ending = matches!(
                [a, b, c],
                ['\'', 'l', 'l']
                    | ['\'', 'L', 'L']
                    | ['\'', 'r', 'e']
                    | ['\'', 'R', 'E']
                    | ['\'', 'v', 'e']
                    | ['\'', 'V', 'E']
                    | ['n', '\'', 't']
                    | ['N', '\'', 'T']
            );
            (is_ending && !matches!(word, '\'' | ' ')).then(|| (5, vec![1]))
        });
        const CONTRACTIONS: [(&str, usize); 8] = [
            ("cannot", 3),
            ("d'ye", 1),
            ("gimme", 3),
            ("gonna", 3),
            ("gotta", 3),
            ("lemme", 3),
            ("more'n", 4),
            ("wanna", 3),
        ];
        self.insert(|before, rest| {
            if before.is_some_and(is_letter) {
                return None;
            }
            let (word, middle) = CONTRACTIONS
                .iter()
                .find(|(word, _)| starts_with_word(rest, word, is_letter))?;
            let is_followed = *word != "wanna" || rest.get(word.len()) == Some(&' ');
            is_followed.then(|| (word.len(), vec![0, *middle, word.len()]))
        });
        self.insert(|before, rest| {
            let begins = |word: &&&str| starts_with_word(rest, word, is_letter);
            let word = ["'tis", "'twas"].iter().find(begins)?;
            (before == Some(' ')).then(|| (word.len(), vec![0, 2, word.len()]))
        });
    }

    /// Puts spaces where a rule wants them. The rule sees the character before a place and all from
    /// there on; what it found is not looked at again.
    fn insert(&mut self, rule: impl Fn(Option<char>, &[char]) -> Option<Found>) {
        let text = &self.characters;
        let mut spaces = Vec::new();
        let mut at = 0;
        while at < text.len() {
            #[cfg(test)]
            work::count(1);
            let before = at.checked_sub(1).map(|before| text[before]);
            match rule(before, &text[at..]) {
                Some((length, gaps)) => {
                    spaces.extend(gaps.into_iter().map(|gap| at + gap));
                    at += length.max(1);
                }
                None => at += 1,
            }
        }
        self.insert_at(&spaces);
    }

    /// Puts spaces before the characters at these indices, which rise.
    fn insert_at(&mut self, spaces: &[usize]) {
        if spaces.is_empty() {
            return;
        }
        let old = std::mem::take(self);
        let mut spaces = spaces.iter().copied().peekable();
        for (at, (character, place)) in old.characters.into_iter().zip(old.places).enumerate() {
            while spaces.next_if_eq(&at).is_some() {
                self.push(' ', 0..0);
            }
            self.push(character, place);
        }
        for _ in spaces {
            self.push(' ', 0..0);
        }
    }

    /// Turns quotation marks into two of `mark` with spaces around. `length` tells how many
    /// characters the one at a place has, 0 if there is none.
    fn quote(&mut self, mark: char, length: impl Fn(Option<char>, &[char]) -> usize) {
        let old = std::mem::take(self);
        let mut at = 0;
        while at < old.characters.len() {
            #[cfg(test)]
            work::count(1);
            let before = at.checked_sub(1).map(|before| old.characters[before]);
            match length(before, &old.characters[at..]) {
                0 => {
                    self.push(old.characters[at], old.places[at].clone());
                    at += 1;
                }
                length => {
                    let place = old.places[at].start..old.places[at + length - 1].end;
                    self.push(' ', 0..0);
                    self.push(mark, place.clone());
                    self.push(mark, place);
                    self.push(' ', 0..0);
                    at += length;
                }
            }
        }
    }

    fn into_tokens(self) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut token: Option<Token> = None;
        for (character, place) in self.characters.into_iter().zip(self.places) {
            if is_space(character) {
                tokens.extend(token.take());
                continue;
            }
            let token = token.get_or_insert_with(|| Token {
                text: String::new(),
                span: place.clone(),
            });
            token.text.push(character);
            token.span.end = place.end;
        }
        tokens.extend(token);
        tokens
    }
}

/// How many characters at the start are of that kind.
fn run(text: &[char], is_of_kind: impl Fn(char) -> bool) -> usize {
    let length = text.iter().take_while(|c| is_of_kind(**c)).count();
    #[cfg(test)]
    work::count(length);
    length
}

/// Whether a text starts with a word, in any letter case, that ends there.
fn starts_with_word(text: &[char], word: &str, is_word: fn(char) -> bool) -> bool {
    let mut rest = text.iter();
    let mut reads = |wanted| {
        rest.next()
            .is_some_and(|c: &char| c.eq_ignore_ascii_case(&wanted))
    };
    word.chars().all(&mut reads) && !rest.next().is_some_and(|c| is_word(*c))
}

/// A word character as Python's `regex` counts them, which NLTK uses for quotation marks: joiners and
/// combining marks are in words.
fn is_word(character: char) -> bool {
    is_letter(character)
        || matches!(character, '\u{200c}' | '\u{200d}' | '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20f0}')
        || matches!(character, '\u{fe00}'..='\u{fe0f}')
}

/// A word character as Python's `re` counts them, which NLTK uses for contractions.
fn is_letter(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// White space as Python splits at it: with the four separators of ASCII.
fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_know_their_places() {
        let text = "\"Süßer\" dogs' cat can't... sleep.";
        let places: Vec<_> = tokens(text, 0, |c| c)
            .into_iter()
            .map(|token| &text[token.span])
            .collect();
        assert_eq!(
            places,
            [
                "\"", "Süßer", "\"", "dogs", "'", "cat", "ca", "n't", "...", "sleep", "."
            ]
        );
        assert_eq!(tokens("a b", 10, |c| c)[1].span, 12..13);
    }

    #[test]
    fn lower_case_keeps_places() {
        let text = "İstanbul ΟΔΟΣ A";
        let tokens = lowercase_tokens(text, 0);
        let words: Vec<_> = tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(words, ["i\u{307}stanbul", "οδος", "a"]);
        assert_eq!(&text[tokens[2].span.clone()], "A");
    }

    #[test]
    fn sentences_end_where_no_abbreviation_does() {
        let cases = [
            ("A dog. A cat", 2),
            ("a dog . a cat", 2),
            ("Mr. Smith and J. Doe", 1),
            ("a U.S. flag", 1),
            ("Hm?! (Yes.) No", 3),
            ("3.5 dogs", 1),
            ("", 1),
            ("...", 1),
            ("e.g. dogs, cats etc. and", 1),
        ];
        for (text, expected) in cases {
            let found = sentences(text);
            assert_eq!(found.len(), expected, "{text}: {found:?}");
            assert_eq!(
                found
                    .iter()
                    .map(|span| &text[span.clone()])
                    .collect::<String>(),
                text
            );
        }
    }
}
