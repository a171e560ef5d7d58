//! What to look for.

use std::ffi::c_char;

use glip::{Category, EncodedPrompt, Vocabulary};

use crate::{
    arguments::{borrow, give, list, place, take_back, text},
    detector::glip_detector,
    fault::{Result, guard},
    status::glip_status,
};

/// What to look for, made ready for one detector's model. It is made once and used for any number of images.
/// It never changes, so any number of threads may use it at the same time, and it may be freed before what was begun with it.
pub struct glip_prompt(pub(crate) EncodedPrompt);

/// Makes a prompt of phrases between dots, such as "red cup . person": `phrase_index` of a detection is the place among
/// them, from 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_prompt_new(
    detector: *const glip_detector,
    phrases: *const c_char,
    prompt: *mut *mut glip_prompt,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to.
        let (prompt, detector, phrases) = unsafe {
            (
                place(prompt, "prompt")?,
                borrow(detector, "detector")?,
                text(phrases, "phrases")?,
            )
        };
        give(prompt, glip_prompt(detector.0.encode_prompt(phrases)?));
        Ok(())
    })
}

/// Makes a prompt of a list of names, as data sets spell them ("traffic_light"). There may be any number: those that do
/// not fit into one text of the model's are asked for in several, of the same encoded image.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_prompt_from_names(
    detector: *const glip_detector,
    names: *const *const c_char,
    count: usize,
    prompt: *mut *mut glip_prompt,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to; there are so many names.
        let (prompt, detector, names) = unsafe {
            (
                place(prompt, "prompt")?,
                borrow(detector, "detector")?,
                list(names, count, "names")?,
            )
        };
        // SAFETY: each is NULL or a string.
        let names = names
            .iter()
            .map(|&name| unsafe { text(name, "one of the names") }.map(Category::new));
        let names: Vec<_> = names.collect::<Result<_>>()?;
        let encoded = detector.0.encode_prompt(Vocabulary::new(names))?;
        give(prompt, glip_prompt(encoded));
        Ok(())
    })
}

/// Gives a prompt back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_prompt_free(prompt: *mut glip_prompt) {
    guard(|| {
        // SAFETY: it is NULL, or one that was not given back yet, as the header asks of the caller.
        unsafe { take_back(prompt) };
        Ok(())
    });
}
