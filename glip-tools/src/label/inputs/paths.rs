//! Files of inputs, and what images in them are called.

use std::{fs::File, path::Path};

use crate::{error::Result, failure::Failure, files::unreadable};

/// A path as it is called in records: below the base, with `/` between the parts.
pub(super) fn name_below(base: &Path, path: &Path) -> Result<String, Failure> {
    let below = path.strip_prefix(base).unwrap_or(path);
    match below.to_str() {
        Some(name) => Ok(name.replace(std::path::MAIN_SEPARATOR, "/")),
        None => Err(Failure {
            image: below.to_string_lossy().into_owned(),
            error: "its name is not Unicode, which JSON cannot hold: rename it".to_owned(),
        }),
    }
}

pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(unreadable(path))
}
