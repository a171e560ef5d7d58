//! From features and prompts to small maps of logits.

use ndarray::{Array2, Array4, ArrayD, Dimension, IntoDimension};

use super::{prompt::NetworkPrompt, tensors::PromptTensors};
use crate::{
    bundle::SegmenterBundle,
    control::Control,
    error::{Error, Result},
    family::{PromptTensor, SegmenterFamily},
    geometry::ImageSize,
    runtime::{Runtime, SessionOptions},
    session::{CheckedGraph, HostTensor, Tensor},
};

/// The graph that answers prompts.
#[derive(Clone)]
pub(super) struct Decoder {
    graph: CheckedGraph,
    /// What it takes beside features.
    inputs: Vec<PromptTensor>,
    family: &'static SegmenterFamily,
    logits: String,
    scores: String,
}

/// What a decoder gives for some prompts: logits `[prompts, candidates, rows, columns]`, and how good each candidate is
/// held to be, `[prompts, candidates]`.
pub(super) type RunLogits = (Array4<f32>, Array2<f32>);

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
            family: manifest.family,
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

    /// Refuses a prompt without the box that the graph needs, or of more points than it looks at. `index` is its place in
    /// the list.
    pub(super) fn check(&self, index: usize, prompt: &NetworkPrompt) -> Result<()> {
        if self.family.needs_boxes && prompt.corners.is_none() {
            return Err(Error::PromptWithoutBox { index });
        }
        let points = prompt.points.len() + 2 * usize::from(prompt.corners.is_some());
        match self.family.most_points {
            Some(limit) if points > limit => Err(Error::PromptPoints {
                index,
                points,
                limit,
            }),
            _ => Ok(()),
        }
    }

    /// Prompts that fit into one tensor, at least one, in pixels of an image of this size.
    pub(super) fn run(
        &self,
        features: &[Tensor],
        image: ImageSize,
        prompts: &[NetworkPrompt],
    ) -> Result<RunLogits> {
        let tensors = PromptTensors::new(prompts, image, map_size(features), self.family);
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
        Ok((
            without_leading(&self.logits, logits, (count, candidates, rows, columns))?,
            without_leading(&self.scores, scores, (count, candidates))?,
        ))
    }

    fn unfit(&self, logits: &Tensor, prompts: usize) -> Error {
        Error::Shape {
            tensor: self.logits.clone(),
            expected: format!("[{prompts}, candidates, rows, columns], at least one candidate"),
            found: logits.shape().to_vec(),
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
            found: tensor.shape().to_vec(),
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
