//! From pixels to what the decoder reads of an image.

use std::sync::Arc;

use ndarray::s;

use crate::{
    bundle::{Layout, SegmenterBundle},
    control::Control,
    error::Result,
    geometry::ImageSize,
    preprocess::PixelBatch,
    runtime::{Device, Runtime, SessionOptions},
    session::{CheckedGraph, Input, Tensor},
};

/// The graph that sees the image.
#[derive(Clone)]
pub(super) struct Encoder {
    graph: CheckedGraph,
    layout: Layout,
}

impl Encoder {
    pub(super) fn load(
        runtime: &Runtime,
        bundle: &SegmenterBundle,
        options: &SessionOptions,
    ) -> Result<Self> {
        let manifest = bundle.manifest();
        let signature = manifest.encoder_signature();
        let graph = CheckedGraph::load(runtime, &bundle.encoder()?, signature, options)?;
        let layout = manifest.encoder.layout;
        Ok(Self { graph, layout })
    }

    pub(super) fn controlled(&self, control: &Control) -> Self {
        Self {
            graph: self.graph.controlled(control),
            ..*self
        }
    }

    pub(super) fn device(&self) -> Device {
        self.graph.device()
    }

    /// The features of the one image of a batch, in the manifest's order.
    pub(super) fn run(&self, image: &PixelBatch) -> Result<Arc<[Tensor]>> {
        let pixels = image.pixels();
        let outputs = match self.layout {
            Layout::Planes => {
                let pixels = pixels.view().into_dyn();
                self.graph.run([], |_| Some(Input::F32(pixels.view())))
            }
            Layout::Interleaved => {
                let ImageSize { width, height } = image.geometries()[0].resized;
                let pixels = pixels.slice(s![0, .., ..height as usize, ..width as usize]);
                let pixels = pixels.permuted_axes([1, 2, 0]);
                let pixels = pixels.as_standard_layout().into_dyn();
                self.graph.run([], |_| Some(Input::F32(pixels.view())))
            }
        }?;
        Ok(outputs.into_maps().into_iter().collect())
    }
}
