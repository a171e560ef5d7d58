//! Where the text states go that a graph gives.

use crate::{
    error::Result,
    session::{NamedTensors, Outputs},
};

/// What stands before the name of a graph's output that replaces the input of that name: the fusion tower
/// gives `fused_text`, and the head reads it as `text`.
const FUSED: &str = "fused_";

/// Puts the text states `[batch, tokens, width]` that a graph gave among what is known of a prompt. Their width is what
/// the graph says. They are in the places of `earlier` ones that nobody has any more.
pub(super) fn keep_states(
    outputs: &Outputs,
    (batch, tokens): (usize, usize),
    known: &mut NamedTensors,
    earlier: &mut NamedTensors,
) -> Result<()> {
    for (name, tensor) in outputs.others() {
        let width = tensor.shape().last().copied().unwrap_or_default();
        let replaced = name.strip_prefix(FUSED).unwrap_or(name);
        known.insert_in(earlier, replaced, |memory| {
            tensor.to_array_in(memory, name, (batch, tokens, width))
        })?;
    }
    Ok(())
}
