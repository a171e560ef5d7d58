//! An image that was encoded, and what stands for one in a call.

use std::{fmt, sync::Arc};

use crate::{
    bundle::SegmenterManifest,
    geometry::{ImageGeometry, ImageSize},
    preprocess::{PictureOr, SourceImage, from_pictures_or},
    session::Tensor,
};

/// An encoded image: what [`Segmenter::encode_image`](crate::Segmenter::encode_image) makes, to be asked for any number of
/// masks. It belongs to the segmenter that made it. Clones share the features, which stay in the memory of the device
/// that made them.
#[derive(Clone)]
pub struct SegmentationScene {
    pub(super) features: Arc<[Tensor]>,
    pub(super) geometry: ImageGeometry,
    pub(super) model: Arc<SegmenterManifest>,
}

impl SegmentationScene {
    /// How the image lies in the network's input.
    pub fn geometry(&self) -> ImageGeometry {
        self.geometry
    }

    /// The size of the image, and of all masks of it.
    pub fn size(&self) -> ImageSize {
        self.geometry.original
    }
}

impl fmt::Debug for SegmentationScene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentationScene")
            .field("model", &self.model.name())
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

/// An image to find masks in: made from a picture of the `image` crate, a [`SourceImage`](crate::SourceImage), or a
/// [`SegmentationScene`], borrowed or owned.
#[derive(Debug, Clone)]
pub struct SceneInput<'a>(pub(super) PictureOr<'a, SegmentationScene>);

from_pictures_or!(SegmentationScene => SceneInput);
