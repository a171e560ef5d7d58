//! From pixels to a feature pyramid.

use std::sync::Arc;

use ndarray::{CowArray, Ix4};

use super::{
    feature_maps::{FeatureMaps, MapsPlace},
    grid::Grid,
    load::load,
};
use crate::{
    bundle::Bundle,
    control::Control,
    error::Result,
    geometry::GridSize,
    preprocess::{PixelBatch, PixelView},
    runtime::{Device, Runtime, SessionOptions},
    session::{CheckedGraph, Input},
};

/// The image side of a model: a backbone, in GLIP a Swin Transformer, and a feature pyramid network.
///
/// It does not see the prompt: what it makes of an image serves any number of prompts. In a model
/// without fusion it also holds the fusion tower's convolutions, which do not depend on the text.
///
/// Calls queue, unless [`SessionOptions::sessions`] is more than 1. Clones share the sessions.
#[derive(Clone)]
pub struct ImageEncoder {
    graph: CheckedGraph,
    /// In bundles for GPUs.
    grid: Option<Grid>,
}

impl ImageEncoder {
    /// Loads the graph `image_encoder` of a bundle, and `grid` if it has that.
    ///
    /// # Errors
    /// - [`Error::GraphLoad`](crate::Error::GraphLoad): ONNX Runtime cannot load the file.
    /// - [`Error::GraphSignature`](crate::Error::GraphSignature): it is another graph.
    /// - [`Error::DeviceUnavailable`](crate::Error::DeviceUnavailable): the device cannot be used.
    pub fn load(runtime: &Runtime, bundle: &Bundle, options: &SessionOptions) -> Result<Self> {
        let manifest = bundle.manifest();
        // Run once a size, it is not worth recording.
        let unrecorded = &options.unrecorded();
        let grid = manifest.grid_signature();
        let grid = grid.map(|grid| load(runtime, bundle, grid, unrecorded));
        Ok(Self {
            graph: load(
                runtime,
                bundle,
                manifest.signatures().image_encoder,
                options,
            )?,
            grid: grid.transpose()?.map(Grid::new),
        })
    }

    #[cfg(test)]
    pub(crate) fn from_graph(graph: CheckedGraph) -> Self {
        Self { graph, grid: None }
    }

    /// The same, whose runs end when the control says so.
    #[must_use]
    pub fn controlled(&self, control: &Control) -> Self {
        Self {
            graph: self.graph.controlled(control),
            grid: self.grid.as_ref().map(|grid| grid.controlled(control)),
        }
    }

    /// The device the graph runs on.
    pub fn device(&self) -> Device {
        self.graph.device()
    }

    /// Whether it takes pixels of float16: then a preprocessor [makes such](crate::parts::Preprocessor::with_halves),
    /// or they are converted.
    pub fn takes_halves(&self) -> bool {
        self.graph.takes_halves("pixels")
    }

    /// Encodes a batch of images, which all have the same size after padding.
    ///
    /// # Errors
    /// - [`Error::GraphRun`](crate::Error::GraphRun): ONNX Runtime fails, for example for lack of memory.
    /// - [`Error::NonFinite`](crate::Error::NonFinite): a feature is NaN or infinite.
    /// - [`Error::Stopped`](crate::Error::Stopped), [`Error::DeadlinePassed`](crate::Error::DeadlinePassed):
    ///   a [control](Self::controlled) said so.
    pub fn run(&self, images: &PixelBatch) -> Result<FeaturePyramid> {
        self.run_in(MapsPlace::default(), images)
    }

    /// As [`run`](Self::run), with the pyramid in the place of one that is over.
    pub(crate) fn run_in(&self, place: MapsPlace, images: &PixelBatch) -> Result<FeaturePyramid> {
        let grid = self
            .grid
            .as_ref()
            .map(|grid| grid.of(images.batch_height_width()));
        let grid = grid.transpose()?;
        let outputs = self.graph.run([], |input| match input {
            "pixels" => Some(match images.view() {
                PixelView::Floats(pixels) => Input::F32(pixels.into_dyn()),
                PixelView::Halves(pixels) => Input::F16(pixels.into_dyn()),
            }),
            "pixel_mask" => Some(Input::I64(images.mask_view().into_dyn())),
            other => Some(Input::Made(grid.as_ref()?.get(other).ok()?)),
        })?;
        let maps = FeatureMaps::shared_in(place, self.graph.name(), outputs.into_maps())?;
        Ok(FeaturePyramid(maps))
    }
}

/// What the image encoder sees in a batch of images: feature maps, one for each of the manifest's
/// [levels](crate::manifest::Manifest::levels), finest first. In the released GLIP models these are P3
/// to P7, of strides 8 to 128.
///
/// A cell of a level stands for stride x stride pixels of the network input. The maps stay in the
/// memory of the device that made them, for the next graph. Clones share them.
#[derive(Debug, Clone)]
pub struct FeaturePyramid(pub(super) Arc<FeatureMaps>);

impl FeaturePyramid {
    /// Its place, for the next one.
    pub(crate) fn into_place(self) -> MapsPlace {
        MapsPlace::of(self.0)
    }

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

    /// A level's features, `[batch, channels, height, width]`; level 0 is the finest. They are borrowed, or
    /// converted where the model keeps them as float16.
    ///
    /// # Errors
    /// - [`Error::DeviceMemory`](crate::Error::DeviceMemory): they are in the memory of a GPU.
    /// - [`Error::LevelIndex`](crate::Error::LevelIndex): there is no such level.
    pub fn level(&self, level: usize) -> Result<CowArray<'_, f32, Ix4>> {
        self.0.level(level)
    }
}
