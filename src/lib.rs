//! Find in an image what a phrase names: GLIP phrase grounding over ONNX Runtime.
//!
//! ```text
//! image  --Preprocessor--> PixelBatch --ImageEncoder--> FeaturePyramid --+
//!                                                                       Fusion --> FusedFeatures --GroundingHead--> HeadOutput --Postprocessor--> Detections
//! prompt --Tokenizer-----> TokenizedPrompt --TextEncoder--> TextFeatures --+
//! ```

mod error;
mod graph;
mod preprocess;
mod prompt;

pub use error::{Error, Result};
pub use graph::{GridSize, HeadOutput};
pub use preprocess::{
    ChannelOrder, ImageGeometry, ImageSize, PixelBatch, PreprocessOptions, Preprocessor,
    ResizeRule, SourceImage,
};
pub use prompt::{Phrase, Prompt, TokenizedPhrase, TokenizedPrompt, Tokenizer};
