//! GroupNorm, the weight of each branch, the mean over a level's branches and DyReLU, as slopes and offsets of channels.

use ndarray::{Array1, Array2, Array3};
use smallvec::SmallVec;

use super::branches::Branch;

/// What coefficients are made with.
pub(crate) struct CoefficientWeights {
    /// Of the GroupNorm behind each convolution, `[3, groups, channels of a group]`.
    pub(crate) norm: Array3<f32>,
    pub(crate) norm_bias: Array3<f32>,
    /// What is added to variances.
    pub(crate) epsilon: f32,
    /// What weighs a branch by its means, `[channels, 1]` and `[1]`.
    pub(crate) attention: Array2<f32>,
    pub(crate) attention_bias: Array1<f32>,
    /// DyReLU's layers, `[channels, inner]` and `[inner, 4 * channels]`.
    pub(crate) squeeze: Array2<f32>,
    pub(crate) squeeze_bias: Array1<f32>,
    pub(crate) excite: Array2<f32>,
    pub(crate) excite_bias: Array1<f32>,
}

/// The same, owned.
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
    fn new(weights: &Array2<f32>, bias: &Array1<f32>) -> Self {
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
    /// Means of a branch, `[3, channels]`: of its numbers, of their squares, and of its numbers as its level sees them.
    means: Vec<f32>,
    /// What a level's branches add up to beside their numbers, and on the mean.
    offset: Vec<f32>,
    pooled: Vec<f32>,
    inner: Vec<f32>,
    outer: Vec<f32>,
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
    pub(super) fn new(weights: &CoefficientWeights, channels: usize) -> Result<Self, String> {
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
            squeeze: Linear::new(&weights.squeeze, &weights.squeeze_bias),
            excite: Linear::new(&weights.excite, &weights.excite_bias),
        })
    }

    /// From sums over each block of places of each branch, `[blocks, 3, channels]`: of numbers, of their squares, and of
    /// numbers as often as their level sees them.
    pub(super) fn find(&self, branches: &[Branch], sums: &[f32], found: &mut Coefficients) {
        let channels = self.channels;
        found.slopes.clear();
        found.lines.clear();
        let levels = branches.chunk_by(|one, other| one.level == other.level);
        for of_level in levels {
            for vector in [&mut found.offset, &mut found.pooled] {
                vector.clear();
                vector.resize(channels, 0.0);
            }
            let share = 1.0 / of_level.len() as f32;
            for branch in of_level {
                let sums =
                    &sums[branch.first_block * 3 * channels..][..branch.blocks() * 3 * channels];
                self.add(branch, sums, share, found);
            }
            self.find_lines(found);
        }
    }

    /// What a branch has for its level.
    fn add(&self, branch: &Branch, sums: &[f32], share: f32, found: &mut Coefficients) {
        let (channels, depth) = (self.channels, self.depth);
        let [given, seen] = [branch.grid.count(), branch.seen].map(|count| count as f64);
        found.means.clear();
        for number in 0..3 * channels {
            let sums = sums.iter().skip(number).step_by(3 * channels);
            let count = if number < 2 * channels { given } else { seen };
            found
                .means
                .push((sums.map(|&sum| f64::from(sum)).sum::<f64>() / count) as f32);
        }
        let (means, rest) = found.means.split_at(channels);
        let (squares, pooled) = rest.split_at(channels);
        let norm = &self.norm[branch.source as usize * channels..][..channels];
        let norm_bias = &self.norm_bias[branch.source as usize * channels..][..channels];

        // GroupNorm.
        let mut lines = SmallVec::<[(f32, f32); 256]>::new();
        let groups = means.chunks(depth).zip(squares.chunks(depth));
        for (group, (means, squares)) in groups.enumerate() {
            let on_mean = |numbers: &[f32]| numbers.iter().sum::<f32>() / depth as f32;
            let (mean, square) = (on_mean(means), on_mean(squares));
            let deviation = (square - mean * mean + self.epsilon).sqrt();
            for channel in group * depth..(group + 1) * depth {
                let slope = norm[channel] / deviation;
                lines.push((slope, norm_bias[channel] - mean * slope));
            }
        }
        // The branch's weight, by what it then is on the mean.
        let normed = || {
            pooled
                .iter()
                .zip(&lines)
                .map(|(mean, (slope, offset))| mean * slope + offset)
        };
        let weight: f32 = normed()
            .zip(&self.attention)
            .map(|(mean, weight)| mean * weight)
            .sum();
        let weight = share * hard_sigmoid((weight + self.attention_bias).max(0.0));
        found
            .slopes
            .extend(lines.iter().map(|(slope, _)| slope * weight));
        for (channel, mean) in normed().enumerate() {
            found.pooled[channel] += mean * weight;
            found.offset[channel] += lines[channel].1 * weight;
        }
    }

    /// DyReLU's two lines, of which the larger counts.
    fn find_lines(&self, found: &mut Coefficients) {
        let channels = self.channels;
        self.squeeze.of(&found.pooled, &mut found.inner);
        found
            .inner
            .iter_mut()
            .for_each(|number| *number = number.max(0.0));
        self.excite.of(&found.inner, &mut found.outer);
        found
            .outer
            .iter_mut()
            .for_each(|number| *number = hard_sigmoid(*number));
        for (line, numbers) in found.outer.chunks(2 * channels).enumerate() {
            let (slopes, offsets) = numbers.split_at(channels);
            let slopes = slopes.iter().map(|slope| 2.0 * slope - line as f32);
            found.lines.extend(slopes.clone());
            // What the sum of branches lacks yet goes the same way.
            let offsets = slopes.zip(offsets).zip(&found.offset);
            found
                .lines
                .extend(offsets.map(|((slope, offset), lacks)| lacks * slope + offset - 0.5));
        }
    }
}

/// As torch's.
fn hard_sigmoid(number: f32) -> f32 {
    (number / 6.0 + 0.5).clamp(0.0, 1.0)
}
