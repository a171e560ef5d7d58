//! Deformable convolution (v2, ONNX's `DeformConv`): each weight of the kernel looks at a place of its own.
//!
//! Channels lie side by side, so that what is between four pixels is read as four runs of memory. What a block of places
//! reads stays in a core's cache and is multiplied there; a tensor of all that is read is never made.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, ArrayView4, ArrayViewMut2, ArrayViewMut4, Axis};

use super::{
    byte_product::{ByteInstructions, ByteWeights},
    channelwise::Channelwise,
    pixels::{Pixels, Sample, write},
    product::{Weights, WeightsShape},
    rounding::Rounded,
    threads::Threads,
    transpose::Transpose,
    workspace::{Block, Read, Workspace},
};
use crate::instructions::Instructions;

/// Places whose rows and sums stay in a core's second cache together, for 256 channels.
const BLOCK: usize = 96;

/// How a kernel goes over an image. Pairs are of height and width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeformConvSpec {
    pub(crate) strides: [usize; 2],
    /// Above and to the left.
    pub(crate) pads: [usize; 2],
    pub(crate) dilations: [usize; 2],
    /// Groups of channels in and out that see only each other.
    pub(crate) groups: usize,
    /// Groups of channels that look at places of their own.
    pub(crate) offset_groups: usize,
}

/// What is convolved.
pub(crate) struct DeformConvInputs<'a> {
    /// `[images, channels, height, width]`.
    pub(crate) pixels: ArrayView4<'a, f32>,
    /// By how much each weight of each place looks beside its own, down and to the right:
    /// `[images, offset_groups * kernel * 2, out_height, out_width]`.
    pub(crate) offsets: ArrayView4<'a, f32>,
    /// What it is multiplied with: `[images, offset_groups * kernel, out_height, out_width]`.
    pub(crate) mask: Option<ArrayView4<'a, f32>>,
    /// `[channels out]`.
    pub(crate) bias: Option<ArrayView1<'a, f32>>,
}

/// A deformable convolution with its weights.
pub(crate) struct DeformConv {
    spec: DeformConvSpec,
    kernel: [usize; 2],
    weights: Matrices,
    shape: WeightsShape,
    instructions: Instructions,
}

/// What is done with what a weight of the kernel sees.
enum Matrices {
    Dense(Weights),
    Channelwise(Channelwise),
    Bytes(ByteWeights),
}

impl DeformConv {
    /// `weights` is `[channels out, channels in / groups, height, width]`; `memory` is that of one that is no more.
    ///
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn new(
        spec: DeformConvSpec,
        weights: ArrayView4<'_, f32>,
        instructions: Instructions,
        memory: Vec<f32>,
        threads: &Threads<'_>,
    ) -> Result<Self, String> {
        let (outer, inner, height, width) = weights.dim();
        let groups = spec.groups;
        if groups == 0 || outer % groups != 0 || weights.is_empty() {
            let shape = weights.shape();
            return Err(format!("weights of shape {shape:?} are not for {spec:?}"));
        }
        let shape = WeightsShape {
            groups,
            outer: outer / groups,
            inner,
            taps: height * width,
        };
        let weights = weights.as_standard_layout();
        let numbers = weights.as_slice().unwrap_or_default();
        let weights = match (groups, inner) {
            (2.., 1) => Matrices::Channelwise(Channelwise::new(numbers, shape.taps, shape.outer)),
            _ => Matrices::Dense(Weights::pack(numbers, shape, memory, instructions, threads)),
        };
        Ok(Self {
            weights,
            shape,
            kernel: [height, width],
            spec,
            instructions,
        })
    }

    /// With weights in 8 bits, `[channels in * height * width of the kernel, channels out]`, each column in multiples of one
    /// of `scales`. What they are multiplied with is rounded to 8 bits, too. There are no groups.
    ///
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn in_bytes(
        spec: DeformConvSpec,
        kernel: [usize; 2],
        weights: ArrayView2<'_, i8>,
        scales: ArrayView1<'_, f32>,
        instructions: Instructions,
        byte_instructions: ByteInstructions,
    ) -> Result<Self, String> {
        let (rows, outer) = weights.dim();
        let taps = kernel[0] * kernel[1];
        let fits = !weights.is_empty()
            && taps > 0
            && rows % taps == 0
            && scales.len() == outer
            && [spec.groups, spec.offset_groups] == [1, 1];
        if !fits {
            return Err(format!(
                "weights of shape {:?} with {} scales are not for kernels of {kernel:?} and {spec:?}",
                weights.shape(),
                scales.len()
            ));
        }
        let (weights, scales) = (weights.as_standard_layout(), scales.as_standard_layout());
        // What is in standard layout is a slice.
        let (numbers, scales) = (
            weights.as_slice().unwrap_or_default(),
            scales.as_slice().unwrap_or_default(),
        );
        Ok(Self {
            weights: Matrices::Bytes(ByteWeights::pack(numbers, taps, scales, byte_instructions)),
            shape: WeightsShape {
                groups: 1,
                outer,
                inner: rows / taps,
                taps,
            },
            kernel,
            spec,
            instructions,
        })
    }

    /// What it took to put the weights in order, for the next one.
    pub(crate) fn into_memory(self) -> Vec<f32> {
        match self.weights {
            Matrices::Dense(weights) => weights.into_memory(),
            Matrices::Channelwise(_) | Matrices::Bytes(_) => Vec::new(),
        }
    }

    /// The shape of what comes out.
    pub(crate) fn shape(&self, inputs: &DeformConvInputs<'_>) -> [usize; 4] {
        let (images, _, height, width) = inputs.offsets.dim();
        [images, self.shape.outer * self.spec.groups, height, width]
    }

    /// Fills `out`, of the shape that [`shape`](Self::shape) tells.
    ///
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn run(
        &self,
        inputs: &DeformConvInputs<'_>,
        mut out: ArrayViewMut4<'_, f32>,
        workspace: &Workspace,
        threads: &Threads<'_>,
    ) -> Result<(), String> {
        self.check(inputs, out.shape())?;
        let offsets = inputs.offsets.as_standard_layout();
        let mask = inputs.mask.as_ref().map(|mask| mask.as_standard_layout());
        let bias = inputs.bias.as_ref().map(|bias| bias.as_standard_layout());
        let bias = bias.as_ref().and_then(|bias| bias.as_slice());
        let mut memory = workspace.images.take();
        for (image, out) in out.outer_iter_mut().enumerate() {
            let pixels = inputs.pixels.index_axis(Axis(0), image);
            let pixels = memory.put(pixels, self.reads_bytes(), self.instructions, threads);
            let offsets = offsets.index_axis(Axis(0), image);
            let mask = mask.as_ref().map(|mask| mask.index_axis(Axis(0), image));
            let (channels, height, width) = out.dim();
            let out = out.into_shape_with_order((channels, height * width));
            let mut out = out.map_err(|error| error.to_string())?;
            let image = Image {
                conv: self,
                pixels,
                // What is in standard layout is a slice.
                offsets: offsets.to_slice().unwrap_or_default(),
                mask: mask.map(|mask| mask.to_slice().unwrap_or_default()),
                width,
                places: height * width,
                bias,
            };
            let blocks = out.axis_chunks_iter_mut(Axis(1), BLOCK);
            threads.for_each(blocks, |block, out| {
                let mut memory = workspace.blocks.take();
                image.convolve(block * BLOCK, &mut memory, out);
                workspace.blocks.put(memory);
            });
        }
        workspace.images.put(memory);
        Ok(())
    }

    /// Whether it wants to know how far from zero pixels go.
    pub(super) fn reads_bytes(&self) -> bool {
        matches!(self.weights, Matrices::Bytes(_))
    }

    fn check(&self, inputs: &DeformConvInputs<'_>, out: &[usize]) -> Result<(), String> {
        let (images, channels, height, width) = inputs.pixels.dim();
        let shape = self.shape(inputs);
        let [_, outer, out_height, out_width] = shape;
        let offset_groups = self.spec.offset_groups;
        let taps = offset_groups * self.shape.taps;
        let of_taps = |channels| [images, channels, out_height, out_width];
        let mask = inputs.mask.as_ref().map(ArrayView4::shape);
        let fits = channels == self.spec.groups * self.shape.inner
            && offset_groups > 0
            && channels % offset_groups == 0
            && height * width > 0
            && inputs.offsets.shape() == of_taps(2 * taps)
            && mask.is_none_or(|shape| shape == of_taps(taps))
            && inputs.bias.is_none_or(|bias| bias.len() == outer)
            && out == shape;
        match fits {
            true => Ok(()),
            false => Err(format!(
                "pixels of shape {:?}, offsets of {:?} and a mask of {mask:?} are not for {:?} of {channels} channels",
                inputs.pixels.shape(),
                inputs.offsets.shape(),
                self.spec
            )),
        }
    }
}

/// An image on its way through.
pub(super) struct Image<'a> {
    pub(super) conv: &'a DeformConv,
    pub(super) pixels: Pixels<'a>,
    pub(super) offsets: &'a [f32],
    pub(super) mask: Option<&'a [f32]>,
    /// Of what comes out.
    pub(super) width: usize,
    pub(super) places: usize,
    pub(super) bias: Option<&'a [f32]>,
}

impl Image<'_> {
    /// Places from `first` on, as many as `out`, `[channels, places]`, has columns.
    fn convolve(&self, first: usize, block: &mut Block, mut out: ArrayViewMut2<'_, f32>) {
        let Block { read, sums } = block;
        if let Matrices::Channelwise(weights) = &self.conv.weights {
            return self.convolve_channelwise(weights, first, block, out);
        }
        let (channels, places) = out.dim();
        let outer = self.conv.shape.outer;
        sums.resize(channels * places, 0.0);
        self.multiply(first, read, sums);
        let out = out.axis_chunks_iter_mut(Axis(0), outer);
        for (sums, out) in sums.chunks(places * outer).zip(out) {
            // The rows have been read: their memory is free.
            write(sums, &mut read.rows, out, self.conv.instructions);
        }
    }

    /// Places from `first` on, as many as `sums`, `[groups, places, channels]`, has rows, if not channel by channel.
    pub(super) fn multiply(&self, first: usize, read: &mut Read, sums: &mut [f32]) {
        match &self.conv.weights {
            Matrices::Dense(weights) => self.multiply_floats(weights, first, read, sums),
            Matrices::Bytes(weights) => self.multiply_bytes(weights, first, read, sums),
            Matrices::Channelwise(_) => {}
        }
    }

    fn multiply_floats(&self, weights: &Weights, first: usize, read: &mut Read, sums: &mut [f32]) {
        let WeightsShape {
            groups,
            outer,
            inner,
            taps,
        } = self.conv.shape;
        let places = sums.len() / (groups * outer);
        let Read { samples, rows, .. } = read;
        rows.resize(places * inner * groups, 0.0);
        self.begin(places, sums);
        for tap in 0..taps {
            for offset_group in 0..self.conv.spec.offset_groups {
                samples.clear();
                self.place(first..first + places, tap, offset_group, samples);
                self.read_groups(samples, offset_group, rows);
            }
            let rows = rows.chunks(places * inner);
            let sums = sums.chunks_mut(places * outer);
            for (group, (rows, sums)) in rows.zip(sums).enumerate() {
                weights.add_product(group, tap, rows, sums);
            }
        }
    }

    /// All that a place sees is in multiples of one number, so that all products are added up as whole numbers.
    fn multiply_bytes(
        &self,
        weights: &ByteWeights,
        first: usize,
        read: &mut Read,
        sums: &mut [f32],
    ) {
        let places = sums.len() / self.conv.shape.outer;
        let Read {
            samples,
            rounded: Rounded { bytes, scales },
            ..
        } = read;
        samples.clear();
        for tap in 0..self.conv.shape.taps {
            self.place(first..first + places, tap, 0, samples);
        }
        bytes.resize(places * weights.length(), 0);
        scales.resize(places, 0.0);
        self.pixels
            .read_bytes(samples, bytes, scales, self.conv.instructions);
        self.begin(places, sums);
        weights.add_product(bytes, scales, sums);
    }

    /// Every place begins with the bias.
    fn begin(&self, places: usize, sums: &mut [f32]) {
        let outer = self.conv.shape.outer;
        for (group, sums) in sums.chunks_mut(places * outer).enumerate() {
            match self.bias {
                None => sums.fill(0.0),
                Some(bias) => {
                    let bias = &bias[group * outer..][..outer];
                    sums.chunks_mut(outer)
                        .for_each(|sums| sums.copy_from_slice(bias));
                }
            }
        }
    }

    fn convolve_channelwise(
        &self,
        weights: &Channelwise,
        first: usize,
        block: &mut Block,
        mut out: ArrayViewMut2<'_, f32>,
    ) {
        let WeightsShape { groups, taps, .. } = self.conv.shape;
        let places = out.ncols();
        let Block { read, sums } = block;
        let Read { samples, rows, .. } = read;
        rows.resize(places * groups, 0.0);
        sums.resize(places * groups, 0.0);
        weights.fill(self.bias, &mut out);
        for tap in 0..taps {
            for offset_group in 0..self.conv.spec.offset_groups {
                samples.clear();
                self.place(first..first + places, tap, offset_group, samples);
                let channels = self.channels(offset_group);
                let to = channels.start;
                let instructions = self.conv.instructions;
                self.pixels
                    .read(samples, channels, rows, groups, to, instructions);
            }
            self.conv.instructions.run(Transpose {
                rows: places,
                columns: groups,
                from: rows,
                from_step: groups,
                to: sums,
                to_step: places,
            });
            weights.add(tap, sums, self.bias, &mut out);
        }
    }

    /// Adds to `samples` where a weight of the kernel looks, for each of some places.
    fn place(
        &self,
        places: Range<usize>,
        tap: usize,
        offset_group: usize,
        samples: &mut Vec<Sample>,
    ) {
        let DeformConv { spec, kernel, .. } = self.conv;
        let channel = offset_group * kernel[0] * kernel[1] + tap;
        let plane = |channel: usize| {
            channel * self.places + places.start..channel * self.places + places.end
        };
        let down = &self.offsets[plane(2 * channel)];
        let right = &self.offsets[plane(2 * channel + 1)];
        let shares = self.mask.map(|mask| &mask[plane(channel)]);
        let start = |axis: usize, step: usize| {
            (step * spec.dilations[axis]) as f32 - spec.pads[axis] as f32
        };
        let (above, left) = (start(0, tap / kernel[1]), start(1, tap % kernel[1]));
        let (mut row, mut column) = (places.start / self.width, places.start % self.width);
        samples.extend((0..places.len()).map(|place| {
            let y = (row * spec.strides[0]) as f32 + above + down[place];
            let x = (column * spec.strides[1]) as f32 + left + right[place];
            column += 1;
            if column == self.width {
                (row, column) = (row + 1, 0);
            }
            let share = shares.map_or(1.0, |shares| shares[place]);
            self.pixels.grid().between(y, x, share)
        }));
    }

    /// What is at these places, in the channels of a group of offsets: for each group of channels, `[places, channels]`.
    fn read_groups(&self, samples: &[Sample], offset_group: usize, rows: &mut [f32]) {
        let inner = self.conv.shape.inner;
        let range = self.channels(offset_group);
        for (group, rows) in rows.chunks_mut(samples.len() * inner).enumerate() {
            let first = group * inner;
            let shared = range.start.max(first)..range.end.min(first + inner);
            if shared.is_empty() {
                continue;
            }
            let to = shared.start - first;
            self.pixels
                .read(samples, shared, rows, inner, to, self.conv.instructions);
        }
    }

    /// The channels of a group of offsets.
    fn channels(&self, offset_group: usize) -> Range<usize> {
        let DeformConv { spec, shape, .. } = self.conv;
        let count = shape.inner * spec.groups / spec.offset_groups;
        offset_group * count..(offset_group + 1) * count
    }
}
