//! What a word can be, by itself: word lists, and endings for the words that are in none.

use std::{collections::HashMap, ops::BitOr, sync::LazyLock};

/// A set of kinds of words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u32);

/// Names for the kinds, as the word lists use them.
macro_rules! kinds {
    ($($name:literal $kind:ident $bit:literal $doc:literal;)+) => {
        impl Kinds {
            $(#[doc = $doc] pub(super) const $kind: Self = Self(1 << $bit);)+

            fn named(name: &str) -> Self {
                match name {
                    $($name => Self::$kind,)+
                    _ => Self(0),
                }
            }
        }
    };
}

kinds! {
    "start" START 0 "The beginning of a sentence.";
    "mark" MARK 1 "Punctuation and other signs.";
    "determiner" DETERMINER 2 "`the`, `this`, `every`.";
    "possessive" POSSESSIVE 3 "`her`, `'s`.";
    "pronoun" PRONOUN 4 "`she`, `them`.";
    "which" WHICH 5 "What begins a clause: `who`, `when`, `because`.";
    "preposition" PREPOSITION 6 "`of`, `in`.";
    "means" MEANS 7 "Prepositions before what is done: `for cutting bread`.";
    "to" TO 8 "`to`.";
    "be" BE 9 "Verbs that adjectives follow.";
    "have" HAVE 10 "Forms of `have`.";
    "auxiliary" AUXILIARY 11 "Verbs that base forms follow: `do`, `can`.";
    "conjunction" CONJUNCTION 12 "`and`, `or`.";
    "number" NUMBER 13 "`two`, `12`.";
    "adverb" ADVERB 14 "`slowly`, `not`.";
    "adjective" ADJECTIVE 15 "`red`, `wooden`.";
    "noun" NOUN 16 "`car`.";
    "verb" VERB 17 "Verbs but for participles: `walk`, `walks`, `sat`.";
    "participle" PARTICIPLE 18 "`walking`, `walked`, `broken`.";
    "past" PAST 19 "Forms that are no present.";
    "gerund" GERUND 20 "Participles that stand before nouns like nouns: `parking lot`.";
    "colour" COLOUR 21 "Adjectives that are nouns after a preposition: `in red`.";
    "singular" SINGULAR 22 "Nouns of one thing, whatever they end in.";
    "plural" PLURAL 23 "Nouns of several things.";
    "one" ONE 24 "Determiners of one thing: `a`, `each`.";
    "several" SEVERAL 25 "Determiners of several things, or any number.";
    "s" WITH_S 26 "Inflected with -s: `walks`, `cars`.";
    "ing" WITH_ING 27 "Inflected with -ing.";
    "guess" GUESS 28 "Known from no list.";
    "clitic" CLITIC 29 "Endings that are words: `'s`.";
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Kinds {
    /// Whether it can be any of these.
    pub(super) fn is(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    /// What it can be of these.
    pub(super) fn only(self, these: Self) -> Self {
        Self(self.0 & these.0)
    }

    /// Whether it can stand in a noun phrase after its determiner.
    pub(super) fn is_nominal(self) -> bool {
        self.is(Self::NOUN | Self::ADJECTIVE | Self::PARTICIPLE) && !self.is(Self::PREPOSITION)
    }

    /// Whether a noun phrase or what stands for one begins here for sure.
    pub(super) fn begins_phrase(self) -> bool {
        self.is(Self::DETERMINER | Self::POSSESSIVE | Self::PRONOUN | Self::NUMBER)
            && !self.is(Self::WHICH | Self::CLITIC)
    }

    /// Whether a noun of this form means several things.
    pub(super) fn is_plural(self) -> bool {
        self.is(Self::PLURAL | Self::WITH_S)
    }
}

const LISTS: [&str; 4] = [
    include_str!("closed_words.txt"),
    include_str!("verbs.txt"),
    include_str!("adjectives.txt"),
    include_str!("nouns.txt"),
];

static LEXICON: LazyLock<HashMap<&'static str, Kinds>> = LazyLock::new(|| {
    let mut lexicon = HashMap::new();
    for (kinds, words) in LISTS.iter().flat_map(|list| entries(list)) {
        let kinds = kinds
            .split(' ')
            .fold(Kinds(0), |kinds, name| kinds | Kinds::named(name));
        for word in words.split(' ') {
            let known = lexicon.entry(word).or_default();
            *known = *known | kinds;
        }
    }
    lexicon
});

/// The lines `kinds: words` of a word list.
fn entries(list: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(": "))
}

/// What a word can be, in lower case.
pub(super) fn kinds(word: &str) -> Kinds {
    if let Some(known) = LEXICON.get(word) {
        return *known;
    }
    if !word.contains(char::is_alphabetic) {
        let is_number = word.starts_with(|c: char| c.is_numeric());
        return if is_number {
            Kinds::NUMBER
        } else {
            Kinds::MARK
        };
    }
    if let Some((first, last)) = word.rsplit_once('-') {
        return compound(first, last);
    }
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let ordinal = ["st", "nd", "rd", "th"]
            .iter()
            .any(|ending| word.ends_with(ending));
        return if ordinal {
            Kinds::ADJECTIVE
        } else {
            Kinds::NUMBER
        };
    }
    inflected(word).unwrap_or_else(|| by_ending(word))
}

/// A word with a hyphen: `t-shirt` is a shirt, `three-year-old` and `well-dressed` are adjectives.
fn compound(first: &str, last: &str) -> Kinds {
    let first = first.split('-').next().unwrap_or_default();
    let last = kinds(last);
    if kinds(first).is(Kinds::NUMBER) || last.is(Kinds::PARTICIPLE) {
        Kinds::ADJECTIVE
    } else if last.is(Kinds::ADJECTIVE) {
        Kinds::ADJECTIVE | last.only(Kinds::NOUN)
    } else if last.is(Kinds::NOUN) {
        last.only(Kinds::NOUN | Kinds::WITH_S | Kinds::PLURAL | Kinds::SINGULAR)
    } else {
        // As in "close-up", "non-stick" and "black-and-white".
        Kinds::NOUN | Kinds::ADJECTIVE
    }
}

/// A known word with an ending, or an unknown one with the ending of a participle.
fn inflected(word: &str) -> Option<Kinds> {
    let base = |stem: &str, tails: &[&str]| {
        let bases = tails.iter().map(|tail| format!("{stem}{tail}"));
        bases
            .filter_map(|base| LEXICON.get(base.as_str()))
            .fold(Kinds(0), |all, one| all | *one)
    };
    if word.strip_suffix("ing").is_some_and(has_vowel) {
        return Some(Kinds::PARTICIPLE | Kinds::WITH_ING);
    }
    let is_past = |stem: &str| has_vowel(stem) && !stem.ends_with('e');
    if word.strip_suffix("ed").is_some_and(is_past) {
        return Some(Kinds::PARTICIPLE);
    }
    if let Some(stem) = word.strip_suffix('s') {
        let known = match (stem.strip_suffix("ie"), stem.strip_suffix('e')) {
            (Some(short), _) => base(short, &["y", "ie"]),
            (None, Some(short)) => base(short, &["", "e"]),
            (None, None) => base(stem, &[""]),
        };
        return match known.only(Kinds::NOUN | Kinds::VERB) {
            Kinds(0) if stem.ends_with(['s', 'u', 'i', '\'']) => None,
            Kinds(0) => Some(Kinds::NOUN | Kinds::WITH_S | Kinds::GUESS),
            known => Some(known | Kinds::WITH_S),
        };
    }
    let comparative = word
        .strip_suffix("er")
        .or_else(|| word.strip_suffix("est"))?;
    let known = base(comparative, &["", "e"]) | base(without_double(comparative), &[""]);
    let known = match comparative.strip_suffix('i') {
        Some(stem) => known | base(stem, &["y"]),
        None => known,
    };
    known.is(Kinds::ADJECTIVE).then_some(Kinds::ADJECTIVE)
}

/// Words of no list and no inflection.
fn by_ending(word: &str) -> Kinds {
    let ends = |endings: &[&str]| endings.iter().any(|ending| word.ends_with(ending));
    if ends(&["ly", "wise", "wards"]) {
        Kinds::ADVERB
    } else if ends(&["ous", "ful", "less", "able", "ible", "ish", "like", "proof"]) {
        Kinds::ADJECTIVE
    } else if ends(&[
        "ic", "al", "ive", "ary", "ian", "ese", "esque", "ant", "ent",
    ]) {
        Kinds::ADJECTIVE | Kinds::NOUN
    } else {
        Kinds::NOUN | Kinds::GUESS
    }
}

fn has_vowel(stem: &str) -> bool {
    stem.contains(['a', 'e', 'i', 'o', 'u', 'y'])
}

/// Without the second of two equal letters at the end, as of `running` and `bigger`.
fn without_double(stem: &str) -> &str {
    let mut letters = stem.char_indices().rev();
    match (letters.next(), letters.next()) {
        (Some((at, last)), Some((_, before))) if last == before => &stem[..at],
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_word_list_is_understood() {
        for list in LISTS {
            for line in list
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                let (kinds, words) = line.split_once(": ").unwrap();
                for kind in kinds.split(' ') {
                    assert_ne!(Kinds::named(kind), Kinds::default(), "{kind} in {line}");
                }
                for word in words.split(' ') {
                    assert!(
                        !word.is_empty() && word == word.to_lowercase(),
                        "{word:?} in {line}"
                    );
                }
            }
        }
    }

    #[test]
    fn endings_tell_what_a_word_is() {
        let cases = [
            ("walks", Kinds::VERB | Kinds::NOUN | Kinds::WITH_S),
            ("carries", Kinds::VERB | Kinds::WITH_S),
            ("pushes", Kinds::VERB),
            ("running", Kinds::PARTICIPLE | Kinds::WITH_ING),
            ("parked", Kinds::PARTICIPLE),
            ("bigger", Kinds::ADJECTIVE),
            ("happiest", Kinds::ADJECTIVE),
            ("slowly", Kinds::ADVERB),
            ("famous", Kinds::ADJECTIVE),
            ("three-year-old", Kinds::ADJECTIVE),
            ("t-shirt", Kinds::NOUN),
            ("12", Kinds::NUMBER),
            ("3rd", Kinds::ADJECTIVE),
            ("🐕", Kinds::MARK),
            ("ring", Kinds::NOUN),
            ("bed", Kinds::NOUN),
            ("zebras", Kinds::NOUN | Kinds::WITH_S),
        ];
        for (word, expected) in cases {
            assert_eq!(
                kinds(word).only(expected),
                expected,
                "{word}: {:?}",
                kinds(word)
            );
        }
        for (word, never) in [
            ("ring", Kinds::PARTICIPLE),
            ("glass", Kinds::WITH_S),
            ("wears", Kinds::NOUN),
        ] {
            assert!(!kinds(word).is(never), "{word}: {:?}", kinds(word));
        }
    }
}
