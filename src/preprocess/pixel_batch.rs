//! The network's input.

use std::mem;

use ndarray::{Array3, Array4, ArrayView4, ArrayViewMut4, s};

use crate::{
    error::Result,
    geometry::{ImageGeometry, ImageSize},
};

/// Images as the network takes them, all of one padded size.
#[derive(Clone, Debug, Default)]
pub struct PixelBatch {
    pixels: Array4<f32>,
    geometries: Vec<ImageGeometry>,
    /// The memory of geometries that were.
    spare: Vec<ImageGeometry>,
}

impl PixelBatch {
    /// Makes room for images, whose geometries and common padded size `lay_out` tells, in the memory that is there if
    /// it is enough. Pixels are zero, or those of the last images if their geometries were the same.
    pub(super) fn make_room(
        &mut self,
        batch: usize,
        lay_out: impl FnOnce(&mut Vec<ImageGeometry>) -> Result<ImageSize>,
    ) -> Result<()> {
        let mut geometries = mem::take(&mut self.spare);
        geometries.clear();
        let ImageSize { width, height } = lay_out(&mut geometries)?;
        mem::swap(&mut geometries, &mut self.geometries);
        let were_the_same = geometries == self.geometries;
        self.spare = geometries;
        let shape = (batch, 3, height as usize, width as usize);
        if were_the_same && self.pixels.dim() == shape {
            return Ok(());
        }
        let (mut pixels, _) = mem::take(&mut self.pixels).into_raw_vec_and_offset();
        pixels.clear();
        pixels.resize(shape.0 * shape.1 * shape.2 * shape.3, 0.0);
        let shaped = Array4::from_shape_vec(shape, pixels);
        self.pixels = shaped.unwrap_or_else(|_| Array4::zeros(shape));
        Ok(())
    }

    pub(super) fn parts_mut(&mut self) -> (ArrayViewMut4<'_, f32>, &[ImageGeometry]) {
        (self.pixels.view_mut(), &self.geometries)
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
