//! A call that is watched stage by stage.

use std::{borrow::Cow, mem};

use super::{
    detector::Detector,
    inputs::EncodedPrompt,
    stage::{Kept, Run, Stage, Watch},
};
use crate::{
    detection::Detections, error::Result, postprocess::Postprocessor, preprocess::SourceImage,
};

impl Detector {
    /// As [`ground`](Self::ground), with a post-processor of the call's own, in memory that is kept from one call to the next.
    pub(crate) fn ground_in_stages(
        &self,
        image: &SourceImage<'_>,
        prompt: &EncodedPrompt,
        postprocessor: &Postprocessor,
        kept: &mut Kept,
        watch: Watch<'_>,
    ) -> Result<Detections> {
        self.check_model("prompt", &prompt.model)?;
        let mut run = Run {
            watch: Some(watch),
            memory: mem::take(&mut kept.run),
        };
        let pixels = self
            .preprocessor()
            .run_in(std::slice::from_ref(image), &mut kept.input)?;
        run.over(Stage::Preprocess)?;
        let image_encoder = self.image_encoder().controlled(&self.control);
        let pyramid = image_encoder.run_in(mem::take(&mut kept.pyramid), pixels)?;
        run.over(Stage::ImageEncoder)?;
        let texts = prompt.texts.iter().map(|text| Ok(Cow::Borrowed(text)));
        let found = self.find(
            &pyramid,
            pixels.geometries(),
            texts,
            postprocessor,
            &mut run,
        )?;
        run.over(Stage::Postprocess)?;
        kept.run = run.memory;
        kept.pyramid = pyramid.into_place();
        Ok(found.into_iter().next().unwrap_or_default())
    }
}
