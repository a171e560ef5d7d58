//! What windows need on their way.

use super::{window_attention::HeadMemory, windows::Token};
use crate::kernels::rounding::Rounded;

/// What a thread needs for some windows. Rows are those of their tokens.
#[derive(Default)]
pub(in crate::kernels) struct WindowMemory {
    pub(super) tokens: Vec<Token>,
    /// Where each window's tokens end.
    pub(super) ends: Vec<usize>,
    /// The tokens themselves, to which everything is added.
    pub(super) rows: Vec<f32>,
    /// What is multiplied next.
    pub(super) factors: Vec<f32>,
    pub(super) rounded: Rounded,
    pub(super) queries: Vec<f32>,
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) hidden: Vec<f32>,
    pub(super) hidden_rounded: Rounded,
    pub(super) head: HeadMemory,
}
