//! A block of Swin (Liu et al., "Swin Transformer", 2021): attention inside windows, then an MLP, each on what LayerNorm makes
//! of the tokens and added to them.
//!
//! No window sees another, in the whole block. So a few windows at a time go all the way through it, in a core's second
//! cache, and of what is between tokens in and tokens out nothing is ever made for all of them.

pub(super) mod memory;
mod window_attention;
mod windows;

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use ndarray::{ArrayView1, ArrayView2, ArrayView3, ArrayViewMut2, s};

use self::{
    memory::WindowMemory,
    window_attention::{Projected, WindowAttention},
    windows::Windows,
};
use super::{
    byte_product::ByteInstructions,
    functions::Gelu,
    layer_norm::{LayerNorm, Normalize},
    linear::{Linear, LinearWeights},
    threads::Threads,
    workspace::Workspace,
};
use crate::instructions::Instructions;

/// Places of the windows that are worked on at a time: enough for weights, which come anew for them, and few enough for
/// the second cache.
const PLACES: usize = 200;
/// Channels of the hidden layer that are worked on at a time.
const HIDDEN: usize = 256;

/// What a block has learned. Vectors have a number for each channel.
pub(crate) struct SwinBlockWeights<'a> {
    pub(crate) norm1: NormWeights<'a>,
    /// The scale of scores is in it.
    pub(crate) query: LinearWeights<'a>,
    pub(crate) query_bias: ArrayView1<'a, f32>,
    pub(crate) key: LinearWeights<'a>,
    pub(crate) value: LinearWeights<'a>,
    /// What is added to scores, `[heads, area, area]`.
    pub(crate) position_bias: ArrayView3<'a, f32>,
    pub(crate) output: LinearWeights<'a>,
    pub(crate) output_bias: ArrayView1<'a, f32>,
    pub(crate) norm2: NormWeights<'a>,
    pub(crate) hidden: LinearWeights<'a>,
    pub(crate) hidden_bias: ArrayView1<'a, f32>,
    pub(crate) last: LinearWeights<'a>,
    pub(crate) last_bias: ArrayView1<'a, f32>,
}

/// Of a LayerNorm.
#[derive(Clone, Copy)]
pub(crate) struct NormWeights<'a> {
    pub(crate) weight: ArrayView1<'a, f32>,
    pub(crate) bias: ArrayView1<'a, f32>,
}

/// What a block is, beside its weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SwinBlockSpec {
    /// By how many tokens the map is rolled before it is cut into windows; less than their side.
    pub(crate) shift: usize,
    /// What both LayerNorms add to variances.
    pub(crate) epsilon: f32,
}

/// What goes through a block.
pub(crate) struct SwinBlockInputs<'a> {
    /// Row by row, `[batch * height * width, channels]`.
    pub(crate) tokens: ArrayView2<'a, f32>,
    /// Batch, height and width.
    pub(crate) size: ArrayView1<'a, i64>,
}

/// A block with its weights.
pub(crate) struct SwinBlock {
    norm1: LayerNorm,
    query: Linear,
    query_bias: Vec<f32>,
    key: Linear,
    value: Linear,
    attention: WindowAttention,
    output: Linear,
    output_bias: Vec<f32>,
    norm2: LayerNorm,
    /// The hidden layer in parts, of which a few windows' fits in the cache at any width.
    mlp: Vec<MlpPart>,
    last_bias: Vec<f32>,
    /// Of a window.
    side: usize,
    shift: usize,
    instructions: Instructions,
}

/// Some channels of a hidden layer.
struct MlpPart {
    into: Linear,
    bias: Vec<f32>,
    out: Linear,
}

impl SwinBlock {
    /// Weights in 8 bits are multiplied with these instructions for bytes; where there are none, they are made floats.
    ///
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn new(
        spec: SwinBlockSpec,
        weights: &SwinBlockWeights<'_>,
        instructions: Instructions,
        byte_instructions: Option<ByteInstructions>,
    ) -> Result<Self, String> {
        let side = weights.side(spec)?;
        let pack =
            |weights: &LinearWeights<'_>| Linear::pack(weights, instructions, byte_instructions);
        let channels = weights.norm1.weight.len();
        Ok(Self {
            norm1: weights.norm1.with(spec.epsilon),
            query: pack(&weights.query),
            query_bias: weights.query_bias.to_vec(),
            key: pack(&weights.key),
            value: pack(&weights.value),
            attention: WindowAttention::new(channels, weights.position_bias, instructions),
            output: pack(&weights.output),
            output_bias: weights.output_bias.to_vec(),
            norm2: weights.norm2.with(spec.epsilon),
            mlp: parts(weights.hidden_bias.len())
                .map(|part| MlpPart {
                    bias: weights.hidden_bias.slice(s![part.clone()]).to_vec(),
                    into: pack(&weights.hidden.of_outputs(part.clone())),
                    out: pack(&weights.last.of_inputs(part)),
                })
                .collect(),
            last_bias: weights.last_bias.to_vec(),
            side,
            shift: spec.shift,
            instructions,
        })
    }

    /// Fills `out`, of the shape of the tokens.
    ///
    /// # Errors
    ///
    /// Tells in words what does not fit together.
    pub(crate) fn run(
        &self,
        inputs: &SwinBlockInputs<'_>,
        mut out: ArrayViewMut2<'_, f32>,
        workspace: &Workspace,
        threads: &Threads<'_>,
    ) -> Result<(), String> {
        let windows = self.windows(inputs, out.shape())?;
        let tokens = inputs.tokens.as_standard_layout();
        let (Some(tokens), Some(out)) = (tokens.as_slice(), out.as_slice_mut()) else {
            return Err("tensors that are no single run of memory".into());
        };
        let at_a_time = (PLACES / (self.side * self.side)).max(1);
        let count = windows.count();
        // Windows that lie side by side have rows between one another. Writing them is next to nothing of the time.
        let out = Mutex::new(out);
        threads.for_each(0..count.div_ceil(at_a_time), |_, piece| {
            let mut memory = workspace.windows.take();
            let first = piece * at_a_time;
            let piece = first..count.min(first + at_a_time);
            self.calculate(&windows, piece, tokens, &mut memory);
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            self.write(&memory, &mut out);
            drop(out);
            workspace.windows.put(memory);
        });
        Ok(())
    }

    /// How these tokens go into windows, if they do.
    fn windows(&self, inputs: &SwinBlockInputs<'_>, out: &[usize]) -> Result<Windows, String> {
        let mut sides = [0; 3];
        let known = inputs.size.len() == sides.len()
            && sides.iter_mut().zip(inputs.size).all(|(side, &given)| {
                *side = usize::try_from(given).unwrap_or(0);
                *side > 0
            });
        let [batch, height, width] = sides;
        let count = batch.checked_mul(height);
        let count = count.and_then(|count| count.checked_mul(width));
        let fits = known
            && count == Some(inputs.tokens.nrows())
            && inputs.tokens.ncols() == self.channels()
            && out == inputs.tokens.shape();
        match fits {
            true => Ok(Windows {
                batch,
                height,
                width,
                side: self.side,
                shift: self.shift,
            }),
            false => Err(format!(
                "tokens of shape {:?} are not for a size (batch, height, width) of {} and {} channels",
                inputs.tokens.shape(),
                inputs.size,
                self.channels()
            )),
        }
    }

    fn channels(&self) -> usize {
        self.output_bias.len()
    }

    /// Takes some windows through the block: what comes out is in the memory's rows.
    fn calculate(
        &self,
        windows: &Windows,
        range: Range<usize>,
        tokens: &[f32],
        memory: &mut WindowMemory,
    ) {
        self.read(windows, range.clone(), tokens, memory);
        self.attend(windows, range, memory);
        self.add_mlp(memory);
    }

    fn read(
        &self,
        windows: &Windows,
        range: Range<usize>,
        tokens: &[f32],
        memory: &mut WindowMemory,
    ) {
        let WindowMemory {
            tokens: places,
            ends,
            rows,
            ..
        } = memory;
        let channels = self.channels();
        places.clear();
        ends.clear();
        rows.clear();
        for window in range {
            windows.tokens(window, places);
            ends.push(places.len());
        }
        for token in places.iter() {
            rows.extend_from_slice(&tokens[token.row * channels..][..channels]);
        }
    }

    /// Adds to the rows what their windows' attention gives.
    fn attend(&self, windows: &Windows, range: Range<usize>, memory: &mut WindowMemory) {
        let WindowMemory {
            tokens,
            ends,
            rows,
            factors,
            rounded,
            queries,
            keys,
            values,
            head,
            ..
        } = memory;
        let channels = self.channels();
        self.normalize(&self.norm1, rows, factors);
        let normed = self.query.rows(factors, channels, rounded);
        queries.clear();
        tokens
            .iter()
            .for_each(|_| queries.extend_from_slice(&self.query_bias));
        self.query.add_product(normed, queries);
        for (layer, sums) in [(&self.key, &mut *keys), (&self.value, &mut *values)] {
            sums.clear();
            sums.resize(rows.len(), 0.0);
            layer.add_product(normed, sums);
        }
        let mut first = 0;
        for (window, &end) in range.zip(ends.iter()) {
            let of_window = first * channels..end * channels;
            let projected = Projected {
                queries: &queries[of_window.clone()],
                keys: &keys[of_window.clone()],
                values: &values[of_window.clone()],
            };
            // What was normalised has been read: its memory is free.
            let seen = &mut factors[of_window];
            let tokens = &tokens[first..end];
            self.attention
                .run(windows, window, tokens, projected, head, seen);
            first = end;
        }
        add_to_each(rows, &self.output_bias);
        let seen = self.output.rows(factors, channels, rounded);
        self.output.add_product(seen, rows);
    }

    /// Adds to the rows what the MLP makes of them.
    fn add_mlp(&self, memory: &mut WindowMemory) {
        let WindowMemory {
            tokens,
            rows,
            factors,
            rounded,
            hidden_rounded,
            hidden,
            ..
        } = memory;
        self.normalize(&self.norm2, rows, factors);
        add_to_each(rows, &self.last_bias);
        let Some(first) = self.mlp.first() else {
            return;
        };
        let normed = first.into.rows(factors, self.channels(), rounded);
        for MlpPart { into, bias, out } in &self.mlp {
            hidden.clear();
            tokens.iter().for_each(|_| hidden.extend_from_slice(bias));
            into.add_product(normed, hidden);
            self.instructions.run(Gelu(hidden));
            let hidden = out.rows(hidden, bias.len(), hidden_rounded);
            out.add_product(hidden, rows);
        }
    }

    fn normalize(&self, norm: &LayerNorm, rows: &[f32], to: &mut Vec<f32>) {
        to.resize(rows.len(), 0.0);
        let (from, to) = (rows, &mut to[..]);
        self.instructions.run(Normalize { norm, from, to });
    }

    /// Brings rows to where their tokens came from.
    fn write(&self, memory: &WindowMemory, out: &mut [f32]) {
        let channels = self.channels();
        for (token, row) in memory.tokens.iter().zip(memory.rows.chunks(channels)) {
            out[token.row * channels..][..channels].copy_from_slice(row);
        }
    }
}

/// Adds a number for each channel to each row.
fn add_to_each(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_mut(bias.len()) {
        row.iter_mut()
            .zip(bias)
            .for_each(|(sum, bias)| *sum += bias);
    }
}

/// A hidden layer in parts of one size, as few as can be.
fn parts(hidden: usize) -> impl Iterator<Item = Range<usize>> {
    let part = hidden.div_ceil(hidden.div_ceil(HIDDEN).max(1)).max(1);
    (0..hidden)
        .step_by(part)
        .map(move |first| first..hidden.min(first + part))
}

impl NormWeights<'_> {
    fn with(&self, epsilon: f32) -> LayerNorm {
        LayerNorm {
            weight: self.weight.to_vec(),
            bias: self.bias.to_vec(),
            epsilon,
        }
    }
}

impl SwinBlockWeights<'_> {
    /// The side of a window, if everything fits together.
    fn side(&self, spec: SwinBlockSpec) -> Result<usize, String> {
        let (channels, hidden) = (self.norm1.weight.len(), self.hidden_bias.len());
        let (heads, area, keys) = self.position_bias.dim();
        let side = area.isqrt();
        let vectors = [
            self.norm1.bias,
            self.query_bias,
            self.output_bias,
            self.norm2.weight,
            self.norm2.bias,
            self.last_bias,
        ];
        let matrices = [self.query, self.key, self.value, self.output];
        let matrices = matrices.map(|matrix| (matrix, [channels; 2]));
        let mlp = [
            (self.hidden, [channels, hidden]),
            (self.last, [hidden, channels]),
        ];
        let fits = channels > 0
            && hidden > 0
            && heads > 0
            && channels % heads == 0
            && area == keys
            && side * side == area
            && spec.shift < side
            && vectors.iter().all(|vector| vector.len() == channels)
            && matrices
                .iter()
                .chain(&mlp)
                .all(|(matrix, shape)| matrix.shape() == *shape && matrix.has_scales());
        match fits {
            true => Ok(side),
            false => Err(format!(
                "weights of shapes {:?} and {:?} with {hidden} hidden channels and a position bias of {:?} are not for {spec:?} \
                 of {channels} channels",
                matrices.map(|(matrix, _)| matrix.shape()),
                mlp.map(|(matrix, _)| matrix.shape()),
                self.position_bias.shape()
            )),
        }
    }
}

#[cfg(test)]
mod tests;
