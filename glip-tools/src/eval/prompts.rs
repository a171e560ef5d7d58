//! What a model is asked for: the categories of a data set, as words.

use std::path::Path;

use glip::{Category, Detector, EncodedPrompt, Prompt, Vocabulary};

use crate::{
    coco::Dataset,
    error::{Error, Result},
};

/// The words for the categories of a data set, by ascending id: their names, or what a file says, which
/// has an entry for each (ODinW's prompt files too).
///
/// # Errors
/// - [`Error::Model`]: the file cannot be read.
/// - [`Error::PromptCount`]: it has another number of entries.
pub fn category_words(dataset: &Dataset, file: Option<&Path>) -> Result<Vec<Category>> {
    let Some(file) = file else {
        // Two categories may have one name; their ids differ.
        let named = dataset.categories.iter();
        let words =
            named.map(|category| Category::labelled(category.id.to_string(), &*category.name));
        return Ok(words.collect());
    };
    let words = Category::load(file)?;
    if words.len() != dataset.categories.len() {
        return Err(Error::PromptCount {
            path: file.to_owned(),
            found: words.len(),
            expected: dataset.categories.len(),
        });
    }
    Ok(words)
}

/// Encodes categories: in one prompt and in their order, as official asks for COCO, if they fit; else, or
/// if there shall be fewer names in a prompt, in several.
///
/// # Errors
/// As [`Detector::encode_prompt`].
pub fn encode_words(
    detector: &Detector,
    words: &[Category],
    names_per_prompt: Option<usize>,
) -> glip::Result<EncodedPrompt> {
    if let Some(names) = names_per_prompt {
        return detector
            .encode_prompt(Vocabulary::new(words.to_vec()).with_names_per_prompt(names));
    }
    match detector.encode_prompt(Prompt::categories(words.to_vec())) {
        Err(glip::Error::PromptTooLong { .. } | glip::Error::PromptTooLarge { .. }) => {
            detector.encode_prompt(Vocabulary::new(words.to_vec()))
        }
        result => result,
    }
}
