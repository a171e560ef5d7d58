//! The seam between graphs and what runs them.

use super::tensor::{Input, Tensors};
use crate::{control::Control, error::Result, runtime::Device};

/// A graph that can be run: the seam at which tests put their own in ONNX Runtime's place.
pub(crate) trait Graph: Send + Sync {
    /// The device it runs on.
    fn device(&self) -> Device;

    /// Runs it on inputs in the order of its signature; its outputs come in that order too. It ends early
    /// if the control says so.
    fn run(&self, inputs: &[Input<'_>], control: &Control) -> Result<Tensors>;
}
