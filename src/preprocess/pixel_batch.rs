//! The network's input.

use std::mem;

use ndarray::{Array3, Array4, ArrayView4, ArrayViewMut4, s};

use crate::geometry::{ImageGeometry, ImageSize};

/// Images as the network takes them, all of one padded size.
#[derive(Clone, Debug, Default)]
pub struct PixelBatch {
    pixels: Array4<f32>,
    geometries: Vec<ImageGeometry>,
}

impl PixelBatch {
    /// Pixels `[batch, 3, height, width]` and the place of each image in them.
    pub(super) fn new(pixels: Array4<f32>, geometries: Vec<ImageGeometry>) -> Self {
        Self { pixels, geometries }
    }

    /// Makes room for one image, in the memory that is there if it is enough. Pixels are zero, or those of the
    /// last image of the same geometry.
    pub(super) fn make_room(&mut self, geometry: ImageGeometry) {
        if self.geometries == [geometry] {
            return;
        }
        self.geometries.clear();
        self.geometries.push(geometry);
        let ImageSize { width, height } = geometry.padded;
        let shape = (1, 3, height as usize, width as usize);
        let (mut pixels, _) = mem::take(&mut self.pixels).into_raw_vec_and_offset();
        pixels.clear();
        pixels.resize(shape.1 * shape.2 * shape.3, 0.0);
        let shaped = Array4::from_shape_vec(shape, pixels);
        self.pixels = shaped.unwrap_or_else(|_| Array4::zeros(shape));
    }

    pub(super) fn pixels_mut(&mut self) -> ArrayViewMut4<'_, f32> {
        self.pixels.view_mut()
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
