//! A call that is watched stage by stage.

use std::borrow::Cow;

use super::{detector::Detector, inputs::EncodedPrompt};
use crate::{
    detection::Detections,
    error::Result,
    preprocess::{KeptInput, SourceImage},
};

/// A stage of a call: a box of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Preprocess,
    ImageEncoder,
    Fusion,
    Head,
    Postprocess,
}

/// Is told of each stage that is over, and can end the call there. Those after the image encoder come once for
/// each text of the prompt.
pub(crate) type Watch<'w> = &'w mut dyn FnMut(Stage) -> Result<()>;

/// What watches nothing.
pub(super) fn unwatched(_: Stage) -> Result<()> {
    Ok(())
}

impl Detector {
    /// As [`ground`](Self::ground), in memory that is kept from one call to the next.
    pub(crate) fn ground_in_stages(
        &self,
        image: &SourceImage<'_>,
        prompt: &EncodedPrompt,
        kept: &mut KeptInput,
        after: Watch<'_>,
    ) -> Result<Detections> {
        self.check_model("prompt", &prompt.model)?;
        let pixels = self.preprocessor().run_in(image, kept)?;
        after(Stage::Preprocess)?;
        let image_encoder = self.image_encoder().controlled(&self.control);
        let pyramid = image_encoder.run(pixels)?;
        after(Stage::ImageEncoder)?;
        let texts = prompt.texts.iter().map(|text| Ok(Cow::Borrowed(text)));
        let postprocessor = self.postprocessor();
        let found = self.find(&pyramid, pixels.geometries(), texts, postprocessor, after)?;
        after(Stage::Postprocess)?;
        Ok(found.into_iter().next().unwrap_or_default())
    }
}
