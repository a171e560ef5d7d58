//! How models are opened.

use std::path::Path;

use glip::{Bundle, Detector, Device, Segmenter, parts::CpuOptions};

use crate::error::Result;

/// What models run on, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loader {
    pub(crate) device: Device,
    pub(crate) threads: usize,
    pub(crate) cpu: CpuOptions,
}

impl Loader {
    /// The model of a folder, or the small one in the program.
    pub(crate) fn detector(&self, model: Option<&Path>) -> Result<Detector> {
        let bundle = Bundle::from_dir_or_nano(model)?;
        let builder = Detector::builder().bundle(bundle).device(self.device);
        let builder = builder.threads(self.threads).cpu(self.cpu.clone());
        Ok(builder.build()?)
    }

    /// The segmenter of a folder.
    pub(crate) fn segmenter(&self, folder: &Path) -> Result<Segmenter> {
        let builder = Segmenter::builder().dir(folder).device(self.device);
        let builder = builder.threads(self.threads).cpu(self.cpu.clone());
        Ok(builder.build()?)
    }
}
