//! From a pyramid and text features to fused features.

use std::sync::Arc;

use ndarray::{Array, Array3, ArrayView3, ArrayView4, Axis, Dimension, RemoveAxis};

use super::{
    checked::CheckedGraph,
    feature_maps::{FeatureMaps, GridSize},
    image_encoder::FeaturePyramid,
    signature::{Signature, TensorSpec},
    tensor::Input,
    text_encoder::{TextFeatures, text_states},
};
use crate::{Bundle, Device, Error, Result, Runtime, SessionOptions};

fn signature(levels: usize) -> Signature {
    let text = [
        TensorSpec::float32("hidden", 3),
        TensorSpec::int64("attention_mask", 2),
    ];
    let fused_text = [TensorSpec::float32("fused_text", 3)];
    Signature {
        graph: "fusion",
        inputs: TensorSpec::feature_maps("pyramid", levels)
            .chain(text)
            .collect(),
        outputs: TensorSpec::feature_maps("fused", levels)
            .chain(fused_text)
            .collect(),
    }
}

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
    /// - [`Error::GraphLoad`]: ONNX Runtime cannot load the file.
    /// - [`Error::GraphSignature`]: it is another graph.
    /// - [`Error::DeviceUnavailable`]: the device cannot be used.
    pub fn load(runtime: &Runtime, bundle: &Bundle, options: &SessionOptions) -> Result<Self> {
        let manifest = bundle.manifest();
        let Some(spec) = &manifest.graphs.fusion else {
            return Ok(Self(None));
        };
        let file = bundle.file(&spec.file)?;
        let graph = CheckedGraph::load(runtime, &file, signature(manifest.levels()), options)?;
        Ok(Self(Some(graph)))
    }

    #[cfg(test)]
    pub(crate) fn from_graph(levels: usize, graph: Arc<dyn super::Graph>) -> Self {
        Self(Some(CheckedGraph::new(signature(levels), graph)))
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(None)
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
    /// - [`Error::Shape`]: the text features have neither batch 1 nor that of the pyramid, or the
    ///   pyramid has another number of levels than the model.
    /// - [`Error::GraphRun`]: ONNX Runtime fails, for example for lack of memory.
    /// - [`Error::NonFinite`]: a feature is NaN or infinite.
    pub fn run(&self, pyramid: &FeaturePyramid, text: &TextFeatures) -> Result<FusedFeatures> {
        let batch = pyramid.batch();
        let Some(graph) = &self.0 else {
            return Ok(FusedFeatures {
                maps: Arc::clone(&pyramid.0),
                text: tiled("embedded", &text.embedded, batch)?,
            });
        };
        let hidden = tiled("hidden", &text.hidden, batch)?;
        let mask = tiled("attention_mask", &text.attention_mask, batch)?;
        let text_inputs = [
            Input::Floats(hidden.view().into_dyn()),
            Input::Integers(mask.view().into_dyn()),
        ];
        let inputs: Vec<_> = pyramid.0.inputs().chain(text_inputs).collect();
        let (maps, [text]) = graph.run(&inputs)?;
        let maps = FeatureMaps::new(graph.name(), maps)?;
        Ok(FusedFeatures {
            maps: Arc::new(maps),
            text: text_states("fused_text", &text, mask.dim())?,
        })
    }
}

/// One prompt's array, once for every image of a batch.
fn tiled<T: Clone, D: Dimension + RemoveAxis>(
    name: &str,
    array: &Array<T, D>,
    batch: usize,
) -> Result<Array<T, D>> {
    match array.len_of(Axis(0)) {
        size if size == batch => Ok(array.clone()),
        1 => Ok(array.select(Axis(0), &vec![0; batch])),
        _ => Err(Error::Shape {
            tensor: name.into(),
            expected: format!("[{batch} or 1, tokens, ...], one for the images or for each"),
            found: array.shape().to_vec(),
        }),
    }
}

/// Image and text features that know of each other: what the head reads. Clones share the maps.
#[derive(Debug, Clone)]
pub struct FusedFeatures {
    pub(super) maps: Arc<FeatureMaps>,
    pub(super) text: Array3<f32>,
}

impl FusedFeatures {
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

    /// A level's features, `[batch, channels, height, width]`; level 0 is the finest.
    ///
    /// # Errors
    /// - [`Error::DeviceMemory`]: they are in the memory of a GPU.
    /// - [`Error::LevelIndex`]: there is no such level.
    pub fn level(&self, level: usize) -> Result<ArrayView4<'_, f32>> {
        self.maps.level(level)
    }

    /// The text states that the head aligns anchors with: `[batch, tokens, width]`.
    pub fn text(&self) -> ArrayView3<'_, f32> {
        self.text.view()
    }
}
