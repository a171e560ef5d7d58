//! Find in an image what words describe: GLIP (Grounded Language-Image Pre-training, CVPR 2022) and its
//! descendants Grounding DINO, MM-Grounding-DINO and LLMDet, over ONNX Runtime.
//!
//! They score every region of an image against every word of a prompt, so that any text is a label
//! set. [`Detector`] is the whole model behind one call; every part of it is a public type that also
//! works alone.
//!
//! ```
//! use glip::Detector;
//!
//! let image = image::open("examples/images/coffee.jpg")?;
//! let detector = Detector::nano()?; // or Detector::from_dir("models/glip-t")?
//! for found in &detector.ground(&image, "coffee cup . table . bicycle")? {
//!     println!("{} {:.2} {:?}", found.phrase, found.score, found.bbox);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A model
//!
//! A model is a folder, called a bundle, that `python -m glip_torch.export` (in the repository's
//! `python/`) makes of released weights: ONNX graphs, a tokenizer, and a manifest that says
//! what they need. [`models`] compares those that there are. [`Detector::from_dir`] loads one, and [`Detector::builder`] has the options.
//! [`Detector::nano`] is a small model in the crate: it looks at photographs and finds the 80 things of
//! COCO, by their names, plurals, synonyms and words for groups of them, and nothing else.
//!
//! ONNX Runtime 1.25 or later is loaded when the program runs; [`Runtime`] says where it is looked for.
//!
//! # Encode once, ask many times
//!
//! The image encoder is most of the work. An encoded image is not encoded again for the next prompt,
//! nor a prepared prompt for the next image:
//!
//! ```
//! # use glip::{Detector, Prompt};
//! # let detector = Detector::nano()?;
//! # let image = image::open("examples/images/coffee.jpg")?;
//! let encoded = detector.encode_image(&image)?;
//! for names in ["cup . spoon . dining table", "person . dog"] {
//!     println!("{} of: {names}", detector.ground(&encoded, names)?.len());
//! }
//! let prompt = detector.encode_prompt(Prompt::categories(["dining_table", "wine_glass"]))?;
//! let found = detector.ground(&encoded, &prompt)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Prompts
//!
//! A string is a list of phrases between dots. [`Prompt::categories`] takes names as data sets spell
//! them, with synonyms and context; [`Vocabulary`] any number of them; [`Prompt::caption`] a sentence
//! and the phrases in it; [`Prompt::learned`] what tuning on examples found. A detection's
//! [`phrase`](Detection::phrase) is what was given, and its
//! [`phrase_index`](Detection::phrase_index) the place in it. [`prompting`] says what works and what
//! does not.
//!
//! # The parts
//!
//! ```text
//! image  --Preprocessor--> PixelBatch --ImageEncoder--> FeaturePyramid --+
//!                                                                       Fusion --> FusedFeatures --GroundingHead--> HeadOutput --Postprocessor--> Detections
//! prompt --Tokenizer-----> TokenizedPrompt --TextEncoder--> TextFeatures --+
//! ```
//!
//! Boxes are structs with a `run` (or `tokenize`) method, arrows are what it returns, with shapes in
//! their docs; both are in [`parts`]. To score or select in a way of your own, stop at
//! [`HeadOutput`](parts::HeadOutput), which [`Detector::head_outputs`] gives; the module [`postprocess`]
//! has the steps from there on plain `ndarray`. [`design`] draws the frames that coordinates are in, and what calls
//! share.
//!
//! # Callers, deadlines
//!
//! A detector can be shared and cloned; [`DetectorBuilder::for_callers`] readies one for a server's threads.
//! A [`Control`] stops a call from elsewhere, gives it a deadline, and reports how far it is.
//! [`Error::kind`] tells a caller's fault from the server's.
//!
//! # Cameras
//!
//! [`SourceImage::from_buffer`] takes a camera's buffer as it is, in any [`PixelFormat`]. [`live`] looks at frames as they
//! come, always at the newest, with deadlines and statistics; [`robots`] is the chapter on it.
//!
//! # Recipes
//!
//! [`cookbook`] has short programs: a photograph that lies on its side, video, threads, a server, shipping, crops and
//! JSON.
//!
//! # Devices
//!
//! [`Device`] lists them; each but the CPU needs the feature of its name and a build of ONNX Runtime
//! that has it. A device that cannot be used is an error unless
//! [`DetectorBuilder::allow_cpu_fallback`] was called. [`CudaOptions`] and [`TensorRtOptions`] have
//! what is particular to NVIDIA's.
//!
//! # Features
//!
//! - `load-dynamic` (default): loads ONNX Runtime when the program runs.
//! - `nano` (default): embeds the small model, the crate `glip-nano`.
//! - `draw`: `draw_detections`, labelled boxes on an image, and `draw_masks`.
//! - `captions`: `Prompt::extract`, the noun phrases of a caption found by `NounPhrases`, by NLTK's
//!   `parts::PerceptronTagger`, or by a `parts::PhraseExtractor` of your own.
//! - `yaml`: categories from YAML files.
//! - `tracks`: the module of that name, ids that what is found keeps from frame to frame, also in [`live`].
//! - `download-binaries`: links a prebuilt ONNX Runtime that is fetched while building; turn
//!   `load-dynamic` off with it.
//! - `cuda`, `tensorrt`, `coreml`, `directml`, `openvino`: devices.
//!
//! # Limits
//!
//! A prompt has at most as many tokens as the model takes, 256 in every published one; a longer list is a
//! [`Vocabulary`]. Padding is not masked, as in official GLIP, so images of different padded
//! sizes never share a batch.

#[cfg(all(doctest, feature = "nano"))]
#[doc = include_str!("../README.md")]
struct Readme;

mod affinity;
mod bundle;
mod control;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/cookbook.md")]
pub mod cookbook {}
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/design.md")]
pub mod design {}
mod detection;
mod detector;
#[cfg(feature = "draw")]
mod draw;
mod error;
mod family;
mod files;
mod geometry;
mod graph;
mod head_output;
mod instructions;
mod kernels;
pub mod live;
mod mask;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/models.md")]
pub mod models {}
pub mod postprocess;
mod preprocess;
mod prompt;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/prompting.md")]
pub mod prompting {}
mod regular_file;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/robots.md")]
pub mod robots {}
mod runtime;
mod segmenter;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/segmenters.md")]
pub mod segmenters {}
mod session;
mod spare;
#[cfg(feature = "tracks")]
pub mod tracks;

#[cfg(feature = "draw")]
pub use draw::{draw_detections, draw_masks};
#[cfg(feature = "captions")]
pub use prompt::NounPhrases;
pub use {
    bundle::{Bundle, SegmenterBundle},
    control::{Control, Progress},
    detection::{Detection, Detections},
    detector::{
        Detector, DetectorBuilder, EncodedImage, EncodedPrompt, GroundOptions, ImageInput,
        PromptInput,
    },
    error::{Error, ErrorKind, Result},
    geometry::{BBox, ImageSize},
    mask::Mask,
    preprocess::{PixelFormat, ResizeRule, SourceImage},
    prompt::{Category, LearnedPrompt, Prompt, Vocabulary, Wording},
    runtime::{CudaOptions, Device, Runtime, TensorRtOptions},
    segmenter::{
        MaskLogits, MaskPrompt, SceneInput, SegmentationScene, Segmenter, SegmenterBuilder,
    },
};
// For glip-tools, which reads files of the same kinds; no part of what this crate promises.
#[doc(hidden)]
pub use regular_file::{open_regular, read_regular, read_text};
// What this crate's functions take and give.
#[cfg(feature = "share-ort")]
pub use ort;
pub use {image, ndarray};

/// The boxes and arrows of the picture, to be put together in another way.
pub mod parts {
    #[cfg(feature = "captions")]
    pub use crate::prompt::{PerceptronTagger, PhraseExtractor};
    pub use crate::{
        detector::{EncodedText, RawOutput},
        geometry::{GridSize, ImageGeometry},
        graph::{
            FeaturePyramid, FusedFeatures, Fusion, GroundingHead, ImageEncoder, TextEncoder,
            TextFeatures,
        },
        head_output::{HeadBoxes, HeadOutput},
        mask::{Polygon, Rle},
        postprocess::Postprocessor,
        preprocess::{
            ChannelOrder, Padding, PixelBatch, Plane, PreprocessOptions, Preprocessor, Rounding,
            YuvEncoding,
        },
        prompt::{
            Phrase, PhraseSpans, PromptRule, PromptText, TokenizedPhrase, TokenizedPrompt,
            Tokenizer,
        },
        runtime::{Arena, ConvolutionSearch, CpuOptions, SessionOptions},
    };
}

/// What a model folder says about its model.
pub mod manifest {
    pub use crate::bundle::{Manifest, Precision, SegmenterManifest, SourceSpec};
}
