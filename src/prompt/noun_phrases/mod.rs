//! Noun phrases of a caption, found by their grammar.

mod lexicon;
mod perceptron;
mod tagger;
mod treebank;

use std::ops::Range;

pub use self::perceptron::PerceptronTagger;
use self::{
    tagger::tag,
    treebank::{Token, sentences, tokens},
};

/// Finds the phrases of a caption that shall be looked for in the image.
///
/// [`NounPhrases`] needs nothing else, [`PerceptronTagger`] a file of weights; a closure from `&str`
/// to spans is an extractor too. [`Prompt::extract`](crate::Prompt::extract) takes any of them.
///
/// ```
/// use glip::Prompt;
///
/// let around_the_space = |caption: &str| match caption.find(' ') {
///     Some(space) => vec![0..space, space + 1..caption.len()],
///     None => Vec::new(),
/// };
/// let prompt = Prompt::caption("wooden table").extract(&around_the_space);
/// assert_eq!(prompt.locate()?[1].label, "table");
/// # Ok::<(), glip::Error>(())
/// ```
pub trait PhraseExtractor {
    /// Where the phrases of a caption stand: byte ranges in rising order that neither overlap nor cut
    /// a character in two.
    fn extract(&self, caption: &str) -> Vec<Range<usize>>;
}

impl<F: Fn(&str) -> Vec<Range<usize>>> PhraseExtractor for F {
    fn extract(&self, caption: &str) -> Vec<Range<usize>> {
        self(caption)
    }
}

/// Finds the noun phrases of an English caption with a small lexicon and rules.
///
/// The grammar is official's, `NP: {<DT>?<JJ.*>*<NN.*>+}`: perhaps a determiner, adjectives, and
/// nouns. Numbers, possessives (`her`, `'s`) and adverbs are not in it, so that "her two red cups"
/// gives "red cups". What official looks up in a trained tagger follows here from word lists,
/// endings and neighbours; a word that none of them tells apart is a noun. Participles before a noun
/// are taken as adjectives: "a parked car" is one phrase.
///
/// Phrases are positions in the caption. They are never searched for by their words, so that a
/// phrase that occurs twice, or inside another word, cannot be mistaken for another.
///
/// Text in other languages gives spans too, of whole sequences of words that are taken for nouns.
///
/// ```
/// use glip::{NounPhrases, Prompt};
///
/// let prompt = Prompt::caption("A man in a red shirt watches a parked car.").extract(&NounPhrases);
/// let labels: Vec<_> = prompt.locate()?.into_iter().map(|phrase| phrase.label).collect();
/// assert_eq!(labels, ["A man", "a red shirt", "a parked car"]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NounPhrases;

impl PhraseExtractor for NounPhrases {
    fn extract(&self, caption: &str) -> Vec<Range<usize>> {
        // Captions are typed with either apostrophe; the Treebank's rules know the plain one.
        let plain = |character| if character == '’' { '\'' } else { character };
        let in_sentence = |sentence: Range<usize>| {
            let tokens = tokens(&caption[sentence.clone()], sentence.start, plain);
            let parts = tag(&tokens).into_iter();
            phrases(&tokens, parts)
        };
        sentences(caption)
            .into_iter()
            .flat_map(in_sentence)
            .collect()
    }
}

/// What the grammar tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Determiner,
    Adjective,
    Noun,
    Other,
}

/// The noun phrases of tokens with these parts of speech: `NP: {<DT>?<JJ.*>*<NN.*>+}`, the first and
/// longest matches.
fn phrases(tokens: &[Token], parts: impl Iterator<Item = Part>) -> Vec<Range<usize>> {
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

/// Counts steps, so that tests can tell linear time from quadratic without a clock.
#[cfg(test)]
mod work {
    use std::cell::Cell;

    thread_local!(static STEPS: Cell<usize> = const { Cell::new(0) });

    pub(super) fn count(steps: usize) {
        STEPS.set(STEPS.get() + steps);
    }

    /// The steps that something takes.
    pub(super) fn of<T>(run: impl FnOnce() -> T) -> usize {
        let before = STEPS.get();
        run();
        STEPS.get() - before
    }
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

    /// Steps for a caption repeated so often that it has `length` bytes.
    fn steps(extractor: &impl PhraseExtractor, caption: &str, length: usize) -> usize {
        let text = caption.repeat(length / caption.len() + 1);
        work::of(|| extractor.extract(&text))
    }

    #[test]
    fn work_grows_as_the_text_does() {
        let tagger = PerceptronTagger::from_dir("tests/fixtures/perceptron").unwrap();
        let captions = [
            "a man in a red hat rides a bike, ",
            "A dog. ",
            "dog",
            "red ",
            "``\"''\"",
            "...",
            ". ",
            ").",
            "'s n't ",
            "--",
            "猫",
            "cannot ",
            "a, ",
            "\u{301}",
            " ",
            "-",
        ];
        for caption in captions {
            let many = steps(&NounPhrases, caption, 2_000);
            assert!(
                many > 0 && steps(&NounPhrases, caption, 4_000) < many * 21 / 10,
                "{caption:?}"
            );
            let many = steps(&tagger, caption, 2_000);
            assert!(
                many > 0 && steps(&tagger, caption, 4_000) < many * 21 / 10,
                "{caption:?}"
            );
        }
    }

    #[test]
    fn a_megabyte_takes_steps_in_proportion() {
        let caption = "a man in a red hat rides a bike, ";
        let per_byte = steps(&NounPhrases, caption, 1_000) / 1_000;
        assert!(steps(&NounPhrases, caption, 1_000_000) / 1_000_000 <= per_byte + 1);
    }
}
