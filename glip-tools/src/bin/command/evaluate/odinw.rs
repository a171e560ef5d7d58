//! ODinW: many sets in one folder.

use std::path::PathBuf;

use glip_tools::{
    Error, Result,
    eval::{
        NamedScores, OdinwSet, Overlap, Protocol, ResultFolder, file_name, find_odinw_sets,
        odinw_summary, report::sets_table,
    },
    say,
};
use serde::Serialize;

use super::{
    detection::{Annotations, AskingOptions, DetectionResult, DetectionSet, Models, measure},
    options::CommonOptions,
};
use crate::{
    output::{self, Outcome},
    signals,
};

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
        let sets = find_odinw_sets(&self.folder, &self.split)?;
        if sets.is_empty() {
            return Err(Error::NothingToMeasure { path: self.folder });
        }
        let detector = self.common.model.builder()?.build()?;
        let folder = ResultFolder::create(&self.common.out)?;
        let (mut results, mut failures) = (Vec::new(), 0);
        signals::watch();
        for set in sets.into_iter().map(as_coco) {
            say(&set.name);
            let asking = self.asking(&set.name);
            let of_set = folder.of_set(&set.name)?;
            let result = measure(
                &set,
                Some(&Models::of_boxes(&detector)),
                &asking,
                &self.common,
                &of_set,
            )?;
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
        output::print(&text)?;
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

fn as_coco(set: OdinwSet) -> DetectionSet {
    DetectionSet {
        name: set.name,
        annotations: Annotations::Coco(set.annotations),
        images: set.images,
        protocol: Protocol::Coco,
        overlap: Overlap::Boxes,
    }
}
