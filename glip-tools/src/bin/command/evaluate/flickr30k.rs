//! Phrases of captions in Flickr30K Entities.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use glip::{Detector, EncodedImage, EncodedPrompt, GroundOptions, Prompt};
use glip_tools::{
    Error, Problem, Result,
    eval::{
        PhraseProtocol, PhraseRecall, PhraseResult, Prediction, PredictionFile, ResultFolder,
        Sentence, Task, phrase_recall, read_sentences, report::phrase_table,
    },
};
use image::DynamicImage;
use serde::Serialize;
use serde_json::json;

use super::{
    options::{CommonOptions, digest, run_key},
    results,
};
use crate::{
    output::{self, Outcome},
    signals,
};

/// Flickr30K Entities' Recall@1, 5 and 10 of phrases, by both protocols: any box of a phrase, and the box
/// around all of them.
#[derive(clap::Args)]
pub(crate) struct Flickr30k {
    /// The folder with Sentences and Annotations, as Flickr30K Entities' annotations.zip unpacks.
    folder: PathBuf,
    /// The folder of the images.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// A file with the ids of a split, one a line: val.txt or test.txt [default: all images].
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    #[command(flatten)]
    common: CommonOptions,
}

/// The most detections of a sentence.
const MAX_DETECTIONS: usize = 100;

/// What `result.json` holds.
#[derive(Serialize)]
struct FlickrResult {
    images: usize,
    recall: [PhraseRecall; 2],
    problems: Vec<Problem>,
}

/// The sentences about an image.
type About<'a> = (&'a Path, Vec<&'a Sentence>);

impl Flickr30k {
    pub(crate) fn run(self) -> Result<Outcome> {
        let ids = self.ids.as_deref().map(read_ids).transpose()?;
        let (sentences, mut problems) = read_sentences(&self.folder, ids.as_deref())?;
        self.common.tell(&problems)?;
        let images = self.images(&sentences);
        if images.is_empty() {
            return Err(Error::NothingToMeasure { path: self.folder });
        }
        signals::watch();
        let folder = ResultFolder::create(&self.common.out)?;
        let tasks: Vec<Task> = images.iter().map(|(image, _)| self.task(image)).collect();
        let (file, more) = self.predictions(&images, &tasks, &folder)?;
        problems.extend(more);
        let mut phrases = Vec::new();
        let mut measured = 0;
        for ((_, sentences), task) in images.iter().zip(&tasks) {
            if let Some(found) = file.get(&task.key) {
                measured += 1;
                phrases.extend(phrase_results(sentences, found));
            }
        }
        let protocols = [PhraseProtocol::AnyBox, PhraseProtocol::MergedBoxes];
        let result = FlickrResult {
            images: measured,
            recall: protocols.map(|protocol| phrase_recall(protocol, &phrases)),
            problems,
        };
        folder.write_json("result.json", &result)?;
        let text = match self.common.json {
            true => serde_json::to_string(&result).unwrap_or_default() + "\n",
            false => phrase_table(&result.recall),
        };
        output::print(&text)?;
        if measured == 0 {
            return Err(Error::NothingToMeasure { path: self.images });
        }
        Ok(Outcome::of_failures(result.problems.len() as u64))
    }

    /// The images in the order of their names.
    fn images<'a>(&self, sentences: &'a [Sentence]) -> Vec<About<'a>> {
        let mut images: BTreeMap<&Path, Vec<&Sentence>> = BTreeMap::new();
        for sentence in sentences {
            images.entry(&sentence.image).or_default().push(sentence);
        }
        let limit = self.common.limit.unwrap_or(usize::MAX);
        images.into_iter().take(limit).collect()
    }

    fn task(&self, image: &Path) -> Task {
        Task {
            key: image.display().to_string(),
            path: self.images.join(image),
            size: None,
            is_upright: false,
        }
    }

    fn predictions(
        &self,
        images: &[About<'_>],
        tasks: &[Task],
        folder: &ResultFolder,
    ) -> Result<(PredictionFile, Vec<Problem>)> {
        let detector = self.common.model.builder()?.build()?;
        let about = images.iter().flat_map(|(_, sentences)| sentences);
        // Strings and finite numbers always become JSON.
        let lines = about.map(|sentence| serde_json::to_string(sentence).unwrap_or_default());
        let options = json!({"max_detections": MAX_DETECTIONS});
        let key = run_key(&detector, digest(lines), options);
        let ask = |task: usize, picture: &DynamicImage| {
            ask(&detector, &detector.encode_image(picture)?, &images[task].1)
        };
        results::predictions(folder, tasks, ask, &key, &self.common)
    }
}

/// Asks for the phrases of every sentence. Classes count the phrases of all sentences.
fn ask(
    detector: &Detector,
    image: &EncodedImage,
    sentences: &[&Sentence],
) -> glip::Result<Vec<Prediction>> {
    let options = GroundOptions::default()
        .with_score_threshold(0.0)
        .with_max_detections(MAX_DETECTIONS);
    let mut found = Vec::new();
    let mut first = 0;
    for sentence in sentences {
        let prompt = encode(detector, sentence)?;
        let detections = detector.ground_with(image, &prompt, &options)?;
        found.extend(detections.iter().map(|detection| {
            let class = first + detection.phrase_index as u64;
            Prediction::new(class, detection)
        }));
        first += sentence.phrases.len() as u64;
    }
    Ok(found)
}

fn encode(detector: &Detector, sentence: &Sentence) -> glip::Result<EncodedPrompt> {
    let spans = sentence.phrases.iter().map(|phrase| phrase.span.clone());
    detector.encode_prompt(Prompt::caption(&*sentence.text).spans(spans))
}

/// The phrases of an image, with what was found for each, best first.
fn phrase_results(sentences: &[&Sentence], found: &[Prediction]) -> Vec<PhraseResult> {
    let phrases = sentences.iter().flat_map(|sentence| &sentence.phrases);
    let mut results: Vec<PhraseResult> = phrases
        .map(|phrase| PhraseResult {
            kinds: phrase.kinds.clone(),
            truth: phrase.boxes.clone(),
            found: Vec::new(),
        })
        .collect();
    // Predictions of a sentence are best first.
    for prediction in found {
        if let Some(result) = results.get_mut(prediction.class as usize) {
            let [x1, y1, x2, y2] = <[f32; 4]>::from(prediction.bbox).map(f64::from);
            // The last column and row, as the annotations have them.
            result.found.push([x1, y1, x2 - 1.0, y2 - 1.0]);
        }
    }
    results
}

fn read_ids(path: &Path) -> Result<Vec<String>> {
    let text = glip::read_text(path, u64::MAX).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}
