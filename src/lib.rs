//! Find in an image what a phrase names: GLIP phrase grounding over ONNX Runtime.
//!
//! ```text
//! image  --Preprocessor--> PixelBatch --ImageEncoder--> FeaturePyramid --+
//!                                                                       Fusion --> FusedFeatures --GroundingHead--> HeadOutput --Postprocessor--> Detections
//! prompt --Tokenizer-----> TokenizedPrompt --TextEncoder--> TextFeatures --+
//! ```

mod error;
mod graph;

pub use error::{Error, Result};
pub use graph::{GridSize, HeadOutput};
