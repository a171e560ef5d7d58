//! What is at places of a grid (ONNX's `GridSample`), with all channels of a place read at once.

use ndarray::{ArrayView3, ArrayView4, ArrayViewMut2, ArrayViewMut4, Axis};

use super::{
    instructions::Instructions,
    pixels::{Pixels, between_edges, write},
    threads::Threads,
    workspace::{Block, Workspace},
};

/// Places that a thread does at a time.
const BLOCK: usize = 256;

/// How a place between pixels is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interpolation {
    Linear,
    Nearest,
}

/// What is outside of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    Zeros,
    /// The nearest pixel.
    Border,
    /// The image in a mirror, and that in a mirror, and so on.
    Reflection,
}

/// Reads images at the places of a grid.
pub(crate) struct GridSample {
    interpolation: Interpolation,
    padding: Padding,
    /// Whether -1 and 1 are the centres of the first and the last pixel, not their outer edges.
    align_corners: bool,
    instructions: Instructions,
}

impl GridSample {
    pub(crate) fn new(
        interpolation: Interpolation,
        padding: Padding,
        align_corners: bool,
        instructions: Instructions,
    ) -> Self {
        Self {
            interpolation,
            padding,
            align_corners,
            instructions,
        }
    }

    /// Reads `images`, `[images, channels, height, width]`, at `grid`, `[images, out_height, out_width, 2]` of x and y from
    /// -1 to 1, into `out`, `[images, channels, out_height, out_width]`.
    ///
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn run(
        &self,
        images: ArrayView4<'_, f32>,
        grid: ArrayView4<'_, f32>,
        mut out: ArrayViewMut4<'_, f32>,
        workspace: &Workspace,
        threads: &Threads<'_>,
    ) -> Result<(), String> {
        let (count, channels, height, width) = images.dim();
        let (grids, out_height, out_width, axes) = grid.dim();
        let fits = grids == count && axes == 2 && height * width > 0;
        if !fits || out.shape() != [count, channels, out_height, out_width] {
            let (images, grid) = (images.shape(), grid.shape());
            return Err(format!(
                "images of shape {images:?} with a grid of {grid:?}"
            ));
        }
        let mut pixels = workspace.images.take();
        for (image, out) in out.outer_iter_mut().enumerate() {
            pixels.put(
                images.index_axis(Axis(0), image),
                self.instructions,
                threads,
            );
            let grid = grid.index_axis(Axis(0), image);
            let out = out.into_shape_with_order((channels, out_height * out_width));
            let mut out = out.map_err(|error| error.to_string())?;
            let blocks = out.axis_chunks_iter_mut(Axis(1), BLOCK);
            threads.for_each(blocks, |place, out| {
                let mut block = workspace.blocks.take();
                self.read(&pixels, grid, place * BLOCK, &mut block, out);
                workspace.blocks.put(block);
            });
        }
        workspace.images.put(pixels);
        Ok(())
    }

    /// Places from `first` on, as many as `out`, `[channels, places]`, has columns.
    fn read(
        &self,
        pixels: &Pixels,
        grid: ArrayView3<'_, f32>,
        first: usize,
        block: &mut Block,
        out: ArrayViewMut2<'_, f32>,
    ) {
        let ((channels, places), (_, width, _)) = (out.dim(), grid.dim());
        let Block {
            samples,
            rows,
            sums,
        } = block;
        samples.clear();
        samples.extend((first..first + places).map(|place| {
            let [x, y] = [0, 1].map(|axis| grid[[place / width, place % width, axis]]);
            let (y, x) = (
                self.place(y, pixels.grid().height()),
                self.place(x, pixels.grid().width()),
            );
            pixels.grid().between(y, x, 1.0)
        }));
        sums.resize(places * channels, 0.0);
        pixels.read(samples, 0..channels, sums, channels, 0, self.instructions);
        write(sums, rows, out, self.instructions);
    }

    /// The pixel, or the place between pixels, that a number of the grid means.
    fn place(&self, number: f32, pixels: usize) -> f32 {
        let count = pixels as f32;
        let (place, low, high) = match self.align_corners {
            true => ((number + 1.0) / 2.0 * (count - 1.0), 0.0, count - 1.0),
            false => (between_edges(number, pixels), -0.5, count - 0.5),
        };
        let place = match self.interpolation {
            Interpolation::Linear => place,
            Interpolation::Nearest => place.round_ties_even(),
        };
        match self.padding {
            Padding::Zeros => place,
            Padding::Border => place.clamp(0.0, count - 1.0),
            Padding::Reflection => reflected(place, low, high).clamp(0.0, count - 1.0),
        }
    }
}

/// A place as it is after as many reflections at the ends as it takes.
fn reflected(place: f32, low: f32, high: f32) -> f32 {
    let length = high - low;
    if length <= 0.0 {
        return low;
    }
    let beyond = (place - low).abs() % (2.0 * length);
    low + if beyond > length {
        2.0 * length - beyond
    } else {
        beyond
    }
}
