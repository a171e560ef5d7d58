//! Deformable convolution (v2, ONNX's `DeformConv`): each weight of the kernel looks at a place of its own.
//!
//! Channels lie side by side, so that what is between four pixels is read as four runs of memory. What a block of places
//! reads stays in a core's cache and is multiplied there; a tensor of all that is read is never made.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView3, ArrayView4, ArrayViewMut2, ArrayViewMut4, Axis};

use super::{
    instructions::Instructions,
    pixels::{Pixels, Sample, write},
    product::Weights,
    threads::Threads,
    workspace::{Block, Workspace},
};

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
    /// For each weight of the kernel, and in it for each group of channels.
    weights: Vec<Weights>,
    /// Channels in and out of a group.
    inner: usize,
    outer: usize,
    instructions: Instructions,
}

impl DeformConv {
    /// `weights` is `[channels out, channels in / groups, height, width]`.
    ///
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn new(
        spec: DeformConvSpec,
        weights: ArrayView4<'_, f32>,
        instructions: Instructions,
    ) -> Result<Self, String> {
        let (outer, inner, height, width) = weights.dim();
        let groups = spec.groups;
        if groups == 0 || outer % groups != 0 || weights.is_empty() {
            let shape = weights.shape();
            return Err(format!("weights of shape {shape:?} are not for {spec:?}"));
        }
        let outer = outer / groups;
        let taps = (0..height * width).flat_map(|tap| (0..groups).map(move |group| (tap, group)));
        let weights = taps.map(|(tap, group)| {
            Weights::new(inner, outer, instructions, |row, column| {
                weights[[group * outer + column, row, tap / width, tap % width]]
            })
        });
        Ok(Self {
            weights: weights.collect(),
            kernel: [height, width],
            inner,
            outer,
            spec,
            instructions,
        })
    }

    /// The shape of what comes out.
    pub(crate) fn shape(&self, inputs: &DeformConvInputs<'_>) -> [usize; 4] {
        let (images, _, height, width) = inputs.offsets.dim();
        [images, self.outer * self.spec.groups, height, width]
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
        let mut pixels = workspace.images.take();
        for (image, out) in out.outer_iter_mut().enumerate() {
            let image_pixels = inputs.pixels.index_axis(Axis(0), image);
            pixels.put(image_pixels, self.instructions, threads);
            let (channels, height, width) = out.dim();
            let out = out.into_shape_with_order((channels, height * width));
            let mut out = out.map_err(|error| error.to_string())?;
            let image = Image {
                conv: self,
                pixels: &pixels,
                workspace,
                offsets: inputs.offsets.index_axis(Axis(0), image),
                mask: inputs
                    .mask
                    .as_ref()
                    .map(|mask| mask.index_axis(Axis(0), image)),
                bias: inputs.bias,
            };
            let blocks = out.axis_chunks_iter_mut(Axis(1), BLOCK);
            threads.for_each(blocks, |block, out| image.convolve(block * BLOCK, out));
        }
        workspace.images.put(pixels);
        Ok(())
    }

    fn check(&self, inputs: &DeformConvInputs<'_>, out: &[usize]) -> Result<(), String> {
        let (images, channels, height, width) = inputs.pixels.dim();
        let shape = self.shape(inputs);
        let [_, outer, out_height, out_width] = shape;
        let offset_groups = self.spec.offset_groups;
        let taps = offset_groups * self.taps();
        let of_taps = |channels| [images, channels, out_height, out_width];
        let mask = inputs.mask.as_ref().map(ArrayView4::shape);
        let fits = channels == self.spec.groups * self.inner
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

    /// Weights of the kernel.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

/// An image on its way through.
struct Image<'a> {
    conv: &'a DeformConv,
    pixels: &'a Pixels,
    workspace: &'a Workspace,
    offsets: ArrayView3<'a, f32>,
    mask: Option<ArrayView3<'a, f32>>,
    bias: Option<ArrayView1<'a, f32>>,
}

impl Image<'_> {
    /// Places from `first` on, as many as `out`, `[channels, places]`, has columns.
    fn convolve(&self, first: usize, mut out: ArrayViewMut2<'_, f32>) {
        let DeformConv {
            spec,
            inner,
            outer,
            instructions,
            ..
        } = self.conv;
        let (groups, places) = (spec.groups, out.dim().1);
        let mut block = self.workspace.blocks.take();
        let Block {
            samples,
            rows,
            sums,
        } = &mut block;
        rows.resize(places * inner * groups, 0.0);
        self.begin(places, sums);
        for tap in 0..self.conv.taps() {
            for offset_group in 0..spec.offset_groups {
                self.place(first..first + places, tap, offset_group, samples);
                self.read(samples, offset_group, rows);
            }
            let weights = &self.conv.weights[tap * groups..][..groups];
            let rows = rows.chunks(places * inner);
            let sums = sums.chunks_mut(places * outer);
            for ((weights, rows), sums) in weights.iter().zip(rows).zip(sums) {
                weights.add_product(rows, sums);
            }
        }
        let out = out.axis_chunks_iter_mut(Axis(0), *outer);
        for (sums, out) in sums.chunks(places * outer).zip(out) {
            // The rows have been read: their memory is free.
            write(sums, rows, out, *instructions);
        }
        self.workspace.blocks.put(block);
    }

    /// Every place begins with the bias.
    fn begin(&self, places: usize, sums: &mut Vec<f32>) {
        let DeformConv { spec, outer, .. } = self.conv;
        sums.clear();
        match &self.bias {
            None => sums.resize(places * outer * spec.groups, 0.0),
            Some(bias) => {
                for bias in bias.axis_chunks_iter(Axis(0), *outer) {
                    (0..places).for_each(|_| sums.extend(bias));
                }
            }
        }
    }

    /// Where a weight of the kernel looks, for each of some places.
    fn place(
        &self,
        places: Range<usize>,
        tap: usize,
        offset_group: usize,
        samples: &mut Vec<Sample>,
    ) {
        let DeformConv { spec, kernel, .. } = self.conv;
        let [row, column] = [tap / kernel[1], tap % kernel[1]];
        let channel = offset_group * self.conv.taps() + tap;
        let (_, _, width) = self.offsets.dim();
        let start = |place: usize, axis: usize, step: usize| {
            (place * spec.strides[axis] + step * spec.dilations[axis]) as f32
                - spec.pads[axis] as f32
        };
        samples.clear();
        samples.extend(places.map(|place| {
            let place = [place / width, place % width];
            let [down, right] =
                [0, 1].map(|axis| self.offsets[[2 * channel + axis, place[0], place[1]]]);
            let share = self
                .mask
                .map_or(1.0, |mask| mask[[channel, place[0], place[1]]]);
            let (y, x) = (
                start(place[0], 0, row) + down,
                start(place[1], 1, column) + right,
            );
            self.pixels.grid().between(y, x, share)
        }));
    }

    /// What is at these places, in the channels of a group of offsets.
    fn read(&self, samples: &[Sample], offset_group: usize, rows: &mut [f32]) {
        let DeformConv {
            spec,
            inner,
            instructions,
            ..
        } = self.conv;
        let channels = inner * spec.groups;
        let of_offsets = channels / spec.offset_groups;
        let range = offset_group * of_offsets..(offset_group + 1) * of_offsets;
        for (group, rows) in rows.chunks_mut(samples.len() * inner).enumerate() {
            let first = group * inner;
            let shared = range.start.max(first)..range.end.min(first + inner);
            if shared.is_empty() {
                continue;
            }
            let to = shared.start - first;
            self.pixels
                .read(samples, shared, rows, *inner, to, *instructions);
        }
    }
}
