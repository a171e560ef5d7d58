//! The network's input.

use std::{mem, sync::OnceLock};

use half::f16;
use ndarray::{Array3, Array4, ArrayView3, ArrayView4, ArrayViewMut4, CowArray, Ix4, s};

use crate::{
    error::Result,
    geometry::{ImageGeometry, ImageSize},
};

/// Images as the network takes them, all of one padded size.
#[derive(Clone, Debug, Default)]
pub struct PixelBatch {
    pixels: Pixels,
    geometries: Vec<ImageGeometry>,
    /// The memory of geometries that were.
    spare: Vec<ImageGeometry>,
    /// As large as a channel of the input, and few models take it.
    mask: OnceLock<Array3<i64>>,
}

/// `[batch, 3, height, width]`.
#[derive(Clone, Debug)]
enum Pixels {
    Floats(Array4<f32>),
    Halves(Array4<f16>),
}

/// The pixels as they are.
pub(crate) enum PixelView<'a> {
    Floats(ArrayView4<'a, f32>),
    Halves(ArrayView4<'a, f16>),
}

/// The same, to be written.
pub(super) enum PixelViewMut<'a> {
    Floats(ArrayViewMut4<'a, f32>),
    Halves(ArrayViewMut4<'a, f16>),
}

impl Default for Pixels {
    fn default() -> Self {
        Self::Floats(Array4::default((0, 0, 0, 0)))
    }
}

impl Pixels {
    fn dim(&self) -> (usize, usize, usize, usize) {
        match self {
            Self::Floats(pixels) => pixels.dim(),
            Self::Halves(pixels) => pixels.dim(),
        }
    }

    /// Zeros of this shape, in the memory of what was, if it is of this type.
    fn cleared(self, halves: bool, shape: (usize, usize, usize, usize)) -> Self {
        match (self, halves) {
            (Self::Floats(pixels), false) => Self::Floats(cleared(pixels, shape, 0.0)),
            (Self::Halves(pixels), true) => Self::Halves(cleared(pixels, shape, f16::ZERO)),
            (_, false) => Self::Floats(Array4::zeros(shape)),
            (_, true) => Self::Halves(Array4::from_elem(shape, f16::ZERO)),
        }
    }
}

fn cleared<T: Clone>(pixels: Array4<T>, shape: (usize, usize, usize, usize), zero: T) -> Array4<T> {
    let (mut pixels, _) = pixels.into_raw_vec_and_offset();
    pixels.clear();
    pixels.resize(shape.0 * shape.1 * shape.2 * shape.3, zero.clone());
    let shaped = Array4::from_shape_vec(shape, pixels);
    // There are as many as the shape says.
    shaped.unwrap_or_else(|_| Array4::from_elem(shape, zero))
}

impl PixelBatch {
    /// Makes room for images, whose geometries and common padded size `lay_out` tells, in the memory that is there if
    /// it is enough. Pixels are zero, or those of the last images if their geometries were the same.
    pub(super) fn make_room(
        &mut self,
        batch: usize,
        halves: bool,
        lay_out: impl FnOnce(&mut Vec<ImageGeometry>) -> Result<ImageSize>,
    ) -> Result<()> {
        let mut geometries = mem::take(&mut self.spare);
        geometries.clear();
        let ImageSize { width, height } = lay_out(&mut geometries)?;
        mem::swap(&mut geometries, &mut self.geometries);
        let were_the_same = geometries == self.geometries;
        self.spare = geometries;
        if !were_the_same {
            self.mask = OnceLock::new();
        }
        let shape = (batch, 3, height as usize, width as usize);
        let are_halves = matches!(self.pixels, Pixels::Halves(_));
        if !were_the_same || are_halves != halves || self.pixels.dim() != shape {
            self.pixels = mem::take(&mut self.pixels).cleared(halves, shape);
        }
        Ok(())
    }

    pub(super) fn parts_mut(&mut self) -> (PixelViewMut<'_>, &[ImageGeometry]) {
        let pixels = match &mut self.pixels {
            Pixels::Floats(pixels) => PixelViewMut::Floats(pixels.view_mut()),
            Pixels::Halves(pixels) => PixelViewMut::Halves(pixels.view_mut()),
        };
        (pixels, &self.geometries)
    }

    /// The network input, `[batch, 3, height, width]`, normalised; padding is 0. It is borrowed, or converted if the
    /// preprocessor makes [halves](super::Preprocessor::with_halves).
    pub fn pixels(&self) -> CowArray<'_, f32, Ix4> {
        match &self.pixels {
            Pixels::Floats(pixels) => pixels.view().into(),
            Pixels::Halves(pixels) => pixels.mapv(f16::to_f32).into(),
        }
    }

    pub(crate) fn view(&self) -> PixelView<'_> {
        match &self.pixels {
            Pixels::Floats(pixels) => PixelView::Floats(pixels.view()),
            Pixels::Halves(pixels) => PixelView::Halves(pixels.view()),
        }
    }

    /// Number of images, and the height and width of the input.
    pub(crate) fn batch_height_width(&self) -> [usize; 3] {
        let (batch, _, height, width) = self.pixels.dim();
        [batch, height, width]
    }

    /// How each image of the batch lies in the input, one for each image in order.
    pub fn geometries(&self) -> &[ImageGeometry] {
        &self.geometries
    }

    /// 1 where a pixel is of an image, 0 where it is padding: `[batch, height, width]`. For models that
    /// [mask padding](super::PreprocessOptions::masks_padding).
    pub fn pixel_mask(&self) -> Array3<i64> {
        self.mask_view().to_owned()
    }

    /// The same, made once for images of the same geometries.
    pub(crate) fn mask_view(&self) -> ArrayView3<'_, i64> {
        self.mask.get_or_init(|| self.make_mask()).view()
    }

    fn make_mask(&self) -> Array3<i64> {
        let mut mask = Array3::zeros(self.batch_height_width());
        for (mut mask, geometry) in mask.outer_iter_mut().zip(&self.geometries) {
            let ImageSize { width, height } = geometry.resized;
            mask.slice_mut(s![..height as usize, ..width as usize])
                .fill(1);
        }
        mask
    }

    /// The pixels and the geometries, without a copy if the pixels are float32.
    pub fn into_parts(self) -> (Array4<f32>, Vec<ImageGeometry>) {
        let pixels = match self.pixels {
            Pixels::Floats(pixels) => pixels,
            Pixels::Halves(pixels) => pixels.mapv(f16::to_f32),
        };
        (pixels, self.geometries)
    }
}
