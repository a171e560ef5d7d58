//! From fused features to what the model says about every place it looks at.

use super::{fusion::FusedFeatures, load::load};
use crate::{
    bundle::Bundle,
    control::Control,
    error::Result,
    head_output::{HeadBoxes, HeadMemory, HeadOutput},
    runtime::{Device, Runtime, SessionOptions},
    session::{CheckedGraph, HostTensor},
};

/// The head: looks at many places, anchors or queries, aligns each with every token, and gives it a box.
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
        let signature = bundle.manifest().signatures().head;
        load(runtime, bundle, signature, options).map(Self)
    }

    #[cfg(test)]
    pub(crate) fn from_graph(graph: CheckedGraph) -> Self {
        Self(graph)
    }

    /// The same, whose runs end when the control says so.
    #[must_use]
    pub fn controlled(&self, control: &Control) -> Self {
        Self(self.0.controlled(control))
    }

    /// The device the graph runs on.
    pub fn device(&self) -> Device {
        self.0.device()
    }

    /// Looks at a batch of images.
    ///
    /// # Errors
    /// - [`Error::GraphRun`](crate::Error::GraphRun): ONNX Runtime fails, for example for lack of memory.
    /// - [`Error::NonFinite`](crate::Error::NonFinite): an output is NaN or infinite.
    /// - [`Error::Shape`](crate::Error::Shape): an output does not fit the features.
    /// - [`Error::GraphSignature`](crate::Error::GraphSignature): the features are not of this kind of model,
    ///   or have another number of levels.
    /// - [`Error::Stopped`](crate::Error::Stopped), [`Error::DeadlinePassed`](crate::Error::DeadlinePassed):
    ///   a [control](Self::controlled) said so.
    pub fn run(&self, features: &FusedFeatures) -> Result<HeadOutput> {
        self.run_in(HeadMemory::default(), features)
    }

    /// As [`run`](Self::run), with the output in memory that is there already, if it is enough.
    pub(crate) fn run_in(
        &self,
        memory: HeadMemory,
        features: &FusedFeatures,
    ) -> Result<HeadOutput> {
        let HeadMemory {
            logits: logits_memory,
            boxes: boxes_memory,
            centerness: centerness_memory,
            mut level_sizes,
        } = memory;
        let outputs = self.0.run(features.maps.tensors(), |input| {
            features.named(input).map(HostTensor::as_input)
        })?;
        let (batch, tokens) = (features.batch(), features.tokens);
        let (rows, boxes) = if outputs.has("boxes") {
            let boxes = outputs.get("boxes")?;
            let rows = boxes.shape().get(1).copied().unwrap_or_default();
            let boxes = boxes.to_array_in(boxes_memory, "boxes", (batch, rows, 4))?;
            (rows, HeadBoxes::Queries { boxes })
        } else {
            level_sizes.clear();
            level_sizes.extend_from_slice(features.level_sizes());
            let rows = level_sizes.iter().map(|level| level.cells()).sum();
            let boxes = HeadBoxes::Anchors {
                deltas: outputs.get("deltas")?.to_array_in(
                    boxes_memory,
                    "deltas",
                    (batch, rows, 4),
                )?,
                centerness: outputs.get("centerness")?.to_array_in(
                    centerness_memory,
                    "centerness",
                    (batch, rows),
                )?,
                level_sizes,
            };
            (rows, boxes)
        };
        let logits = outputs.get("logits")?;
        let logits = logits.to_array_in(logits_memory, "logits", (batch, rows, tokens))?;
        HeadOutput::new(logits, boxes)
    }
}
