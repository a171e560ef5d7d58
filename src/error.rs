//! The crate's one error type.

use std::{error::Error as StdError, fmt, iter, ops::Range, path::PathBuf};

/// What the crate's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a dependency that is not part of this crate's API.
pub(crate) type Source = Box<dyn StdError + Send + Sync + 'static>;

/// Everything that can go wrong, each with the thing, the value and the remedy.
///
/// Errors of ONNX Runtime and of the tokenizer are kept as boxed [sources](StdError::source), so
/// that a new version of either does not change this type. [`kind`](Self::kind) is for programs.
///
/// Its debug form is the message and its causes, which is what a `main` that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- ONNX Runtime and devices ----
    /// No ONNX Runtime library was found in any place that is searched.
    #[error(
        "ONNX Runtime was not found: {}; looked at\n- {}",
        REMEDY_RUNTIME,
        searched.join("\n- ")
    )]
    RuntimeNotFound {
        /// Every place that was tried, with what was wrong there.
        searched: Vec<String>,
    },
    /// The library that was asked for cannot be loaded as ONNX Runtime.
    #[error("cannot load {path} as ONNX Runtime: {}", REMEDY_RUNTIME)]
    RuntimeUnusable {
        /// The library file.
        path: PathBuf,
        /// What the system loader or ONNX Runtime said.
        source: Source,
    },
    /// The ONNX Runtime that was found is older than the exported graphs need.
    #[error(
        "ONNX Runtime {found} at {path} is too old, {needed} or later is needed (for DeformConv): {}",
        REMEDY_RUNTIME
    )]
    RuntimeTooOld {
        /// The library file.
        path: PathBuf,
        /// The version it reports.
        found: String,
        /// The lowest version that works.
        needed: String,
    },
    /// A process holds one ONNX Runtime, and a different one was already loaded.
    #[error(
        "ONNX Runtime is already loaded from {loaded}, and a process can hold only one: \
         ask for that one, or load {requested} first"
    )]
    RuntimeAlreadyLoaded {
        /// The library in use.
        loaded: PathBuf,
        /// The library that was asked for now.
        requested: PathBuf,
    },
    /// ONNX Runtime was loaded but could not be started.
    #[error(
        "cannot start ONNX Runtime: if the program also uses ort by itself, share its one environment \
         with the feature `share-ort` (Runtime::from_environment, Runtime::environment)"
    )]
    RuntimeStart {
        /// What ONNX Runtime said.
        source: Source,
    },
    /// The device that was asked for cannot be used.
    #[error(
        "{device} was asked for and cannot run graph {graph}: {reason}; \
         choose another device, or allow the CPU with DetectorBuilder::allow_cpu_fallback"
    )]
    DeviceUnavailable {
        /// The device, for example `cuda:0`.
        device: String,
        /// The first graph that cannot run on it, for example `image_encoder`.
        graph: String,
        /// Why it cannot be used.
        reason: String,
        /// What ONNX Runtime said, if it was asked.
        source: Option<Source>,
    },

    // ---- The bundle ----
    /// A detector or a segmenter was built without a model.
    #[error("no model was given: call dir or bundle of the builder, or use from_dir")]
    NoModel,
    /// A file of the bundle cannot be read.
    #[error("cannot read {path}: check that the bundle is complete, or export it again")]
    BundleFile {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The manifest is not JSON of the expected form.
    #[error("{path} is not a valid bundle manifest: export the bundle again")]
    ManifestSyntax {
        /// The manifest.
        path: PathBuf,
        /// Where and why it does not parse.
        source: serde_json::Error,
    },
    /// The manifest's format version is not known to this version of the crate.
    #[error(
        "{path} has format version {found}, this version of glip-rs reads {supported}: \
         export the bundle again, or use the version of glip-rs that it was made for"
    )]
    ManifestVersion {
        /// The manifest.
        path: PathBuf,
        /// The version it states.
        found: u64,
        /// The version that can be read.
        supported: u64,
    },
    /// A value in the manifest makes no sense.
    #[error("{path}: {field} is {found}, expected {expected}: export the bundle again")]
    ManifestValue {
        /// The manifest.
        path: PathBuf,
        /// The field's path, for example `image.std`.
        field: String,
        /// The value it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
    /// A file of the bundle is shorter or longer than when it was exported.
    #[error(
        "{path} has {found} bytes, the manifest says {expected}: \
         the file is cut off or was replaced; copy or export the bundle again"
    )]
    BundleSize {
        /// The file.
        path: PathBuf,
        /// Its length in the manifest.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// A file of the bundle is not the one that was exported.
    #[error(
        "{path} has SHA-256 {found}, the manifest says {expected}: \
         the file is damaged or was replaced; copy or export the bundle again"
    )]
    BundleHash {
        /// The file.
        path: PathBuf,
        /// The hash in the manifest, hexadecimal.
        expected: String,
        /// The hash of the file, hexadecimal.
        found: String,
    },

    /// A graph keeps weights in a file that the manifest does not list, so that nobody knows their hash.
    #[error(
        "{path} keeps weights in {location:?}, which is not among the bundle's files: \
         export the bundle again, with all weights in the graphs"
    )]
    ExternalData {
        /// The graph's file.
        path: PathBuf,
        /// The file that it names.
        location: String,
    },

    // ---- Graphs ----
    /// ONNX Runtime cannot load a graph.
    #[error("cannot load graph {graph}: export the bundle again, or check the device's memory")]
    GraphLoad {
        /// The graph, for example `image_encoder`.
        graph: String,
        /// What ONNX Runtime said.
        source: Source,
    },
    /// A graph's inputs or outputs are not those of its kind.
    #[error(
        "graph {graph}: tensor {tensor} should be {expected}, found {found}: \
         check that the file is this graph, or export the bundle again"
    )]
    GraphSignature {
        /// The graph.
        graph: String,
        /// The input or output.
        tensor: String,
        /// The element type and rank it should have.
        expected: String,
        /// What the graph has.
        found: String,
    },
    /// ONNX Runtime failed while running a graph.
    #[error(
        "graph {graph} failed to run: its source says why (often too little memory for this image size)"
    )]
    GraphRun {
        /// The graph.
        graph: String,
        /// What ONNX Runtime said.
        source: Source,
    },
    /// A graph's work on a GPU cannot be recorded.
    #[error(
        "graph {graph} cannot be recorded as a CUDA graph, its source says why: \
         export the bundle with --device gpu, or do without CudaOptions::graphs"
    )]
    CudaGraph {
        /// The graph.
        graph: String,
        /// What ONNX Runtime said.
        source: Source,
    },
    /// A tensor's shape does not fit where it is used.
    #[error("{tensor} should have shape {expected}, found {found:?}")]
    Shape {
        /// The tensor, with its graph where it has one.
        tensor: String,
        /// The shape in words, with the sizes that are fixed.
        expected: String,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A graph produced NaN or infinity.
    #[error(
        "graph {graph} produced {value} in {tensor}: check the input image and the exported weights; \
         an fp16 bundle may overflow where the fp32 one does not"
    )]
    NonFinite {
        /// The graph.
        graph: String,
        /// The output.
        tensor: String,
        /// The first offending value: `NaN`, `inf` or `-inf`.
        value: f32,
    },
    /// A feature pyramid has no such level.
    #[error("there is no level {index}: the feature maps are levels 0 to {}", levels.saturating_sub(1))]
    LevelIndex {
        /// The level that was asked for.
        index: usize,
        /// How many levels there are.
        levels: usize,
    },
    /// A tensor lives in device memory, where the CPU cannot read it.
    #[error("{tensor} is in the memory of {device}: run on the CPU to look at it")]
    DeviceMemory {
        /// The tensor.
        tensor: String,
        /// Where it is.
        device: String,
    },

    // ---- Images ----
    /// An image has no pixels.
    #[error("the image is {width} x {height} pixels: give one with at least one pixel")]
    EmptyImage {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// An image has a side so long that the weights of resizing it would take gigabytes.
    #[error("the image is {width} x {height} pixels, a side may have {limit}: cut it into tiles")]
    ImageTooLong {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The longest side there may be.
        limit: u32,
    },
    /// Raw pixels do not fill their image.
    #[error(
        "a {width} x {height} RGB image has {expected} bytes, {found} were given: \
         pass three bytes a pixel, without padding between rows, or any other form with \
         SourceImage::from_buffer"
    )]
    ImageBytes {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Width x height x 3, or the largest number if that is larger.
        expected: u64,
        /// The bytes that were given.
        found: usize,
    },
    /// A format of pixels cannot have this size.
    #[error("a {format} image cannot be {width} x {height} pixels: its {expected}")]
    BufferSize {
        /// The format, for example `nv12`.
        format: &'static str,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What its sides can be, and what to do.
        expected: &'static str,
    },
    /// Rows of a camera's buffer do not hold their pixels.
    #[error(
        "the {plane} of {format} take at least {expected} bytes a row for {width} pixels, and the stride is \
         {found}: give the bytes from one row to the next (step in ROS, bytesperline in V4L2)"
    )]
    BufferStride {
        /// The format, for example `nv12`.
        format: &'static str,
        /// The plane, for example `luma`.
        plane: &'static str,
        /// Width in pixels.
        width: u32,
        /// The least that the stride can be, in bytes.
        expected: u64,
        /// The stride that was given, in bytes.
        found: usize,
    },
    /// A camera's buffer ends before its image does.
    #[error(
        "the {plane} of a {format} image of {width} x {height} pixels with a stride of {stride} take \
         {expected} bytes, {found} are there: check size, stride and format against what the camera says"
    )]
    BufferBytes {
        /// The format, for example `nv12`.
        format: &'static str,
        /// The plane, for example `chroma`.
        plane: &'static str,
        /// Width of the image in pixels.
        width: u32,
        /// Height of the image in pixels.
        height: u32,
        /// The plane's stride in bytes.
        stride: usize,
        /// The bytes that the plane takes.
        expected: u64,
        /// The bytes that are left for it.
        found: usize,
    },
    /// A format has another number of planes.
    #[error("a {format} image has {expected} planes, {found} were given: give a Plane for each")]
    BufferPlanes {
        /// The format, for example `nv12`.
        format: &'static str,
        /// The planes that it has.
        expected: usize,
        /// The planes that were given.
        found: usize,
    },
    /// A batch without images.
    #[error("a batch needs at least one image")]
    EmptyBatch,
    /// Images of different padded sizes cannot share a batch.
    #[error(
        "image {index} of the batch is {found} pixels after padding, the first is {first}: \
         put images of different padded sizes into different batches"
    )]
    MixedSizes {
        /// The first image's padded size, for example `640 x 480`.
        first: String,
        /// The first image that differs.
        index: usize,
        /// Its padded size.
        found: String,
    },

    // ---- Prompts ----
    /// The prompt has no phrases.
    #[error("the prompt has no phrases: give at least one, for example \"a dog\"")]
    EmptyPrompt,
    /// A phrase is empty, or nothing is left of it after cleaning.
    #[error("phrase {index} is empty: remove it or put words into it")]
    EmptyPhrase {
        /// The phrase's index in the prompt.
        index: usize,
    },
    /// A synonym of a category is empty, or nothing is left of it after cleaning.
    #[error("synonym {synonym} of category {label:?} is empty: remove it or put words into it")]
    EmptySynonym {
        /// The category's label.
        label: String,
        /// The synonym's place among its synonyms.
        synonym: usize,
    },
    /// Two categories have the same label, so that their detections could not be told apart.
    #[error(
        "{label:?} is there twice, as phrases {first} and {second}: \
         give it once, or under two labels (Category::labelled)"
    )]
    DuplicateLabel {
        /// The label.
        label: String,
        /// The index of the first category with it.
        first: usize,
        /// The index of the second.
        second: usize,
    },
    /// A category's context and its name are not different words.
    #[error(
        "the context of category {label:?} runs into its name, which reads {words:?}: \
         end a prefix and begin a suffix with a space"
    )]
    ContextOverlap {
        /// The category's label.
        label: String,
        /// The words that context and name make together.
        words: String,
    },
    /// A file of categories cannot be read, or is not of the form it should have.
    #[error(
        "cannot read categories from {path}: {reason}; expected a list of names, or of objects with \
         `name` and, as far as wanted, `prefix`, `suffix`, `label` and `synonyms`"
    )]
    PromptFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and in which entry.
        reason: String,
    },
    /// A file is not a usable learned prompt.
    #[error(
        "{path} is not a usable learned prompt: {reason}; \
         write it again with python -m glip_torch.tune --method prompt"
    )]
    LearnedPrompt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A learned prompt belongs to another model.
    #[error(
        "the learned prompt {text:?} belongs to the model with fingerprint {expected}, \
         this is {model} with {}: learn it again for this model, or use the bundle it was made for",
        found.as_deref().unwrap_or("none (export the bundle again to give it one)")
    )]
    LearnedPromptModel {
        /// The prompt's text.
        text: String,
        /// The fingerprint of its model.
        expected: String,
        /// The name of the model in use.
        model: String,
        /// The fingerprint of the model in use, if its bundle has one.
        found: Option<String>,
    },
    /// A text cannot be encoded by a model that was exported without its text encoder.
    #[error(
        "this bundle has no text encoder and takes learned prompts alone (Prompt::learned): \
         export it without --without-text-encoder to ground words"
    )]
    NoTextEncoder,
    /// A phrase does not occur in its caption, or less often than it was given.
    #[error(
        "phrase {phrase:?} stands {occurrences} times as whole words in the caption {caption:?}, \
         once more is asked for: copy its words, or give its position with Prompt::spans"
    )]
    PhraseNotInCaption {
        /// The phrase.
        phrase: String,
        /// The caption.
        caption: String,
        /// How often the phrase occurs.
        occurrences: usize,
    },
    /// A span does not lie within its caption.
    #[error(
        "span {span:?} is not within the caption's {length} {unit}: \
         spans are ranges of {unit}, begin before end"
    )]
    SpanOutOfRange {
        /// The span.
        span: Range<usize>,
        /// The caption's length.
        length: usize,
        /// What both count: `bytes` or `characters`.
        unit: &'static str,
    },
    /// A span begins or ends inside a character.
    #[error(
        "span {span:?} cuts a character of the caption {caption:?} in two: \
         spans are byte ranges and must lie on character boundaries"
    )]
    SpanInsideCharacter {
        /// The span, in bytes.
        span: Range<usize>,
        /// The caption.
        caption: String,
    },
    /// No token covers a phrase, so that the model cannot see it.
    #[error("no token covers {phrase:?} at bytes {span:?}: use words that the vocabulary knows")]
    SpanWithoutTokens {
        /// The phrase.
        phrase: String,
        /// Its span in the caption, in bytes.
        span: Range<usize>,
    },
    /// The vocabulary has none of a phrase's words, so that the model cannot tell it from any other such
    /// phrase.
    #[error(
        "{phrase:?} cannot be found: the model's vocabulary knows none of it; \
         say it in the language that the model was trained in"
    )]
    UnknownPhrase {
        /// The phrase as the model reads it.
        phrase: String,
    },
    /// The prompt has more bytes than a model's tokens could be made of.
    #[error(
        "prompt has {bytes} bytes, at most {limit} are read for a model that takes {tokens} tokens: \
         make a list of names a Vocabulary, shorten a caption"
    )]
    PromptTooLarge {
        /// The prompt's bytes.
        bytes: usize,
        /// The most tokens that the model takes.
        tokens: usize,
        /// The most bytes that are read.
        limit: usize,
    },
    /// The prompt is longer than the model takes.
    #[error(
        "prompt has {tokens} tokens, the model takes {limit}: \
         make a list of names a Vocabulary, shorten a caption"
    )]
    PromptTooLong {
        /// The prompt's tokens, the special ones included.
        tokens: usize,
        /// The model's limit.
        limit: usize,
    },
    /// A single phrase of a list is longer than the model takes.
    #[error("phrase {phrase:?} alone has {tokens} tokens, the model takes {limit}: shorten it")]
    PhraseTooLong {
        /// The phrase.
        phrase: String,
        /// Its tokens, the special ones included.
        tokens: usize,
        /// The model's limit.
        limit: usize,
    },
    /// The contents of a tokenizer file do not describe a tokenizer as these models have it.
    #[error(
        "tokenizer.json does not describe a WordPiece tokenizer of BERT: export the bundle again"
    )]
    Tokenizer {
        /// What the tokenizer library said.
        source: Source,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed on {text:?}: check the model's tokenizer.json")]
    Tokenize {
        /// The text.
        text: String,
        /// What the tokenizer library said.
        source: Source,
    },
    /// A file of a part-of-speech tagger cannot be read.
    #[cfg(feature = "captions")]
    #[error(
        "cannot read {path}: `python -m nltk.downloader averaged_perceptron_tagger_eng` fetches the \
         tagger's three files into one folder; NounPhrases needs none"
    )]
    TaggerFile {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A file of a part-of-speech tagger is not JSON of the form that NLTK writes.
    #[cfg(feature = "captions")]
    #[error("{path} is not a tagger file as NLTK writes it: download the tagger again")]
    TaggerSyntax {
        /// The file.
        path: PathBuf,
        /// Where and why it does not parse.
        source: serde_json::Error,
    },
    /// A part-of-speech tagger speaks of a class that it does not have.
    #[cfg(feature = "captions")]
    #[error(
        "{path}: {entry:?} has class {class:?}, which is not in the tagger's classes.json: \
         use three files of one tagger"
    )]
    TaggerClass {
        /// The file.
        path: PathBuf,
        /// The word or the feature.
        entry: String,
        /// The unknown class.
        class: String,
    },

    // ---- Boxes and phrases ----
    /// A box with a coordinate that is NaN or infinite.
    #[error("box {corners:?} is not finite: check what its coordinates are computed from")]
    InvalidBox {
        /// x1, y1, x2, y2.
        corners: [f32; 4],
    },
    /// A phrase's tokens are not tokens of the logits.
    #[error(
        "a phrase has tokens {found:?}, the logits have {tokens}: \
         use the phrases of the prompt that the graphs were run with"
    )]
    TokenRange {
        /// The phrase's tokens.
        found: Vec<usize>,
        /// The tokens of the logits.
        tokens: usize,
    },
    /// A candidate is of a phrase that was not given.
    #[error(
        "a candidate is of phrase {index}, {phrases} phrases were given: \
         use those that it was scored with"
    )]
    PhraseIndex {
        /// The candidate's phrase.
        index: usize,
        /// How many phrases there are.
        phrases: usize,
    },

    // ---- Masks ----
    /// There is no mask of this size.
    #[error("a mask of {width} x {height} pixels is not possible: a side has 1 to {limit}")]
    MaskSize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The longest side there may be.
        limit: u32,
    },
    /// A mask is not of the size of what it meets.
    #[error(
        "the mask is {found} pixels, {expected} are needed: \
         masks of one image are as large as it is, and so are all that meet"
    )]
    MaskMismatch {
        /// The size of the image or of the other mask, for example `640 x 480`.
        expected: String,
        /// The size of the mask.
        found: String,
    },
    /// A mask was asked for by points alone, and the segmenter's decoder was exported for boxes.
    #[error(
        "prompt {index} has no box, which this segmenter needs: its decoder was exported for boxes, and points alone would \
         have another mask than the model's; give the box too, or export the segmenter from the model itself \
         (python -m glip_torch.export_segmenter)"
    )]
    PromptWithoutBox {
        /// The prompt's place in the list, from 0.
        index: usize,
    },
    /// A mask was asked for by more points than the segmenter's decoder looks at.
    #[error(
        "prompt {index} has {points} points, two for a box included, of which this segmenter looks at {limit}: \
         leave some out, or take another segmenter"
    )]
    PromptPoints {
        /// The prompt's place in the list, from 0.
        index: usize,
        /// How many there are.
        points: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A mask was asked for by a box or a point that is not on the image.
    #[error(
        "{what} of prompt {index} is not on the image of {image} pixels: \
         boxes and points are in pixels of the original image, x from the left and y from the top"
    )]
    PromptOutside {
        /// The prompt's place in the list, from 0.
        index: usize,
        /// The box or the point.
        what: String,
        /// The size of the image, for example `640 x 480`.
        image: String,
    },
    /// Run lengths are not those of a mask.
    #[error(
        "the run lengths of a mask of {size} pixels are not usable: {reason}; \
         take size (height first) and counts of one annotation, as pycocotools writes them"
    )]
    RunLengths {
        /// The size of the mask, for example `640 x 480`.
        size: String,
        /// What is wrong with them.
        reason: String,
    },

    // ---- Calls ----
    /// A call was told to stop, with [`Control::stop`](crate::Control::stop).
    #[error("the call was stopped, as its Control asked")]
    Stopped,

    /// A call did not end in time.
    #[error(
        "the call did not end by the deadline of its Control: give it more time, or less to do"
    )]
    DeadlinePassed,

    /// The thread that looks at frames cannot be started.
    #[error("no thread can be started to look at frames: check how many the process may have")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },

    /// Looking at a frame panicked, which is a mistake in this crate, or in what gives the frame's memory.
    #[error("looking at the frame panicked, which should not be, please report it: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },

    /// Two frames of a sequence that were taken at one time.
    #[cfg(feature = "tracks")]
    #[error(
        "the frame is of {stamp:?}, as the one before: tell each frame's time (Frame::with_stamp), which says how \
         far things may have moved"
    )]
    SameStamp {
        /// When both were taken, by their stamps.
        stamp: std::time::Duration,
    },

    /// Something that another model encoded.
    #[error(
        "the {what} was encoded by another model ({found}), and this is {model}: \
         encode it with the one that is asked"
    )]
    OtherModel {
        /// `image`, `prompt` or `scene`.
        what: &'static str,
        /// The name of the model in use.
        model: String,
        /// The name of the model that encoded it.
        found: String,
    },

    // ---- Options ----
    /// An option has a value it cannot have.
    #[error("option {option} is {found}, expected {expected}")]
    InvalidOption {
        /// The option, for example `score_threshold`.
        option: &'static str,
        /// The value that was given.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

/// What went wrong, as a program needs to know it. The numbers are stable: C and log files may keep them.
///
/// ```
/// use glip::{BBox, ErrorKind};
///
/// let error = BBox::new(f32::NAN, 0.0, 1.0, 1.0).unwrap_err();
/// assert_eq!((error.kind(), error.kind().code()), (ErrorKind::Value, 7));
/// assert!(error.kind().is_callers_fault());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorKind {
    /// ONNX Runtime is missing, too old, or does not start.
    Runtime = 1,
    /// The device that was asked for cannot be used.
    Device = 2,
    /// The model folder is incomplete, damaged or of another version, or its graphs do not fit.
    Model = 3,
    /// A graph failed while it ran, for example for lack of memory.
    Run = 4,
    /// The image cannot be looked at: it has no pixels, or not as many as it says.
    Image = 5,
    /// The prompt cannot be looked for: it is empty, too long, or a phrase is not where it is said to be.
    Prompt = 6,
    /// A value given to one of the parts makes no sense there: a shape, an index, a box.
    Value = 7,
    /// An option is outside its range.
    Option = 8,
    /// The call was told to stop.
    Stopped = 9,
    /// The call did not end in time.
    Deadline = 10,
}

impl ErrorKind {
    /// Its number, from 1; 0 is free to mean success.
    #[must_use]
    pub fn code(self) -> i32 {
        self as i32
    }

    /// Whether other input could have gone well: what a server answers with a status of 4xx. The rest
    /// is for whoever runs it.
    #[must_use]
    pub fn is_callers_fault(self) -> bool {
        matches!(
            self,
            Self::Image | Self::Prompt | Self::Value | Self::Option
        )
    }
}

impl Error {
    /// What went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::RuntimeNotFound { .. }
            | Self::RuntimeUnusable { .. }
            | Self::RuntimeTooOld { .. }
            | Self::RuntimeAlreadyLoaded { .. }
            | Self::RuntimeStart { .. } => ErrorKind::Runtime,
            Self::DeviceUnavailable { .. } | Self::CudaGraph { .. } => ErrorKind::Device,
            Self::NoModel
            | Self::BundleFile { .. }
            | Self::ManifestSyntax { .. }
            | Self::ManifestVersion { .. }
            | Self::ManifestValue { .. }
            | Self::BundleSize { .. }
            | Self::BundleHash { .. }
            | Self::ExternalData { .. }
            | Self::GraphLoad { .. }
            | Self::GraphSignature { .. }
            | Self::Tokenizer { .. } => ErrorKind::Model,
            Self::GraphRun { .. }
            | Self::NonFinite { .. }
            | Self::Thread { .. }
            | Self::Panicked { .. } => ErrorKind::Run,
            Self::EmptyImage { .. }
            | Self::ImageTooLong { .. }
            | Self::ImageBytes { .. }
            | Self::BufferSize { .. }
            | Self::BufferStride { .. }
            | Self::BufferBytes { .. }
            | Self::BufferPlanes { .. }
            | Self::EmptyBatch
            | Self::MixedSizes { .. } => ErrorKind::Image,
            Self::EmptyPrompt
            | Self::EmptyPhrase { .. }
            | Self::EmptySynonym { .. }
            | Self::DuplicateLabel { .. }
            | Self::ContextOverlap { .. }
            | Self::PromptFile { .. }
            | Self::LearnedPrompt { .. }
            | Self::LearnedPromptModel { .. }
            | Self::NoTextEncoder
            | Self::PhraseNotInCaption { .. }
            | Self::SpanOutOfRange { .. }
            | Self::SpanInsideCharacter { .. }
            | Self::SpanWithoutTokens { .. }
            | Self::UnknownPhrase { .. }
            | Self::PromptTooLarge { .. }
            | Self::PromptTooLong { .. }
            | Self::PhraseTooLong { .. }
            | Self::Tokenize { .. } => ErrorKind::Prompt,
            #[cfg(feature = "captions")]
            Self::TaggerFile { .. } | Self::TaggerSyntax { .. } | Self::TaggerClass { .. } => {
                ErrorKind::Prompt
            }
            Self::Shape { .. }
            | Self::LevelIndex { .. }
            | Self::DeviceMemory { .. }
            | Self::InvalidBox { .. }
            | Self::TokenRange { .. }
            | Self::PhraseIndex { .. }
            | Self::MaskSize { .. }
            | Self::MaskMismatch { .. }
            | Self::PromptOutside { .. }
            | Self::PromptWithoutBox { .. }
            | Self::PromptPoints { .. }
            | Self::RunLengths { .. }
            | Self::OtherModel { .. } => ErrorKind::Value,
            #[cfg(feature = "tracks")]
            Self::SameStamp { .. } => ErrorKind::Value,
            Self::InvalidOption { .. } => ErrorKind::Option,
            Self::Stopped => ErrorKind::Stopped,
            Self::DeadlinePassed => ErrorKind::Deadline,
        }
    }

    /// Refuses an option that is 0.
    pub(crate) fn if_zero(option: &'static str, value: usize) -> Result<()> {
        match value {
            0 => Err(Self::InvalidOption {
                option,
                found: "0".to_owned(),
                expected: "at least 1",
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        causes(self).try_for_each(|cause| write!(f, "\n  because: {cause}"))
    }
}

/// What caused an error, and what caused that, and so on.
pub(crate) fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    iter::successors(error.source(), |&cause| cause.source())
}

/// The three ways to get an ONNX Runtime that works.
const REMEDY_RUNTIME: &str = "install ONNX Runtime 1.25 or later with `pip install onnxruntime`, \
    or download a release of it and set ORT_DYLIB_PATH to its library file, \
    or build with the feature `download-binaries` instead of `load-dynamic`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
    }

    #[test]
    fn the_debug_form_is_what_a_person_needs() {
        let error = Error::BundleFile {
            path: "models/x/glip.json".into(),
            source: std::io::Error::other("the disk is gone"),
        };
        let printed = format!("{error:?}");
        assert_eq!(
            printed,
            "cannot read models/x/glip.json: check that the bundle is complete, or export it again\n  \
             because: the disk is gone"
        );
    }
}
