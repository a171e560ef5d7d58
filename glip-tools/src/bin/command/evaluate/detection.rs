//! Boxes in COCO's and LVIS' data sets.

use std::path::{Path, PathBuf};

use glip::{Detector, GroundOptions, Segmenter};
use glip_tools::{
    Error, PictureFrames, Problem, Result,
    coco::{Category, Dataset, Image},
    eval::{
        Detection, DetectionScores, Overlap, Prediction, Protocol, ResultFolder, Task,
        average_precision, category_words, encode_words, read_detections, report::detection_table,
    },
    left_out, say,
    yolo::DataFile,
};
use image::DynamicImage;
use serde::Serialize;
use serde_json::json;

use super::{
    options::{CommonOptions, digest, digest_file, run_key},
    results::{self, Pictures},
};
use crate::{
    output::{self, Outcome},
    signals,
};

/// COCO's AP and AR: the twelve numbers, and those of every category.
#[derive(clap::Args)]
pub(crate) struct Coco {
    /// The annotations: a JSON file in COCO's format, such as instances_val2017.json.
    annotations: PathBuf,
    /// The folder of the images.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// What is laid over the objects: boxes (bbox) or pixels (segm), which needs --segmenter, or --predictions with them
    /// [default: bbox; segm with --segmenter].
    #[arg(
        long,
        value_name = "KIND",
        default_value = "bbox",
        default_value_if("segmenter", clap::builder::ArgPredicate::IsPresent, "segm"),
        requires_if("segm", "masks"),
        hide_default_value = true
    )]
    iou: Overlap,
    /// A segmenter's folder, as `python -m glip_torch.export_segmenter` writes it: it finds the pixels in the boxes
    /// that the model finds.
    #[arg(long, value_name = "DIR", group = "masks")]
    segmenter: Option<PathBuf>,
    #[command(flatten)]
    asking: AskingOptions,
    #[command(flatten)]
    common: CommonOptions,
}

impl Coco {
    pub(crate) fn run(self) -> Result<Outcome> {
        let set = DetectionSet {
            name: "coco".into(),
            annotations: Annotations::Coco(self.annotations),
            images: self.images,
            protocol: Protocol::Coco,
            overlap: self.iou,
        };
        // Of boxes alone, nobody wants the pixels.
        let segmenter = self.segmenter.filter(|_| self.iou == Overlap::Masks);
        measure_one(&set, segmenter.as_deref(), &self.asking, &self.common)
    }
}

/// COCO's AP and AR on a data set as YOLO has it.
#[derive(clap::Args)]
pub(crate) struct Yolo {
    /// The data set: its data.yaml, or a folder with one, or with classes.txt beside images and labels.
    data: PathBuf,
    /// The split to measure: train, val or test.
    #[arg(long, default_value = "val")]
    split: String,
    #[command(flatten)]
    asking: AskingOptions,
    #[command(flatten)]
    common: CommonOptions,
}

impl Yolo {
    pub(crate) fn run(self) -> Result<Outcome> {
        let set = DetectionSet {
            name: "yolo".into(),
            annotations: Annotations::Yolo {
                data: self.data,
                split: self.split,
            },
            images: PathBuf::new(),
            protocol: Protocol::Coco,
            overlap: Overlap::Boxes,
        };
        measure_one(&set, None, &self.asking, &self.common)
    }
}

/// LVIS' AP by its federated rules: of rare, common and frequent categories too; fixed AP by default, as
/// GLIP reports it.
#[derive(clap::Args)]
pub(crate) struct Lvis {
    /// The annotations: LVIS' JSON file, such as lvis_v1_minival_inserted_image_name.json.
    annotations: PathBuf,
    /// The folder of the images, or the one above train2017 and val2017.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// The standard AP, of the best 300 detections of an image, instead of fixed AP.
    #[arg(long)]
    standard: bool,
    #[command(flatten)]
    asking: AskingOptions,
    #[command(flatten)]
    common: CommonOptions,
}

impl Lvis {
    /// Official asks for 40 names at a time.
    const NAMES_PER_PROMPT: usize = 40;

    pub(crate) fn run(self) -> Result<Outcome> {
        let set = DetectionSet {
            name: "lvis".into(),
            annotations: Annotations::Coco(self.annotations),
            images: self.images,
            protocol: match self.standard {
                true => Protocol::Lvis,
                false => Protocol::LVIS_FIXED,
            },
            overlap: Overlap::Boxes,
        };
        let names = self
            .asking
            .names_per_prompt
            .unwrap_or(Self::NAMES_PER_PROMPT);
        let asking = AskingOptions {
            names_per_prompt: Some(names),
            ..self.asking
        };
        measure_one(&set, None, &asking, &self.common)
    }
}

/// What the model is asked for.
#[derive(clap::Args)]
#[command(next_help_heading = "Prompts")]
pub(super) struct AskingOptions {
    /// A JSON or YAML file with what to ask for: an entry for each category, by ascending id, as ODinW's
    /// prompt files [default: the categories' names].
    #[arg(long, value_name = "FILE")]
    pub(super) prompts: Option<PathBuf>,
    /// The most names in a prompt [default: as many as fit; 40 for lvis].
    #[arg(long, value_name = "N")]
    pub(super) names_per_prompt: Option<usize>,
    /// The most detections of an image [default: 100; 300 for lvis --standard; any number for fixed AP].
    #[arg(long, value_name = "N")]
    pub(super) max_detections: Option<usize>,
    /// Measures these detections (a file in COCO's format of results) instead of running a model.
    #[arg(long, value_name = "FILE", group = "masks")]
    pub(super) predictions: Option<PathBuf>,
}

/// A data set on disk.
pub(super) struct DetectionSet {
    pub(super) name: String,
    pub(super) annotations: Annotations,
    pub(super) images: PathBuf,
    pub(super) protocol: Protocol,
    pub(super) overlap: Overlap,
}

/// Where it stands what is in the images.
pub(super) enum Annotations {
    /// In a file in COCO's format.
    Coco(PathBuf),
    /// In a text for each image; the file says where those are.
    Yolo {
        /// YOLO's data.yaml, or a folder.
        data: PathBuf,
        /// One of its splits.
        split: String,
    },
}

impl Annotations {
    fn path(&self) -> &Path {
        match self {
            Self::Coco(path) | Self::Yolo { data: path, .. } => path,
        }
    }

    fn read(&self, overlap: Overlap, common: &CommonOptions) -> Result<(Dataset, Vec<Problem>)> {
        match self {
            Self::Coco(path) if overlap == Overlap::Masks => Dataset::read_with_masks(path),
            Self::Coco(path) => Dataset::read(path),
            Self::Yolo { data, split } => {
                // Plots are no pictures of the set.
                let out = [common.out.clone(), common.out.join("curves")];
                let data = DataFile::read(data)?.without(out);
                if let Some(line) = left_out(&data.pictures(split)?.left_out) {
                    say(line);
                }
                data.dataset(split)
            }
        }
    }

    /// What changes with them.
    fn digest(&self, truth: &Dataset) -> Result<String> {
        match self {
            Self::Coco(path) => digest_file(path),
            Self::Yolo { .. } => Ok(digest([format!("{truth:?}")])),
        }
    }

    /// Whether boxes are those of upright pictures, whatever the sizes say.
    fn is_upright(&self) -> bool {
        matches!(self, Self::Yolo { .. })
    }
}

/// What `result.json` holds.
#[derive(Serialize)]
pub(super) struct DetectionResult {
    pub(super) set: String,
    pub(super) images: usize,
    pub(super) scores: DetectionScores,
    pub(super) problems: Vec<Problem>,
}

/// What finds things.
pub(super) struct Models<'a> {
    detector: &'a Detector,
    /// Finds their pixels, if those are measured.
    segmenter: Option<&'a Segmenter>,
}

impl<'a> Models<'a> {
    pub(super) fn of_boxes(detector: &'a Detector) -> Self {
        let segmenter = None;
        Self {
            detector,
            segmenter,
        }
    }
}

fn measure_one(
    set: &DetectionSet,
    segmenter: Option<&Path>,
    asking: &AskingOptions,
    common: &CommonOptions,
) -> Result<Outcome> {
    let detector = match asking.predictions {
        Some(_) => None,
        None => Some(common.model.builder()?.build()?),
    };
    let segmenter = segmenter.map(|folder| common.model.segmenter(folder));
    let segmenter = segmenter.transpose()?;
    let models = detector.as_ref().map(|detector| Models {
        detector,
        segmenter: segmenter.as_ref(),
    });
    signals::watch();
    let folder = ResultFolder::create(&common.out)?;
    let result = measure(set, models.as_ref(), asking, common, &folder)?;
    let text = match common.json {
        true => serde_json::to_string(&result).unwrap_or_default() + "\n",
        false => detection_table(&result.scores),
    };
    output::print(&text)?;
    Ok(Outcome::of_failures(result.problems.len() as u64))
}

/// Measures a set and writes its results.
pub(super) fn measure(
    set: &DetectionSet,
    models: Option<&Models<'_>>,
    asking: &AskingOptions,
    common: &CommonOptions,
    folder: &ResultFolder,
) -> Result<DetectionResult> {
    let (mut truth, mut problems) = set.annotations.read(set.overlap, common)?;
    let data = set.annotations.digest(&truth)?;
    if let Some(root) = &truth.root {
        let Category { id, name, .. } = root;
        say(format_args!(
            "not asked for: category {id}, {name:?}, which is above all others and has no boxes"
        ));
    }
    if let Some(limit) = common.limit {
        truth.images.truncate(limit);
        truth.retain_images(|_| true);
    }
    let frames = |image: &Image| PictureFrames::read(image.path_in(&set.images)).ok();
    problems.extend(truth.complete_sizes(frames));
    common.tell(&problems)?;
    let tasks: Vec<Task> = truth.images.iter().map(|image| task(image, set)).collect();
    let (found, more) = match (models, &asking.predictions) {
        (Some(models), _) => {
            let run = Run {
                set,
                models,
                asking,
                common,
                folder,
                data,
            };
            run.detections(&mut truth, &tasks)?
        }
        (None, Some(file)) => {
            let (found, problems) = read_detections(file, &truth, set.overlap)?;
            common.tell(&problems)?;
            (found, problems)
        }
        (None, None) => (Vec::new(), Vec::new()),
    };
    problems.extend(more);
    if truth.images.is_empty() {
        return Err(Error::NothingToMeasure {
            path: set.annotations.path().to_owned(),
        });
    }
    let result = DetectionResult {
        set: set.name.clone(),
        images: truth.images.len(),
        scores: average_precision(&truth, &found, set.protocol, set.overlap)?,
        problems,
    };
    folder.write_json("result.json", &result)?;
    folder.write_curves(&result.scores.classes)?;
    let pictures = Pictures {
        tasks: &tasks,
        limits: common.limits(),
    };
    let open = |image| pictures.open(image);
    folder.write_mistakes(&set.name, &truth, &found, &result.scores, open)?;
    Ok(result)
}

/// An image as the model is to look at it.
fn task(image: &Image, set: &DetectionSet) -> Task {
    Task {
        key: image.id.to_string(),
        path: image.path_in(&set.images),
        size: image.size(),
        is_upright: set.annotations.is_upright(),
    }
}

/// A model looking for the categories of a set.
struct Run<'a> {
    set: &'a DetectionSet,
    models: &'a Models<'a>,
    asking: &'a AskingOptions,
    common: &'a CommonOptions,
    folder: &'a ResultFolder,
    /// What changes with the annotations.
    data: String,
}

impl Run<'_> {
    /// What the model finds, in the order of the images. Images that it cannot look at leave the set.
    fn detections(
        &self,
        truth: &mut Dataset,
        tasks: &[Task],
    ) -> Result<(Vec<Detection>, Vec<Problem>)> {
        let &Models {
            detector,
            segmenter,
        } = self.models;
        let words = category_words(truth, self.asking.prompts.as_deref())?;
        let prompt = encode_words(detector, &words, self.asking.names_per_prompt)?;
        let ids: Vec<u64> = truth
            .categories
            .iter()
            .map(|category| category.id)
            .collect();
        let limit = self.max_detections();
        let prompts = self
            .asking
            .prompts
            .as_deref()
            .map(digest_file)
            .transpose()?;
        let mut options = json!({
            "prompts": prompts, // without it, the words are those of the annotations
            "names_per_prompt": self.asking.names_per_prompt,
            "max_detections": limit,
        });
        if let Some(segmenter) = segmenter {
            options["segmenter"] = json!(segmenter.manifest().identity());
        }
        let key = run_key(detector, self.data.clone(), options);
        let asked = GroundOptions::default()
            .with_score_threshold(0.0)
            .with_max_detections(limit);
        let ask = |_, picture: &DynamicImage| {
            let image = detector.encode_image(picture)?;
            let found = detector.ground_with(&image, &prompt, &asked)?;
            let masks = segmenter.map(|segmenter| segmenter.masks(picture, found.boxes()));
            let mut masks = masks.transpose()?.into_iter().flatten();
            let predictions = found.iter().map(|found| {
                let class = ids.get(found.phrase_index).copied().unwrap_or_default();
                Prediction::new(class, found).with_mask(masks.next().map(|mask| mask.rle()))
            });
            Ok(predictions.collect())
        };
        let (file, problems) = results::predictions(self.folder, tasks, ask, &key, self.common)?;
        truth.retain_images(|image| file.get(&image.id.to_string()).is_some());
        let of_image = |image: &Image| {
            let found = file.get(&image.id.to_string()).unwrap_or_default();
            found
                .iter()
                .map(|found| Detection::new(image.id, found))
                .collect::<Vec<_>>()
        };
        let found: Vec<Detection> = truth.images.iter().flat_map(of_image).collect();
        self.folder.write_json("detections.json", &found)?;
        Ok((found, problems))
    }

    fn max_detections(&self) -> usize {
        self.asking
            .max_detections
            .unwrap_or(match self.set.protocol {
                Protocol::Coco => 100,
                Protocol::Lvis => 300,
                // No image has a limit of its own; a million is more than the head has anchors.
                Protocol::LvisFixed { .. } => 1_000_000,
            })
    }
}
