//! From tokens to text features.

use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, Axis};

use super::{load::load_optional, text_states::keep_states};
use crate::{
    bundle::Bundle,
    control::Control,
    error::{Error, Result},
    prompt::{LearnedPrompt, TokenizedPrompt},
    runtime::{Device, Runtime, SessionOptions},
    session::{CheckedGraph, HostTensor, NamedTensors},
};

/// The text side of a model: BERT.
///
/// A prompt is encoded at its true length. Official GLIP pads it to 256 tokens and masks the
/// padding everywhere, which gives the same numbers for the real tokens.
///
/// A bundle that was exported for [learned prompts](crate::LearnedPrompt) alone has no such graph;
/// encoding a text is then an error.
///
/// Calls queue, unless [`SessionOptions::sessions`] is more than 1. Clones share the sessions.
#[derive(Clone)]
pub struct TextEncoder(Option<CheckedGraph>);

impl TextEncoder {
    /// Loads the graph `text_encoder` of a bundle, if it has one.
    ///
    /// # Errors
    /// - [`Error::GraphLoad`]: ONNX Runtime cannot load the file.
    /// - [`Error::GraphSignature`]: it is another graph.
    /// - [`Error::DeviceUnavailable`]: the device cannot be used.
    pub fn load(runtime: &Runtime, bundle: &Bundle, options: &SessionOptions) -> Result<Self> {
        let signature = bundle.manifest().signatures().text_encoder;
        load_optional(runtime, bundle, signature, options).map(Self)
    }

    #[cfg(test)]
    pub(crate) fn from_graph(graph: CheckedGraph) -> Self {
        Self(Some(graph))
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The same, whose runs end when the control says so.
    #[must_use]
    pub fn controlled(&self, control: &Control) -> Self {
        Self(self.0.as_ref().map(|graph| graph.controlled(control)))
    }

    /// The device the graph runs on; `None` if the bundle has no text encoder.
    pub fn device(&self) -> Option<Device> {
        self.0.as_ref().map(CheckedGraph::device)
    }

    /// Encodes a prompt.
    ///
    /// # Errors
    /// - [`Error::NoTextEncoder`]: the bundle has none.
    /// - [`Error::GraphRun`]: ONNX Runtime fails.
    /// - [`Error::NonFinite`]: a state is NaN or infinite.
    /// - [`Error::Stopped`], [`Error::DeadlinePassed`]: a [control](Self::controlled) said so.
    pub fn run(&self, prompt: &TokenizedPrompt) -> Result<TextFeatures> {
        let graph = self.0.as_ref().ok_or(Error::NoTextEncoder)?;
        let mut features = TextFeatures::of_tokens(prompt);
        let outputs = graph.run([], |input| features.0.get(input).map(HostTensor::as_input))?;
        let shape = (1, prompt.ids().len());
        keep_states(
            &outputs,
            shape,
            &mut features.0,
            &mut NamedTensors::default(),
        )?;
        Ok(features)
    }
}

/// What the text encoder makes of a prompt, and what of the prompt the graphs after it read. Always in
/// host memory: it is small.
#[derive(Debug, Clone)]
pub struct TextFeatures(pub(super) NamedTensors);

impl TextFeatures {
    /// States of your own in place of a text encoder's, for a prompt without padding:
    /// `[batch, tokens, width]` both.
    ///
    /// # Errors
    /// - [`Error::Shape`]: they have not the same shape.
    pub fn new(hidden: Array3<f32>, embedded: Array3<f32>) -> Result<Self> {
        if hidden.dim() != embedded.dim() {
            return Err(Error::Shape {
                tensor: "embedded".to_owned(),
                expected: format!("{:?}, as hidden", hidden.shape()),
                found: embedded.shape().to_vec(),
            });
        }
        let (batch, tokens, _) = hidden.dim();
        let mut features = NamedTensors::default();
        features.insert("hidden", hidden.into());
        features.insert("embedded", embedded.into());
        features.insert(
            "attention_mask",
            Array2::<i64>::ones((batch, tokens)).into(),
        );
        Ok(Self(features))
    }

    /// The states of a prompt that was learned, with batch 1.
    pub(crate) fn of_learned(prompt: &LearnedPrompt) -> Result<Self> {
        let states = |states: ArrayView2<'_, f32>| states.to_owned().insert_axis(Axis(0));
        Self::new(states(prompt.hidden()), states(prompt.embedded()))
    }

    /// Everything that a graph may want to know of a prompt, before any graph has seen it.
    fn of_tokens(prompt: &TokenizedPrompt) -> Self {
        let mut features = NamedTensors::default();
        features.insert("input_ids", as_row(prompt.ids()).into());
        features.insert("attention_mask", as_row(prompt.attention_mask()).into());
        features.insert("position_ids", as_row(&prompt.position_ids()).into());
        let block_mask = prompt.block_mask().insert_axis(Axis(0));
        features.insert("block_mask", block_mask.into());
        Self(features)
    }

    /// BERT's last hidden states, which the fusion tower reads: `[batch, tokens, width]`. `None` if the
    /// model's text encoder has none.
    pub fn hidden(&self) -> Option<ArrayView3<'_, f32>> {
        self.0.floats("hidden")
    }

    /// The states that a model without fusion aligns with: `[batch, tokens, width]`. `None` if the model's
    /// text encoder has none.
    pub fn embedded(&self) -> Option<ArrayView3<'_, f32>> {
        self.0.floats("embedded")
    }

    /// The number of prompts and of tokens.
    pub(super) fn batch_and_tokens(&self) -> (usize, usize) {
        match self.0.get("attention_mask").map(HostTensor::shape) {
            Some(&[batch, tokens]) => (batch, tokens),
            _ => (0, 0), // every constructor puts it there
        }
    }
}

/// A batch of one row, as the int64 that the graphs take.
fn as_row(numbers: &[u32]) -> Array2<i64> {
    let row: Array1<i64> = numbers.iter().map(|&number| i64::from(number)).collect();
    row.insert_axis(Axis(0))
}
