//! The weights of a convolution whose channels see only themselves.

use ndarray::ArrayViewMut2;

/// Each weight that is not zero, by the tap of the kernel that it belongs to. Kernels that pick what one tap sees, which
/// are nine channels out for one in with a single weight each, cost no more than that.
pub(super) struct Channelwise {
    taps: Vec<Vec<Term>>,
    /// Channels out that nothing is added to.
    empty: Vec<usize>,
    /// Channels out for each channel in.
    outer: usize,
}

/// What a tap adds to a channel.
struct Term {
    /// The channel that comes out.
    channel: usize,
    weight: f32,
    /// Whether no tap before this one adds to it.
    is_first: bool,
}

impl Channelwise {
    /// Of weights `[channels out, taps]`.
    pub(super) fn new(weights: &[f32], taps: usize, outer: usize) -> Self {
        let mut this = Self {
            taps: (0..taps).map(|_| Vec::new()).collect(),
            empty: Vec::new(),
            outer,
        };
        for (channel, weights) in weights.chunks(taps).enumerate() {
            let terms = weights
                .iter()
                .enumerate()
                .filter(|(_, weight)| **weight != 0.0);
            let mut is_first = true;
            for (tap, &weight) in terms {
                this.taps[tap].push(Term {
                    channel,
                    weight,
                    is_first,
                });
                is_first = false;
            }
            if is_first {
                this.empty.push(channel);
            }
        }
        this
    }

    /// Adds what a tap sees, `[channels in, places]`, to `out`, `[channels out, places]`. The first that adds to a channel
    /// adds to its bias: taps come in their order.
    pub(super) fn add(
        &self,
        tap: usize,
        seen: &[f32],
        bias: Option<&[f32]>,
        out: &mut ArrayViewMut2<'_, f32>,
    ) {
        let places = out.ncols();
        for term in &self.taps[tap] {
            let seen = &seen[term.channel / self.outer * places..][..places];
            let mut out = out.row_mut(term.channel);
            let start = bias.map_or(0.0, |bias| bias[term.channel]);
            let pairs = out.iter_mut().zip(seen);
            match term.is_first {
                true => pairs.for_each(|(out, seen)| *out = start + term.weight * seen),
                false => pairs.for_each(|(out, seen)| *out += term.weight * seen),
            }
        }
    }

    /// Fills the channels that no tap adds to.
    pub(super) fn fill(&self, bias: Option<&[f32]>, out: &mut ArrayViewMut2<'_, f32>) {
        for &channel in &self.empty {
            let start = bias.map_or(0.0, |bias| bias[channel]);
            out.row_mut(channel).fill(start);
        }
    }
}
