//! ODinW: many sets in one folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use glip_tools::{
    Error, Result,
    eval::{NamedScores, Protocol, odinw_summary, report::sets_table},
};
use serde::Serialize;

use super::{
    detection::{AskingOptions, DetectionResult, DetectionSet, measure},
    options::CommonOptions,
    results::{ResultFolder, file_name},
};
use crate::output::{self, Outcome};

/// Mean AP over the data sets of ODinW, or over any folder of COCO data sets.
///
/// A set is a folder with the annotations of a split, whose images lie beside them:
/// test/annotations_without_background.json or test_annotations_without_background.json, as ODinW has
/// them, or test/_annotations.coco.json, as Roboflow exports them.
#[derive(clap::Args)]
pub(crate) struct Odinw {
    /// The folder of the sets; searched at any depth.
    folder: PathBuf,
    /// The split to measure: train, valid, test ...
    #[arg(long, default_value = "test")]
    split: String,
    /// A folder of prompt files, NAME.yaml or NAME.json for the set NAME, whose slashes and spaces are
    /// written as _: official's configs/odinw_35. Sets without one are asked for by their categories'
    /// names.
    #[arg(long, value_name = "DIR")]
    prompts: Option<PathBuf>,
    /// The most names in a prompt [default: as many as fit].
    #[arg(long, value_name = "N")]
    names_per_prompt: Option<usize>,
    #[command(flatten)]
    common: CommonOptions,
}

/// What `result.json` holds.
#[derive(Serialize)]
struct OdinwResult {
    mean_ap: Option<f64>,
    sets: Vec<NamedScores>,
}

impl Odinw {
    pub(crate) fn run(self) -> Result<Outcome> {
        let sets = find_sets(&self.folder, &self.split)?;
        if sets.is_empty() {
            return Err(Error::NothingToMeasure { path: self.folder });
        }
        let detector = self.common.model.builder()?.build()?;
        let folder = ResultFolder::create(&self.common.out)?;
        let (mut results, mut failures) = (Vec::new(), 0);
        for set in &sets {
            eprintln!("{}", set.name);
            let asking = self.asking(&set.name);
            let of_set = folder.of_set(&set.name)?;
            let result = measure(set, Some(&detector), &asking, &self.common, &of_set)?;
            failures += result.problems.len() as u64;
            let DetectionResult {
                set: name, scores, ..
            } = result;
            results.push(NamedScores { name, scores });
        }
        let result = OdinwResult {
            mean_ap: odinw_summary(&results),
            sets: results,
        };
        folder.write_json("result.json", &result)?;
        let text = match self.common.json {
            true => serde_json::to_string(&result).unwrap_or_default() + "\n",
            false => sets_table(&result.sets),
        };
        output::print(text.as_bytes())?;
        Ok(Outcome::of_failures(failures))
    }

    fn asking(&self, set: &str) -> AskingOptions {
        let name = file_name(set).replace(' ', "_");
        let in_folder = |folder: &PathBuf| {
            let endings = ["yaml", "yml", "json"].into_iter();
            let mut files = endings.map(|ending| folder.join(format!("{name}.{ending}")));
            files.find(|file| file.exists())
        };
        AskingOptions {
            prompts: self.prompts.as_ref().and_then(in_folder),
            names_per_prompt: self.names_per_prompt,
            max_detections: None,
            predictions: None,
        }
    }
}

/// The sets in a folder, by name.
fn find_sets(root: &Path, split: &str) -> Result<Vec<DetectionSet>> {
    let files = [
        format!("{split}_annotations_without_background.json"),
        format!("{split}/annotations_without_background.json"),
        format!("{split}/_annotations.coco.json"),
    ];
    let (mut sets, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let candidates = files.iter().map(|file| folder.join(file));
        if let Some(annotations) = candidates.into_iter().find(|file| file.exists()) {
            sets.push(DetectionSet {
                name: set_name(root, &folder),
                images: annotations.parent().unwrap_or(&folder).to_owned(),
                annotations,
                protocol: Protocol::Coco,
            });
            continue;
        }
        let unreadable = |source| Error::Read {
            path: folder.clone(),
            source,
        };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sets)
}

/// The set's path below the root, without the folder `export` that some of ODinW's have.
fn set_name(root: &Path, folder: &Path) -> String {
    let below = folder.strip_prefix(root).unwrap_or(folder);
    let below = match below.file_name() {
        Some(last) if last == "export" => below.parent().unwrap_or(below),
        _ => below,
    };
    match below.to_string_lossy() {
        name if name.is_empty() => "set".to_owned(),
        name => name.replace('\\', "/"),
    }
}
