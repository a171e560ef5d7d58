//! What a detector takes: images and prompts, as they are or encoded before.

use std::borrow::Cow;

use image::{DynamicImage, RgbImage};

use crate::{
    FeaturePyramid, ImageGeometry, LearnedPrompt, Prompt, SourceImage, TextFeatures,
    TokenizedPhrase, Vocabulary,
};

/// An encoded image: what [`Detector::encode_image`](crate::Detector::encode_image) makes, to be
/// asked about any number of prompts. Clones share the features.
#[derive(Debug, Clone)]
pub struct Scene {
    pub(super) pyramid: FeaturePyramid,
    pub(super) geometry: ImageGeometry,
}

impl Scene {
    /// What the image encoder sees, with batch 1.
    pub fn pyramid(&self) -> &FeaturePyramid {
        &self.pyramid
    }

    /// How the image lies in the network's input.
    pub fn geometry(&self) -> ImageGeometry {
        self.geometry
    }
}

/// Encoded words: what [`Detector::encode_prompt`](crate::Detector::encode_prompt) makes, to be
/// looked for in any number of images.
#[derive(Debug, Clone)]
pub struct Query {
    pub(super) prompts: Vec<EncodedPrompt>,
}

impl Query {
    /// The prompts: one, or as many as a vocabulary was packed into.
    pub fn prompts(&self) -> &[EncodedPrompt] {
        &self.prompts
    }
}

/// One prompt of a [`Query`].
#[derive(Debug, Clone)]
pub struct EncodedPrompt {
    pub(super) phrases: Vec<TokenizedPhrase>,
    pub(super) text: TextFeatures,
}

impl EncodedPrompt {
    /// Its phrases and their tokens.
    pub fn phrases(&self) -> &[TokenizedPhrase] {
        &self.phrases
    }

    /// What the text encoder makes of it, or what was learned, with batch 1.
    pub fn text(&self) -> &TextFeatures {
        &self.text
    }
}

/// An image to look at: made from a picture of the `image` crate, a [`SourceImage`], or a [`Scene`].
#[derive(Debug, Clone)]
pub struct ImageInput<'a>(pub(super) Image<'a>);

#[derive(Debug, Clone)]
pub(super) enum Image<'a> {
    Picture(SourceImage<'a>),
    Scene(&'a Scene),
}

impl<'a> From<SourceImage<'a>> for ImageInput<'a> {
    fn from(image: SourceImage<'a>) -> Self {
        Self(Image::Picture(image))
    }
}

impl<'a> From<&'a SourceImage<'_>> for ImageInput<'a> {
    fn from(image: &'a SourceImage<'_>) -> Self {
        SourceImage::from(image).into()
    }
}

impl<'a> From<&'a DynamicImage> for ImageInput<'a> {
    fn from(image: &'a DynamicImage) -> Self {
        SourceImage::from(image).into()
    }
}

impl<'a> From<&'a RgbImage> for ImageInput<'a> {
    fn from(image: &'a RgbImage) -> Self {
        SourceImage::from(image).into()
    }
}

impl<'a> From<&'a Scene> for ImageInput<'a> {
    fn from(scene: &'a Scene) -> Self {
        Self(Image::Scene(scene))
    }
}

/// What to look for: made from a string of phrases separated by dots, a [`Prompt`], a [`Vocabulary`], a
/// [`LearnedPrompt`], or a [`Query`].
#[derive(Debug, Clone)]
pub struct PromptInput<'a>(pub(super) Words<'a>);

#[derive(Debug, Clone)]
pub(super) enum Words<'a> {
    Prompt(Cow<'a, Prompt>),
    Vocabulary(Cow<'a, Vocabulary>),
    Learned(&'a LearnedPrompt),
    Query(&'a Query),
}

impl From<Prompt> for PromptInput<'_> {
    fn from(prompt: Prompt) -> Self {
        Self(Words::Prompt(Cow::Owned(prompt)))
    }
}

impl<'a> From<&'a Prompt> for PromptInput<'a> {
    fn from(prompt: &'a Prompt) -> Self {
        Self(Words::Prompt(Cow::Borrowed(prompt)))
    }
}

impl From<&str> for PromptInput<'_> {
    fn from(phrases: &str) -> Self {
        Prompt::from(phrases).into()
    }
}

impl From<&String> for PromptInput<'_> {
    fn from(phrases: &String) -> Self {
        phrases.as_str().into()
    }
}

impl From<Vocabulary> for PromptInput<'_> {
    fn from(vocabulary: Vocabulary) -> Self {
        Self(Words::Vocabulary(Cow::Owned(vocabulary)))
    }
}

impl<'a> From<&'a Vocabulary> for PromptInput<'a> {
    fn from(vocabulary: &'a Vocabulary) -> Self {
        Self(Words::Vocabulary(Cow::Borrowed(vocabulary)))
    }
}

impl<'a> From<&'a LearnedPrompt> for PromptInput<'a> {
    fn from(prompt: &'a LearnedPrompt) -> Self {
        Self(Words::Learned(prompt))
    }
}

impl<'a> From<&'a Query> for PromptInput<'a> {
    fn from(query: &'a Query) -> Self {
        Self(Words::Query(query))
    }
}
