//! What the workloads run on: pictures of the network's own size, prompts of a given length.

use glip::{Category, Detector, Error, Prompt, Vocabulary, parts::Tokenizer};
use image::RgbImage;

use crate::{arguments::Arguments, common::Result, picture::picture};

/// As many names as LVIS has.
const VOCABULARY: usize = 1203;

const QUALITIES: [&str; 36] = [
    "red", "blue", "green", "white", "black", "brown", "small", "large", "old", "new", "round",
    "flat", "wooden", "metal", "glass", "paper", "plastic", "leather", "open", "closed", "empty",
    "full", "wet", "dry", "clean", "dirty", "broken", "long", "short", "thin", "thick", "heavy",
    "light", "dark", "soft", "hard",
];

const THINGS: [&str; 36] = [
    "cat", "dog", "horse", "bird", "car", "bus", "train", "boat", "chair", "table", "lamp", "book",
    "cup", "bottle", "plate", "knife", "apple", "cake", "tree", "flower", "house", "door",
    "window", "wall", "man", "woman", "child", "hand", "hat", "shoe", "bag", "phone", "clock",
    "box", "ball", "kite",
];

/// A detector and what it is asked about.
pub(crate) struct Subject {
    pub(crate) detector: Detector,
    /// Pictures of exactly the network's size, so that the resize changes nothing.
    pub(crate) pictures: Vec<RgbImage>,
    pub(crate) prompt: Prompt,
    /// Of the same length in tokens.
    pub(crate) second_prompt: Prompt,
    pub(crate) vocabulary: Vec<String>,
    pub(crate) arguments: Arguments,
}

impl Subject {
    pub(crate) fn new(detector: Detector, arguments: Arguments) -> Result<Self> {
        let padded = detector.preprocessor().geometry(arguments.size)?.padded;
        if padded != arguments.size {
            return Err(format!("--size: {} would be padded to {padded}", arguments.size).into());
        }
        let tokenizer = detector.tokenizer();
        let words = THINGS.into_iter().chain(QUALITIES);
        Ok(Self {
            pictures: (0..arguments.batch.max(1))
                .map(|seed| picture(padded.width, padded.height, seed as u32))
                .collect(),
            prompt: prompt_of(arguments.tokens, words.clone(), tokenizer)?,
            second_prompt: prompt_of(arguments.tokens, words.rev(), tokenizer)?,
            vocabulary: vocabulary(),
            detector,
            arguments,
        })
    }

    /// The same with prompts of another length.
    pub(crate) fn with_tokens(self, tokens: &str) -> Result<Self> {
        let Self {
            detector,
            mut arguments,
            ..
        } = self;
        arguments.set("tokens", tokens)?;
        Self::new(detector, arguments)
    }

    /// As many names of the vocabulary as fit the model at once.
    pub(crate) fn full_prompt(&self) -> Result<Prompt> {
        let prompts = Vocabulary::new(&self.vocabulary).prompts(self.detector.tokenizer())?;
        Ok(prompts.into_iter().next().ok_or(Error::EmptyPrompt)?)
    }
}

/// A list of phrases of exactly this many tokens, whatever the tokenizer makes of words.
fn prompt_of<'w>(
    tokens: usize,
    words: impl Iterator<Item = &'w str> + Clone,
    tokenizer: &Tokenizer,
) -> Result<Prompt> {
    let mut names: Vec<String> = Vec::new();
    for word in words.cycle().take(tokens + QUALITIES.len() + THINGS.len()) {
        // A phrase of its own, with its separator, or if that is too long a part of the last one.
        let mut as_phrase = names.clone();
        as_phrase.push(word.into());
        let mut as_word = names.clone();
        if let Some(last) = as_word.last_mut() {
            *last = format!("{last} {word}");
        }
        for longer in [as_phrase, as_word] {
            match length(&longer, tokenizer)? {
                length if length == tokens => return Ok(list(&longer)),
                length if length < tokens => {
                    names = longer;
                    break;
                }
                _ => {}
            }
        }
    }
    Err(format!("--tokens {tokens}: no prompt of that many tokens was found").into())
}

/// The names with numbers for labels, because long prompts repeat names.
fn list(names: &[String]) -> Prompt {
    let numbered = names.iter().enumerate();
    Prompt::categories(numbered.map(|(number, name)| Category::labelled(number.to_string(), name)))
}

/// Tokens of a prompt, also of one that is too long for the model.
fn length(names: &[String], tokenizer: &Tokenizer) -> Result<usize> {
    match tokenizer.tokenize(&list(names)) {
        Ok(prompt) => Ok(prompt.ids().len()),
        Err(Error::PromptTooLong { tokens, .. }) => Ok(tokens),
        Err(Error::EmptyPrompt) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Distinct names of two words.
fn vocabulary() -> Vec<String> {
    let pairs = QUALITIES
        .iter()
        .flat_map(|quality| THINGS.map(|thing| format!("{quality} {thing}")));
    pairs.take(VOCABULARY).collect()
}
