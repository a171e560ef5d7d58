//! Prompts, category files and captions.

use std::ops::Range;

use arbitrary::{Arbitrary, Result, Unstructured};
use glip::{
    Category, Error, NounPhrases, Prompt, Vocabulary, Wording,
    parts::{PromptRule, PromptText},
};
use glip_tools::label::Subject;

use crate::{
    input::{list, read},
    tokens::{check_tokens, own_tokenizer},
};

/// Each way to make a prompt, of any text.
pub fn prompt(data: &[u8]) {
    read(data, |input| {
        match input.int_in_range(0..=4u8)? {
            0 => check_prompt(&Prompt::from(<&str>::arbitrary(input)?)),
            1 => {
                let length = input.int_in_range(0..=4)?;
                check_categories(&list(input, length, category)?, input.int_in_range(0..=3)?);
            }
            2 => {
                let length = input.int_in_range(0..=3)?;
                let phrases = list(input, length, |input| input.arbitrary::<String>())?;
                check_prompt(&Prompt::caption(<&str>::arbitrary(input)?).phrases(phrases));
            }
            kind => {
                let length = input.int_in_range(0..=3)?;
                let phrases = list(input, length, spans)?;
                let caption = Prompt::caption(<&str>::arbitrary(input)?);
                check_prompt(&match kind {
                    3 => caption.spans(phrases),
                    _ => caption.char_spans(phrases),
                });
            }
        }
        Ok(())
    });
}

pub fn categories_json(data: &[u8]) {
    if let Ok(categories) = Category::from_json(&String::from_utf8_lossy(data)) {
        check_categories(&categories, 0);
    }
}

pub fn categories_yaml(data: &[u8]) {
    if let Ok(categories) = Category::from_yaml(&String::from_utf8_lossy(data)) {
        check_categories(&categories, 0);
    }
}

/// Noun phrases are found in any caption, or there are none.
pub fn noun_phrases(data: &[u8]) {
    let caption = String::from_utf8_lossy(data);
    let prompt = Prompt::caption(&*caption).extract(&NounPhrases);
    match PromptRule::default().render(&prompt) {
        Ok(rendered) => check_text(&rendered),
        Err(Error::EmptyPrompt) => {}
        Err(error) => panic!("{error}"),
    }
    if let Ok(tokenized) = own_tokenizer().tokenize(&prompt) {
        check_tokens(&tokenized);
    }
    match Subject::caption(&*caption).phrases() {
        Ok(_) | Err(Error::EmptyPrompt) => {}
        Err(error) => panic!("{error}"),
    }
}

fn category(input: &mut Unstructured) -> Result<Category> {
    let wording = Wording::new(<&str>::arbitrary(input)?);
    let mut category = Category::labelled(<&str>::arbitrary(input)?, wording);
    if bool::arbitrary(input)? {
        category = category.with_prefix(<&str>::arbitrary(input)?);
    }
    if bool::arbitrary(input)? {
        category = category.with_suffix(<&str>::arbitrary(input)?);
    }
    if bool::arbitrary(input)? {
        category = category.with_synonym(<&str>::arbitrary(input)?);
    }
    Ok(category)
}

fn spans(input: &mut Unstructured) -> Result<Vec<Range<usize>>> {
    let length = input.int_in_range(0..=3)?;
    list(input, length, |input| {
        Ok(match input.ratio(1, 8)? {
            true => usize::arbitrary(input)?..usize::arbitrary(input)?,
            false => u8::arbitrary(input)?.into()..u8::arbitrary(input)?.into(),
        })
    })
}

fn check_categories(categories: &[Category], names_per_prompt: usize) {
    check_prompt(&Prompt::categories(categories));
    let vocabulary = Vocabulary::new(categories).with_names_per_prompt(names_per_prompt);
    let Ok(prompts) = vocabulary.prompts(own_tokenizer()) else {
        return;
    };
    for prompt in prompts {
        match own_tokenizer().tokenize(&prompt) {
            Ok(tokenized) => check_tokens(&tokenized),
            Err(Error::SpanWithoutTokens { .. } | Error::UnknownPhrase { .. }) => {}
            Err(error) => panic!("what was packed into a prompt fits: {error}"),
        }
    }
}

/// Whatever a prompt becomes by the rules of both families lies inside its text.
pub fn check_prompt(prompt: &Prompt) {
    let grounding_dino = PromptRule::default()
        .with_lower_case()
        .with_separator(" . ")
        .with_closing(" .")
        .with_block_ends([".", "?"]);
    for rule in [PromptRule::default(), grounding_dino] {
        if let Ok(rendered) = rule.render(prompt) {
            check_text(&rendered);
        }
    }
    if let Ok(tokenized) = own_tokenizer().tokenize(prompt) {
        check_tokens(&tokenized);
    }
    let _ = prompt.describe(own_tokenizer());
}

fn check_text(rendered: &PromptText) {
    for span in rendered.phrases().iter().flat_map(|phrase| &phrase.spans) {
        let text = rendered.text().get(span.clone());
        assert!(text.is_some_and(|text| !text.is_empty()), "{span:?}");
    }
}
