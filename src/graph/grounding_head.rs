//! From fused features to what the model says about every anchor.

use ndarray::{Array2, Array3};

use super::{
    checked::CheckedGraph,
    feature_maps::GridSize,
    fusion::FusedFeatures,
    signature::{Signature, TensorSpec},
    tensor::Input,
};
use crate::{Bundle, Device, Result, Runtime, SessionOptions};

fn signature(levels: usize) -> Signature {
    let text = [TensorSpec::float32("text", 3)];
    Signature {
        graph: "head",
        inputs: TensorSpec::feature_maps("fused", levels)
            .chain(text)
            .collect(),
        outputs: vec![
            TensorSpec::float32("logits", 3),
            TensorSpec::float32("deltas", 3),
            TensorSpec::float32("centerness", 2),
        ],
    }
}

/// The head: aligns every anchor with every token, and places a box on it.
///
/// For your own scoring and selection of boxes, take its output from here and the parts you need
/// from [`postprocess`](crate::postprocess).
///
/// Calls queue, unless [`SessionOptions::sessions`] is more than 1. Clones share the sessions.
#[derive(Clone)]
pub struct GroundingHead(CheckedGraph);

impl GroundingHead {
    /// Loads the graph `head` of a bundle.
    ///
    /// # Errors
    /// - [`Error::GraphLoad`](crate::Error::GraphLoad): ONNX Runtime cannot load the file.
    /// - [`Error::GraphSignature`](crate::Error::GraphSignature): it is another graph.
    /// - [`Error::DeviceUnavailable`](crate::Error::DeviceUnavailable): the device cannot be used.
    pub fn load(runtime: &Runtime, bundle: &Bundle, options: &SessionOptions) -> Result<Self> {
        let manifest = bundle.manifest();
        let file = bundle.file(&manifest.graphs.head.file)?;
        CheckedGraph::load(runtime, &file, signature(manifest.levels()), options).map(Self)
    }

    #[cfg(test)]
    pub(crate) fn from_graph(levels: usize, graph: std::sync::Arc<dyn super::Graph>) -> Self {
        Self(CheckedGraph::new(signature(levels), graph))
    }

    /// The device the graph runs on.
    pub fn device(&self) -> Device {
        self.0.device()
    }

    /// Looks at every anchor of a batch of images.
    ///
    /// # Errors
    /// - [`Error::GraphRun`](crate::Error::GraphRun): ONNX Runtime fails, for example for lack of memory.
    /// - [`Error::NonFinite`](crate::Error::NonFinite): an output is NaN or infinite.
    /// - [`Error::Shape`](crate::Error::Shape): an output does not fit the features, or
    ///   these have another number of levels than the model.
    pub fn run(&self, features: &FusedFeatures) -> Result<HeadOutput> {
        let text = Input::Floats(features.text.view().into_dyn());
        let inputs: Vec<_> = features.maps.inputs().chain([text]).collect();
        let (_no_maps, [logits, deltas, centerness]) = self.0.run(&inputs)?;

        let (batch, tokens) = (features.batch(), features.text.dim().1);
        let anchors = features
            .level_sizes()
            .iter()
            .map(|level| level.cells())
            .sum();
        Ok(HeadOutput {
            logits: logits.to_array("logits", (batch, anchors, tokens))?,
            deltas: deltas.to_array("deltas", (batch, anchors, 4))?,
            centerness: centerness.to_array("centerness", (batch, anchors))?,
            level_sizes: features.level_sizes().to_vec(),
        })
    }
}

/// What the model says about every anchor: the raw material of post-processing.
///
/// Anchors are the cells of all pyramid levels, finest level first, row by row within a level;
/// their number is the sum of [`GridSize::cells`] over `level_sizes`.
#[derive(Debug, Clone)]
pub struct HeadOutput {
    /// Alignment of every anchor with every token, before the sigmoid: `[batch, anchors, tokens]`.
    pub logits: Array3<f32>,
    /// Box regression, to be decoded against the anchors: `[batch, anchors, 4]` as dx, dy, dw, dh.
    pub deltas: Array3<f32>,
    /// How central an anchor is in its object, before the sigmoid: `[batch, anchors]`.
    pub centerness: Array2<f32>,
    /// The levels' sizes, finest first.
    pub level_sizes: Vec<GridSize>,
}
