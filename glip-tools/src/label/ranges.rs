//! Checks of options that are numbers.

use crate::error::{Error, Result};

pub(super) fn share(option: &'static str, value: f32) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::Option {
        option,
        found: value.to_string(),
        expected: "0 to 1".to_owned(),
    })
}

pub(super) fn at_least_one(option: &'static str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::Option {
        option,
        found: value.to_string(),
        expected: "at least 1".to_owned(),
    })
}
