//! How good a detector is: average precision, recall of phrases, and what went wrong.
//!
//! [`average_precision`] measures boxes and masks by COCO's and LVIS' rules, [`phrase_recall`] phrases by those of
//! Flickr30K Entities, [`odinw_summary`] averages over sets, and [`mistakes`] shows what is behind the
//! numbers. [`run_model`] makes what they measure: it runs a model over images and keeps what it finds in
//! a [`PredictionFile`], so that a run that was stopped goes on.

mod average_precision;
mod detection;
mod flickr30k;
mod mistakes;
mod odinw;
mod overlap;
mod phrase_recall;
mod predictions;
mod prompts;
pub mod report;
mod results;
mod run;

pub use average_precision::{
    Averages, ClassScores, Curve, DetectionScores, Protocol, average_precision,
};
pub use detection::{Detection, read_detections};
pub use flickr30k::{MarkedPhrase, Sentence, read_sentences};
pub use mistakes::{Mistakes, mistakes};
pub use odinw::{NamedScores, OdinwSet, find_odinw_sets, odinw_summary};
pub use overlap::Overlap;
pub use phrase_recall::{PhraseProtocol, PhraseRecall, PhraseResult, RecallAt, phrase_recall};
pub use predictions::{Prediction, PredictionFile, RunKey};
pub use prompts::{category_words, encode_words};
pub use results::{ResultFolder, file_name};
pub use run::{RunOptions, Task, open_picture, run_model};
