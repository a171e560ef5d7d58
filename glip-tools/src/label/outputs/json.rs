//! JSON in files.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{error::Result, files::unwritable};

/// Writes a value as a line of JSON.
pub(super) fn json_line(
    file: &mut dyn Write,
    value: &impl serde::Serialize,
    path: &Path,
) -> Result<()> {
    let line = serde_json::to_string(value).map_err(io::Error::from);
    let written = line.and_then(|line| writeln!(file, "{line}"));
    written.map_err(unwritable(path))
}

/// Writes values as the elements of a JSON array, one a line, without the brackets.
pub(super) fn json_elements<T: serde::Serialize>(
    file: &mut dyn Write,
    values: impl Iterator<Item = Result<T>>,
    path: &Path,
) -> Result<()> {
    let mut separator = "\n";
    for value in values {
        let element = serde_json::to_string(&value?).map_err(io::Error::from);
        let written = element.and_then(|element| write!(file, "{separator}{element}"));
        written.map_err(unwritable(path))?;
        separator = ",\n";
    }
    Ok(())
}
