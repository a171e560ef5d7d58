//! The folder that a run's results go to.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use image::RgbImage;
use serde::Serialize;

#[cfg(doc)]
use crate::error::Error;
use crate::{
    atomic::write_file,
    coco::Dataset,
    error::Result,
    eval::{
        average_precision::{ClassScores, DetectionScores},
        detection::Detection,
        mistakes::mistakes,
        report::{MistakePage, PageOptions, plot_precision_recall},
    },
    files::{lock, unwritable},
    pictures::write_picture,
};

/// The folder that a run's results go to, which is one process' while this lives. Files appear when they are complete.
///
/// ```
/// use glip_tools::{Error, eval::ResultFolder};
///
/// let folder = tempfile::tempdir()?;
/// let results = ResultFolder::create(folder.path())?;
/// results.write_json("result.json", &[1, 2])?;
/// assert_eq!(std::fs::read_to_string(results.path().join("result.json"))?, "[1,2]\n");
/// assert!(matches!(ResultFolder::create(folder.path()), Err(Error::RunBusy { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
    /// What others would lock too; it stays, and holds nothing.
    _lock: File,
}

impl ResultFolder {
    /// Makes the folder if there is none, and keeps other processes out of it.
    ///
    /// # Errors
    /// - [`Error::RunBusy`]: another process has it.
    /// - [`Error::Write`]: it cannot be written to.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let path = folder.as_ref().to_owned();
        fs::create_dir_all(&path).map_err(unwritable(&path))?;
        let file = path.join(".lock");
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(false).open(&file);
        let opened = opened.map_err(unwritable(&file))?;
        lock(&opened, &path)?;
        Ok(Self {
            path,
            _lock: opened,
        })
    }

    /// The folder of one set among several.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn of_set(&self, name: &str) -> Result<Self> {
        Self::create(self.path.join(file_name(name)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of JSON.
    ///
    /// # Errors
    /// - [`Error::Write`].
    pub fn write_json(&self, name: &str, content: &impl Serialize) -> Result<()> {
        // Strings, maps with string keys and numbers always become JSON.
        let json = serde_json::to_string(content).unwrap_or_default() + "\n";
        write_file(self.path.join(name), json.as_bytes())
    }

    /// Draws a plot for each category with objects, into `curves`.
    ///
    /// # Errors
    /// - [`Error::Write`], [`Error::WritePicture`], [`Error::Plot`].
    pub fn write_curves(&self, classes: &[ClassScores]) -> Result<()> {
        let folder = self.path.join("curves");
        fs::create_dir_all(&folder).map_err(unwritable(&folder))?;
        for class in classes.iter().filter(|class| !class.curves.is_empty()) {
            let path = folder.join(format!("{} {}.png", class.category, file_name(&class.name)));
            write_picture(&path, &plot_precision_recall(class)?)?;
        }
        Ok(())
    }

    /// Writes `mistakes.html`, the page with the worst mistakes. `open` gives an image's pixels by its id.
    ///
    /// # Errors
    /// - [`Error::Write`], [`Error::Matching`], [`Error::NoMask`].
    pub fn write_mistakes(
        &self,
        title: &str,
        truth: &Dataset,
        found: &[Detection],
        scores: &DetectionScores,
        open: impl FnMut(u64) -> Option<RgbImage>,
    ) -> Result<()> {
        let page = MistakePage {
            title,
            truth,
            found,
            scores,
            mistakes: &mistakes(truth, found, scores.protocol, scores.overlap)?,
        };
        let html = page.render(open, PageOptions::default());
        write_file(self.path.join("mistakes.html"), html.as_bytes())
    }
}

/// A name without what file systems do not take.
pub fn file_name(name: &str) -> String {
    let safe = |character: char| match character {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        character if character.is_control() => '_',
        character => character,
    };
    let name: String = name.chars().take(80).map(safe).collect();
    name.trim_matches('.').to_owned()
}
