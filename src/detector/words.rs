//! From what a caller says to encoded prompts.

use std::borrow::Cow;

use ndarray::{Array2, Axis};

use super::{Detector, EncodedPrompt, PromptInput, inputs::Words};
use crate::{Error, LearnedPrompt, Result, TextFeatures, TokenizedPrompt};

/// A prompt of a call, that has been encoded before or is when its turn comes.
pub(super) enum NextPrompt<'a> {
    Tokens(TokenizedPrompt),
    Encoded(Cow<'a, EncodedPrompt>),
}

impl Detector {
    /// The prompts to run, checked as far as that takes no graph.
    pub(super) fn prompts<'a>(&self, input: PromptInput<'a>) -> Result<Vec<NextPrompt<'a>>> {
        let tokenize = |prompt| self.tokenizer().tokenize(prompt).map(NextPrompt::Tokens);
        match input.0 {
            Words::Prompt(prompt) => Ok(vec![tokenize(&prompt)?]),
            Words::Vocabulary(vocabulary) => {
                let prompts = vocabulary.prompts(self.tokenizer())?;
                prompts.iter().map(tokenize).collect()
            }
            Words::Learned(prompt) => {
                let encoded = self.learned(prompt)?;
                Ok(vec![NextPrompt::Encoded(Cow::Owned(encoded))])
            }
            Words::Query(query) => {
                let prompts = query.prompts().iter();
                let encoded = prompts.map(|prompt| NextPrompt::Encoded(Cow::Borrowed(prompt)));
                Ok(encoded.collect())
            }
        }
    }

    pub(super) fn encoded<'a>(&self, prompt: NextPrompt<'a>) -> Result<Cow<'a, EncodedPrompt>> {
        match prompt {
            NextPrompt::Encoded(prompt) => Ok(prompt),
            NextPrompt::Tokens(tokens) => Ok(Cow::Owned(EncodedPrompt {
                text: self.text_encoder().run(&tokens)?,
                phrases: tokens.into_phrases(),
            })),
        }
    }

    /// Learned states in place of the text encoder's, if they were learned for this model.
    fn learned(&self, prompt: &LearnedPrompt) -> Result<EncodedPrompt> {
        let manifest = self.manifest();
        let fingerprint = &manifest.source.fingerprint;
        if fingerprint.as_deref() != Some(prompt.model()) {
            return Err(Error::LearnedPromptModel {
                text: prompt.text().to_owned(),
                expected: prompt.model().to_owned(),
                model: manifest.name.clone(),
                found: fingerprint.clone(),
            });
        }
        let (tokens, width) = prompt.hidden().dim();
        if width != manifest.text.hidden_size {
            return Err(Error::Shape {
                tensor: format!("hidden of the learned prompt {:?}", prompt.text()),
                expected: format!("[tokens, {}]", manifest.text.hidden_size),
                found: vec![tokens, width],
            });
        }
        if tokens > manifest.text.max_tokens {
            return Err(Error::PromptTooLong {
                tokens,
                limit: manifest.text.max_tokens,
            });
        }
        Ok(EncodedPrompt {
            phrases: prompt.phrases().to_vec(),
            text: TextFeatures {
                hidden: prompt.hidden().to_owned().insert_axis(Axis(0)),
                embedded: prompt.embedded().to_owned().insert_axis(Axis(0)),
                attention_mask: Array2::ones((1, tokens)),
            },
        })
    }
}
