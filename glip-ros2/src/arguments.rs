//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Parser};
use glip::{Device, live::LiveOptions, parts::CpuOptions, tracks::TrackOptions};
use ros2_client::ServiceMapping;

use crate::loader::Loader;

/// Finds in a camera's images what words describe: a node of ROS 2 that needs no ROS where it runs.
///
/// It looks at the newest image of a topic, always, and publishes boxes with names, scores and ids that stay from image to image
/// (vision_msgs/Detection2DArray), under the time and frame of the image. It speaks DDS, as the nodes of rmw_fastrtps_cpp and
/// rmw_cyclonedds_cpp do.
///
/// On demand it publishes the image with all that drawn on it, and the pixels of what was found; and it has a service that takes
/// an image and what to look for.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = AFTER)]
#[command(group = ArgGroup::new("pictures").args(["annotated", "masks"]).multiple(true))]
pub(crate) struct Arguments {
    /// The topic that images come from: sensor_msgs/Image, in rgb8, bgr8, rgba8, bgra8, mono8, mono16, nv12, nv21, yuv422,
    /// yuv422_yuy2 or bayer_*8.
    #[arg(long, value_name = "TOPIC", default_value = "/image")]
    pub(crate) image: String,
    /// The images are sensor_msgs/CompressedImage, in JPEG or PNG.
    #[arg(long)]
    pub(crate) compressed: bool,
    /// Images that get lost on the way are to be sent again. The camera has to offer it; without this, as ROS has it for sensors,
    /// an image of which a packet is lost is gone.
    #[arg(long)]
    pub(crate) reliable: bool,
    /// The topic that boxes go to: vision_msgs/Detection2DArray.
    #[arg(long, value_name = "TOPIC", default_value = "/detections")]
    pub(crate) detections: String,
    /// A topic for the newest image with masks, boxes, names and ids drawn on it: sensor_msgs/Image, in rgb8. It is drawn only while
    /// somebody subscribes, beside the detector.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) annotated: Option<String>,
    /// A topic for the pixels of what was found: sensor_msgs/Image, in mono8, whose levels are the places of detections in their
    /// message, counted from 1; 0 is nothing. Needs --segmenter, and is made only while somebody subscribes, beside the detector.
    #[arg(long, value_name = "TOPIC", requires = "segmenter")]
    pub(crate) masks: Option<String>,
    /// The service that takes an image and what to look for: glip_msgs/Ground. `~` is the node's name.
    #[arg(long, value_name = "NAME", default_value = "~/ground")]
    pub(crate) service: String,
    /// What to look for: phrases between dots.
    #[arg(long, value_name = "PHRASES")]
    pub(crate) prompt: String,
    /// The score that detections must be over, 0 to 1 [default: the model's own].
    #[arg(long, value_name = "SCORE")]
    pub(crate) threshold: Option<f32>,
    /// The longest that a result may take from its image's arrival, in milliseconds: what would come later is not begun
    /// [default: none].
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    deadline: Option<Duration>,
    /// Gives detections no ids.
    #[arg(long)]
    no_tracks: bool,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    pub(crate) ros: RosOptions,
}

/// The model, and how it runs.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Model")]
struct ModelOptions {
    /// The model's folder [default: glip-nano, in this program, which knows COCO's 80 kinds of things].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// A segmenter's folder, as `python -m glip_torch.export_segmenter` writes it, for --masks and --annotated.
    #[arg(long, value_name = "DIR", requires = "pictures")]
    segmenter: Option<PathBuf>,
    /// What it runs on: cpu, cuda, tensorrt, coreml, directml or openvino, the second GPU as cuda:1. All but the CPU need a build
    /// with the feature of that name.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// The threads of one run of the model; 0 lets ONNX Runtime choose.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Has these threads sleep while they wait, and leave the processor to the robot's other nodes.
    #[arg(long)]
    no_spinning: bool,
    /// Binds each thread to a core, in place of --threads: the first is of the one that looks at images. Frames vary less in time.
    #[arg(
        long,
        value_name = "N,N",
        value_delimiter = ',',
        conflicts_with = "threads"
    )]
    cores: Vec<usize>,
}

/// The node among others.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "ROS")]
pub(crate) struct RosOptions {
    /// The node's name.
    #[arg(long, default_value = "glip")]
    pub(crate) name: String,
    /// The namespace of the node, and of names that do not begin with a slash.
    #[arg(long, default_value = "/")]
    pub(crate) namespace: String,
    /// The domain that the other nodes are in, 0 to 232.
    #[arg(
        long,
        value_name = "N",
        env = "ROS_DOMAIN_ID",
        default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=232)
    )]
    pub(crate) domain: u16,
    /// What the nodes that call the service speak: rmw_fastrtps_cpp or rmw_cyclonedds_cpp. They exchange messages, but call services
    /// differently. Parameters are set as rmw_fastrtps_cpp does it.
    #[arg(
        long,
        value_name = "RMW",
        env = "RMW_IMPLEMENTATION",
        default_value = "rmw_fastrtps_cpp",
        value_parser = service_mapping
    )]
    pub(crate) rmw: ServiceMapping,
}

const AFTER: &str = "\
Parameters, which can be changed while it runs:
  prompt     ros2 param set /glip prompt \"dog . ball\"
  threshold  ros2 param set /glip threshold 0.4
  model      ros2 param set /glip model /models/glip-t     (\"\" is glip-nano)
A value that cannot be is refused, with the reason, and all goes on as before.

Topics:
  --image       in    best effort, the last 1 (with --reliable: reliable)
  --detections  out   reliable, the last 10
  --annotated   out   reliable, the last 1, while somebody subscribes
  --masks       out   reliable, the last 1, while somebody subscribes
  /diagnostics  out   once a second: images looked at, dropped and late, times of all stages, memory

Service, of the type glip_msgs/srv/Ground, for which glip-ros2/glip_msgs is a package of ROS:
  ~/ground      image, prompt, threshold (the model's own, if it is not over 0) -> success, message, detections

Examples:
  glip-ros2 --image /camera/image_raw --detections /detections --prompt \"person . cup\"
  glip-ros2 --image /camera/image_raw/compressed --compressed --prompt \"person\" --model models/glip-t --device cuda
  glip-ros2 --image /camera/image_raw --prompt \"cup\" --annotated /annotated --masks /masks --segmenter models/mobile-sam
  ROS_DOMAIN_ID=7 glip-ros2 --image /front/image --prompt \"forklift\" --deadline 200 --no-spinning

ONNX Runtime (1.25 or later) is loaded from the file that ORT_DYLIB_PATH names, or from where it is found, as `pip install
onnxruntime` puts it. RUST_LOG=info says more of what happens.

Exit codes: 0, Ctrl-C, SIGINT or SIGTERM ended it; 2, the command line makes no sense; 3, it could not begin, for the reason given.";

impl Arguments {
    pub(crate) fn loader(&self) -> Loader {
        let ModelOptions {
            device,
            threads,
            no_spinning,
            ref cores,
            ..
        } = self.model;
        let cpu = CpuOptions::default().with_cores(cores.iter().copied());
        Loader {
            device,
            threads,
            cpu: match no_spinning {
                true => cpu.without_spinning(),
                false => cpu,
            },
        }
    }

    pub(crate) fn model(&self) -> Option<&std::path::Path> {
        self.model.model.as_deref()
    }

    pub(crate) fn segmenter(&self) -> Option<&std::path::Path> {
        self.model.segmenter.as_deref()
    }

    pub(crate) fn live_options(&self) -> LiveOptions {
        let mut options = LiveOptions::default();
        options.deadline = self.deadline;
        options.tracks = (!self.no_tracks).then(TrackOptions::default);
        options
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let milliseconds = text
        .parse()
        .map_err(|_| "a number of milliseconds, for example 200")?;
    Ok(Duration::from_millis(milliseconds))
}

/// How services are called.
fn service_mapping(rmw: &str) -> Result<ServiceMapping, String> {
    match rmw {
        "rmw_fastrtps_cpp" | "rmw_fastrtps_dynamic_cpp" => Ok(ServiceMapping::Enhanced),
        "rmw_cyclonedds_cpp" => Ok(ServiceMapping::Cyclone),
        _ => Err("the node speaks with rmw_fastrtps_cpp and rmw_cyclonedds_cpp".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_that_need_others_say_so() {
        for (options, is_taken) in [
            (&["--annotated", "/a"][..], true),
            (&["--masks", "/m"], false),
            (&["--segmenter", "s"], false),
            (&["--masks", "/m", "--segmenter", "s"], true),
            (
                &["--masks", "/m", "--segmenter", "s", "--annotated", "/a"],
                true,
            ),
            (&["--annotated", "/a", "--segmenter", "s"], true),
            (&["--rmw", "rmw_cyclonedds_cpp"], true),
            (&["--rmw", "rmw_zenoh_cpp"], false),
        ] {
            let words = ["glip-ros2", "--prompt", "cup"];
            let parsed = Arguments::try_parse_from(words.iter().chain(options));
            assert_eq!(parsed.is_ok(), is_taken, "{options:?}: {parsed:?}");
        }
    }

    #[test]
    fn examples_of_the_help_are_command_lines() {
        let (_, examples) = AFTER.split_once("Examples:\n").unwrap();
        let lines = examples.lines().take_while(|line| !line.is_empty());
        let mut count = 0;
        for line in lines {
            let (_, arguments) = line.split_once("glip-ros2 ").unwrap();
            // Words, and what stands between quotation marks.
            let words =
                arguments
                    .split('"')
                    .enumerate()
                    .flat_map(|(place, part)| match place % 2 {
                        0 => part.split_whitespace().collect(),
                        _ => vec![part],
                    });
            let arguments = Arguments::try_parse_from(std::iter::once("glip-ros2").chain(words));
            assert!(arguments.is_ok(), "{line}: {arguments:?}");
            count += 1;
        }
        assert_eq!(count, 4);
    }
}
