//! Vocabularies: lists of categories of any length, packed into prompts that fit the model.

use serde::{Deserialize, Serialize};

use super::{
    category::Category,
    prompt::{Name, Prompt, Words},
    tokens::Tokenizer,
};
use crate::error::{Error, Result};

/// Any number of categories, to be looked for together.
///
/// A prompt has only so many tokens. A vocabulary is packed into few prompts, each filled as far as
/// names go into it; they share one encoding of the image, and what they find is merged by label before
/// overlapping boxes are suppressed and the best are kept.
///
/// How names are packed does not depend on the order in which they were given: the same names give
/// the same detections, and [`Detection::phrase_index`](crate::Detection::phrase_index) is a name's
/// place in the list.
///
/// ```
/// use glip::{Detector, Vocabulary};
///
/// let image = image::open("examples/images/coffee.jpg")?;
/// let detector = Detector::nano()?;
/// let vocabulary = Vocabulary::new(["bicycle", "bottle", "cup", "dining table"]);
/// let found = detector.ground(&image, &vocabulary.with_names_per_prompt(2))?;
/// assert!(found.iter().any(|detection| detection.phrase == "cup"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Stored with serde it is an object with its categories and, if there is one, its limit:
///
/// ```
/// use glip::Vocabulary;
///
/// let vocabulary = Vocabulary::new(["cup", "dining_table"]).with_names_per_prompt(40);
/// let stored = r#"{"categories":["cup","dining_table"],"names_per_prompt":40}"#;
/// assert_eq!(serde_json::to_string(&vocabulary)?, stored);
/// assert_eq!(serde_json::from_str::<Vocabulary>(stored)?, vocabulary);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vocabulary {
    categories: Vec<Category>,
    /// None: as many as fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names_per_prompt: Option<usize>,
}

impl Vocabulary {
    /// A vocabulary of these categories, with as many names in a prompt as fit.
    pub fn new<I>(categories: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Category>,
    {
        Self {
            categories: categories.into_iter().map(Into::into).collect(),
            names_per_prompt: None,
        }
    }

    /// Sets the most names in a prompt, synonyms included. Fewer names share the model's attention,
    /// more take less time; the chapter on prompting has numbers. Official evaluates LVIS with 40, and
    /// [`max_detections`](crate::GroundOptions::max_detections) of 300 for an image.
    #[must_use]
    pub fn with_names_per_prompt(self, names: usize) -> Self {
        Self {
            names_per_prompt: Some(names),
            ..self
        }
    }

    /// The categories, in the order they were given.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The prompts that hold the vocabulary, each within the tokens that the model takes.
    ///
    /// ```
    /// use glip::{Vocabulary, parts::Tokenizer};
    ///
    /// let tokenizer = Tokenizer::from_file("tests/fixtures/tokenizer.json", 7)?;
    /// let prompts = Vocabulary::new(["red circle", "cat", "dog"]).prompts(&tokenizer)?;
    /// let rule = tokenizer.rule();
    /// assert_eq!(rule.render(&prompts[0])?.text(), "cat. dog");
    /// assert_eq!(rule.render(&prompts[1])?.text(), "red circle");
    /// assert_eq!(rule.render(&prompts[1])?.phrases()[0].index, 0);
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::PhraseTooLong`], [`Error::PromptTooLarge`]: a single name has more tokens than the model
    ///   takes, or more bytes than are read.
    /// - [`Error::InvalidOption`]: there may be no name in a prompt.
    /// - Those of [`PromptRule::render`](crate::parts::PromptRule::render).
    pub fn prompts(&self, tokenizer: &Tokenizer) -> Result<Vec<Prompt>> {
        Error::if_zero("names_per_prompt", self.names_per_prompt.unwrap_or(1))?;
        // As one list, for everything that can be wrong with it whatever fits.
        tokenizer
            .rule()
            .render(&Prompt::categories(&self.categories))?;
        let mut names = Name::of(&self.categories);
        names.sort_by_cached_key(|name| (tokenizer.rule().wording(&name.wording), name.index));
        let packed = self.pack(names, tokenizer)?;
        Ok(packed
            .into_iter()
            .map(|names| Prompt(Words::List(names)))
            .collect())
    }

    /// Each into the first prompt that has room.
    fn pack(&self, names: Vec<Name>, tokenizer: &Tokenizer) -> Result<Vec<Vec<Name>>> {
        let (rule, limit) = (tokenizer.rule(), tokenizer.max_tokens());
        let around = tokenizer.special_tokens()? + tokenizer.count(&rule.closing)?;
        let separator = tokenizer.count(&rule.separator)?;
        let mut prompts: Vec<(usize, Vec<Name>)> = Vec::new();
        for name in names {
            let text = rule.wording(&name.wording);
            let tokens = tokenizer.count(&text)?;
            if around + tokens > limit {
                return Err(Error::PhraseTooLong {
                    phrase: text,
                    tokens: around + tokens,
                    limit,
                });
            }
            let has_room = |(used, names): &&mut (usize, Vec<_>)| {
                used + separator + tokens <= limit
                    && self.names_per_prompt.is_none_or(|most| names.len() < most)
            };
            match prompts.iter_mut().find(has_room) {
                Some((used, names)) => {
                    *used += separator + tokens;
                    names.push(name);
                }
                None => prompts.push((around + tokens, vec![name])),
            }
        }
        Ok(prompts.into_iter().map(|(_, names)| names).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::{rule::PromptRule, tokens::tests::tokenizer};

    /// The number of names in each prompt.
    fn sizes(prompts: &[Prompt]) -> Vec<usize> {
        prompts
            .iter()
            .map(|prompt| {
                PromptRule::default()
                    .render(prompt)
                    .unwrap()
                    .phrases()
                    .len()
            })
            .collect()
    }

    #[test]
    fn prompts_are_filled_and_keep_indices() {
        // "red circle" takes 2 tokens, a separator 1, [CLS] and [SEP] 2: three names take 10.
        let labels: Vec<_> = (0..7).map(|index| format!("label {index}")).collect();
        let categories = labels
            .iter()
            .map(|label| Category::labelled(label, "red circle"));
        let vocabulary = Vocabulary::new(categories);
        for (limit, expected) in [(9, vec![2, 2, 2, 1]), (10, vec![3, 3, 1]), (99, vec![7])] {
            let tokenizer = tokenizer(limit);
            let prompts = vocabulary.prompts(&tokenizer).unwrap();
            assert_eq!(sizes(&prompts), expected);
            let mut indices = Vec::new();
            for prompt in &prompts {
                let tokens = tokenizer.tokenize(prompt).unwrap();
                indices.extend(tokens.phrases().iter().map(|found| found.phrase.index));
            }
            assert_eq!(indices, [0, 1, 2, 3, 4, 5, 6]);
        }
        let few = vocabulary.with_names_per_prompt(4);
        assert_eq!(sizes(&few.prompts(&tokenizer(99)).unwrap()), [4, 3]);
    }

    /// The final dot takes a token too.
    #[test]
    fn what_ends_a_text_has_room() {
        let tokenizer = tokenizer(10)
            .with_rule(PromptRule::default().with_closing("."))
            .unwrap();
        let categories = (0..7).map(|index| Category::labelled(index.to_string(), "red circle"));
        let prompts = Vocabulary::new(categories).prompts(&tokenizer).unwrap();
        assert_eq!(sizes(&prompts), [2, 2, 2, 1]);
        for prompt in &prompts {
            assert!(tokenizer.tokenize(prompt).unwrap().text().ends_with('.'));
        }
    }

    #[test]
    fn gaps_are_filled_by_what_fits() {
        // 5, 3, 5 and 3 tokens with the special ones: in order, no two neighbours fit into 7.
        let vocabulary = Vocabulary::new(["a red circle", "cat", "a cat circle", "dog"]);
        let prompts = vocabulary.prompts(&tokenizer(7)).unwrap();
        assert_eq!(sizes(&prompts), [2, 2]);
    }

    #[test]
    fn the_order_of_names_does_not_matter() {
        let names = ["dog", "a red circle", "cat", "red square"];
        let mut turned = names;
        turned.rotate_left(2);
        let texts = |names: &[&str]| -> Vec<String> {
            let prompts = Vocabulary::new(names).prompts(&tokenizer(8)).unwrap();
            let text = |prompt| {
                PromptRule::default()
                    .render(prompt)
                    .unwrap()
                    .text()
                    .to_owned()
            };
            prompts.iter().map(text).collect()
        };
        assert_eq!(texts(&names), texts(&turned));
    }

    #[test]
    fn what_cannot_be_packed_is_an_error() {
        let tokenizer = tokenizer(4);
        let error = Vocabulary::new(["cat", "a red circle"])
            .prompts(&tokenizer)
            .unwrap_err();
        assert!(
            matches!(&error, Error::PhraseTooLong { phrase, tokens: 5, limit: 4 } if phrase == "a red circle"),
            "{error}"
        );
        let none = Vocabulary::new(["cat"]).with_names_per_prompt(0);
        let error = none.prompts(&tokenizer).unwrap_err();
        assert!(matches!(error, Error::InvalidOption { .. }), "{error}");
        let empty = Vocabulary::new([""; 0]).prompts(&tokenizer).unwrap_err();
        assert!(matches!(empty, Error::EmptyPrompt), "{empty}");
        let twice = Vocabulary::new(["cat", "cat"]).prompts(&tokenizer);
        assert!(matches!(twice, Err(Error::DuplicateLabel { .. })));
    }
}
