//! From a pyramid and text features to fused features.

use std::sync::Arc;

use ndarray::{ArrayView3, CowArray, Ix4};

use super::{
    feature_maps::{FeatureMaps, MapsPlace},
    image_encoder::FeaturePyramid,
    load::load_optional,
    text_encoder::TextFeatures,
    text_states::keep_states,
};
use crate::{
    bundle::Bundle,
    control::Control,
    error::Result,
    geometry::GridSize,
    runtime::{Device, Runtime, SessionOptions},
    session::{CheckedGraph, HostTensor, NamedTensors},
};

/// What the head reads the text states as.
const TEXT: &str = "text";

/// The fusion tower: image and text look at each other, layer by layer, before anything is detected
/// (section 3.2 of the GLIP paper).
///
/// A model without fusion (GLIP-T (A)) has no such graph: its fused features are the pyramid as it
/// is and [`TextFeatures::embedded`].
///
/// Calls queue, unless [`SessionOptions::sessions`] is more than 1. Clones share the sessions.
#[derive(Clone)]
pub struct Fusion(Option<CheckedGraph>);

impl Fusion {
    /// Loads the graph `fusion` of a bundle, if it has one.
    ///
    /// # Errors
    /// - [`Error::GraphLoad`](crate::Error::GraphLoad): ONNX Runtime cannot load the file.
    /// - [`Error::GraphSignature`](crate::Error::GraphSignature): it is another graph.
    /// - [`Error::DeviceUnavailable`](crate::Error::DeviceUnavailable): the device cannot be used.
    pub fn load(runtime: &Runtime, bundle: &Bundle, options: &SessionOptions) -> Result<Self> {
        let signature = bundle.manifest().signatures().fusion;
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

    /// The device the graph runs on; `None` if the model has no fusion.
    pub fn device(&self) -> Option<Device> {
        self.0.as_ref().map(CheckedGraph::device)
    }

    /// Fuses the features of a batch of images with those of a prompt.
    ///
    /// Text features of batch 1 are used for every image of the pyramid.
    ///
    /// # Errors
    /// - [`Error::Shape`](crate::Error::Shape): the text features have neither batch 1 nor that of the pyramid, or the
    ///   pyramid has another number of levels than the model.
    /// - [`Error::GraphRun`](crate::Error::GraphRun): ONNX Runtime fails, for example for lack of memory.
    /// - [`Error::GraphSignature`](crate::Error::GraphSignature): the text features are not of this kind of model.
    /// - [`Error::NonFinite`](crate::Error::NonFinite): a feature is NaN or infinite.
    /// - [`Error::Stopped`](crate::Error::Stopped), [`Error::DeadlinePassed`](crate::Error::DeadlinePassed): a [control](Self::controlled) said so.
    pub fn run(&self, pyramid: &FeaturePyramid, text: &TextFeatures) -> Result<FusedFeatures> {
        self.run_in(FusionPlace::default(), pyramid, text)
    }

    /// As [`run`](Self::run), with the features in the place of such that are over.
    pub(crate) fn run_in(
        &self,
        mut place: FusionPlace,
        pyramid: &FeaturePyramid,
        text: &TextFeatures,
    ) -> Result<FusedFeatures> {
        let mut named = text.0.tiled(pyramid.batch())?;
        let Some(graph) = &self.0 else {
            return Ok(FusedFeatures {
                maps: Arc::clone(&pyramid.0),
                named,
                text: "embedded",
                tokens: text.batch_and_tokens().1,
            });
        };
        let outputs = graph.run(pyramid.0.tensors(), |input| {
            named.get(input).map(HostTensor::as_input)
        })?;
        let tokens = text.batch_and_tokens().1;
        let shape = (pyramid.batch(), tokens);
        keep_states(&outputs, shape, &mut named, &mut place.states)?;
        let maps = FeatureMaps::shared_in(place.maps, graph.name(), outputs.into_maps())?;
        Ok(FusedFeatures {
            maps,
            named,
            text: TEXT,
            tokens,
        })
    }
}

/// Image and text features that know of each other: what the head reads. Clones share the maps.
#[derive(Debug, Clone)]
pub struct FusedFeatures {
    pub(super) maps: Arc<FeatureMaps>,
    /// What else the head may read.
    named: NamedTensors,
    /// The name there of what the head reads as `text`.
    text: &'static str,
    pub(super) tokens: usize,
}

/// The place of fused features that nobody has any more, for the next ones.
#[derive(Debug, Default)]
pub(crate) struct FusionPlace {
    maps: MapsPlace,
    states: NamedTensors,
}

impl FusedFeatures {
    /// Their place, for the next ones.
    pub(crate) fn into_place(self) -> FusionPlace {
        FusionPlace {
            maps: MapsPlace::of(self.maps),
            states: self.named.into_unshared(),
        }
    }

    /// Number of images.
    pub fn batch(&self) -> usize {
        self.maps.batch()
    }

    /// Number of channels of every level.
    pub fn channels(&self) -> usize {
        self.maps.channels()
    }

    /// The levels' sizes in cells, finest first.
    pub fn level_sizes(&self) -> &[GridSize] {
        self.maps.level_sizes()
    }

    /// A level's features, `[batch, channels, height, width]`; level 0 is the finest. They are borrowed, or
    /// converted where the model keeps them as float16.
    ///
    /// # Errors
    /// - [`Error::DeviceMemory`](crate::Error::DeviceMemory): they are in the memory of a GPU.
    /// - [`Error::LevelIndex`](crate::Error::LevelIndex): there is no such level.
    pub fn level(&self, level: usize) -> Result<CowArray<'_, f32, Ix4>> {
        self.maps.level(level)
    }

    /// The text states that the head aligns with: `[batch, tokens, width]`; `None` if the model has none.
    pub fn text(&self) -> Option<ArrayView3<'_, f32>> {
        self.named.floats(self.text)
    }

    /// What the head reads by this name, if it is no feature map.
    pub(super) fn named(&self, name: &str) -> Option<&HostTensor> {
        self.named.get(if name == TEXT { self.text } else { name })
    }
}
