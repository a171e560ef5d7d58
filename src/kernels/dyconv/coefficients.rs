//! GroupNorm, the weight of each branch, the mean over a level's branches and DyReLU, as slopes and offsets of channels.

use ndarray::{ArrayView1, ArrayView2, ArrayView3};

use super::branches::Branch;

/// What coefficients are made with.
pub(crate) struct CoefficientWeights<'a> {
    /// Of the GroupNorm behind each convolution, `[3, groups, channels of a group]`.
    pub(crate) norm: ArrayView3<'a, f32>,
    pub(crate) norm_bias: ArrayView3<'a, f32>,
    /// What is added to variances.
    pub(crate) epsilon: f32,
    /// What weighs a branch by its means, `[channels, 1]` and `[1]`.
    pub(crate) attention: ArrayView2<'a, f32>,
    pub(crate) attention_bias: ArrayView1<'a, f32>,
    /// DyReLU's layers, `[channels, inner]` and `[inner, 4 * channels]`.
    pub(crate) squeeze: ArrayView2<'a, f32>,
    pub(crate) squeeze_bias: ArrayView1<'a, f32>,
    pub(crate) excite: ArrayView2<'a, f32>,
    pub(crate) excite_bias: ArrayView1<'a, f32>,
}

/// What surrounds the convolutions.
pub(super) struct Norms {
    channels: usize,
    /// Channels of a group.
    depth: usize,
    epsilon: f32,
    norm: Vec<f32>,
    norm_bias: Vec<f32>,
    attention: Vec<f32>,
    attention_bias: f32,
    squeeze: Linear,
    excite: Linear,
}

/// Weights, `[in, out]`, and what is added.
struct Linear {
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Linear {
    fn new(weights: ArrayView2<'_, f32>, bias: ArrayView1<'_, f32>) -> Self {
        Self {
            weights: weights.iter().copied().collect(),
            bias: bias.to_vec(),
        }
    }

    fn of(&self, numbers: &[f32], out: &mut Vec<f32>) {
        out.clone_from(&self.bias);
        for (number, weights) in numbers.iter().zip(self.weights.chunks(self.bias.len())) {
            out.iter_mut()
                .zip(weights)
                .for_each(|(out, weight)| *out += number * weight);
        }
    }
}

/// What a layer's maps are multiplied with and what is added to them.
#[derive(Default)]
pub(super) struct Coefficients {
    /// Of what each branch gives, `[branches, channels]`.
    slopes: Vec<f32>,
    /// Of the sum of a level's branches: slope and offset of two lines, `[levels, 4, channels]`.
    lines: Vec<f32>,
    of_branch: OfBranch,
    of_level: OfLevel,
}

/// What is known of a branch: vectors of its channels.
#[derive(Default)]
struct OfBranch {
    sums: Vec<f64>,
    /// `[3, channels]`: of its numbers, of their squares, and of its numbers as its level sees them.
    means: Vec<f32>,
    /// What makes its numbers normal.
    slopes: Vec<f32>,
    offsets: Vec<f32>,
}

/// What is known of the sum of a level's branches.
#[derive(Default)]
struct OfLevel {
    /// What it lacks yet, as branches only are multiplied.
    offset: Vec<f32>,
    mean: Vec<f32>,
    /// What DyReLU's layers make of the mean.
    squeezed: Vec<f32>,
    excited: Vec<f32>,
}

impl Coefficients {
    pub(super) fn slopes(&self, branch: usize, channels: usize) -> &[f32] {
        &self.slopes[branch * channels..][..channels]
    }

    pub(super) fn lines(&self, level: usize, channels: usize) -> &[f32] {
        &self.lines[level * 4 * channels..][..4 * channels]
    }
}

impl Norms {
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(super) fn new(weights: &CoefficientWeights<'_>, channels: usize) -> Result<Self, String> {
        let (sources, groups, depth) = weights.norm.dim();
        let inner = weights.squeeze_bias.len();
        let fits = [sources, groups * depth] == [3, channels]
            && weights.norm_bias.dim() == weights.norm.dim()
            && weights.attention.dim() == (channels, 1)
            && weights.attention_bias.len() == 1
            && weights.squeeze.dim() == (channels, inner)
            && weights.excite.dim() == (inner, 4 * channels)
            && weights.excite_bias.len() == 4 * channels;
        if !fits {
            return Err(format!(
                "weights of norms of shape {:?}, of branches of {:?} and of DyReLU of {:?} and {:?} are not of {channels} channels",
                weights.norm.shape(),
                weights.attention.shape(),
                weights.squeeze.shape(),
                weights.excite.shape()
            ));
        }
        Ok(Self {
            channels,
            depth,
            epsilon: weights.epsilon,
            norm: weights.norm.iter().copied().collect(),
            norm_bias: weights.norm_bias.iter().copied().collect(),
            attention: weights.attention.iter().copied().collect(),
            attention_bias: weights.attention_bias[0],
            squeeze: Linear::new(weights.squeeze, weights.squeeze_bias),
            excite: Linear::new(weights.excite, weights.excite_bias),
        })
    }

    /// From sums over each block of places of each branch, `[blocks, 3, channels]`: of numbers, of their squares, and of
    /// numbers as often as their level sees them.
    pub(super) fn find(&self, branches: &[Branch], sums: &[f32], found: &mut Coefficients) {
        let channels = self.channels;
        found.slopes.clear();
        found.lines.clear();
        for of_level in branches.chunk_by(|one, other| one.level == other.level) {
            for vector in [&mut found.of_level.offset, &mut found.of_level.mean] {
                vector.clear();
                vector.resize(channels, 0.0);
            }
            for branch in of_level {
                let step = 3 * channels;
                let sums = &sums[branch.first_block * step..][..branch.blocks() * step];
                self.normalise(branch, sums, &mut found.of_branch);
                self.weigh(found, 1.0 / of_level.len() as f32);
            }
            self.activate(found);
        }
    }

    /// GroupNorm.
    fn normalise(&self, branch: &Branch, sums: &[f32], found: &mut OfBranch) {
        let (channels, depth) = (self.channels, self.depth);
        found.find_means(sums, channels, branch);
        found.slopes.clear();
        found.offsets.clear();
        let of_branch = branch.source as usize * channels..(branch.source as usize + 1) * channels;
        let weights = self.norm[of_branch.clone()].chunks(depth);
        let weights = weights.zip(self.norm_bias[of_branch].chunks(depth));
        let (means, squares) = found.means[..2 * channels].split_at(channels);
        let statistics = means.chunks(depth).zip(squares.chunks(depth));
        for ((means, squares), (weights, bias)) in statistics.zip(weights) {
            let on_mean = |numbers: &[f32]| numbers.iter().sum::<f32>() / depth as f32;
            let (mean, square) = (on_mean(means), on_mean(squares));
            let deviation = (square - mean * mean + self.epsilon).sqrt();
            let slopes = weights.iter().map(|weight| weight / deviation);
            found.slopes.extend(slopes.clone());
            let offsets = bias.iter().zip(slopes);
            found
                .offsets
                .extend(offsets.map(|(bias, slope)| bias - mean * slope));
        }
    }

    /// The branch's weight, by what it is on the mean, and what it gives to its level, of which it is a share.
    fn weigh(&self, found: &mut Coefficients, share: f32) {
        let OfBranch {
            means,
            slopes,
            offsets,
            ..
        } = &found.of_branch;
        let lines = slopes.iter().zip(offsets);
        let means = means[2 * self.channels..].iter().zip(lines);
        let means = means.map(|(mean, (slope, offset))| mean * slope + offset);
        let products = means
            .clone()
            .zip(&self.attention)
            .map(|(mean, weight)| mean * weight);
        let attention = products.sum::<f32>() + self.attention_bias;
        let weight = share * hard_sigmoid(attention.max(0.0));
        found
            .slopes
            .extend(slopes.iter().map(|slope| weight * slope));
        let OfLevel { offset, mean, .. } = &mut found.of_level;
        offset
            .iter_mut()
            .zip(offsets)
            .for_each(|(sum, offset)| *sum += weight * offset);
        mean.iter_mut()
            .zip(means)
            .for_each(|(sum, mean)| *sum += weight * mean);
    }

    /// DyReLU's two lines, of which the larger counts.
    fn activate(&self, found: &mut Coefficients) {
        let OfLevel {
            offset,
            mean,
            squeezed,
            excited,
        } = &mut found.of_level;
        self.squeeze.of(mean, squeezed);
        squeezed
            .iter_mut()
            .for_each(|number| *number = number.max(0.0));
        self.excite.of(squeezed, excited);
        excited
            .iter_mut()
            .for_each(|number| *number = hard_sigmoid(*number));
        for (line, numbers) in excited.chunks(2 * self.channels).enumerate() {
            let (slopes, offsets) = numbers.split_at(self.channels);
            let slopes = slopes.iter().map(|slope| 2.0 * slope - line as f32);
            found.lines.extend(slopes.clone());
            // What the sum of branches lacks goes the same way.
            let offsets = slopes.zip(offsets).zip(offset.iter());
            found
                .lines
                .extend(offsets.map(|((slope, offset), lacks)| lacks * slope + offset - 0.5));
        }
    }
}

impl OfBranch {
    fn find_means(&mut self, sums: &[f32], channels: usize, branch: &Branch) {
        self.sums.clear();
        self.sums.resize(3 * channels, 0.0);
        for of_block in sums.chunks(3 * channels) {
            let sums = self.sums.iter_mut().zip(of_block);
            sums.for_each(|(sum, &number)| *sum += f64::from(number));
        }
        let given = branch.grid.count() as f64;
        let counts = [given, given, branch.seen as f64];
        let means = self.sums.chunks(channels).zip(counts);
        self.means.clear();
        self.means.extend(
            means.flat_map(|(sums, count)| sums.iter().map(move |sum| (sum / count) as f32)),
        );
    }
}

/// As torch's.
fn hard_sigmoid(number: f32) -> f32 {
    (number / 6.0 + 0.5).clamp(0.0, 1.0)
}
