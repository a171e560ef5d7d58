//! The files of models: manifests, tokenizers, learned prompts, taggers.

use std::{fs, path::Path, sync::OnceLock};

use glip::{
    Bundle, ImageSize, LearnedPrompt, Prompt, SegmenterBundle, Vocabulary,
    parts::{PerceptronTagger, Preprocessor, PromptRule, Tokenizer},
};

use crate::{data::folder, tokens::check_tokens};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");

/// Any text as the manifest of a bundle whose other files are in order.
pub fn manifest(data: &[u8]) {
    static FILES: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let folder = Path::new(FIXTURES).join("colour_without_fusion");
        [
            "tokenizer.json",
            "image_encoder.onnx",
            "text_encoder.onnx",
            "head.onnx",
        ]
        .map(|name| (name, fs::read(folder.join(name)).expect("a fixture")))
        .into()
    });
    let given = [("glip.json", data.to_vec())];
    let Ok(bundle) = Bundle::from_bytes(files.iter().cloned().chain(given)) else {
        return;
    };
    let manifest = bundle.manifest();
    if let Ok(tokenizer) = bundle.tokenizer() {
        let _ = tokenizer.tokenize(&Prompt::from("red circle. blue"));
        let _ = Vocabulary::new(["red", "blue"]).prompts(&tokenizer);
    }
    if let Ok(preprocessor) = manifest.preprocessor() {
        check_geometries(&preprocessor);
    }
    let _ = manifest.postprocessor();
}

fn check_geometries(preprocessor: &Preprocessor) {
    for (width, height) in [(640, 480), (u32::MAX, 1), (1, u32::MAX)] {
        let _ = preprocessor.geometry(ImageSize { width, height });
    }
}

/// Any text as the manifest of a segmenter whose graphs are there.
pub fn segmenter_manifest(data: &[u8]) {
    let files = ["encoder.onnx", "decoder.onnx"].map(|name| (name, Vec::new()));
    let given = [("segmenter.json", data.to_vec())];
    let Ok(bundle) = SegmenterBundle::from_bytes(files.into_iter().chain(given)) else {
        return;
    };
    check_geometries(&bundle.manifest().preprocessor().expect("it was checked"));
}

/// Any bytes as `tokenizer.json`; what loads also tokenizes without a panic.
pub fn tokenizer(data: &[u8]) {
    let Ok(tokenizer) = Tokenizer::from_bytes(data, 256) else {
        return;
    };
    for text in [
        "a red circle. cat",
        "süße café 日本 cat . \u{1F680}\u{200d}x",
        "",
        "..",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let prompt = Prompt::from(text);
        if let Ok(tokenized) = tokenizer.tokenize(&prompt) {
            check_tokens(&tokenized);
        }
        let _ = prompt.describe(&tokenizer);
    }
    let _ = Vocabulary::new(["red", "blue"]).prompts(&tokenizer);
}

/// A learned prompt that loads is finite, and its phrases have tokens of it.
pub fn learned_prompt(data: &[u8]) {
    let Ok(learned) = LearnedPrompt::from_bytes(data) else {
        return;
    };
    assert!(
        learned
            .hidden()
            .iter()
            .chain(learned.embedded())
            .all(|x| x.is_finite())
    );
    for phrase in learned.phrases() {
        assert!(
            phrase
                .tokens
                .iter()
                .all(|&token| token < learned.hidden().nrows())
        );
    }
}

/// Any bytes as one of the three files of a tagger.
pub fn perceptron(data: &[u8]) {
    let Some((&which, bytes)) = data.split_first() else {
        return;
    };
    let files = ["classes", "tagdict", "weights"].map(|part| {
        let name = format!("averaged_perceptron_tagger_eng.{part}.json");
        (
            name.clone(),
            Path::new(FIXTURES).join("perceptron").join(name),
        )
    });
    let folder = folder("perceptron");
    for (index, (name, path)) in files.iter().enumerate() {
        let bytes = match index == usize::from(which) % files.len() {
            true => bytes.to_vec(),
            false => fs::read(path).expect("a fixture"),
        };
        fs::write(folder.join(name), bytes).expect("a temporary folder");
    }
    if let Ok(tagger) = PerceptronTagger::from_dir(&folder) {
        let caption = Prompt::caption("a big dog ran 12 times, over the lazy-cat");
        let _ = PromptRule::default().render(&caption.extract(&tagger));
    }
}
