//! Options that every benchmark has.

use std::path::{Path, PathBuf};

use glip::Detector;
use glip_tools::{
    Error, PictureLimits, Problem, ProblemKind, Result,
    eval::{RunKey, RunOptions},
    say,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{model::ModelOptions, pictures::PictureOptions};

/// How a run goes, and where its results go.
#[derive(clap::Args)]
pub(super) struct CommonOptions {
    /// The folder for the results.
    #[arg(long, value_name = "DIR", default_value = "evaluation")]
    pub(super) out: PathBuf,
    /// Measures the first N images alone.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
    /// The images in the works at the same time. The results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = RunOptions::default().jobs)]
    jobs: usize,
    #[command(flatten)]
    pictures: PictureOptions,
    /// Ends the run at the first thing that cannot be used.
    #[arg(long)]
    pub(super) strict: bool,
    /// Starts over instead of going on with a run in the same folder.
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Prints the results as JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) model: ModelOptions,
}

impl CommonOptions {
    pub(super) fn run_options(&self) -> RunOptions {
        RunOptions::default()
            .with_jobs(self.jobs)
            .with_limits(self.limits())
            .with_strict(self.strict)
    }

    pub(super) fn limits(&self) -> PictureLimits {
        self.pictures.limits()
    }

    /// Names what cannot be used or looks wrong; with --strict, the first is an error.
    pub(super) fn tell(&self, problems: &[Problem]) -> Result<()> {
        const SHOWN: usize = 20;
        if let (true, Some(problem)) = (self.strict, problems.first()) {
            return Err(Error::Strict(problem.clone()));
        }
        for problem in problems.iter().take(SHOWN) {
            match problem.kind {
                ProblemKind::Doubtful => say(format_args!("warning: {problem}")),
                _ => say(format_args!("left out: {problem}")),
            }
        }
        if problems.len() > SHOWN {
            let more = problems.len() - SHOWN;
            say(format_args!("... and {more} more, all in result.json"));
        }
        Ok(())
    }
}

/// What decides which predictions a run makes: what was asked for, and the model with its options.
pub(super) fn run_key(detector: &Detector, data: String, ask: Value) -> RunKey {
    let manifest = detector.manifest();
    RunKey {
        data,
        model: format!("{} {}", manifest.name(), manifest.identity()),
        options: json!({
            "ask": ask,
            "resize": detector.preprocessor().options().resize,
            "device": detector.device().to_string(),
        }),
    }
}

/// A short hash of texts.
pub(super) fn digest<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_ref());
        hasher.update([0]);
    }
    let bytes = hasher.finalize();
    bytes
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A short hash of a file.
pub(super) fn digest_file(path: &Path) -> Result<String> {
    let bytes = glip::read_regular(path, u64::MAX).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(digest([bytes]))
}
