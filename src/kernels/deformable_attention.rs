//! Multi-scale deformable attention: each head of each query looks at a few places of every level of an image.
//!
//! What a head sees at a place lies side by side, and is added up in registers: neither what is seen at the places nor
//! the values by channel are ever made. It is what Zhu et al., "Deformable DETR" (2020), give in formula 3.

use ndarray::{ArrayView2, ArrayView3, ArrayView5, ArrayView6, ArrayViewMut3};

use super::{
    levels::{Level, Levels},
    pixels::Sample,
    threads::Threads,
    workspace::Workspace,
};
use crate::instructions::{Instructions, Kernel, multiply_add};

/// Queries that a thread does at a time.
const BLOCK: usize = 64;

/// Who looks at what.
pub(crate) struct DeformableAttentionInputs<'a> {
    /// The cells of one level after those of another, `[images, rows, width]`, with the heads side by side. There may be
    /// more rows than cells.
    pub(crate) values: ArrayView3<'a, f32>,
    /// Height and width of each level, `[levels, 2]`.
    pub(crate) sizes: ArrayView2<'a, i64>,
    /// x and y from -1 to 1, the outer edges of an image: `[images, queries, heads, levels, points, 2]`.
    pub(crate) places: ArrayView6<'a, f32>,
    /// What each place counts, `[images, queries, heads, levels, points]`.
    pub(crate) shares: ArrayView5<'a, f32>,
}

impl DeformableAttentionInputs<'_> {
    /// The shape of what comes out: images, queries, width.
    pub(crate) fn shape(&self) -> [usize; 3] {
        let (images, _, width) = self.values.dim();
        [images, self.shares.dim().1, width]
    }

    /// Where each level is, if everything fits together and `out` is of the shape that comes out.
    fn levels(&self, out: &[usize]) -> Result<Levels, String> {
        let levels = Levels::of(self.sizes)?;
        let (images, queries, heads, of_levels, points) = self.shares.dim();
        let (_, of_values, width) = self.values.dim();
        let fits = self.values.dim().0 == images
            && heads > 0
            && width % heads == 0
            && levels.end() <= of_values
            && of_levels == levels.len()
            && self.places.dim() == (images, queries, heads, of_levels, points, 2)
            && out == self.shape();
        match fits {
            true => Ok(levels),
            false => Err(format!(
                "values of shape {:?}, places of {:?} and shares of {:?} are not for levels of {}",
                self.values.shape(),
                self.places.shape(),
                self.shares.shape(),
                self.sizes
            )),
        }
    }
}

/// Attention to a few places.
pub(crate) struct DeformableAttention {
    instructions: Instructions,
}

impl DeformableAttention {
    pub(crate) fn new(instructions: Instructions) -> Self {
        Self { instructions }
    }

    /// Fills `out`, of the shape that [`shape`](DeformableAttentionInputs::shape) tells.
    ///
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn run(
        &self,
        inputs: &DeformableAttentionInputs<'_>,
        mut out: ArrayViewMut3<'_, f32>,
        workspace: &Workspace,
        threads: &Threads<'_>,
    ) -> Result<(), String> {
        let levels = inputs.levels(out.shape())?;
        let (_, queries, heads, _, points) = inputs.shares.dim();
        let (_, rows, width) = inputs.values.dim();
        let values = inputs.values.as_standard_layout();
        let places = inputs.places.as_standard_layout();
        let shares = inputs.shares.as_standard_layout();
        let slices = (
            values.as_slice(),
            places.as_slice(),
            shares.as_slice(),
            out.as_slice_mut(),
        );
        let (Some(values), Some(places), Some(shares), Some(out)) = slices else {
            return Err("tensors that are no single run of memory".into());
        };
        if out.is_empty() {
            return Ok(());
        }
        threads.for_each(out.chunks_mut(BLOCK * width), |block, out| {
            let mut memory = workspace.blocks.take();
            self.instructions.run(Attend {
                levels: &levels,
                heads,
                points,
                queries,
                rows,
                width,
                values,
                places,
                shares,
                first: block * BLOCK,
                samples: &mut memory.read.samples,
                out,
            });
            workspace.blocks.put(memory);
        });
        Ok(())
    }
}

/// Some queries' look at their images.
struct Attend<'a> {
    levels: &'a [Level],
    heads: usize,
    points: usize,
    /// Queries and rows of an image.
    queries: usize,
    rows: usize,
    width: usize,
    values: &'a [f32],
    places: &'a [f32],
    shares: &'a [f32],
    /// The first of these queries, counted over all images.
    first: usize,
    samples: &'a mut Vec<Sample>,
    out: &'a mut [f32],
}

impl Kernel for Attend<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(mut self) {
        let Self { heads, width, .. } = self;
        let depth = width / heads;
        self.samples
            .resize(self.levels.len() * self.points, Sample::NOTHING);
        for query in 0..self.out.len() / width {
            let image = (self.first + query) / self.queries;
            let values = &self.values[image * self.rows * width..][..self.rows * width];
            for head in 0..heads {
                self.place((self.first + query) * heads + head);
                let (mut column, end) = (head * depth, (head + 1) * depth);
                let out = &mut self.out[query * width..][..width];
                while column + LANES <= end {
                    let sums = sum::<LANES, FUSED>(values, self.samples, width, column);
                    out[column..][..LANES].copy_from_slice(&sums);
                    column += LANES;
                }
                while column < end {
                    [out[column]] = sum::<1, FUSED>(values, self.samples, width, column);
                    column += 1;
                }
            }
        }
    }
}

impl Attend<'_> {
    /// Where a head of a query looks; heads are counted over all queries.
    #[inline(always)]
    fn place(&mut self, head: usize) {
        let count = self.samples.len();
        let shares = &self.shares[head * count..][..count];
        let places = &self.places[2 * head * count..][..2 * count];
        for level in 0..self.levels.len() {
            let Level { grid, first, .. } = self.levels[level];
            for at in level * self.points..(level + 1) * self.points {
                let (x, y) = (places[2 * at], places[2 * at + 1]);
                let sample = grid.between(grid.row(y), grid.column(x), shares[at]);
                self.samples[at] = sample.from(first);
            }
        }
    }
}

/// What is at all these places together, in `LANES` columns of the values from one on.
#[inline(always)]
fn sum<const LANES: usize, const FUSED: bool>(
    values: &[f32],
    samples: &[Sample],
    width: usize,
    column: usize,
) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    for at in 0..samples.len() {
        let Sample { pixels, shares } = &samples[at];
        for corner in 0..4 {
            let numbers = &values[pixels[corner] * width + column..][..LANES];
            for lane in 0..LANES {
                sums[lane] = multiply_add::<FUSED>(shares[corner], numbers[lane], sums[lane]);
            }
        }
    }
    sums
}
