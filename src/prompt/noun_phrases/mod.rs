//! Noun phrases of a caption, found by their grammar.

mod by_rules;
mod extractor;
mod grammar;
mod lexicon;
mod perceptron;
mod tagger;
mod treebank;
#[cfg(test)]
mod work;

pub use self::{by_rules::NounPhrases, extractor::PhraseExtractor, perceptron::PerceptronTagger};

#[cfg(test)]
mod tests {
    use super::*;

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
