//! Noun phrases of captions: how well they are found, and that no text is too strange.
#![cfg(feature = "captions")]
#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

use std::ops::Range;

use glip::{
    Error, NounPhrases, Prompt,
    parts::{PerceptronTagger, PhraseExtractor, PromptRule, Tokenizer},
};
use proptest::prelude::*;

/// What an extractor finds in a caption.
fn found<'a>(extractor: &dyn PhraseExtractor, caption: &'a str) -> Vec<&'a str> {
    let spans = extractor.extract(caption).into_iter();
    spans.map(|span| &caption[span]).collect()
}

fn tagger() -> PerceptronTagger {
    PerceptronTagger::from_dir("tests/fixtures/perceptron").unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_file("tests/fixtures/tokenizer.json", 256).unwrap()
}

// ---- Gold ----

/// A caption without its brackets, and where they stood.
fn parse(line: &str) -> (String, Vec<Range<usize>>) {
    let (mut caption, mut spans, mut begin) = (String::new(), Vec::new(), 0);
    for character in line.chars() {
        match character {
            '[' => begin = caption.len(),
            ']' => spans.push(begin..caption.len()),
            _ => caption.push(character),
        }
    }
    (caption, spans)
}

/// How many spans of a set of captions are right, wanted, and found.
#[derive(Clone, Copy, Default)]
struct Tally {
    captions: usize,
    right: usize,
    gold: usize,
    found: usize,
}

impl Tally {
    fn of(captions: &str) -> Self {
        let mut tally = Self::default();
        for line in captions
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (caption, gold) = parse(line);
            let found = NounPhrases.extract(&caption);
            tally.captions += 1;
            tally.right += gold.iter().filter(|span| found.contains(span)).count();
            tally.gold += gold.len();
            tally.found += found.len();
        }
        tally
    }

    fn plus(self, other: Self) -> Self {
        Self {
            captions: self.captions + other.captions,
            right: self.right + other.right,
            gold: self.gold + other.gold,
            found: self.found + other.found,
        }
    }

    fn f1(self) -> f64 {
        2.0 * self.right as f64 / (self.gold + self.found) as f64
    }
}

#[test]
fn noun_phrases_of_the_gold_captions_are_found() {
    let text = include_str!("fixtures/captions.txt");
    let (_, parts) = text.split_once("## development\n").unwrap();
    let (development, held_out) = parts.split_once("## held out\n").unwrap();
    let (development, held_out) = (Tally::of(development), Tally::of(held_out));
    let all = development.plus(held_out);
    for (name, tally) in [
        ("development", development),
        ("held out", held_out),
        ("all", all),
    ] {
        println!(
            "{name}: F1 {:.3}, {} of {} phrases in {} captions, {} found",
            tally.f1(),
            tally.right,
            tally.gold,
            tally.captions,
            tally.found
        );
    }
    assert_eq!((all.captions, held_out.captions), (200, 100));
    assert!(all.f1() >= 0.90 && held_out.f1() >= 0.90);
}

// ---- Positions ----

#[test]
fn phrases_inside_other_words_or_given_twice_keep_their_places() {
    let caption = "The art in a cart with a car: the cart and a cart";
    let expected = ["The art", "a cart", "a car", "the cart", "a cart"];
    for extractor in [&NounPhrases as &dyn PhraseExtractor, &tagger()] {
        assert_eq!(found(extractor, caption), expected);
    }
    let prompt = Prompt::caption(caption).extract(&NounPhrases);
    let rendered = PromptRule::default().render(&prompt).unwrap();
    let begins: Vec<_> = rendered
        .phrases()
        .iter()
        .map(|phrase| (phrase.index, phrase.spans[0].start))
        .collect();
    assert_eq!(begins, [(0, 0), (1, 11), (2, 23), (3, 30), (4, 43)]);
}

#[test]
fn closures_and_trait_objects_are_extractors() {
    let first = |caption: &str| vec![0..caption.find(' ').unwrap_or(caption.len())];
    let extractors: [Box<dyn PhraseExtractor>; 2] = [Box::new(first), Box::new(NounPhrases)];
    let counts = extractors.map(|extractor| {
        let prompt = Prompt::caption("dogs and cats").extract(&*extractor);
        let rendered = PromptRule::default().render(&prompt).unwrap();
        rendered.phrases().len()
    });
    assert_eq!(counts, [1, 2]);
}

#[test]
fn spans_of_an_extractor_are_checked() {
    let rule = PromptRule::default();
    let wrong = |_: &str| vec![0..99];
    let prompt = Prompt::caption("a dog").extract(&wrong);
    let error = rule.render(&prompt).unwrap_err();
    assert!(matches!(error, Error::SpanOutOfRange { .. }), "{error}");
    let prompt = Prompt::caption("run!").extract(&|_: &str| Vec::new());
    let error = rule.render(&prompt).unwrap_err();
    assert!(matches!(error, Error::EmptyPrompt), "{error}");
}

#[test]
fn sentences_and_apostrophes_of_either_kind() {
    let caption = "The man’s hat. It isn’t red. Mr. Smith has a “blue car”";
    let expected = ["The man", "hat", "Mr. Smith", "blue car"];
    assert_eq!(found(&NounPhrases, caption), expected);
}

// ---- Any text ----

#[test]
fn strange_texts_have_their_phrases_or_none() {
    let cases: [(&str, &[&str]); 10] = [
        ("", &[]),
        (" \t\n\u{a0}", &[]),
        ("?!.,;:'\"`-()[]{}<>…—«»", &[]),
        ("🐕 🐈‍⬛ 👩🏽‍🚀", &[]),
        ("a dog 🐕 and a cat🐈", &["a dog", "a cat🐈"]),
        (
            "the cafe\u{301} and a nai\u{308}ve man",
            &["the cafe\u{301}", "a nai\u{308}ve man"],
        ),
        ("猫が椅子に座っている", &["猫が椅子に座っている"]),
        ("כלב על הספה", &["כלב על הספה"]),
        (
            "A\u{200d}B \u{202e}dog\u{202c}",
            &["A\u{200d}B \u{202e}dog\u{202c}"],
        ),
        ("\0 \u{1c} \u{feff}", &[]),
    ];
    for (caption, expected) in cases {
        assert_eq!(found(&NounPhrases, caption), expected, "{caption:?}");
    }
}

#[test]
fn long_texts_are_no_trouble() {
    for (piece, length) in [
        ("a red car near a dog, ", 1 << 20),
        ("x", 1 << 20),
        ("\"", 1 << 16),
    ] {
        let text = piece.repeat(length / piece.len());
        check(&text, &NounPhrases.extract(&text));
    }
}

/// That spans are what an extractor promises.
fn check(text: &str, spans: &[Range<usize>]) {
    let mut end = 0;
    for span in spans {
        assert!(
            end <= span.start && span.start < span.end,
            "{span:?} in {text:?}"
        );
        assert!(text.get(span.clone()).is_some(), "{span:?} in {text:?}");
        end = span.end;
    }
}

/// Any text, and texts of what captions and the tokeniser's rules are made of.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a ", "the ", "red ", "man", "watch", "watches ", "'s ", "n't ", "''", "\"", "``", "'",
        ".", ", ", "--", "-", "(", ")", "’", "“", "é", "\u{301}", "\u{200d}", "🐕", "İ", "Σ", "猫",
        "שלום", " ", "\n", "\u{1c}", "12", "cannot ", "and ", "is ",
    ]);
    prop_oneof![
        any::<String>(),
        "\\PC{0,40}",
        prop::collection::vec(pieces, 0..30).prop_map(|pieces| pieces.concat()),
    ]
}

proptest! {
    #[test]
    fn any_text_gives_spans_and_tokens_or_an_error(text in text()) {
        thread_local!(static READERS: (PerceptronTagger, Tokenizer) = (tagger(), tokenizer()));
        READERS.with(|(tagger, tokenizer)| {
            for extractor in [&NounPhrases as &dyn PhraseExtractor, tagger] {
                let spans = extractor.extract(&text);
                check(&text, &spans);
                let prompt = Prompt::caption(&text).extract(extractor);
                if let Ok(tokens) = tokenizer.tokenize(&prompt) {
                    assert_eq!(tokens.phrases().len(), spans.len());
                    for phrase in tokens.phrases() {
                        assert!(!phrase.tokens.is_empty());
                        assert!(phrase.tokens.iter().all(|token| *token < tokens.ids().len()));
                    }
                }
            }
        });
    }
}
