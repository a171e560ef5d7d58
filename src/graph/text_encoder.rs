//! From tokens to text features.

use ndarray::{Array1, Array2, Array3, Axis};

use super::{
    checked::CheckedGraph,
    signature::{Signature, TensorSpec},
    tensor::{Input, Tensor},
};
use crate::{Bundle, Device, Error, Result, Runtime, SessionOptions, TokenizedPrompt};

pub(super) fn signature() -> Signature {
    Signature {
        graph: "text_encoder",
        inputs: vec![
            TensorSpec::int64("input_ids", 2),
            TensorSpec::int64("attention_mask", 2),
        ],
        outputs: vec![
            TensorSpec::float32("hidden", 3),
            TensorSpec::float32("embedded", 3),
        ],
    }
}

/// The text side of GLIP: BERT.
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
        let Some(spec) = &bundle.manifest().graphs.text_encoder else {
            return Ok(Self(None));
        };
        let file = bundle.file(&spec.file)?;
        let graph = CheckedGraph::load(runtime, &file, signature(), options)?;
        Ok(Self(Some(graph)))
    }

    #[cfg(test)]
    pub(crate) fn from_graph(graph: std::sync::Arc<dyn super::Graph>) -> Self {
        Self(Some(CheckedGraph::new(signature(), graph)))
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(None)
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
    pub fn run(&self, prompt: &TokenizedPrompt) -> Result<TextFeatures> {
        let graph = self.0.as_ref().ok_or(Error::NoTextEncoder)?;
        let input_ids = as_row(prompt.ids());
        let attention_mask = as_row(prompt.attention_mask());
        let (_no_maps, [hidden, embedded]) = graph.run(&[
            Input::Integers(input_ids.view().into_dyn()),
            Input::Integers(attention_mask.view().into_dyn()),
        ])?;
        Ok(TextFeatures {
            hidden: text_states("hidden", &hidden, attention_mask.dim())?,
            embedded: text_states("embedded", &embedded, attention_mask.dim())?,
            attention_mask,
        })
    }
}

/// A batch of one row, as the int64 that the graphs take.
fn as_row(numbers: &[u32]) -> Array2<i64> {
    let row: Array1<i64> = numbers.iter().map(|&number| i64::from(number)).collect();
    row.insert_axis(Axis(0))
}

/// Text states `[batch, tokens, width]` on the host; a model's width is what its graphs say.
pub(super) fn text_states(
    name: &str,
    tensor: &Tensor,
    (batch, tokens): (usize, usize),
) -> Result<Array3<f32>> {
    let width = tensor.shape().last().copied().unwrap_or_default();
    tensor.to_array(name, (batch, tokens, width))
}

/// What the text encoder makes of a prompt. Always in host memory: it is small.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TextFeatures {
    /// BERT's last hidden states, which the fusion tower reads: `[batch, tokens, width]`.
    pub hidden: Array3<f32>,
    /// The states that a model without fusion aligns with: `[batch, tokens, width]`.
    pub embedded: Array3<f32>,
    /// 1 for a real token, 0 for padding: `[batch, tokens]`.
    pub attention_mask: Array2<i64>,
}
