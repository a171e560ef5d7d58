//! Running a model over images.

use std::{error::Error as StdError, path::PathBuf, thread};

use glip::{Detector, EncodedImage, ImageSize};
use image::DynamicImage;

use crate::{
    causes::with_causes,
    error::{Error, Result},
    eval::predictions::{Prediction, PredictionFile},
    ordered::stage,
    pictures::{Picture, PictureLimits, Place, SharedPixels},
    problem::{Problem, ProblemKind},
    progress::ProgressBar,
};

/// An image that a model is to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What it is called in the file of predictions; unique.
    pub key: String,
    /// Its file.
    pub path: PathBuf,
    /// The size that its annotations are for, if they say.
    pub size: Option<ImageSize>,
}

/// How a model is run over images.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunOptions {
    /// The images in the works at the same time: while one runs, the next is decoded. Results do not
    /// depend on it. Default: 2.
    pub jobs: usize,
    /// What a picture may take.
    pub limits: PictureLimits,
    /// Whether an image that cannot be used ends the run. Default: no.
    pub strict: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            jobs: 2,
            limits: PictureLimits::default(),
            strict: false,
        }
    }
}

impl RunOptions {
    /// Sets [`jobs`](Self::jobs).
    #[must_use]
    pub fn with_jobs(self, jobs: usize) -> Self {
        Self { jobs, ..self }
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn with_limits(self, limits: PictureLimits) -> Self {
        Self { limits, ..self }
    }

    /// Sets [`strict`](Self::strict).
    #[must_use]
    pub fn with_strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }
}

/// Runs a model over the images that the file does not have yet, and adds what `ask` finds in each.
///
/// An image that cannot be used is a [`Problem`] and stays out of the file, so that it is tried again the
/// next time. Problems are in the order of the tasks.
///
/// # Errors
/// - [`Error::Write`]: the file cannot be written.
/// - [`Error::Strict`]: an image cannot be used, and [`RunOptions::strict`] is set.
pub fn run_model(
    detector: &Detector,
    tasks: &[Task],
    ask: impl Fn(usize, &EncodedImage) -> glip::Result<Vec<Prediction>> + Sync,
    file: &mut PredictionFile,
    options: RunOptions,
    progress: &ProgressBar,
) -> Result<Vec<Problem>> {
    let is_left = |task: &usize| file.get(&tasks[*task].key).is_none();
    let left: Vec<usize> = (0..tasks.len()).filter(is_left).collect();
    let memory = options.limits.memory();
    let look = |place: Place, task: usize| {
        let picture = open_picture_in(place, &tasks[task], options.limits)?;
        let image = detector.encode_image(&*picture);
        let found = image.and_then(|image| ask(task, &image));
        found.map_err(|error| failed(ProblemKind::Model, &tasks[task], &error))
    };
    let mut problems = Vec::new();
    thread::scope(|scope| {
        let look = |(place, task)| (task, look(place, task));
        let left = left.into_iter().map(|task| (memory.line_up(), task));
        for (task, answer) in stage(scope, options.jobs, options.jobs, left, look) {
            progress.advance();
            match answer {
                Ok(found) => file.append(&tasks[task].key, &found)?,
                Err(problem) if options.strict => return Err(Error::Strict(problem)),
                Err(problem) => {
                    progress.say(&problem.to_string());
                    problems.push(problem);
                }
            }
        }
        Ok(())
    })?;
    Ok(problems)
}

/// Opens the picture of a task in the frame that its annotations are for: as stored, or upright.
///
/// # Errors
/// What is wrong with it: it cannot be read, or is of another size.
pub fn open_picture(task: &Task, limits: PictureLimits) -> Result<DynamicImage, Problem> {
    open_picture_in(limits.memory().line_up(), task, limits).map(SharedPixels::into_pixels)
}

/// As [`open_picture`], in memory that a run shares.
fn open_picture_in(
    place: Place,
    task: &Task,
    limits: PictureLimits,
) -> Result<SharedPixels, Problem> {
    let picture = Picture::read_in(place, &task.path, limits)
        .map_err(|error| failed(ProblemKind::Picture, task, &error))?;
    let stored = picture.size();
    let Some(expected) = task.size else {
        return Ok(picture.shared_as_stored());
    };
    if stored == expected {
        return Ok(picture.shared_as_stored());
    }
    let upright = picture.shared_upright();
    if (upright.width(), upright.height()) == (expected.width, expected.height) {
        return Ok(upright);
    }
    let detail = format!("{stored} pixels, the annotations are for {expected}");
    Err(problem(ProblemKind::PictureSize, task, detail))
}

/// The problem of a task by an error and what caused it.
fn failed(kind: ProblemKind, task: &Task, error: &(dyn StdError + 'static)) -> Problem {
    problem(kind, task, with_causes(error))
}

fn problem(kind: ProblemKind, task: &Task, detail: String) -> Problem {
    Problem::new(kind, task.path.display().to_string(), detail)
}
