//! From features and prompts to small maps of logits.

use ndarray::{Array2, Array4, ArrayD, Dimension, IntoDimension};

use super::{prompt::NetworkPrompt, tensors::PromptTensors};
use crate::{
    bundle::SegmenterBundle,
    control::Control,
    error::{Error, Result},
    family::PromptTensor,
    runtime::{Runtime, SessionOptions},
    session::{CheckedGraph, HostTensor, Tensor},
};

/// The graph that answers prompts.
#[derive(Clone)]
pub(super) struct Decoder {
    graph: CheckedGraph,
    /// What it takes beside features.
    inputs: Vec<PromptTensor>,
    decoder_pads: bool,
    logits: String,
    scores: String,
}

/// What a decoder gives for some prompts.
pub(super) struct MaskLogits {
    /// `[prompts, candidates, rows, columns]`.
    pub(super) logits: Array4<f32>,
    /// How good each candidate is held to be, `[prompts, candidates]`.
    pub(super) scores: Array2<f32>,
}

impl Decoder {
    pub(super) fn load(
        runtime: &Runtime,
        bundle: &SegmenterBundle,
        options: &SessionOptions,
    ) -> Result<Self> {
        let manifest = bundle.manifest();
        let signature = manifest.decoder_signature();
        let [logits, scores] = manifest.family.outputs().map(|output| output.name);
        Ok(Self {
            graph: CheckedGraph::load(runtime, &bundle.decoder()?, signature, options)?,
            inputs: manifest.decoder.inputs.clone(),
            decoder_pads: manifest.family.decoder_pads,
            logits,
            scores,
        })
    }

    pub(super) fn controlled(&self, control: &Control) -> Self {
        Self {
            graph: self.graph.controlled(control),
            ..self.clone()
        }
    }

    /// Prompts that fit into one tensor, at least one.
    pub(super) fn run(&self, features: &[Tensor], prompts: &[NetworkPrompt]) -> Result<MaskLogits> {
        let tensors = PromptTensors::new(prompts, map_size(features), self.decoder_pads);
        let tensors: Vec<(&str, HostTensor)> = self
            .inputs
            .iter()
            .map(|&input| Ok((input.name, tensors.of(input)?)))
            .collect::<Result<_>>()?;
        let outputs = self.graph.run(features, |name| {
            let found = tensors.iter().find(|(input, _)| *input == name);
            found.map(|(_, tensor)| tensor.as_input())
        })?;
        let logits = outputs.get(&self.logits)?;
        let [.., candidates, rows, columns] = logits.shape()[..] else {
            return Err(self.unfit(logits, prompts.len()));
        };
        let scores = outputs.get(&self.scores)?;
        let count = prompts.len();
        if candidates == 0 {
            return Err(self.unfit(logits, count));
        }
        Ok(MaskLogits {
            logits: without_leading(&self.logits, logits, (count, candidates, rows, columns))?,
            scores: without_leading(&self.scores, scores, (count, candidates))?,
        })
    }

    fn unfit(&self, logits: &Tensor, prompts: usize) -> Error {
        Error::Shape {
            tensor: self.logits.clone(),
            expected: format!("[{prompts}, candidates, rows, columns], at least one candidate"),
            found: logits.shape(),
        }
    }
}

/// A tensor's numbers in the shape that it has without leading axes of 1.
fn without_leading<D: Dimension>(
    name: &str,
    tensor: &Tensor,
    shape: impl IntoDimension<Dim = D>,
) -> Result<ndarray::Array<f32, D>> {
    let shape = shape.into_dimension();
    let mut whole = vec![1; tensor.shape().len().saturating_sub(shape.ndim())];
    whole.extend(shape.slice());
    let numbers: ArrayD<f32> = tensor.to_array(name, whole)?;
    let rank = shape.ndim();
    numbers
        .into_shape_with_order(shape)
        .map_err(|_| Error::Shape {
            tensor: name.to_owned(),
            expected: format!("of rank {rank}"),
            found: tensor.shape(),
        })
}

/// Rows and columns of the masks that a decoder gives and takes: four times those of the coarsest features.
fn map_size(features: &[Tensor]) -> [usize; 2] {
    let sizes = features.iter().filter_map(|map| match map.shape()[..] {
        [_, _, rows, columns] => Some([4 * rows, 4 * columns]),
        _ => None,
    });
    sizes.min().unwrap_or_default()
}
