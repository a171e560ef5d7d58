//! From what a caller says to encoded texts.

use std::{borrow::Cow, sync::Arc};

use smallvec::{SmallVec, smallvec};

use super::{
    detector::Detector,
    inputs::{EncodedPrompt, EncodedText, PromptInput, Words},
};
use crate::{
    error::{Error, Result},
    graph::TextFeatures,
    prompt::{LearnedPrompt, TokenizedPrompt},
};

/// A text of a call, that has been encoded before or is when its turn comes.
pub(super) enum NextText<'a> {
    Tokens(TokenizedPrompt),
    Encoded(Cow<'a, EncodedText>),
}

/// The texts of a call: one, unless a vocabulary has more.
pub(super) type NextTexts<'a> = SmallVec<[NextText<'a>; 1]>;

impl Detector {
    /// The texts to run, checked as far as that takes no graph.
    pub(super) fn texts<'a>(&self, input: PromptInput<'a>) -> Result<NextTexts<'a>> {
        let tokenize = |prompt| self.tokenizer().tokenize(prompt).map(NextText::Tokens);
        match input.0 {
            Words::Prompt(prompt) => Ok(smallvec![tokenize(&prompt)?]),
            Words::Vocabulary(vocabulary) => {
                let prompts = vocabulary.prompts(self.tokenizer())?;
                prompts.iter().map(tokenize).collect()
            }
            Words::Learned(prompt) => {
                let encoded = self.learned(&prompt)?;
                Ok(smallvec![NextText::Encoded(Cow::Owned(encoded))])
            }
            Words::Encoded(prompt) => {
                self.check_model("prompt", &prompt.model)?;
                Ok(match prompt {
                    Cow::Borrowed(prompt) => {
                        let texts = prompt.texts.iter();
                        texts
                            .map(|text| NextText::Encoded(Cow::Borrowed(text)))
                            .collect()
                    }
                    Cow::Owned(prompt) => {
                        let texts = prompt.texts.into_iter();
                        texts
                            .map(|text| NextText::Encoded(Cow::Owned(text)))
                            .collect()
                    }
                })
            }
        }
    }

    pub(super) fn encoded<'a>(&self, text: NextText<'a>) -> Result<Cow<'a, EncodedText>> {
        match text {
            NextText::Encoded(text) => Ok(text),
            NextText::Tokens(tokens) => Ok(Cow::Owned(EncodedText {
                features: self.text_encoder().controlled(&self.control).run(&tokens)?,
                phrases: tokens.into_phrases(),
            })),
        }
    }

    pub(super) fn encode(&self, input: PromptInput<'_>) -> Result<EncodedPrompt> {
        let texts = self.texts(input)?.into_iter();
        let texts = texts.map(|text| self.encoded(text).map(Cow::into_owned));
        Ok(EncodedPrompt {
            texts: texts.collect::<Result<_>>()?,
            model: Arc::clone(&self.parts.manifest),
        })
    }

    /// Learned states in place of the text encoder's, if they were learned for this model.
    fn learned(&self, prompt: &LearnedPrompt) -> Result<EncodedText> {
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
        if width != manifest.hidden_size {
            return Err(Error::Shape {
                tensor: format!("hidden of the learned prompt {:?}", prompt.text()),
                expected: format!("[tokens, {}]", manifest.hidden_size),
                found: vec![tokens, width],
            });
        }
        if tokens > manifest.max_tokens {
            return Err(Error::PromptTooLong {
                tokens,
                limit: manifest.max_tokens,
            });
        }
        Ok(EncodedText {
            phrases: prompt.phrases().to_vec(),
            features: TextFeatures::of_learned(prompt)?,
        })
    }
}
