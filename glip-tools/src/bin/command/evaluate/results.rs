//! Files of results.

use std::{
    fs,
    path::{Path, PathBuf},
};

use glip::{Detector, EncodedImage};
use glip_tools::{
    Error, PictureLimits, Problem, ProgressBar, Result,
    coco::Dataset,
    eval::{
        ClassScores, Detection, DetectionScores, Prediction, PredictionFile, RunKey, Task,
        mistakes, open_picture,
        report::{MistakePage, PageOptions, plot_precision_recall},
        run_model,
    },
};
use serde::Serialize;

use super::options::CommonOptions;

/// The folder of a run's results.
pub(super) struct ResultFolder(PathBuf);

impl ResultFolder {
    /// Makes the folder if there is none.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        create(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// The folder of one set among several.
    pub(super) fn of_set(&self, name: &str) -> Result<Self> {
        Self::create(&self.0.join(file_name(name)))
    }

    /// What the model finds in the images: in those that the file of predictions does not have yet, what
    /// `ask` says, and in all of them if it is to be overwritten.
    pub(super) fn predictions(
        &self,
        detector: &Detector,
        tasks: &[Task],
        ask: impl Fn(usize, &EncodedImage) -> glip::Result<Vec<Prediction>> + Sync,
        key: &RunKey,
        common: &CommonOptions,
    ) -> Result<(PredictionFile, Vec<Problem>)> {
        let path = self.0.join("predictions.jsonl");
        if common.overwrite {
            PredictionFile::remove(&path)?;
        }
        let mut file = PredictionFile::open(&path, key)?;
        let done = tasks.iter().filter(|task| file.get(&task.key).is_some());
        let done = done.count() as u64;
        let progress = ProgressBar::new(Some(tasks.len() as u64), "images").starting_at(done);
        let options = common.run_options();
        let problems = run_model(detector, tasks, ask, &mut file, options, &progress)?;
        progress.finish();
        Ok((file, problems))
    }

    /// Writes a file of JSON.
    pub(super) fn write_json(&self, name: &str, content: &impl Serialize) -> Result<()> {
        // Strings, maps with string keys and numbers always become JSON.
        let json = serde_json::to_string(content).unwrap_or_default() + "\n";
        self.write(name, json.as_bytes())
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        fs::write(&path, content).map_err(|source| unwritable(&path, source))
    }

    /// Draws a plot for each category with objects.
    pub(super) fn write_curves(&self, classes: &[ClassScores]) -> Result<()> {
        let folder = self.0.join("curves");
        create(&folder)?;
        for class in classes.iter().filter(|class| !class.curves.is_empty()) {
            let path = folder.join(format!("{} {}.png", class.category, file_name(&class.name)));
            plot_precision_recall(class)?
                .save(&path)
                .map_err(|source| Error::WritePicture { path, source })?;
        }
        Ok(())
    }

    /// Writes the page with the worst mistakes.
    pub(super) fn write_mistakes(
        &self,
        title: &str,
        truth: &Dataset,
        found: &[Detection],
        scores: &DetectionScores,
        pictures: &Pictures<'_>,
    ) -> Result<()> {
        let page = MistakePage {
            title,
            truth,
            found,
            scores,
            mistakes: &mistakes(truth, found, scores.protocol)?,
        };
        let html = page.render(|image| pictures.open(image), PageOptions::default());
        self.write("mistakes.html", html.as_bytes())
    }
}

/// The pictures of a data set.
pub(super) struct Pictures<'a> {
    pub(super) tasks: &'a [Task],
    pub(super) limits: PictureLimits,
}

impl Pictures<'_> {
    /// A picture by its image's id, if it can be read.
    fn open(&self, image: u64) -> Option<image::RgbImage> {
        let key = image.to_string();
        let task = self.tasks.iter().find(|task| task.key == key)?;
        let picture = open_picture(task, self.limits).ok()?;
        Some(picture.into_rgb8())
    }
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|source| unwritable(folder, source))
}

fn unwritable(path: &Path, source: std::io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        source,
    }
}

/// A name without what file systems do not take.
pub(super) fn file_name(name: &str) -> String {
    let safe = |character: char| match character {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        character if character.is_control() => '_',
        character => character,
    };
    let name: String = name.chars().take(80).map(safe).collect();
    name.trim_matches('.').to_owned()
}
