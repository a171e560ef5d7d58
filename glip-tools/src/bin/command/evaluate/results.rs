//! What a model finds in the images of a data set, and their pictures.

use glip_tools::{
    PictureLimits, Problem, ProgressBar, Result,
    eval::{Prediction, PredictionFile, ResultFolder, RunKey, Task, open_picture, run_model},
};

use image::DynamicImage;

use super::options::CommonOptions;
use crate::signals;

/// What the model finds in the images: in those that the file of predictions does not have yet, what
/// `ask` says, and in all of them if it is to be overwritten.
pub(super) fn predictions(
    folder: &ResultFolder,
    tasks: &[Task],
    ask: impl Fn(usize, &DynamicImage) -> glip::Result<Vec<Prediction>> + Sync,
    key: &RunKey,
    common: &CommonOptions,
) -> Result<(PredictionFile, Vec<Problem>)> {
    let path = folder.path().join("predictions.jsonl");
    let mut file = match common.overwrite {
        true => PredictionFile::overwrite(&path, key)?,
        false => PredictionFile::open(&path, key)?,
    };
    let done = tasks.iter().filter(|task| file.get(&task.key).is_some());
    let done = done.count() as u64;
    let progress = ProgressBar::new(Some(tasks.len() as u64), "images").starting_at(done);
    let each = |problem: Option<&Problem>| {
        progress.advance();
        if let Some(problem) = problem {
            progress.say(&problem.to_string());
        }
        signals::check()
    };
    let options = common.run_options();
    let problems = run_model(tasks, ask, &mut file, options, each);
    progress.finish();
    Ok((file, problems?))
}

/// The pictures of a data set.
pub(super) struct Pictures<'a> {
    pub(super) tasks: &'a [Task],
    pub(super) limits: PictureLimits,
}

impl Pictures<'_> {
    /// A picture by its image's id, if it can be read.
    pub(super) fn open(&self, image: u64) -> Option<image::RgbImage> {
        let key = image.to_string();
        let task = self.tasks.iter().find(|task| task.key == key)?;
        let picture = open_picture(task, self.limits).ok()?;
        Some(picture.into_rgb8())
    }
}
