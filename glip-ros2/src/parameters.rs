//! The node's parameters: what can be changed while it runs.

use std::path::{Path, PathBuf};

use ros2_client::{NodeOptions, ParameterValue};

use crate::{
    error::{Error, Result},
    looker::{Asked, Looker},
};

const PROMPT: &str = "prompt";
const THRESHOLD: &str = "threshold";
const MODEL: &str = "model";

/// The options of a node that has the parameters, with these values.
pub(crate) fn declare(asked: &Asked, model: Option<&Path>) -> NodeOptions {
    let model = model.map(|folder| folder.to_string_lossy().into_owned());
    // 0.64, not the nearest number of 32 bits in 64.
    let threshold = asked.threshold.to_string().parse();
    let threshold = threshold.unwrap_or(f64::from(asked.threshold));
    NodeOptions::new()
        .enable_rosout(false)
        .declare_parameter(PROMPT, ParameterValue::String(asked.prompt.clone()))
        .declare_parameter(THRESHOLD, ParameterValue::Double(threshold))
        .declare_parameter(MODEL, ParameterValue::String(model.unwrap_or_default()))
}

/// Does what a parameter's new value says. If that cannot be, all stays as it is.
pub(crate) fn set(looker: &Looker, name: &str, value: &ParameterValue) -> Result<()> {
    match (name, value) {
        (PROMPT, ParameterValue::String(prompt)) => {
            looker.ask(|asked| asked.prompt.clone_from(prompt))
        }
        (THRESHOLD, ParameterValue::Double(threshold)) => {
            looker.ask(|asked| asked.threshold = *threshold as f32)
        }
        (MODEL, ParameterValue::String(model)) => looker.change_model(folder(model)),
        (PROMPT, _) => Err(wrong(name, value, "a string, as \"person . cup\"")),
        (THRESHOLD, _) => Err(wrong(name, value, "a number from 0 to 1, as 0.5")),
        (MODEL, _) => Err(wrong(name, value, "the path of a folder, or \"\"")),
        // The rest is ros2-client's own.
        _ => Ok(()),
    }
}

/// No path stands for the small model in the program.
fn folder(model: &str) -> Option<PathBuf> {
    (!model.is_empty()).then(|| model.into())
}

fn wrong(name: &str, value: &ParameterValue, expected: &'static str) -> Error {
    Error::Parameter {
        name: name.to_owned(),
        found: format!("{value:?}"),
        expected,
    }
}
