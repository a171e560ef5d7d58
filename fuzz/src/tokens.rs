//! Tokens of prompts, by the tokenizer of the model in the box or by another.

use std::sync::OnceLock;

use glip::{
    Bundle,
    parts::{TokenizedPrompt, Tokenizer},
};

/// The tokenizer of the model in the box.
pub fn own_tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        let bundle = Bundle::nano().expect("the model in the box is whole");
        bundle.tokenizer().expect("it has a tokenizer")
    })
}

/// Each phrase has tokens of the prompt, in order.
pub fn check_tokens(prompt: &TokenizedPrompt) {
    assert_eq!(prompt.ids().len(), prompt.offsets().len());
    for phrase in prompt.phrases() {
        assert!(phrase.tokens.is_sorted_by(|a, b| a < b), "{phrase:?}");
        assert!(
            phrase
                .tokens
                .last()
                .is_some_and(|&last| last < prompt.ids().len()),
            "{phrase:?}"
        );
    }
}
