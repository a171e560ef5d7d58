//! Find in an image what a phrase names: GLIP phrase grounding over ONNX Runtime.
//!
//! ```text
//! image  --Preprocessor--> PixelBatch --ImageEncoder--> FeaturePyramid --+
//!                                                                       Fusion --> FusedFeatures --GroundingHead--> HeadOutput --Postprocessor--> Detections
//! prompt --Tokenizer-----> TokenizedPrompt --TextEncoder--> TextFeatures --+
//! ```

mod bundle;
mod detection;
mod detector;
#[cfg(feature = "draw")]
mod draw;
mod error;
mod graph;
pub mod postprocess;
mod preprocess;
mod prompt;
mod runtime;

pub use bundle::{
    Bundle, FileSpec, GraphSpec, GraphSpecs, Manifest, SourceSpec, TensorSpec, TextSpec,
};
pub use detection::{BBox, Detection, Detections};
pub use detector::{Detector, DetectorBuilder, ImageInput, PromptInput, Query, Scene};
#[cfg(feature = "draw")]
pub use draw::draw_detections;
pub use error::{Error, Result};
pub use graph::{
    FeaturePyramid, FusedFeatures, Fusion, GridSize, GroundingHead, HeadOutput, ImageEncoder,
    TextEncoder, TextFeatures,
};
pub use postprocess::{PostprocessOptions, Postprocessor};
pub use preprocess::{
    ChannelOrder, ImageGeometry, ImageSize, PixelBatch, PreprocessOptions, Preprocessor,
    ResizeRule, SourceImage,
};
pub use prompt::{Phrase, Prompt, TokenizedPhrase, TokenizedPrompt, Tokenizer};
pub use runtime::{Device, Runtime, SessionOptions};
