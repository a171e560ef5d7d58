//! `glip label`: boxes and pixels of what words name, in any number of pictures.

use std::{io, path::PathBuf, sync::Arc};

use glip::Category;
use glip_tools::{
    Error, ProgressBar, Result,
    label::{
        Band, BoxFilter, Counts, Format, Inputs, LabelOptions, Labeller, MaskForm, OutputOptions,
        Run, Subject, Tiling,
    },
    left_out, say,
};

use crate::{
    model::ModelOptions,
    output::{self, Outcome},
    pictures::PictureOptions,
    signals,
};

/// Labels pictures: finds what words name in any number of them, and writes it for training and for
/// labelling tools.
///
/// With --out, boxes go into a folder. A run that was ended there, in whatever way, goes on where it
/// was when the same command is given again; pictures that were replaced since are labelled again.
/// Pictures that fail are listed in errors.jsonl.
///
/// Without --out, it is a filter: a line of JSON for each picture goes to the standard output as soon
/// as it is done, in the order of the input.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Label {
    /// What to label: folders, patterns ("shop/**/*.jpg"), pictures, lists of them (.txt), YOLO's
    /// data.yaml, JSON Lines (.jsonl), tar shards as webdataset's (.tar, .tar.gz), or - for JSON Lines from the standard input. With --out alone, the formats of the
    /// run that is there are written again.
    #[arg(value_name = "INPUT", required_unless_present = "out")]
    inputs: Vec<PathBuf>,
    /// The folder to write to.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Starts over: removes the run that is in the folder, and what it wrote.
    #[arg(long, requires = "out")]
    overwrite: bool,
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    selection: Selection,
    /// A segmenter's folder, as `python -m glip_torch.export_segmenter` writes it: the pixels of what is found too.
    #[arg(long, value_name = "DIR")]
    segmenter: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    model: ModelOptions,
}

/// What to look for in all pictures, whatever JSON Lines say.
#[derive(clap::Args)]
#[group(multiple = false)]
struct Words {
    /// A name to look for, as data sets spell them; may be given several times. Without names, every
    /// line of JSON says what to look for: "categories", or a "text" with its "phrases".
    #[arg(long = "category", value_name = "NAME")]
    names: Vec<String>,
    /// A JSON or YAML file of names, or of objects with name, prefix, suffix and synonyms; YOLO's
    /// data.yaml and classes.txt too.
    #[arg(long, value_name = "FILE")]
    categories: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Which boxes are kept")]
struct Selection {
    /// Boxes over this score are kept, 0 to 1 [default: the model's own threshold].
    #[arg(long, value_name = "SCORE")]
    keep: Option<f32>,
    /// Boxes over this score that are not kept are for a person to look at; the rest is dropped
    /// [default: nothing to look at].
    #[arg(long, value_name = "SCORE", requires = "keep", requires = "out")]
    review: Option<f32>,
    /// Scores of one phrase, in place of --keep and --review; may be given several times.
    #[arg(long = "band", value_name = "PHRASE=KEEP[:REVIEW]", value_parser = parse_band)]
    bands: Vec<(String, Band)>,
    /// Boxes that overlap a better one by more than this are suppressed, 0 to 1 [default: the
    /// model's own, 0.6].
    #[arg(long, value_name = "IOU")]
    nms: Option<f32>,
    /// Boxes also suppress those of other phrases.
    #[arg(long)]
    nms_across: bool,
    /// Cuts pictures with a longer side into tiles of SIDE pixels that overlap by OVERLAP, for small
    /// things in large pictures.
    #[arg(long, value_name = "SIDE:OVERLAP", value_parser = parse_tiling)]
    tiles: Option<Tiling>,
    /// Does not look at the whole picture besides its tiles.
    #[arg(long, requires = "tiles")]
    tiles_only: bool,
    /// Leaves out boxes of less than so many square pixels.
    #[arg(long, value_name = "PIXELS")]
    min_area: Option<f32>,
    /// Leaves out boxes that take more than this share of the picture, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    max_share: Option<f32>,
    /// Leaves out boxes whose longer side is more than so many times the shorter.
    #[arg(long, value_name = "RATIO")]
    max_aspect: Option<f32>,
    /// Leaves out boxes closer to the picture's border than so many pixels; 0.5 is for those that
    /// touch it.
    #[arg(long, value_name = "PIXELS")]
    border: Option<f32>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
struct Outputs {
    /// The formats, between commas: grounding (labels.jsonl, which glip_torch trains on), coco, yolo,
    /// gligen, label-studio, cvat.
    #[arg(
        long = "format",
        value_name = "FORMAT,...",
        value_delimiter = ',',
        default_value = "grounding,coco",
        requires = "out"
    )]
    formats: Vec<Format>,
    /// What masks are written as by coco, label-studio and cvat: rle (run lengths, brushes), or polygon, which a person
    /// can correct [default: rle].
    #[arg(long, value_name = "FORM", requires = "out")]
    masks: Option<MaskForm>,
    /// What stands before a picture's name as its address in Label Studio.
    #[arg(long, value_name = "PREFIX", default_value = "/data/local-files/?d=")]
    image_url: String,
    /// Copies pictures into the YOLO folder, instead of linking to them.
    #[arg(long)]
    copy_images: bool,
    /// Without --out, writes {"image": ..., "error": ...} in the place of a picture that fails, so that
    /// every line of input has one of output. Failures are no failure of the command then.
    #[arg(long, conflicts_with = "out")]
    inline_errors: bool,
    /// Ends at the first picture that fails.
    #[arg(long, conflicts_with = "inline_errors")]
    strict: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Work")]
struct Work {
    /// The most pictures of one size that the model sees at once [default: 1 on a CPU, else 8].
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// The threads that read and decode pictures [default: one for each processor, at most 8].
    #[arg(long, value_name = "N")]
    decoders: Option<usize>,
    #[command(flatten)]
    pictures: PictureOptions,
}

const EXAMPLES: &str = "\
Examples:
  glip label photos --category person --category traffic_light --model models/glip-t --out labels
  glip label photos --categories names.yaml --keep 0.6 --review 0.4 --out labels --format coco,label-studio
  glip label 'aerial/**/*.tif' --category car --tiles 1024:128 --border 0.5 --out labels --format yolo
  glip label captions.jsonl --out labels --format grounding,gligen
  glip label shards/*.tar.gz --categories names.json --out labels
  glip label data.yaml --out labels                # YOLO's data set, whose names are looked for
  glip label --out labels --format cvat            # one more format of a run that is over
  glip label photos --categories names.yaml --segmenter models/mobile-sam --masks polygon --out labels --format coco,yolo
  cat pictures.jsonl | glip label - | jq -c .categories

A line of input: {\"image\": \"a.jpg\", \"categories\": [\"dog\", \"cat\"]}, or {\"image\": \"a.jpg\",
\"text\": \"a dog on a sofa\"} with \"phrases\": [{\"spans\": [[0, 5]]}] or without, which finds its noun
phrases. A line of output has \"width\", \"height\", and \"boxes\" [x1, y1, x2, y2] and \"scores\" of each
category or phrase. Paths are relative to the file of lines; from the standard input, to the current
folder. With a segmenter there are \"masks\" of the boxes too, COCO's run lengths: {\"size\": [height, width],
\"counts\", \"score\"}.

The exit code is 1 if a picture failed, and the rest is done.";

impl Label {
    pub(crate) fn run(self) -> Result<Outcome> {
        match &self.out {
            Some(folder) if self.inputs.is_empty() => {
                let run = Run::reopen(folder)?;
                self.check_masks(run.journal().header().has_masks())?;
                Ok(Outcome::of_failures(run.write(&self.output_options())?))
            }
            Some(folder) => self.label_folder(folder.clone()),
            None => self.filter(),
        }
    }

    fn label_folder(&self, folder: PathBuf) -> Result<Outcome> {
        signals::watch();
        self.check_masks(self.segmenter.is_some())?;
        let inputs = Inputs::find_for(&self.inputs, &folder)?;
        tell_left_out(&inputs);
        let subject = self.subject()?.or(inputs.subject());
        if self.overwrite {
            Run::discard(&folder)?;
        }
        let labeller = self.labeller()?;
        let mut run = Run::open(&folder, &labeller, &inputs, subject.as_ref())?;
        let progress = ProgressBar::new(inputs.len(), "images");
        let counts = run.label(&labeller, inputs.requests(subject)?, |outcome| {
            progress.advance();
            if let Err(failure) = outcome {
                progress.say(&format!("{}: {}", failure.image, failure.error));
            }
            signals::check()?;
            match outcome {
                Err(failure) if self.outputs.strict => Err(Error::Failed(failure.clone())),
                _ => Ok(()),
            }
        });
        progress.finish();
        let counts = counts?;
        let failures = run.write(&self.output_options())?;
        output::print(&summary(&counts, failures))?;
        Ok(Outcome::of_failures(failures))
    }

    fn filter(&self) -> Result<Outcome> {
        let inputs = Inputs::find(&self.inputs)?;
        tell_left_out(&inputs);
        let subject = self.subject()?.or(inputs.subject());
        let labeller = self.labeller()?;
        if let Some(subject) = &subject {
            labeller.check(subject)?;
        }
        let model = labeller.model().to_owned();
        let counts = labeller.run(inputs.requests(subject)?, |outcome| match outcome {
            Ok(record) => {
                let mut record = record.to_grounding();
                record.source.get_or_insert_with(|| model.clone());
                print_line(record.to_line().map_err(io::Error::from))
            }
            Err(failure) if self.outputs.inline_errors => print_line(Ok(failure.to_line())),
            Err(failure) if self.outputs.strict => Err(Error::Failed(failure)),
            Err(failure) => {
                say(format_args!("{}: {}", failure.image, failure.error));
                Ok(())
            }
        });
        match self.outputs.inline_errors {
            true => counts.map(|_| Outcome::Complete),
            false => counts.map(|counts| Outcome::of_failures(counts.failed)),
        }
    }

    /// That what was said of masks can be done, to know before a run.
    fn check_masks(&self, has_masks: bool) -> Result<()> {
        match (self.outputs.masks, has_masks) {
            (Some(form), false) => Err(Error::Option {
                option: "masks",
                found: form.name().to_owned(),
                expected: "a run with masks: add --segmenter DIR, or leave it out".to_owned(),
            }),
            (_, false) => Ok(()),
            (_, true) => {
                let formats = self.outputs.formats.iter();
                for format in formats.filter(|format| !format.has_masks()) {
                    say(format_args!(
                        "{format} has no place for masks: boxes alone are in it"
                    ));
                }
                Ok(())
            }
        }
    }

    /// What to look for in all pictures, if anything.
    fn subject(&self) -> Result<Option<Arc<Subject>>> {
        let Words { names, categories } = &self.words;
        let subject = match categories {
            Some(file) => Subject::categories(Category::load(file)?),
            None if names.is_empty() => return Ok(None),
            None => Subject::categories(names),
        };
        Ok(Some(Arc::new(subject)))
    }

    fn labeller(&self) -> Result<Labeller> {
        let options = self.label_options();
        let builder = self.model.builder()?;
        let builder = builder.max_batch(options.batch_on(self.model.device()));
        let labeller = Labeller::new(builder.build()?, options)?;
        match &self.segmenter {
            Some(folder) => Ok(labeller.with_segmenter(self.model.segmenter(folder)?)),
            None => Ok(labeller),
        }
    }

    fn label_options(&self) -> LabelOptions {
        let Selection { nms_across, .. } = self.selection;
        let mut options = LabelOptions::default()
            .with_boxes(self.selection.boxes())
            .with_nms_across_phrases(nms_across)
            .with_pictures(self.work.pictures.limits());
        if let Some(keep) = self.selection.keep {
            options = options.with_band(Band::review(self.selection.review.unwrap_or(keep), keep));
        }
        for (phrase, band) in &self.selection.bands {
            options = options.with_phrase_band(phrase, *band);
        }
        options.nms_iou = self.selection.nms;
        options.tiling = self.selection.tiling();
        options.batch = self.work.batch;
        match self.work.decoders {
            Some(threads) => options
                .with_decoders(threads)
                .with_decoded_ahead(2 * threads),
            None => options,
        }
    }

    fn output_options(&self) -> OutputOptions {
        OutputOptions::default()
            .with_formats(self.outputs.formats.iter().copied())
            .with_image_url(&self.outputs.image_url)
            .with_copy_images(self.outputs.copy_images)
            .with_masks(self.outputs.masks.unwrap_or_default())
    }
}

impl Selection {
    fn boxes(&self) -> BoxFilter {
        let mut boxes = BoxFilter::default();
        boxes.min_area = self.min_area;
        boxes.max_share = self.max_share;
        boxes.max_aspect = self.max_aspect;
        boxes.border = self.border;
        boxes
    }

    fn tiling(&self) -> Option<Tiling> {
        let tiling = self.tiles.clone()?;
        Some(tiling.with_whole_image(!self.tiles_only))
    }
}

/// Writes a line to the standard output, at once.
fn print_line(line: io::Result<String>) -> Result<()> {
    let line = line.map_err(output::unprintable)?;
    output::print(&format!("{line}\n"))
}

fn tell_left_out(inputs: &Inputs) {
    if let Some(line) = left_out(&inputs.left_out()) {
        say(line);
    }
}

fn summary(counts: &Counts, failures: u64) -> String {
    let Counts {
        labelled,
        kept,
        in_review,
        ..
    } = counts;
    let mut summary = format!("{labelled} images, {kept} boxes");
    if *in_review > 0 {
        summary += &format!(", {in_review} more to review");
    }
    if failures > 0 {
        summary += &format!(", {failures} failed (errors.jsonl)");
    }
    summary + "\n"
}

fn parse_band(text: &str) -> Result<(String, Band), String> {
    let parse = || {
        let (phrase, scores) = text.rsplit_once('=')?;
        let band = match scores.split_once(':') {
            Some((keep, review)) => Band::review(review.parse().ok()?, keep.parse().ok()?),
            None => Band::keep(scores.parse().ok()?),
        };
        Some((phrase.to_owned(), band))
    };
    parse().ok_or_else(|| {
        "a phrase and one or two scores, for example \"cat=0.7\" or \"cat=0.7:0.5\"".to_owned()
    })
}

fn parse_tiling(text: &str) -> Result<Tiling, String> {
    let parse = || {
        let (side, overlap) = text.split_once(':')?;
        Some(Tiling::new(side.parse().ok()?, overlap.parse().ok()?))
    };
    parse().ok_or_else(|| "two numbers of pixels, for example 1024:128".to_owned())
}
