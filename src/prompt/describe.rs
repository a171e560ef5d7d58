//! A prompt as the model sees it, for people to look at.

use std::fmt::Write;

use super::{
    prompt::Prompt,
    tokens::{TokenizedPhrase, Tokenizer},
};
use crate::error::Result;

impl Prompt {
    /// The text, its tokens, and which phrase each belongs to, to look at when a prompt does not find
    /// what it should: a word that falls into letters, for example, or becomes `[UNK]`, is one that the
    /// model was not trained on.
    ///
    /// ```
    /// use glip::{Category, Prompt, parts::Tokenizer};
    ///
    /// let tokenizer = Tokenizer::from_file("tests/fixtures/tokenizer.json", 256)?;
    /// let prompt = Prompt::categories([Category::new("circle").with_prefix("a red "), "cat".into()]);
    /// assert_eq!(
    ///     prompt.describe(&tokenizer)?,
    ///     r#""a red circle. cat", 7 of 256 tokens
    ///   0  [CLS]
    ///   1  a
    ///   2  red
    ///   3  circle  0 "circle"
    ///   4  .
    ///   5  cat     1 "cat"
    ///   6  [SEP]
    /// "#
    /// );
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tokenizer::tokenize`]; but phrases that are unknown are shown.
    pub fn describe(&self, tokenizer: &Tokenizer) -> Result<String> {
        let prompt = tokenizer.read(self)?;
        let tokens: Vec<_> = prompt.ids().iter().map(|&id| tokenizer.spell(id)).collect();
        let (count, limit) = (tokens.len(), tokenizer.max_tokens());
        let mut text = format!("{:?}, {count} of {limit} tokens\n", prompt.text());
        let width = tokens.iter().map(|token| token.chars().count()).max();
        for (index, token) in tokens.iter().enumerate() {
            let phrases = labels_at(prompt.phrases(), index);
            let line = format!(
                "{index:3}  {token:width$}  {phrases}",
                width = width.unwrap_or(0)
            );
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        Ok(text)
    }
}

/// The phrases that a token belongs to, by index and label.
fn labels_at(phrases: &[TokenizedPhrase], token: usize) -> String {
    let own = phrases
        .iter()
        .filter(|phrase| phrase.tokens.contains(&token));
    let labels: Vec<_> = own
        .map(|TokenizedPhrase { phrase, .. }| format!("{} {:?}", phrase.index, phrase.label))
        .collect();
    labels.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::tokens::tests::tokenizer;

    #[test]
    fn tokens_of_several_phrases_name_them_all() {
        let prompt = Prompt::caption("a red circle").phrases(["a red circle", "circle"]);
        let description = prompt.describe(&tokenizer(9)).unwrap();
        let line = description.lines().nth(4).unwrap();
        assert_eq!(line, r#"  3  circle  0 "a red circle", 1 "circle""#);
    }

    #[test]
    fn unknown_words_are_seen_as_what_they_become() {
        let description = Prompt::from("wug").describe(&tokenizer(9)).unwrap();
        assert!(
            description.contains("[UNK]") || description.contains("##"),
            "{description}"
        );
    }
}
