//! NLTK's part-of-speech tagger, from the files that NLTK publishes.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

#[cfg(test)]
use super::work;
use super::{
    extractor::PhraseExtractor,
    grammar::{Part, phrases},
    treebank::{Token, lowercase_tokens, sentences},
};
use crate::{
    error::{Error, Result},
    regular_file::read_text,
};

/// Finds noun phrases as official GLIP does: NLTK's averaged perceptron tagger on the caption in lower
/// case, and the grammar `NP: {<DT>?<JJ.*>*<NN.*>+}`.
///
/// It reads the three JSON files of the tagger, `averaged_perceptron_tagger_eng.weights.json`,
/// `.tagdict.json` and `.classes.json`. `python -m nltk.downloader averaged_perceptron_tagger_eng`
/// puts them into `nltk_data/taggers/averaged_perceptron_tagger_eng` of the home folder.
///
/// Words are split and tagged exactly as NLTK 3.10 does it, but for what some scripts count as digits
/// and combining marks. Sentences, which NLTK splits with another trained model, end here with `.`,
/// `?` or `!` and a space, unless that belongs to an abbreviation.
/// Phrases are positions in the caption, as with [`NounPhrases`](crate::NounPhrases).
///
/// ```
/// use glip::{Prompt, parts::{PerceptronTagger, PromptRule}};
///
/// let tagger = PerceptronTagger::from_dir("tests/fixtures/perceptron")?;
/// let prompt = Prompt::caption("A man rides a red bicycle.").extract(&tagger);
/// let rendered = PromptRule::default().render(&prompt)?;
/// assert_eq!(rendered.phrases()[1].label, "a red bicycle");
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PerceptronTagger {
    /// In alphabetical order: of classes with one score, the last is taken.
    classes: Vec<String>,
    /// Words that have one class everywhere, by its index.
    fixed: HashMap<String, usize>,
    /// For each feature, the classes that it speaks for or against.
    weights: HashMap<String, Vec<(usize, f64)>>,
}

impl PerceptronTagger {
    /// Loads the tagger from the folder that has its three files.
    ///
    /// # Errors
    /// - [`Error::TaggerFile`]: a file cannot be read.
    /// - [`Error::TaggerSyntax`]: a file is not JSON of the form that NLTK writes.
    /// - [`Error::TaggerClass`]: the weights or the words speak of a class that is not among the
    ///   classes.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        let file = |part| {
            let name = format!("averaged_perceptron_tagger_eng.{part}.json");
            dir.as_ref().join(name)
        };
        let mut classes: Vec<String> = read(&file("classes"))?;
        classes.sort_unstable();
        classes.dedup();
        if classes.is_empty() {
            return Err(Error::TaggerSyntax {
                path: file("classes"),
                source: serde::de::Error::custom("there are no classes"),
            });
        }
        let (words, features) = (file("tagdict"), file("weights"));
        let fixed = read::<HashMap<String, String>>(&words)?
            .into_iter()
            .map(|(word, class)| {
                let index = find(&classes, class, &word, &words)?;
                Ok((word, index))
            })
            .collect::<Result<_>>()?;
        let weights = read::<HashMap<String, HashMap<String, f64>>>(&features)?
            .into_iter()
            .map(|(feature, weights)| {
                let weights = weights
                    .into_iter()
                    .map(|(class, weight)| {
                        Ok((find(&classes, class, &feature, &features)?, weight))
                    })
                    .collect::<Result<_>>()?;
                Ok((feature, weights))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            classes,
            fixed,
            weights,
        })
    }

    /// The classes of the words of a sentence.
    fn tag(&self, tokens: &[Token]) -> Vec<&str> {
        let around = |mark: &str| [format!("-{mark}-"), format!("-{mark}2-")];
        let context: Vec<String> = (around("START").into_iter())
            .chain(tokens.iter().map(|token| normalize(&token.text)))
            .chain(around("END"))
            .collect();
        let mut classes = Vec::with_capacity(tokens.len());
        let (mut previous, mut before) = ("-START-", "-START2-");
        for (token, window) in tokens.iter().zip(context.windows(5)) {
            #[cfg(test)]
            work::count(1);
            let index = match self.fixed.get(&token.text) {
                Some(index) => *index,
                None => self.best_class(&features(&token.text, window, previous, before)),
            };
            (previous, before) = (&self.classes[index], previous);
            classes.push(previous);
        }
        classes
    }

    /// The index of the class with the highest score.
    fn best_class(&self, features: &[String]) -> usize {
        let mut scores = vec![0.0; self.classes.len()];
        let found = features
            .iter()
            .filter_map(|feature| self.weights.get(feature));
        for (class, weight) in found.flatten() {
            scores[*class] += weight;
        }
        let mut best = 0;
        for (class, score) in scores.iter().enumerate() {
            if *score >= scores[best] {
                best = class;
            }
        }
        best
    }
}

impl PhraseExtractor for PerceptronTagger {
    fn extract(&self, caption: &str) -> Vec<Range<usize>> {
        let in_sentence = |sentence: Range<usize>| {
            let tokens = lowercase_tokens(&caption[sentence.clone()], sentence.start);
            let parts = self.tag(&tokens).into_iter().map(part);
            phrases(&tokens, parts)
        };
        sentences(caption)
            .into_iter()
            .flat_map(in_sentence)
            .collect()
    }
}

/// What a class of the Penn Treebank is in the grammar.
fn part(class: &str) -> Part {
    match class {
        "DT" => Part::Determiner,
        _ if class.starts_with("JJ") => Part::Adjective,
        _ if class.starts_with("NN") => Part::Noun,
        _ => Part::Other,
    }
}

/// What NLTK's tagger looks at, in its order, as the order of a sum decides its last digit.
///
/// `window` holds the normalised words from two before to two after; `previous` and `before` are the
/// classes of the two before.
fn features(word: &str, window: &[String], previous: &str, before: &str) -> [String; 14] {
    let initial: String = word.chars().take(1).collect();
    [
        "bias".to_owned(),
        format!("i suffix {}", suffix(word)),
        format!("i pref1 {initial}"),
        format!("i-1 tag {previous}"),
        format!("i-2 tag {before}"),
        format!("i tag+i-2 tag {previous} {before}"),
        format!("i word {}", window[2]),
        format!("i-1 tag+i word {previous} {}", window[2]),
        format!("i-1 word {}", window[1]),
        format!("i-1 suffix {}", suffix(&window[1])),
        format!("i-2 word {}", window[0]),
        format!("i+1 word {}", window[3]),
        format!("i+1 suffix {}", suffix(&window[3])),
        format!("i+2 word {}", window[4]),
    ]
}

/// The last three characters.
fn suffix(word: &str) -> &str {
    let begin = word.char_indices().rev().take(3).last();
    &word[begin.map_or(0, |(at, _)| at)..]
}

/// Words that differ in ways that do not matter as one.
fn normalize(word: &str) -> String {
    let is_digit = |c: char| c.is_numeric();
    if word.contains('-') && !word.starts_with('-') {
        "!HYPHEN".to_owned()
    } else if word.chars().all(is_digit) && word.chars().count() == 4 {
        "!YEAR".to_owned()
    } else if word.starts_with(is_digit) {
        "!DIGITS".to_owned()
    } else {
        word.to_lowercase()
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = read_text(path, u64::MAX).map_err(|source| Error::TaggerFile {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| Error::TaggerSyntax {
        path: path.to_owned(),
        source,
    })
}

/// The index of a class, which an entry of a file speaks of.
fn find(classes: &[String], class: String, entry: &str, file: &Path) -> Result<usize> {
    classes
        .binary_search(&class)
        .map_err(|_| Error::TaggerClass {
            path: PathBuf::from(file),
            entry: entry.to_owned(),
            class,
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde::Deserialize;

    use super::*;

    const FILES: &str = "tests/fixtures/perceptron";

    /// What NLTK made of a text.
    #[derive(Deserialize)]
    struct Case {
        text: String,
        tokens: Vec<String>,
        classes: Vec<String>,
        /// Ranges of tokens.
        phrases: Vec<(usize, usize)>,
    }

    #[test]
    fn tokens_classes_and_phrases_are_those_of_nltk() {
        let tagger = PerceptronTagger::from_dir(FILES).unwrap();
        let json = fs::read_to_string(format!("{FILES}/expected.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&json).unwrap();
        assert!(cases.len() > 600 && cases.iter().any(|case| case.phrases.len() > 3));
        for case in &cases {
            let text = &case.text;
            let tokens = lowercase_tokens(text, 0);
            let words: Vec<_> = tokens.iter().map(|token| &token.text).collect();
            assert_eq!(words, case.tokens.iter().collect::<Vec<_>>(), "{text:?}");
            let classes = tagger.tag(&tokens);
            assert_eq!(classes, case.classes, "{text:?}");
            let found = phrases(&tokens, classes.into_iter().map(part));
            let spans = case
                .phrases
                .iter()
                .map(|(begin, end)| tokens[*begin].span.start..tokens[end - 1].span.end);
            assert_eq!(found, spans.collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn equal_scores_go_to_the_last_class() {
        let mut tagger = PerceptronTagger::from_dir(FILES).unwrap();
        tagger.weights.clear();
        tagger.fixed.clear();
        assert_eq!(
            tagger.tag(&lowercase_tokens("x", 0)),
            [tagger.classes.last().unwrap()]
        );
    }

    #[test]
    fn words_are_normalised_as_nltk_does() {
        let cases = [
            ("co-op", "!HYPHEN"),
            ("-", "-"),
            ("-x-y", "-x-y"),
            ("1998", "!YEAR"),
            ("12", "!DIGITS"),
            ("1st", "!DIGITS"),
            ("199a", "!DIGITS"),
            ("Dog", "dog"),
        ];
        for (word, expected) in cases {
            assert_eq!(normalize(word), expected, "{word}");
        }
        assert_eq!(
            (suffix("süß"), suffix("müßig"), suffix("")),
            ("süß", "ßig", "")
        );
    }

    /// A copy of the tagger's folder, one of its files with other contents or, with none, missing.
    fn broken(part: &str, contents: Option<&str>) -> Error {
        let dir = tempfile::tempdir().unwrap();
        for name in ["weights", "tagdict", "classes"] {
            let name = format!("averaged_perceptron_tagger_eng.{name}.json");
            fs::copy(Path::new(FILES).join(&name), dir.path().join(name)).unwrap();
        }
        let path = dir
            .path()
            .join(format!("averaged_perceptron_tagger_eng.{part}.json"));
        match contents {
            Some(contents) => fs::write(path, contents).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        PerceptronTagger::from_dir(dir.path()).unwrap_err()
    }

    #[test]
    fn missing_files_are_errors() {
        for part in ["weights", "tagdict", "classes"] {
            let error = broken(part, None);
            assert!(
                matches!(&error, Error::TaggerFile { path, .. } if path.to_string_lossy().contains(part))
            );
            assert!(error.to_string().contains("nltk.downloader"), "{error}");
        }
    }

    #[test]
    fn malformed_files_are_errors() {
        let cases = [
            ("weights", "{\"bias\": {\"NN\": \"much\"}}"),
            ("weights", "{\"bias\": {\"NN\": NaN}}"),
            ("weights", ""),
            ("weights", "[]"),
            ("tagdict", "{\"a\": 1}"),
            ("tagdict", "{\"a\""),
            ("classes", "{}"),
            ("classes", "[]"),
        ];
        for (part, contents) in cases {
            let error = broken(part, Some(contents));
            assert!(
                matches!(&error, Error::TaggerSyntax { path, .. } if path.to_string_lossy().contains(part)),
                "{contents}: {error}"
            );
        }
    }

    #[test]
    fn unknown_classes_are_errors() {
        let cases = [
            ("weights", "{\"i word dog\": {\"XX\": 1.0}}", "i word dog"),
            ("tagdict", "{\"dog\": \"XX\"}", "dog"),
        ];
        for (part, contents, wanted) in cases {
            match broken(part, Some(contents)) {
                Error::TaggerClass { path, entry, class } => {
                    assert!(path.to_string_lossy().contains(part));
                    assert_eq!((entry.as_str(), class.as_str()), (wanted, "XX"));
                }
                error => panic!("{error}"),
            }
        }
    }
}
