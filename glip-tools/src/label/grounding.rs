//! The model as a stage of labelling.

use std::sync::{Arc, Mutex, PoisonError};

use glip::{
    Detections, Detector, Device, EncodedPrompt, GroundOptions, parts::PromptRule,
    postprocess::PostprocessOptions,
};
use image::DynamicImage;
use serde_json::{Value, json};

use crate::label::subject::Subject;

/// Finds things in images. Tests have one without a model.
pub(super) trait Grounding: Send + Sync {
    /// The thresholds and limits that are used if nobody says otherwise.
    fn defaults(&self) -> &PostprocessOptions;

    /// How it wants prompts written.
    fn rule(&self) -> &PromptRule;

    /// What it runs on.
    fn device(&self) -> Device;

    /// What the model is called.
    fn name(&self) -> &str;

    /// What its results depend on.
    fn identity(&self) -> Value;

    /// What is found in each image.
    fn ground(
        &self,
        images: &[&DynamicImage],
        subject: &Arc<Subject>,
        options: &GroundOptions,
    ) -> glip::Result<Vec<Detections>>;
}

/// A detector that remembers the words of its last call, which are mostly those of the next.
pub(super) struct ModelGrounding {
    detector: Detector,
    last: Mutex<Option<(Arc<Subject>, Arc<EncodedPrompt>)>>,
}

impl ModelGrounding {
    pub(super) fn new(detector: Detector) -> Self {
        Self {
            detector,
            last: Mutex::default(),
        }
    }

    fn prompt(&self, subject: &Arc<Subject>) -> glip::Result<Arc<EncodedPrompt>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, prompt)) = last.as_ref()
            && (Arc::ptr_eq(known, subject) || known == subject)
        {
            return Ok(Arc::clone(prompt));
        }
        let prompt = Arc::new(self.detector.encode_prompt(subject.prompt())?);
        *last = Some((Arc::clone(subject), Arc::clone(&prompt)));
        Ok(prompt)
    }
}

impl Grounding for ModelGrounding {
    fn defaults(&self) -> &PostprocessOptions {
        self.detector.postprocessor().options()
    }

    fn rule(&self) -> &PromptRule {
        self.detector.manifest().prompt()
    }

    fn device(&self) -> Device {
        self.detector.device()
    }

    fn name(&self) -> &str {
        self.detector.manifest().name()
    }

    fn identity(&self) -> Value {
        let manifest = self.detector.manifest();
        json!({
            "fingerprint": manifest.source().fingerprint,
            "precision": manifest.precision().to_string(),
            "preprocess": self.detector.preprocessor().options(),
            "postprocess": self.defaults(),
        })
    }

    fn ground(
        &self,
        images: &[&DynamicImage],
        subject: &Arc<Subject>,
        options: &GroundOptions,
    ) -> glip::Result<Vec<Detections>> {
        let prompt = self.prompt(subject)?;
        let images = images.iter().copied();
        self.detector.ground_batch_with(images, &*prompt, options)
    }
}
