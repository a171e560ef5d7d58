//! The options that choose a model and how it runs.

use std::path::{Path, PathBuf};

use glip::{Bundle, Detector, DetectorBuilder, Device, Segmenter};
use glip_tools::Result;

/// Options that every command with a model has.
#[derive(clap::Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelOptions {
    /// The model's folder, as `python -m glip_torch.export` writes it [default: glip-nano, in this
    /// program].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// What it runs on: cpu, cuda[:N], tensorrt[:N], coreml, directml[:N] or openvino. All but the CPU
    /// need a build with the feature of that name.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// The threads of one run of the model; 0 lets ONNX Runtime choose.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// The size that pictures are resized to, as SHORT:LONG: the short side, unless the long one would
    /// pass its limit [default: the model's own].
    #[arg(long, value_name = "SHORT:LONG", value_parser = parse_resize)]
    resize: Option<(u32, u32)>,
}

impl ModelOptions {
    /// What the model was asked to run on.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// The segmenter of a folder, on the same device.
    pub(crate) fn segmenter(&self, folder: &Path) -> Result<Segmenter> {
        let builder = Segmenter::builder().dir(folder).device(self.device);
        Ok(builder.threads(self.threads).build()?)
    }

    /// The detector's builder, for options of the command's own.
    pub(crate) fn builder(&self) -> Result<DetectorBuilder> {
        let bundle = Bundle::from_dir_or_nano(self.model.as_deref())?;
        let builder = Detector::builder().bundle(bundle).device(self.device);
        let builder = builder.threads(self.threads);
        Ok(match self.resize {
            Some((short_side, long_side)) => builder.sides(short_side, long_side),
            None => builder,
        })
    }
}

fn parse_resize(text: &str) -> Result<(u32, u32), String> {
    let sides = text
        .split_once(':')
        .and_then(|(short, long)| Some((short.parse().ok()?, long.parse().ok()?)));
    sides.ok_or_else(|| "two numbers of pixels, for example 800:1333".to_owned())
}
