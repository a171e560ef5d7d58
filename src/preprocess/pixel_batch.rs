//! The network's input.

use ndarray::{Array3, Array4, ArrayView4, s};

use crate::geometry::{ImageGeometry, ImageSize};

/// Images as the network takes them, all of one padded size.
#[derive(Clone, Debug)]
pub struct PixelBatch {
    pixels: Array4<f32>,
    geometries: Vec<ImageGeometry>,
}

impl PixelBatch {
    /// Pixels `[batch, 3, height, width]` and the place of each image in them.
    pub(super) fn new(pixels: Array4<f32>, geometries: Vec<ImageGeometry>) -> Self {
        Self { pixels, geometries }
    }

    /// The network input, `[batch, 3, height, width]`, normalised; padding is 0.
    pub fn pixels(&self) -> ArrayView4<'_, f32> {
        self.pixels.view()
    }

    /// How each image of the batch lies in the input, one for each image in order.
    pub fn geometries(&self) -> &[ImageGeometry] {
        &self.geometries
    }

    /// 1 where a pixel is of an image, 0 where it is padding: `[batch, height, width]`. For models that
    /// [mask padding](super::PreprocessOptions::masks_padding).
    pub fn pixel_mask(&self) -> Array3<i64> {
        let (batch, _, height, width) = self.pixels.dim();
        let mut mask = Array3::zeros((batch, height, width));
        for (mut mask, geometry) in mask.outer_iter_mut().zip(&self.geometries) {
            let ImageSize { width, height } = geometry.resized;
            mask.slice_mut(s![..height as usize, ..width as usize])
                .fill(1);
        }
        mask
    }

    /// The pixels and the geometries, without a copy.
    pub fn into_parts(self) -> (Array4<f32>, Vec<ImageGeometry>) {
        (self.pixels, self.geometries)
    }
}
