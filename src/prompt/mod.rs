//! From words to tokens: what to look for, how a model wants it written, and where each phrase lies in
//! the model's input.

mod caption;
mod category;
mod category_file;
mod describe;
mod learned;
mod list;
#[cfg(feature = "captions")]
mod noun_phrases;
mod phrase;
#[allow(clippy::module_inception, reason = "files are named after their type")]
mod prompt;
mod rule;
mod tokenizer_file;
mod tokens;
mod vocabulary;

#[cfg(test)]
pub(crate) use self::learned::tests::learned_file;
#[cfg(feature = "captions")]
pub use self::noun_phrases::{NounPhrases, PerceptronTagger, PhraseExtractor};
pub(crate) use self::prompt::with_lists_of_names;
pub use self::{
    category::{Category, Wording},
    learned::LearnedPrompt,
    phrase::{Phrase, PhraseSpans},
    prompt::Prompt,
    rule::{PromptRule, PromptText},
    tokens::{TokenizedPhrase, TokenizedPrompt, Tokenizer},
    vocabulary::Vocabulary,
};
