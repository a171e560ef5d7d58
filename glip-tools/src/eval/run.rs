//! Running a model over images.

use std::{
    collections::HashMap,
    error::Error as StdError,
    path::{Path, PathBuf},
    thread,
};

use glip::ImageSize;
use image::DynamicImage;

use crate::{
    causes::with_causes,
    error::{Error, Result},
    eval::predictions::{Prediction, PredictionFile},
    ordered::stage,
    pictures::{Picture, PictureLimits, Place, SharedPixels},
    problem::{Problem, ProblemKind},
    stamp::Stamp,
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
    /// Whether they are for the picture as its EXIF orientation turns it, also where its size does not tell.
    pub is_upright: bool,
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

/// Runs a model over the images that the file does not have yet, and adds what `ask` finds in the picture of each. Calls `each` for
/// each of them when it is done, or with what is wrong. Images whose file is another one than when they were done are
/// run again.
///
/// An image that cannot be used is a [`Problem`] and stays out of the file, so that it is tried again the
/// next time. Problems are in the order of the tasks.
///
/// # Errors
/// - [`Error::Write`]: the file cannot be written.
/// - What `each` returns.
/// - [`Error::Strict`]: an image cannot be used, and [`RunOptions::strict`] is set.
pub fn run_model(
    tasks: &[Task],
    ask: impl Fn(usize, &DynamicImage) -> glip::Result<Vec<Prediction>> + Sync,
    file: &mut PredictionFile,
    options: RunOptions,
    mut each: impl FnMut(Option<&Problem>) -> Result<()>,
) -> Result<Vec<Problem>> {
    let most = options.limits.max_file();
    let paths = tasks.iter().map(|task| (task.key.as_str(), &task.path));
    let paths: HashMap<&str, &PathBuf> = paths.collect();
    file.forget_replaced(|image, stamp| {
        let path = paths.get(image);
        path.is_none_or(|path| stamp.is_of_file(path, most))
    });
    let is_left = |task: &usize| file.get(&tasks[*task].key).is_none();
    let left: Vec<usize> = (0..tasks.len()).filter(is_left).collect();
    let memory = options.limits.memory();
    let look = |place: Place, task: usize| -> Result<_, Problem> {
        let (picture, stamp) = open_stamped(place, &tasks[task], options.limits)?;
        let found = ask(task, &picture)
            .map_err(|error| failed(ProblemKind::Model, &tasks[task], &error))?;
        Ok((found, stamp))
    };
    let mut problems = Vec::new();
    thread::scope(|scope| {
        let look = |(place, task)| (task, look(place, task));
        let left = left.into_iter().map(|task| (memory.line_up(), task));
        for (task, answer) in stage(scope, options.jobs, options.jobs, left, look) {
            match answer {
                Ok((found, stamp)) => {
                    file.append_of(&tasks[task].key, Some(stamp), found)?;
                    each(None)?;
                }
                Err(problem) if options.strict => return Err(Error::Strict(problem)),
                Err(problem) => {
                    each(Some(&problem))?;
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
    let opened = open_stamped(limits.memory().line_up(), task, limits);
    opened.map(|(picture, _)| picture.into_pixels())
}

/// As [`open_picture`], in memory that a run shares, with what tells the file from others.
fn open_stamped(
    place: Place,
    task: &Task,
    limits: PictureLimits,
) -> Result<(SharedPixels, Stamp), Problem> {
    let read = |path: &Path| {
        let (bytes, stamp) = Stamp::read(path, limits.max_file())?;
        let picture = Picture::decode_in(place, &bytes, path, limits)?;
        Ok((picture, stamp))
    };
    let read: Result<_> = read(&task.path);
    let (picture, stamp) = read.map_err(|error| failed(ProblemKind::Picture, task, &error))?;
    Ok((in_frame(task, picture)?, stamp))
}

/// A picture in the frame that a task's annotations are for.
fn in_frame(task: &Task, picture: Picture) -> Result<SharedPixels, Problem> {
    let stored = picture.size();
    let Some(expected) = task.size else {
        return Ok(picture.shared_as_stored());
    };
    if stored == expected && !task.is_upright {
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
