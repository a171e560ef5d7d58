//! Windows in groups, for instructions that take several pixels at a time.

use std::{
    arch::x86_64::{
        __m128i, _MM_HINT_T1, _mm_cvtsi128_si32, _mm_extract_epi32, _mm_loadu_si128, _mm_prefetch,
    },
    array,
    ops::Range,
};

use super::window::{RGB, Window, channels, widest};

/// Pixels of a step.
pub(super) const STEP: usize = 4;

/// Output pixels that are rounded and written together.
pub(super) const GROUP: usize = 4;

/// Bytes that a step reads; its pixels are the first of them.
const STEP_BYTES: usize = 16;

/// Bytes that the processor fetches from memory at a time.
const LINE: usize = 64;

/// How many of them are fetched for each group: a row of floats, of a photo that is reduced to a quarter, is there when
/// the row before it is done. A number that the compiler knows is faster than one that fits each picture.
const LINES: usize = 3;

/// The windows of a row. `W` are a group's weights of a step, in the form that the instructions take.
pub(super) struct Groups<W> {
    /// Where each window begins, in pixels.
    begins: Vec<[usize; GROUP]>,
    /// For each group, each of its steps.
    weights: Vec<W>,
    pub(super) steps: usize,
}

impl<W> Groups<W> {
    /// `of_step` is given the weights of each window's pixels.
    pub(super) fn new(windows: &[Window], of_step: impl Fn([[i32; STEP]; GROUP]) -> W) -> Self {
        let steps = widest(windows).div_ceil(STEP);
        let groups = windows.chunks(GROUP);
        let mut begins = Vec::with_capacity(groups.len());
        let mut weights = Vec::with_capacity(groups.len() * steps);
        for group in groups {
            // The last group may have fewer windows, and some windows have fewer pixels.
            let begin = |index| group.get(index).map_or(0, |window: &Window| window.begin);
            let weight = |index, pixel| {
                let window = group.get(index);
                let weight = window.and_then(|window: &Window| window.weights.get(pixel));
                weight.copied().unwrap_or(0)
            };
            begins.push(array::from_fn(begin));
            weights.extend((0..steps).map(|step| {
                let of_window = |index| array::from_fn(|pixel| weight(index, STEP * step + pixel));
                of_step(array::from_fn(of_window))
            }));
        }
        Self {
            begins,
            weights,
            steps,
        }
    }

    /// How many bytes a row must have beyond its pixels.
    pub(super) fn padding(&self) -> usize {
        RGB * STEP * self.steps + STEP_BYTES
    }

    /// The row pass. `levels_of_group` is given what a group's windows see, and their weights, step by step; it makes
    /// the red levels, then the green ones, then the blue ones. `STEPS` are those of a window, as the compiler need
    /// not loop over a number that it knows; 0 for any.
    #[inline(always)]
    #[allow(
        unsafe_code,
        reason = "groups are for processors with SSE 4.1 and more"
    )]
    pub(super) fn row_pass<const STEPS: usize>(
        &self,
        row: &[u8],
        narrowed: &mut [u8],
        mut next: Range<*const u8>,
        levels_of_group: impl Fn([&[u8]; GROUP], &[W]) -> __m128i,
    ) {
        let steps = known::<STEPS>(self.steps);
        let length = RGB * STEP * (steps - 1) + STEP_BYTES;
        let groups = self.begins.iter().zip(self.weights.chunks_exact(steps));
        let mut outputs = channels(narrowed);
        for (index, (begins, weights)) in groups.enumerate() {
            fetch(&mut next);
            let window = |begin| &row[RGB * begin..][..length];
            let [first, second, third, fourth] = *begins;
            let windows = [window(first), window(second), window(third), window(fourth)];
            // SAFETY: the processor has SSE 4.1.
            let levels = unsafe { by_channel(levels_of_group(windows, weights)) };
            for (output, levels) in outputs.iter_mut().zip(levels) {
                let room = &mut output[GROUP * index..];
                match room.first_chunk_mut() {
                    Some(room) => *room = levels,
                    None => room.copy_from_slice(&levels[..room.len()]),
                }
            }
        }
    }
}

/// The steps of a window: `STEPS`, or any number if that is 0.
#[inline(always)]
pub(super) fn known<const STEPS: usize>(steps: usize) -> usize {
    match STEPS {
        0 => steps,
        known => known,
    }
}

/// The bytes of a window that a step begins with.
#[inline(always)]
#[allow(unsafe_code, reason = "loading takes a pointer")]
pub(super) fn pixels(window: &[u8], step: usize) -> __m128i {
    let bytes = &window[RGB * STEP * step..][..STEP_BYTES];
    // SAFETY: so many bytes are there.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn by_channel(levels: __m128i) -> [[u8; GROUP]; RGB] {
    [
        _mm_cvtsi128_si32(levels).to_le_bytes(),
        _mm_extract_epi32(levels, 1).to_le_bytes(),
        _mm_extract_epi32(levels, 2).to_le_bytes(),
    ]
}

/// Has the processor fetch some lines of memory that is read soon, while it calculates: it does so by itself only
/// where it sees a pattern, and within a page. Into its second cache, as the first has no room for a row of floats.
#[allow(unsafe_code, reason = "fetching takes a pointer")]
#[inline(always)]
fn fetch(memory: &mut Range<*const u8>) {
    for _ in 0..LINES {
        if memory.start < memory.end {
            // SAFETY: fetching has no effect but on time, wherever it is from.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(memory.start.cast()) };
            memory.start = memory.start.wrapping_add(LINE);
        }
    }
}
