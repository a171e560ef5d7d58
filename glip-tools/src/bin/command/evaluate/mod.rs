//! `glip evaluate`: how good a model is on a data set.

mod detection;
mod flickr30k;
mod odinw;
mod options;
mod results;

use clap::Subcommand;
use glip_tools::Result;

use crate::output::Outcome;

/// Measures a model on a data set: numbers, plots, and a page with the worst mistakes.
///
/// A run that was stopped goes on where it was if it is started again with the same arguments; pictures that
/// were replaced since are measured again. What cannot
/// be used (broken annotations, missing or damaged pictures) is named, left out of the measurement, and
/// makes the exit code 1.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Evaluate {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    Coco(Box<detection::Coco>),
    Yolo(Box<detection::Yolo>),
    Lvis(Box<detection::Lvis>),
    Flickr30k(Box<flickr30k::Flickr30k>),
    Odinw(Box<odinw::Odinw>),
}

const EXAMPLES: &str = "\
Examples:
  glip evaluate coco coco/annotations/instances_val2017.json --images coco/val2017 \\
      --model models/glip-t --out results/coco
  glip evaluate coco coco/annotations/instances_val2017.json --images coco/val2017 \\
      --model models/glip-t --segmenter models/mobile-sam --out results/coco-masks
  glip evaluate yolo data.yaml --split val --model models/glip-t --out results/mine
  glip evaluate lvis lvis_v1_minival_inserted_image_name.json --images coco/val2017 --model models/glip-t
  glip evaluate flickr30k Flickr30kEntities --images flickr30k-images --ids Flickr30kEntities/val.txt \\
      --model models/glip-t
  glip evaluate odinw odinw --model models/glip-t --prompts GLIP/configs/odinw_35

Written to the folder of --out:
  predictions.jsonl  what the model found, image by image: what a stopped run goes on from
  detections.json    the same in COCO's format of results (not for flickr30k)
  result.json        every number, and what could not be used
  curves/            precision over recall, a plot for each category (not for flickr30k)
  mistakes.html      the worst mistakes, drawn (not for flickr30k)";

impl Evaluate {
    pub(crate) fn run(self) -> Result<Outcome> {
        match self.benchmark {
            Benchmark::Coco(command) => command.run(),
            Benchmark::Yolo(command) => command.run(),
            Benchmark::Lvis(command) => command.run(),
            Benchmark::Flickr30k(command) => command.run(),
            Benchmark::Odinw(command) => command.run(),
        }
    }
}
