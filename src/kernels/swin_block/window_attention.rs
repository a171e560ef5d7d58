//! Multi-head self-attention inside a window.

use std::f32::consts::LOG2_E;

use ndarray::ArrayView3;

use super::windows::{Token, Windows};
use crate::{
    instructions::{Instructions, Kernel, multiply_add},
    kernels::{
        functions::{exp2, larger, largest_of, sum_of},
        product::tile,
    },
};

/// What is added to the score of a token that is not seen: as the checkpoints were trained, not nothing at all.
const UNSEEN: f32 = -70.0;
/// What is added to the score of what is no place.
const NO_PLACE: f32 = -1e9;

/// Attention with what is added to the scores of each pair of places.
pub(super) struct WindowAttention {
    /// `[heads, area, width]`, of which `width` is a whole number of registers.
    bias: Vec<f32>,
    heads: usize,
    /// Channels of a head.
    depth: usize,
    /// Places of a window.
    area: usize,
    width: usize,
    instructions: Instructions,
}

/// What a window's tokens ask, are asked for and tell: each `[tokens, channels]`, with the heads side by side. The scale of
/// scores is in the queries.
#[derive(Clone, Copy)]
pub(super) struct Projected<'a> {
    pub(super) queries: &'a [f32],
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
}

/// What a head of a window needs.
#[derive(Default)]
pub(super) struct HeadMemory {
    /// In panels, `[width / LANES, depth, LANES]`.
    keys: Vec<f32>,
    /// In panels, `[depth / LANES, area, LANES]`.
    values: Vec<f32>,
    /// `[tokens, width]`.
    scores: Vec<f32>,
    /// What is added to scores for tokens of each region, `[regions, width]`.
    masks: Vec<f32>,
}

impl WindowAttention {
    /// `bias` is `[heads, area, area]`.
    pub(super) fn new(
        channels: usize,
        bias: ArrayView3<'_, f32>,
        instructions: Instructions,
    ) -> Self {
        let (heads, area, _) = bias.dim();
        let width = area.next_multiple_of(instructions.lanes());
        let mut padded = vec![NO_PLACE; heads * area * width];
        for (place, &bias) in bias.iter().enumerate() {
            padded[place / area * width + place % area] = bias;
        }
        Self {
            bias: padded,
            heads,
            depth: channels / heads,
            area,
            width,
            instructions,
        }
    }

    /// Writes what a window's tokens see to `out`, `[tokens, channels]`. Padding has keys and values of zeros.
    pub(super) fn run(
        &self,
        windows: &Windows,
        window: usize,
        tokens: &[Token],
        projected: Projected<'_>,
        memory: &mut HeadMemory,
        out: &mut [f32],
    ) {
        let masks = &mut memory.masks;
        masks.clear();
        masks.resize(Windows::REGIONS * self.width, 0.0);
        for place in 0..self.area {
            let region = windows.region(window, place);
            for other in (0..Windows::REGIONS).filter(|&other| other != region) {
                masks[other * self.width + place] = UNSEEN;
            }
        }
        self.instructions.run(Attend {
            attention: self,
            tokens,
            projected,
            memory,
            head: 0,
            out,
        });
    }
}

struct Attend<'a> {
    attention: &'a WindowAttention,
    tokens: &'a [Token],
    projected: Projected<'a>,
    memory: &'a mut HeadMemory,
    /// Whose turn it is.
    head: usize,
    out: &'a mut [f32],
}

impl Kernel for Attend<'_> {
    #[inline(always)]
    fn run<const ROWS: usize, const LANES: usize, const FUSED: bool>(mut self) {
        let (count, width) = (self.tokens.len(), self.attention.width);
        self.memory.scores.resize(count * width, 0.0);
        for head in 0..self.attention.heads {
            self.head = head;
            self.put_keys::<LANES>();
            self.put_values::<LANES>();
            let token = self.score::<ROWS, LANES, FUSED>(0);
            let token = self.score::<3, LANES, FUSED>(token);
            self.score::<1, LANES, FUSED>(token);
            let token = self.see::<ROWS, LANES, FUSED>(0);
            let token = self.see::<3, LANES, FUSED>(token);
            self.see::<1, LANES, FUSED>(token);
        }
    }
}

impl Attend<'_> {
    /// Brings the head's keys into the order of products.
    #[inline(always)]
    fn put_keys<const LANES: usize>(&mut self) {
        let WindowAttention { heads, depth, .. } = *self.attention;
        let head = self.head;
        let keys = &mut self.memory.keys;
        keys.clear();
        keys.resize(self.attention.width * depth, 0.0);
        for token in 0..self.tokens.len() {
            let place = self.tokens[token].place;
            let from = &self.projected.keys[(token * heads + head) * depth..][..depth];
            let to = &mut keys[place / LANES * LANES * depth..][..LANES * depth];
            let to = &mut to.as_chunks_mut::<LANES>().0[..depth];
            let lane = place % LANES;
            for at in 0..depth {
                to[at][lane] = from[at];
            }
        }
    }

    /// Brings the head's values into the order of products.
    #[inline(always)]
    fn put_values<const LANES: usize>(&mut self) {
        let WindowAttention {
            heads, depth, area, ..
        } = *self.attention;
        let head = self.head;
        let values = &mut self.memory.values;
        values.clear();
        values.resize(depth.next_multiple_of(LANES) * area, 0.0);
        for token in 0..self.tokens.len() {
            let place = self.tokens[token].place;
            let from = &self.projected.values[(token * heads + head) * depth..][..depth];
            for first in (0..depth).step_by(LANES) {
                let to = &mut values[first * area + place * LANES..][..LANES];
                if first + LANES <= depth {
                    to.copy_from_slice(&from[first..][..LANES]);
                } else {
                    to[..depth - first].copy_from_slice(&from[first..]);
                }
            }
        }
    }

    /// The scores of tokens from one on, as far as there are `ROWS` of them. Returns the next token.
    #[inline(always)]
    fn score<const ROWS: usize, const LANES: usize, const FUSED: bool>(
        &mut self,
        mut token: usize,
    ) -> usize {
        let WindowAttention {
            heads,
            depth,
            area,
            width,
            ..
        } = *self.attention;
        while token + ROWS <= self.tokens.len() {
            let queries = &self.projected.queries[(token * heads + self.head) * depth..];
            for first in (0..width).step_by(LANES) {
                let keys = &self.memory.keys[first * depth..][..LANES * depth];
                let products =
                    tile::<ROWS, LANES, FUSED>(queries, heads * depth, keys.as_chunks::<LANES>().0);
                for row in 0..ROWS {
                    let Token { place, region, .. } = self.tokens[token + row];
                    let bias = (self.head * area + place) * width + first;
                    let bias = &self.attention.bias[bias..][..LANES];
                    let mask = &self.memory.masks[region * width + first..][..LANES];
                    // In registers, as whoever compiles does not see that the masks are other memory than the scores.
                    let mut scores = products[row];
                    for lane in 0..LANES {
                        scores[lane] += bias[lane] + mask[lane];
                    }
                    self.memory.scores[(token + row) * width + first..][..LANES]
                        .copy_from_slice(&scores);
                }
            }
            token += ROWS;
        }
        token
    }

    /// What tokens from one on see, as far as there are `ROWS` of them. Returns the next token.
    #[inline(always)]
    fn see<const ROWS: usize, const LANES: usize, const FUSED: bool>(
        &mut self,
        mut token: usize,
    ) -> usize {
        let WindowAttention {
            heads,
            depth,
            area,
            width,
            ..
        } = *self.attention;
        while token + ROWS <= self.tokens.len() {
            let shares = &mut self.memory.scores[token * width..][..ROWS * width];
            let mut scales = [0.0; ROWS];
            for row in 0..ROWS {
                let scores = shares[row * width..][..width].as_chunks_mut::<LANES>().0;
                scales[row] = 1.0 / exponentials::<LANES, FUSED>(scores);
            }
            for first in (0..depth).step_by(LANES) {
                let values = &self.memory.values[first * area..][..LANES * area];
                let seen = tile::<ROWS, LANES, FUSED>(shares, width, values.as_chunks::<LANES>().0);
                let columns = LANES.min(depth - first);
                for row in 0..ROWS {
                    let to = ((token + row) * heads + self.head) * depth + first;
                    let to = &mut self.out[to..][..columns];
                    for lane in 0..columns {
                        to[lane] = seen[row][lane] * scales[row];
                    }
                }
            }
            token += ROWS;
        }
        token
    }
}

/// Makes scores what their shares are in proportion to, and returns the sum of these.
#[inline(always)]
fn exponentials<const LANES: usize, const FUSED: bool>(scores: &mut [[f32; LANES]]) -> f32 {
    let mut largest = scores[0];
    for at in 1..scores.len() {
        for lane in 0..LANES {
            largest[lane] = larger(largest[lane], scores[at][lane]);
        }
    }
    let offset = -LOG2_E * largest_of(largest);
    let mut sums = [0.0; LANES];
    for at in 0..scores.len() {
        for lane in 0..LANES {
            let power = multiply_add::<FUSED>(scores[at][lane], LOG2_E, offset);
            scores[at][lane] = exp2::<FUSED>(power);
            sums[lane] += scores[at][lane];
        }
    }
    sum_of(sums)
}
