//! The model as a stage of labelling.

use std::sync::{Arc, Mutex, PoisonError};

use glip::{Detections, Detector, Device, GroundOptions, PostprocessOptions, Query};
use image::DynamicImage;
use serde_json::{Value, json};

use crate::label::subject::Subject;

/// Finds things in images. Tests have one without a model.
pub(super) trait Grounding: Send + Sync {
    /// The thresholds and limits that are used if nobody says otherwise.
    fn defaults(&self) -> &PostprocessOptions;

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
        options: PostprocessOptions,
    ) -> glip::Result<Vec<Detections>>;
}

/// A detector that remembers the words of its last call, which are mostly those of the next.
pub(super) struct ModelGrounding {
    detector: Detector,
    last: Mutex<Option<(Arc<Subject>, Arc<Query>)>>,
}

impl ModelGrounding {
    pub(super) fn new(detector: Detector) -> Self {
        Self {
            detector,
            last: Mutex::default(),
        }
    }

    fn query(&self, subject: &Arc<Subject>) -> glip::Result<Arc<Query>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, query)) = last.as_ref()
            && (Arc::ptr_eq(known, subject) || known == subject)
        {
            return Ok(Arc::clone(query));
        }
        let query = Arc::new(self.detector.encode_prompt(subject.prompt())?);
        *last = Some((Arc::clone(subject), Arc::clone(&query)));
        Ok(query)
    }
}

impl Grounding for ModelGrounding {
    fn defaults(&self) -> &PostprocessOptions {
        self.detector.postprocessor().options()
    }

    fn device(&self) -> Device {
        self.detector.device()
    }

    fn name(&self) -> &str {
        &self.detector.manifest().name
    }

    fn identity(&self) -> Value {
        let manifest = self.detector.manifest();
        json!({
            "fingerprint": manifest.source.fingerprint,
            "precision": manifest.precision,
            "preprocess": self.detector.preprocessor().options(),
            "postprocess": self.defaults(),
        })
    }

    fn ground(
        &self,
        images: &[&DynamicImage],
        subject: &Arc<Subject>,
        options: PostprocessOptions,
    ) -> glip::Result<Vec<Detections>> {
        let query = self.query(subject)?;
        let options = GroundOptions::default().with_postprocess(options);
        self.detector
            .ground_batch_with(images.iter().copied(), &*query, options)
    }
}
