//! DyConv: each level of a pyramid becomes the mean of deformable convolutions of itself and of its neighbours, as Dai et
//! al., "Dynamic Head" (2021), and GLIP have it.
//!
//! All that surrounds the convolutions is per channel an affine map of what they give, with coefficients that depend on
//! means only. So what they give is written once and read once: sums are taken while it is in a core's cache.

mod branches;
mod coefficients;
pub(super) mod memory;
mod passes;

use ndarray::{
    ArrayView1, ArrayView2, ArrayView3, ArrayView4, ArrayViewMut2, ArrayViewMut3, Axis, s,
};

pub(crate) use self::coefficients::CoefficientWeights;
use self::{
    branches::{BLOCK, Branch, Source, branches},
    coefficients::{Coefficients, Norms},
    memory::LayerMemory,
    passes::{Combine, Sum, Term},
};
use super::{
    byte_product::ByteInstructions,
    deform_conv::{DeformConv, DeformConvSpec, Image},
    levels::{Level, Levels},
    pixels::{Grid, Pixels, measure},
    product::{Weights, WeightsShape},
    threads::Threads,
    workspace::{Block, Workspace},
};
use crate::instructions::Instructions;

/// Weights of a kernel, and the offsets that they have.
const TAPS: usize = 9;
const OFFSETS: usize = 2 * TAPS;
const FIELDS: usize = OFFSETS + TAPS;

/// The weights of a layer.
pub(crate) struct DyConvWeights<'a> {
    /// Of what gives offsets and masks, `[27, channels, 3, 3]` and `[27]`.
    pub(crate) fields: ArrayView4<'a, f32>,
    pub(crate) fields_bias: ArrayView1<'a, f32>,
    pub(crate) own: ConvolutionWeights<'a>,
    pub(crate) finer: ConvolutionWeights<'a>,
    pub(crate) coarser: ConvolutionWeights<'a>,
    pub(crate) coefficients: CoefficientWeights<'a>,
}

/// Of a deformable convolution of 3 x 3.
pub(crate) struct ConvolutionWeights<'a> {
    pub(crate) weights: FloatsOrBytes<'a>,
    /// `[channels]`.
    pub(crate) bias: ArrayView1<'a, f32>,
}

pub(crate) enum FloatsOrBytes<'a> {
    /// `[channels, channels, 3, 3]`.
    Floats(ArrayView4<'a, f32>),
    /// `[channels * 9, channels]`, each column in multiples of one of the scales, `[channels]`.
    Bytes(ArrayView2<'a, i8>, ArrayView1<'a, f32>),
}

/// A layer.
pub(crate) struct DyConv {
    channels: usize,
    fields: Weights,
    fields_bias: Vec<f32>,
    convolutions: [Convolution; 3],
    norms: Norms,
    instructions: Instructions,
}

struct Convolution {
    conv: DeformConv,
    bias: Vec<f32>,
}

impl DyConv {
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn new(
        weights: DyConvWeights<'_>,
        instructions: Instructions,
        byte_instructions: Option<ByteInstructions>,
    ) -> Result<Self, String> {
        let (fields, channels, height, width) = weights.fields.dim();
        let fits = [fields, height, width] == [FIELDS, 3, 3] && channels > 0;
        if !fits || weights.fields_bias.len() != FIELDS {
            return Err(format!(
                "weights of offsets of shape {:?} with {} of bias are not {FIELDS} of kernels of 3 x 3",
                weights.fields.shape(),
                weights.fields_bias.len()
            ));
        }
        let shape = WeightsShape {
            groups: 1,
            outer: FIELDS,
            inner: channels,
            taps: TAPS,
        };
        let fields = weights.fields.as_standard_layout();
        // What is in standard layout is a slice.
        let fields = fields.as_slice().unwrap_or_default();
        let convolution = |source, weights| {
            Convolution::new(source, weights, channels, instructions, byte_instructions)
        };
        Ok(Self {
            channels,
            fields: Weights::pack(fields, shape, Vec::new(), instructions, &Threads::NONE),
            fields_bias: weights.fields_bias.to_vec(),
            convolutions: [
                convolution(Source::Own, weights.own)?,
                convolution(Source::Finer, weights.finer)?,
                convolution(Source::Coarser, weights.coarser)?,
            ],
            norms: Norms::new(&weights.coefficients, channels)?,
            instructions,
        })
    }

    /// Fills `out`, which is of the shape of `positions`, `[images, positions, channels]`: the levels of `sizes`, `[levels,
    /// 2]`, one after another.
    ///
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn run(
        &self,
        positions: ArrayView3<'_, f32>,
        sizes: ArrayView2<'_, i64>,
        mut out: ArrayViewMut3<'_, f32>,
        workspace: &Workspace,
        threads: &Threads<'_>,
    ) -> Result<(), String> {
        let levels = Levels::of(sizes)?;
        let (_, count, channels) = positions.dim();
        if channels != self.channels || count != levels.end() || out.dim() != positions.dim() {
            let shape = positions.shape();
            return Err(format!(
                "positions of shape {shape:?} are not the levels of {sizes} with {} channels",
                self.channels
            ));
        }
        let branches = branches(&levels)?;
        let positions = positions.as_standard_layout();
        for (positions, mut out) in positions.outer_iter().zip(out.outer_iter_mut()) {
            let (Some(positions), Some(out)) = (positions.as_slice(), out.as_slice_mut()) else {
                return Err("positions that are no single run of memory".into());
            };
            let mut memory = workspace.layers.take();
            let layer = Layer {
                conv: self,
                levels: &levels,
                branches: &branches,
                positions,
            };
            layer.run(&mut memory, out, workspace, threads);
            workspace.layers.put(memory);
        }
        Ok(())
    }
}

impl Convolution {
    fn new(
        source: Source,
        given: ConvolutionWeights<'_>,
        channels: usize,
        instructions: Instructions,
        byte_instructions: Option<ByteInstructions>,
    ) -> Result<Self, String> {
        let stride = if source == Source::Finer { 2 } else { 1 };
        let spec = DeformConvSpec {
            strides: [stride; 2],
            pads: [1; 2],
            dilations: [1; 2],
            groups: 1,
            offset_groups: 1,
        };
        let shape = [channels, channels, 3, 3];
        let fits = match &given.weights {
            FloatsOrBytes::Floats(weights) => weights.shape() == shape,
            FloatsOrBytes::Bytes(weights, scales) => {
                weights.shape() == [channels * TAPS, channels] && scales.len() == channels
            }
        };
        if !fits || given.bias.len() != channels {
            return Err(format!(
                "the {source:?} convolution's weights are not of {channels} channels"
            ));
        }
        let floats = |weights: ArrayView4<'_, f32>| {
            DeformConv::new(
                spec.clone(),
                weights,
                instructions,
                Vec::new(),
                &Threads::NONE,
            )
        };
        let conv = match (given.weights, byte_instructions) {
            (FloatsOrBytes::Floats(weights), _) => floats(weights),
            (FloatsOrBytes::Bytes(weights, scales), Some(byte_instructions)) => {
                DeformConv::in_bytes(
                    spec.clone(),
                    [3, 3],
                    weights,
                    scales,
                    instructions,
                    byte_instructions,
                )
            }
            // Products of bytes are slower than those of floats then.
            (FloatsOrBytes::Bytes(weights, scales), None) => {
                let weights = (weights.mapv(f32::from) * scales).reversed_axes();
                let weights = weights.to_shape(shape).map_err(|error| error.to_string())?;
                floats(weights.view())
            }
        };
        Ok(Self {
            conv: conv?,
            bias: given.bias.to_vec(),
        })
    }
}

/// A layer on its way through an image.
struct Layer<'a> {
    conv: &'a DyConv,
    levels: &'a Levels,
    branches: &'a [Branch],
    /// `[positions, channels]`.
    positions: &'a [f32],
}

impl Layer<'_> {
    fn run(
        &self,
        memory: &mut LayerMemory,
        out: &mut [f32],
        workspace: &Workspace,
        threads: &Threads<'_>,
    ) {
        let DyConv {
            channels, norms, ..
        } = self.conv;
        let LayerMemory {
            fields,
            reach,
            values,
            sums,
            coefficients,
        } = memory;
        self.find_fields(fields, reach, workspace, threads);
        let blocks = self.branches.iter().map(Branch::blocks).sum::<usize>();
        values.resize(blocks * BLOCK * channels, 0.0);
        sums.resize(blocks * 3 * channels, 0.0);
        let pieces = values
            .chunks_mut(BLOCK * channels)
            .zip(sums.chunks_mut(3 * channels));
        threads.for_each(pieces, |block, (values, sums)| {
            let mut memory = workspace.blocks.take();
            self.convolve(block, fields, reach, &mut memory, values, sums);
            workspace.blocks.put(memory);
        });
        norms.find(self.branches, sums, coefficients);
        let pieces = out.chunks_mut(BLOCK * channels);
        threads.for_each(pieces, |block, out| {
            self.combine(block * BLOCK, values, coefficients, out);
        });
    }

    /// Offsets and masks of all levels, and how far from zero numbers go, if convolutions want to know that.
    fn find_fields(
        &self,
        fields: &mut Vec<f32>,
        reach: &mut Vec<f32>,
        workspace: &Workspace,
        threads: &Threads<'_>,
    ) {
        let positions = self.levels.end();
        fields.resize(positions * FIELDS, 0.0);
        reach.resize(positions, 0.0);
        for level in self.levels.iter() {
            let width = level.grid.width;
            let fields = &mut fields[level.first * FIELDS..level.end * FIELDS];
            let shape = (FIELDS, level.grid.count());
            let Ok(mut fields) = ArrayViewMut2::from_shape(shape, fields) else {
                continue; // there are as many numbers
            };
            let rows = fields.axis_chunks_iter_mut(Axis(1), width);
            let rows = rows.zip(reach[level.first..level.end].chunks_mut(width));
            threads.for_each(rows, |row, (fields, reach)| {
                let mut memory = workspace.blocks.take();
                self.find_fields_of_row(level, row, &mut memory.sums, fields);
                if self.conv.convolutions[0].conv.reads_bytes() {
                    measure(self.row(level, row), reach, self.conv.instructions);
                }
                workspace.blocks.put(memory);
            });
        }
    }

    /// The positions of a row of a level.
    fn row(&self, level: &Level, row: usize) -> &[f32] {
        let channels = self.conv.channels;
        let first = level.first + row * level.grid.width;
        &self.positions[first * channels..][..level.grid.width * channels]
    }

    /// A convolution reads its neighbours as they lie: no copy of what it sees is made.
    fn find_fields_of_row(
        &self,
        level: &Level,
        row: usize,
        sums: &mut Vec<f32>,
        mut fields: ArrayViewMut2<'_, f32>,
    ) {
        let DyConv {
            channels,
            fields_bias,
            ..
        } = self.conv;
        let Grid { height, width } = level.grid;
        sums.clear();
        (0..width).for_each(|_| sums.extend(fields_bias));
        for tap in 0..TAPS {
            let (down, right) = (tap / 3, tap % 3);
            let Some(from) = (row + down).checked_sub(1).filter(|&from| from < height) else {
                continue;
            };
            // The columns that have a neighbour there, and the neighbours.
            let columns = usize::from(right == 0)..width.saturating_sub(usize::from(right == 2));
            if columns.is_empty() {
                continue;
            }
            let first = columns.start + right - 1;
            let seen = &self.row(level, from)[first * channels..][..columns.len() * channels];
            let sums = &mut sums[columns.start * FIELDS..columns.end * FIELDS];
            self.conv.fields.add_product(0, tap, seen, sums);
        }
        for (place, sums) in sums.chunks(FIELDS).enumerate() {
            let mut fields = fields.column_mut(place);
            for (field, &sum) in fields.iter_mut().zip(sums) {
                *field = sum;
            }
            fields.slice_mut(s![OFFSETS..]).mapv_inplace(sigmoid);
        }
    }

    /// A block of places of one of the branches.
    fn convolve(
        &self,
        block: usize,
        fields: &[f32],
        reach: &[f32],
        memory: &mut Block,
        values: &mut [f32],
        sums: &mut [f32],
    ) {
        let DyConv {
            channels,
            convolutions,
            instructions,
            ..
        } = self.conv;
        let after = self
            .branches
            .partition_point(|branch| branch.first_block <= block);
        let branch = &self.branches[after - 1];
        let (own, from, places) = (&self.levels[branch.level], branch.from, branch.grid.count());
        let Convolution { conv, bias } = &convolutions[branch.source as usize];
        // A coarser level's places are fewer: they read the first of the numbers, whichever they are for, as the official
        // operator does, around which released weights were trained.
        let fields = &fields[own.first * FIELDS..own.end * FIELDS];
        let (offsets, mask) = fields.split_at(own.grid.count() * OFFSETS);
        let image = Image {
            conv,
            pixels: Pixels::new(
                &self.positions[from.first * channels..from.end * channels],
                *channels,
                from.grid,
                &reach[from.first..from.end],
            ),
            offsets,
            mask: Some(mask),
            width: branch.grid.width,
            places,
            bias: Some(bias),
        };
        let first = (block - branch.first_block) * BLOCK;
        let values = &mut values[..BLOCK.min(places - first) * channels];
        image.multiply(first, &mut memory.read, values);
        let times = &mut memory.sums;
        times.clear();
        if branch.source == Source::Coarser {
            let places = first..first + values.len() / channels;
            times.extend(places.map(|place| branch.grid.times_seen(place, own.grid)));
        }
        instructions.run(Sum {
            values,
            times,
            sums,
        });
    }

    /// Positions from `first` on, as many as `out` has rows.
    fn combine(&self, first: usize, values: &[f32], coefficients: &Coefficients, out: &mut [f32]) {
        let DyConv {
            channels,
            instructions,
            ..
        } = self.conv;
        let end = first + out.len() / channels;
        for (number, level) in self.levels.iter().enumerate() {
            let (from, to) = (first.max(level.first), end.min(level.end));
            if from >= to {
                continue;
            }
            let mut terms = [None; 3];
            for (place, branch) in self.branches.iter().enumerate() {
                if branch.level == number {
                    terms[branch.source as usize] = Some(Term {
                        grid: branch.grid,
                        values: &values[branch.first_block * BLOCK * channels..],
                        slopes: coefficients.slopes(place, *channels),
                    });
                }
            }
            instructions.run(Combine {
                terms,
                lines: coefficients.lines(number, *channels),
                grid: level.grid,
                first: from - level.first,
                out: &mut out[(from - first) * channels..(to - first) * channels],
            });
        }
    }
}

fn sigmoid(number: f32) -> f32 {
    1.0 / (1.0 + (-number).exp())
}

#[cfg(test)]
mod tests;
