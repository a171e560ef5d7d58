//! From a bundle's files to graphs.

use crate::{
    bundle::{Bundle, Precision},
    error::Result,
    files::ModelFile,
    runtime::{Runtime, SessionOptions},
    session::{CheckedGraph, Signature},
};

/// Loads a graph that every model has.
pub(super) fn load(
    runtime: &Runtime,
    bundle: &Bundle,
    signature: Signature,
    options: &SessionOptions,
) -> Result<CheckedGraph> {
    let file = bundle.graph(signature.graph)?;
    load_file(runtime, bundle, &file, signature, options)
}

/// Loads a graph if the model has it.
pub(super) fn load_optional(
    runtime: &Runtime,
    bundle: &Bundle,
    signature: Signature,
    options: &SessionOptions,
) -> Result<Option<CheckedGraph>> {
    let file = bundle.optional_graph(signature.graph)?;
    file.map(|file| load_file(runtime, bundle, &file, signature, options))
        .transpose()
}

fn load_file(
    runtime: &Runtime,
    bundle: &Bundle,
    file: &ModelFile<'_>,
    signature: Signature,
    options: &SessionOptions,
) -> Result<CheckedGraph> {
    match bundle.manifest().precision() {
        Precision::Fp16 => CheckedGraph::load(runtime, file, signature, &options.in_half()),
        _ => CheckedGraph::load(runtime, file, signature, options),
    }
}
