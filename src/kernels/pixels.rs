//! Images whose channels lie side by side, so that what is at a place between pixels is read as four runs of memory.

use std::ops::Range;

use ndarray::{ArrayView3, ArrayViewMut2};

use super::{
    rounding::{steps, to_byte},
    threads::Threads,
    transpose::Transpose,
};
use crate::instructions::{Instructions, Kernel, multiply_add};

/// The sides of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) height: usize,
    pub(super) width: usize,
}

/// An image, `[height * width, channels]`.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    numbers: &'a [f32],
    channels: usize,
    grid: Grid,
    /// How far from zero the numbers of each pixel go, if they are [read in 8 bits](Self::read_bytes).
    reach: &'a [f32],
}

/// Memory for images whose channels do not lie side by side yet.
#[derive(Default)]
pub(super) struct PixelMemory {
    numbers: Vec<f32>,
    reach: Vec<f32>,
}

impl PixelMemory {
    /// An image `[channels, height, width]` in the order that is read here, in place of the one that was here.
    pub(super) fn put(
        &mut self,
        image: ArrayView3<'_, f32>,
        in_bytes: bool,
        instructions: Instructions,
        threads: &Threads<'_>,
    ) -> Pixels<'_> {
        let (channels, height, width) = image.dim();
        self.numbers.resize(channels * height * width, 0.0);
        let image = image.as_standard_layout();
        if let (Some(image), true) = (image.as_slice(), width > 0) {
            let rows = self.numbers.chunks_mut(channels.max(1) * width);
            threads.for_each(rows, |row, to| {
                instructions.run(Transpose {
                    rows: channels,
                    columns: width,
                    from: &image[row * width..],
                    from_step: height * width,
                    to,
                    to_step: channels,
                });
            });
        }
        if in_bytes {
            self.reach.resize(height * width, 0.0);
            let numbers = self.numbers.chunks(width.max(1) * channels.max(1));
            let rows = self.reach.chunks_mut(width.max(1)).zip(numbers);
            threads.for_each(rows, |_, (reach, numbers)| {
                measure(numbers, reach, instructions);
            });
        }
        let grid = Grid::new(height, width);
        Pixels::new(&self.numbers, channels, grid, &self.reach)
    }
}

/// Finds out how far from zero the numbers of each of some pixels go, as many as `reach` has places.
pub(super) fn measure(numbers: &[f32], reach: &mut [f32], instructions: Instructions) {
    instructions.run(Measure { numbers, reach });
}

impl<'a> Pixels<'a> {
    pub(super) fn new(numbers: &'a [f32], channels: usize, grid: Grid, reach: &'a [f32]) -> Self {
        Self {
            numbers,
            channels,
            grid,
            reach,
        }
    }

    pub(super) fn grid(&self) -> Grid {
        self.grid
    }

    /// What is at these places, in some of the channels: written to the columns from `to` on of `rows`, `[samples, length]`.
    pub(super) fn read(
        &self,
        samples: &[Sample],
        channels: Range<usize>,
        rows: &mut [f32],
        length: usize,
        to: usize,
        instructions: Instructions,
    ) {
        instructions.run(Read {
            pixels: self,
            samples,
            channels,
            rows,
            length,
            to,
        });
    }

    /// What is at these places, `[taps, rows]`, in all channels, as multiples of each row's scale: written to `bytes`,
    /// `[rows, length]`, tap after tap.
    pub(super) fn read_bytes(
        &self,
        samples: &[Sample],
        bytes: &mut [u8],
        scales: &mut [f32],
        instructions: Instructions,
    ) {
        instructions.run(ReadBytes {
            pixels: self,
            samples,
            bytes,
            scales,
        });
    }
}

impl Grid {
    pub(super) fn new(height: usize, width: usize) -> Self {
        Self { height, width }
    }

    /// How many pixels it has.
    pub(super) fn count(self) -> usize {
        self.height * self.width
    }

    /// What a convolution gives that looks at every second pixel.
    pub(super) fn halved(self) -> Self {
        Self::new(self.height.div_ceil(2), self.width.div_ceil(2))
    }

    /// What a pixel is of a larger grid, whose corners lie on this one's.
    #[inline(always)]
    pub(super) fn of_enlarged(self, pixel: usize, larger: Self) -> Sample {
        let along = |place: usize, count: usize, of: usize| {
            let steps = count.saturating_sub(1).max(1);
            neighbours((place * of.saturating_sub(1)) as f32 / steps as f32, of)
        };
        let rows = along(pixel / larger.width, larger.height, self.height);
        let columns = along(pixel % larger.width, larger.width, self.width);
        self.sample(rows, columns, 1.0)
    }

    /// In how many pixels of a larger grid, whose corners lie on this one's, one is seen, with its share of each.
    pub(super) fn times_seen(self, pixel: usize, larger: Self) -> f32 {
        let along = |place: usize, count: usize, of: usize| {
            let step = of.saturating_sub(1) as f32 / count.saturating_sub(1).max(1) as f32;
            // No others are near enough.
            let first = ((place as f32 - 1.0) / step).floor().max(0.0) as usize;
            let seen = (first..count).map(|at| at as f32 * step);
            let seen = seen.take_while(|&at| at < place as f32 + 1.0);
            seen.map(|at| (1.0 - (at - place as f32).abs()).max(0.0))
                .sum::<f32>()
        };
        let rows = along(pixel / self.width, larger.height, self.height);
        rows * along(pixel % self.width, larger.width, self.width)
    }

    /// How far below the first row a place is that goes from -1 to 1, which are the outer edges.
    #[inline(always)]
    pub(super) fn row(self, y: f32) -> f32 {
        between_edges(y, self.height)
    }

    /// The same to the right of the first column.
    #[inline(always)]
    pub(super) fn column(self, x: f32) -> f32 {
        between_edges(x, self.width)
    }

    /// The place `y` pixels below the first one and `x` to the right of it, all of it worth `share`. There is nothing
    /// outside of the image.
    #[inline(always)]
    pub(super) fn between(self, y: f32, x: f32, share: f32) -> Sample {
        // A place that is no number is outside, too.
        let inside = y > -1.0 && y < self.height as f32 && x > -1.0 && x < self.width as f32;
        if !inside {
            return Sample::NOTHING;
        }
        self.sample(neighbours(y, self.height), neighbours(x, self.width), share)
    }

    /// The places of two rows and two columns, and their shares of each axis.
    #[inline(always)]
    fn sample(self, rows: [(usize, f32); 2], columns: [(usize, f32); 2], share: f32) -> Sample {
        let mut sample = Sample::NOTHING;
        for corner in 0..4 {
            let ((row, of_row), (column, of_column)) = (rows[corner / 2], columns[corner % 2]);
            sample.pixels[corner] = row * self.width + column;
            sample.shares[corner] = of_row * of_column * share;
        }
        sample
    }
}

/// The pixel, or the place between pixels, of a number from -1 to 1, which are the outer edges of so many pixels.
#[inline(always)]
fn between_edges(number: f32, count: usize) -> f32 {
    ((number + 1.0) * count as f32 - 1.0) / 2.0
}

/// The two pixels of an axis between which a place is, and their shares. One outside is worth nothing; it goes by the
/// place of one inside.
#[inline(always)]
fn neighbours(place: f32, count: usize) -> [(usize, f32); 2] {
    let first = place.floor();
    let share = place - first;
    let before = match first < 0.0 {
        true => (0, 0.0),
        false => (first as usize, 1.0 - share),
    };
    let after = (first + 1.0) as usize;
    let after = match after < count {
        true => (after, share),
        false => (count - 1, 0.0),
    };
    [before, after]
}

/// A place between four pixels: which these are, row after row, and their shares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) pixels: [usize; 4],
    pub(super) shares: [f32; 4],
}

impl Sample {
    pub(super) const NOTHING: Self = Self {
        pixels: [0; 4],
        shares: [0.0; 4],
    };

    /// The same place of an image whose first pixel is this one of several images'.
    #[inline(always)]
    pub(super) fn from(mut self, first: usize) -> Self {
        for corner in 0..4 {
            self.pixels[corner] += first;
        }
        self
    }
}

struct Read<'a> {
    pixels: &'a Pixels<'a>,
    samples: &'a [Sample],
    channels: Range<usize>,
    rows: &'a mut [f32],
    length: usize,
    to: usize,
}

impl Kernel for Read<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let (first, count) = (self.channels.start, self.channels.len());
        let Pixels {
            numbers, channels, ..
        } = self.pixels;
        for place in 0..self.samples.len() {
            let Sample { pixels, shares } = self.samples[place];
            let row = &mut self.rows[place * self.length + self.to..][..count];
            let a = &numbers[pixels[0] * channels + first..][..count];
            let b = &numbers[pixels[1] * channels + first..][..count];
            let c = &numbers[pixels[2] * channels + first..][..count];
            let d = &numbers[pixels[3] * channels + first..][..count];
            for at in 0..count {
                let number = multiply_add::<FUSED>(shares[1], b[at], shares[0] * a[at]);
                let number = multiply_add::<FUSED>(shares[2], c[at], number);
                row[at] = multiply_add::<FUSED>(shares[3], d[at], number);
            }
        }
    }
}

struct Measure<'a> {
    numbers: &'a [f32],
    reach: &'a mut [f32],
}

impl Kernel for Measure<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let channels = self.numbers.len() / self.reach.len();
        for pixel in 0..self.reach.len() {
            let numbers = &self.numbers[pixel * channels..][..channels];
            let mut reach = 0;
            for at in 0..channels {
                reach = reach.max(numbers[at].abs().to_bits());
            }
            self.reach[pixel] = f32::from_bits(reach);
        }
    }
}

struct ReadBytes<'a> {
    pixels: &'a Pixels<'a>,
    samples: &'a [Sample],
    bytes: &'a mut [u8],
    scales: &'a mut [f32],
}

impl Kernel for ReadBytes<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(self) {
        let Pixels {
            numbers,
            channels: count,
            ..
        } = self.pixels;
        let (rows, count) = (self.scales.len(), *count);
        let (taps, length) = (self.samples.len() / rows, self.bytes.len() / rows);
        for place in 0..rows {
            let reach = self.pixels.reach_between(self.samples, place, rows);
            let (per_unit, scale) = steps(reach);
            self.scales[place] = scale;
            for tap in 0..taps {
                let Sample { pixels, mut shares } = self.samples[tap * rows + place];
                for corner in 0..4 {
                    shares[corner] *= per_unit;
                }
                let row = &mut self.bytes[place * length + tap * count..][..count];
                let a = &numbers[pixels[0] * count..][..count];
                let b = &numbers[pixels[1] * count..][..count];
                let c = &numbers[pixels[2] * count..][..count];
                let d = &numbers[pixels[3] * count..][..count];
                for at in 0..count {
                    let number = multiply_add::<FUSED>(shares[1], b[at], shares[0] * a[at]);
                    let number = multiply_add::<FUSED>(shares[2], c[at], number);
                    let number = multiply_add::<FUSED>(shares[3], d[at], number);
                    row[at] = to_byte(number);
                }
            }
        }
    }
}

impl Pixels<'_> {
    /// How far from zero what is read of a row can go. A number between four is no farther than these are.
    ///
    /// By bits, of which those of what is no number are the most.
    #[inline(always)]
    fn reach_between(&self, samples: &[Sample], row: usize, rows: usize) -> f32 {
        let mut reach = 0;
        for tap in 0..samples.len() / rows {
            let Sample { pixels, shares } = samples[tap * rows + row];
            let mut between = 0.0;
            for corner in 0..4 {
                between += shares[corner].abs() * self.reach[pixels[corner]];
            }
            reach = reach.max(between.abs().to_bits());
        }
        f32::from_bits(reach)
    }
}

/// Writes `rows`, `[places, channels]`, to `out`, `[channels, places]`, by way of `memory`.
pub(super) fn write(
    rows: &[f32],
    memory: &mut Vec<f32>,
    mut out: ArrayViewMut2<'_, f32>,
    instructions: Instructions,
) {
    let (channels, places) = out.dim();
    memory.resize(places * channels, 0.0);
    instructions.run(Transpose {
        rows: places,
        columns: channels,
        from: rows,
        from_step: channels,
        to: memory,
        to_step: places,
    });
    for (mut out, channel) in out.outer_iter_mut().zip(memory.chunks(places)) {
        match out.as_slice_mut() {
            Some(out) => out.copy_from_slice(channel),
            None => out
                .iter_mut()
                .zip(channel)
                .for_each(|(out, number)| *out = *number),
        }
    }
}
