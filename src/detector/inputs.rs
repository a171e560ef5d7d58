//! What a detector takes, images and prompts, as they are or encoded before.

use std::{borrow::Cow, sync::Arc};

use crate::{
    bundle::Manifest,
    geometry::ImageGeometry,
    graph::{FeaturePyramid, TextFeatures},
    preprocess::{PictureOr, SourceImage, from_pictures_or},
    prompt::{Category, LearnedPrompt, Prompt, TokenizedPhrase, Vocabulary, with_lists_of_names},
};

/// An encoded image: what [`Detector::encode_image`](crate::Detector::encode_image) makes, to be
/// asked about any number of prompts. It belongs to the model that made it. Clones share the features.
#[derive(Debug, Clone)]
pub struct EncodedImage {
    pub(super) pyramid: FeaturePyramid,
    pub(super) geometry: ImageGeometry,
    pub(super) model: Arc<Manifest>,
}

impl EncodedImage {
    /// What the image encoder sees, with batch 1.
    pub fn pyramid(&self) -> &FeaturePyramid {
        &self.pyramid
    }

    /// How the image lies in the network's input.
    pub fn geometry(&self) -> ImageGeometry {
        self.geometry
    }
}

/// An encoded prompt: what [`Detector::encode_prompt`](crate::Detector::encode_prompt) makes, to be
/// looked for in any number of images. It belongs to the model that made it.
#[derive(Debug, Clone)]
pub struct EncodedPrompt {
    pub(super) texts: Vec<EncodedText>,
    pub(super) model: Arc<Manifest>,
}

impl EncodedPrompt {
    /// The texts: one, or as many as a vocabulary was packed into.
    pub fn texts(&self) -> &[EncodedText] {
        &self.texts
    }
}

/// One text of an [`EncodedPrompt`].
#[derive(Debug, Clone)]
pub struct EncodedText {
    pub(super) phrases: Vec<TokenizedPhrase>,
    pub(super) features: TextFeatures,
}

impl EncodedText {
    /// Its phrases and their tokens.
    pub fn phrases(&self) -> &[TokenizedPhrase] {
        &self.phrases
    }

    /// What the text encoder makes of it, or what was learned, with batch 1.
    pub fn features(&self) -> &TextFeatures {
        &self.features
    }
}

/// An image to look at: made from a picture of the `image` crate, a [`SourceImage`], or an
/// [`EncodedImage`], borrowed or owned.
#[derive(Debug, Clone)]
pub struct ImageInput<'a>(pub(super) Image<'a>);

pub(super) type Image<'a> = PictureOr<'a, EncodedImage>;

from_pictures_or!(EncodedImage => ImageInput);

/// What to look for: made from a string of phrases separated by dots, a list of names or categories, a
/// [`Prompt`], a [`Vocabulary`], a [`LearnedPrompt`], or an [`EncodedPrompt`], borrowed or owned.
#[derive(Debug, Clone)]
pub struct PromptInput<'a>(pub(super) Words<'a>);

#[derive(Debug, Clone)]
pub(super) enum Words<'a> {
    Prompt(Cow<'a, Prompt>),
    Vocabulary(Cow<'a, Vocabulary>),
    Learned(Cow<'a, LearnedPrompt>),
    Encoded(Cow<'a, EncodedPrompt>),
}

macro_rules! from_words {
    ($($words:ident from $type:ty),+ $(,)?) => {$(
        impl<'a> From<&'a $type> for PromptInput<'a> {
            fn from(words: &'a $type) -> Self {
                Self(Words::$words(Cow::Borrowed(words)))
            }
        }

        impl From<$type> for PromptInput<'_> {
            fn from(words: $type) -> Self {
                Self(Words::$words(Cow::Owned(words)))
            }
        }
    )+};
}

from_words!(
    Prompt from Prompt,
    Vocabulary from Vocabulary,
    Learned from LearnedPrompt,
    Encoded from EncodedPrompt,
);

macro_rules! from_prompts {
    ($([$($generics:tt)*] $words:ty),+ $(,)?) => {$(
        impl<$($generics)*> From<$words> for PromptInput<'_> {
            fn from(words: $words) -> Self {
                Prompt::from(words).into()
            }
        }
    )+};
}

from_prompts!(['b] &'b str, ['b] &'b String, [] String);
with_lists_of_names!(from_prompts);
