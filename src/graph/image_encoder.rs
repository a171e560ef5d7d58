//! From pixels to a feature pyramid.

use std::sync::Arc;

use ndarray::ArrayView4;

use super::{
    checked::CheckedGraph,
    feature_maps::{FeatureMaps, GridSize},
    signature::{Signature, TensorSpec},
    tensor::Input,
};
use crate::{Bundle, Device, PixelBatch, Result, Runtime, SessionOptions};

fn signature(levels: usize) -> Signature {
    Signature {
        graph: "image_encoder",
        inputs: vec![TensorSpec::float32("pixels", 4)],
        outputs: TensorSpec::feature_maps("pyramid", levels).collect(),
    }
}

/// The image side of GLIP: a Swin Transformer and a feature pyramid network.
///
/// It does not see the prompt: what it makes of an image serves any number of prompts. In a model
/// without fusion it also holds the fusion tower's convolutions, which do not depend on the text.
///
/// Calls queue, unless [`SessionOptions::sessions`] is more than 1. Clones share the sessions.
#[derive(Clone)]
pub struct ImageEncoder(CheckedGraph);

impl ImageEncoder {
    /// Loads the graph `image_encoder` of a bundle.
    ///
    /// # Errors
    /// - [`Error::GraphLoad`](crate::Error::GraphLoad): ONNX Runtime cannot load the file.
    /// - [`Error::GraphSignature`](crate::Error::GraphSignature): it is another graph.
    /// - [`Error::DeviceUnavailable`](crate::Error::DeviceUnavailable): the device cannot be used.
    pub fn load(runtime: &Runtime, bundle: &Bundle, options: &SessionOptions) -> Result<Self> {
        let manifest = bundle.manifest();
        let file = bundle.file(&manifest.graphs.image_encoder.file)?;
        CheckedGraph::load(runtime, &file, signature(manifest.levels()), options).map(Self)
    }

    #[cfg(test)]
    pub(crate) fn from_graph(levels: usize, graph: Arc<dyn super::Graph>) -> Self {
        Self(CheckedGraph::new(signature(levels), graph))
    }

    /// The device the graph runs on.
    pub fn device(&self) -> Device {
        self.0.device()
    }

    /// Encodes a batch of images, which all have the same size after padding.
    ///
    /// # Errors
    /// - [`Error::GraphRun`](crate::Error::GraphRun): ONNX Runtime fails, for example for lack of memory.
    /// - [`Error::NonFinite`](crate::Error::NonFinite): a feature is NaN or infinite.
    pub fn run(&self, images: &PixelBatch) -> Result<FeaturePyramid> {
        let (maps, []) = self.0.run(&[Input::Floats(images.pixels().into_dyn())])?;
        let maps = FeatureMaps::new(self.0.name(), maps)?;
        Ok(FeaturePyramid(Arc::new(maps)))
    }
}

/// What the image encoder sees in a batch of images: feature maps, one for each of the manifest's
/// [strides](crate::postprocess::AnchorOptions::strides), finest first. In the released models these
/// are P3 to P7, of strides 8 to 128.
///
/// A cell of a level stands for stride x stride pixels of the network input. The maps stay in the
/// memory of the device that made them, for the next graph. Clones share them.
#[derive(Debug, Clone)]
pub struct FeaturePyramid(pub(super) Arc<FeatureMaps>);

impl FeaturePyramid {
    /// Number of images.
    pub fn batch(&self) -> usize {
        self.0.batch()
    }

    /// Number of channels of every level.
    pub fn channels(&self) -> usize {
        self.0.channels()
    }

    /// The levels' sizes in cells, finest first.
    pub fn level_sizes(&self) -> &[GridSize] {
        self.0.level_sizes()
    }

    /// A level's features, `[batch, channels, height, width]`; level 0 is the finest.
    ///
    /// # Errors
    /// - [`Error::DeviceMemory`](crate::Error::DeviceMemory): they are in the memory of a GPU.
    /// - [`Error::LevelIndex`](crate::Error::LevelIndex): there is no such level.
    pub fn level(&self, level: usize) -> Result<ArrayView4<'_, f32>> {
        self.0.level(level)
    }
}
