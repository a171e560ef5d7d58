//! Prompts that were learned: text states in place of a text.

use std::{ops::Range, path::Path};

use ndarray::{Array2, ArrayView2};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;

use super::{phrase::Phrase, prompt::Prompt, tokens::TokenizedPhrase};
use crate::{
    error::{Error, Result},
    regular_file::read_regular,
};

/// What `glip_torch.tune` writes into the file's metadata.
const FORMAT: &str = "glip-learned-prompt";
const FORMAT_VERSION: &str = "1";

/// A prompt whose text states were tuned on examples (GLIP's prompt tuning), for one model.
///
/// `python -m glip_torch.tune --method prompt` writes it. It takes the place of the text encoder: a
/// bundle may lack that graph. What the words were is kept in [`text`](Self::text) and in the
/// phrases' labels.
///
/// ```no_run
/// use glip::{Detector, Prompt};
///
/// let image = image::open("tests/fixtures/drawn/scene.png")?;
/// let detector = Detector::from_dir("models/glip-drawn")?; // which this prompt was learned for
/// let prompt = Prompt::learned("tests/fixtures/learned_prompt.safetensors")?;
/// let found = detector.ground(&image, &prompt)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedPrompt {
    text: String,
    model: String,
    phrases: Vec<TokenizedPhrase>,
    hidden: Array2<f32>,
    embedded: Array2<f32>,
}

impl Prompt {
    /// Reads a prompt that was learned with `python -m glip_torch.tune --method prompt`.
    ///
    /// # Errors
    /// - [`Error::LearnedPrompt`]: the file cannot be read, is no learned prompt, has no phrase, or
    ///   holds tensors of other types or shapes than it should, or NaN.
    pub fn learned(path: impl AsRef<Path>) -> Result<LearnedPrompt> {
        let path = path.as_ref();
        let bytes = read_regular(path, u64::MAX).map_err(|error| unusable(path, error))?;
        parse(&bytes).map_err(|reason| unusable(path, reason))
    }
}

impl LearnedPrompt {
    /// As [`Prompt::learned`], from the file's contents.
    ///
    /// # Errors
    /// - [`Error::LearnedPrompt`]: as there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        parse(bytes).map_err(|reason| unusable(Path::new("(learned prompt)"), reason))
    }

    /// The text that tuning began with.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fingerprint of the model it belongs to, as in [`SourceSpec`](crate::manifest::SourceSpec).
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What it finds.
    pub fn phrases(&self) -> &[TokenizedPhrase] {
        &self.phrases
    }

    /// The tuned states that the fusion tower reads: `[tokens, width]`.
    pub fn hidden(&self) -> ArrayView2<'_, f32> {
        self.hidden.view()
    }

    /// The tuned states that a model without fusion aligns with: `[tokens, width]`.
    pub fn embedded(&self) -> ArrayView2<'_, f32> {
        self.embedded.view()
    }
}

/// What a file holds, or what is wrong with it.
type Parsed<T> = std::result::Result<T, String>;

/// A phrase in the file's metadata.
#[derive(Deserialize)]
struct PhraseEntry {
    label: String,
    index: usize,
    spans: Vec<(usize, usize)>,
    tokens: Vec<usize>,
}

fn parse(bytes: &[u8]) -> Parsed<LearnedPrompt> {
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|error| format!("it is not a safetensors file ({error})"))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let value = |key: &str| {
        let value = metadata.get(key).map(String::as_str);
        value.ok_or_else(|| format!("its metadata lacks `{key}`"))
    };
    expect("format", value("format")?, FORMAT)?;
    expect("format_version", value("format_version")?, FORMAT_VERSION)?;

    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let hidden = states(&tensors, "hidden")?;
    let embedded = states(&tensors, "embedded")?;
    if hidden.dim() != embedded.dim() {
        let (hidden, embedded) = (hidden.dim(), embedded.dim());
        return Err(format!(
            "hidden has shape {hidden:?} and embedded {embedded:?}, which should be equal"
        ));
    }
    check_mask(&tensors, hidden.nrows())?;
    let text = value("text")?.to_owned();
    Ok(LearnedPrompt {
        phrases: phrases(value("phrases")?, &text, hidden.nrows())?,
        text,
        model: value("model")?.to_owned(),
        hidden,
        embedded,
    })
}

fn expect(key: &str, found: &str, expected: &str) -> Parsed<()> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("its {key} is {found:?}, expected {expected:?}")),
    }
}

fn tensor<'a>(tensors: &SafeTensors<'a>, name: &str, dtype: Dtype) -> Parsed<TensorView<'a>> {
    let tensor = tensors
        .tensor(name)
        .map_err(|_| format!("it lacks the tensor `{name}`"))?;
    match tensor.dtype() == dtype {
        true => Ok(tensor),
        false => Err(format!(
            "{name} has element type {}, expected {dtype}",
            tensor.dtype()
        )),
    }
}

/// Text states `[tokens, width]`, all finite.
fn states(tensors: &SafeTensors<'_>, name: &str) -> Parsed<Array2<f32>> {
    let tensor = tensor(tensors, name, Dtype::F32)?;
    let &[tokens, width] = tensor.shape() else {
        let shape = tensor.shape();
        return Err(format!(
            "{name} has shape {shape:?}, expected [tokens, width]"
        ));
    };
    let (numbers, _) = tensor.data().as_chunks::<4>();
    let numbers: Vec<f32> = numbers
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    if let Some(value) = numbers.iter().find(|value| !value.is_finite()) {
        return Err(format!("{name} holds {value}"));
    }
    Array2::from_shape_vec((tokens, width), numbers).map_err(|error| format!("{name}: {error}"))
}

/// Learned prompts have their true length, so nothing of them is padding.
fn check_mask(tensors: &SafeTensors<'_>, tokens: usize) -> Parsed<()> {
    let mask = tensor(tensors, "attention_mask", Dtype::I64)?;
    let (numbers, _) = mask.data().as_chunks::<8>();
    match mask.shape() == [tokens] && numbers.iter().all(|bytes| i64::from_le_bytes(*bytes) == 1) {
        true => Ok(()),
        false => Err(format!("attention_mask is not {tokens} times 1")),
    }
}

fn phrases(json: &str, text: &str, tokens: usize) -> Parsed<Vec<TokenizedPhrase>> {
    let entries: Vec<PhraseEntry> =
        serde_json::from_str(json).map_err(|error| format!("phrases in its metadata: {error}"))?;
    if entries.is_empty() {
        return Err("it has no phrase".to_owned());
    }
    let phrase = |entry: PhraseEntry| {
        let label = &entry.label;
        let valid = entry.tokens.is_sorted_by(|a, b| a < b);
        if !valid || entry.tokens.last().is_none_or(|last| *last >= tokens) {
            let found = &entry.tokens;
            return Err(format!(
                "phrase {label:?} has tokens {found:?}, expected some of 0 to {}, rising",
                tokens.saturating_sub(1)
            ));
        }
        let spans: Vec<Range<usize>> = entry.spans.iter().map(|&(b, e)| b..e).collect();
        if spans
            .iter()
            .any(|span| text.get(span.clone()).is_none_or(str::is_empty))
        {
            return Err(format!(
                "phrase {label:?} has spans {spans:?}, not in its text {text:?}"
            ));
        }
        let phrase = Phrase {
            label: entry.label,
            index: entry.index,
            spans,
        };
        Ok(TokenizedPhrase {
            phrase,
            tokens: entry.tokens,
        })
    };
    entries.into_iter().map(phrase).collect()
}

fn unusable(path: &Path, reason: impl ToString) -> Error {
    Error::LearnedPrompt {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use std::collections::HashMap;

    use super::*;

    const PHRASES: &str = r#"[{"label": "red", "index": 3, "text": "red", "spans": [[0, 3]],
        "tokens": [1]}, {"label": "circle", "index": 4, "spans": [[4, 10]], "tokens": [2]}]"#;

    /// The contents of a file with the prompt "red circle" for a model, with states of this width.
    pub(crate) fn learned_file(model: &str, width: usize, phrases: &str) -> Vec<u8> {
        File::new(model, width, phrases).bytes()
    }

    /// A learned prompt's file, to be damaged in one place.
    struct File {
        metadata: HashMap<String, String>,
        tensors: Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>,
    }

    impl File {
        fn new(model: &str, width: usize, phrases: &str) -> Self {
            let states: Vec<u8> = (0..4 * width)
                .flat_map(|i| (i as f32).to_le_bytes())
                .collect();
            let mask = [1i64; 4].iter().flat_map(|one| one.to_le_bytes()).collect();
            let metadata = [
                ("format", FORMAT),
                ("format_version", FORMAT_VERSION),
                ("model", model),
                ("text", "red circle"),
                ("phrases", phrases),
                ("method", "prompt"),
            ];
            Self {
                metadata: metadata
                    .map(|(key, value)| (key.into(), value.into()))
                    .into(),
                tensors: vec![
                    ("hidden", Dtype::F32, vec![4, width], states.clone()),
                    ("embedded", Dtype::F32, vec![4, width], states),
                    ("attention_mask", Dtype::I64, vec![4], mask),
                ],
            }
        }

        fn bytes(&self) -> Vec<u8> {
            let views = self.tensors.iter().map(|(name, dtype, shape, data)| {
                (*name, TensorView::new(*dtype, shape.clone(), data).unwrap())
            });
            safetensors::serialize(views, Some(self.metadata.clone().into_iter().collect()))
                .unwrap()
        }
    }

    fn file() -> File {
        File::new("abc", 2, PHRASES)
    }

    fn reason(bytes: &[u8]) -> String {
        match LearnedPrompt::from_bytes(bytes) {
            Err(Error::LearnedPrompt { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompt.safetensors");
        fs::write(&path, file().bytes()).unwrap();
        let prompt = Prompt::learned(&path).unwrap();
        assert_eq!((prompt.text(), prompt.model()), ("red circle", "abc"));
        assert_eq!(prompt.hidden()[[1, 1]], 3.0);
        assert_eq!(prompt.embedded().dim(), (4, 2));
        let phrases = prompt.phrases();
        assert_eq!(phrases[1].phrase.label, "circle");
        assert_eq!((phrases[1].phrase.index, &phrases[1].tokens), (4, &vec![2]));
    }

    #[test]
    fn missing_files_are_errors_with_their_path() {
        let error = Prompt::learned("no/such/prompt.safetensors").unwrap_err();
        assert!(
            error.to_string().contains("no/such/prompt.safetensors"),
            "{error}"
        );
    }

    #[test]
    fn wrong_metadata_is_an_error() {
        for (key, value, expected) in [
            ("format", "lora", "its format is \"lora\""),
            ("format_version", "2", "its format_version is \"2\""),
            ("phrases", "[]", "no phrase"),
            ("phrases", "{", "phrases in its metadata"),
            ("text", "red", "not in its text"),
            (
                "phrases",
                r#"[{"label": "a", "index": 0, "spans": [], "tokens": [4]}]"#,
                "0 to 3",
            ),
            (
                "phrases",
                r#"[{"label": "a", "index": 0, "spans": [], "tokens": []}]"#,
                "0 to 3",
            ),
            (
                "phrases",
                r#"[{"label": "a", "index": 0, "spans": [], "tokens": [2, 1]}]"#,
                "rising",
            ),
        ] {
            let mut file = file();
            file.metadata.insert(key.into(), value.into());
            let reason = reason(&file.bytes());
            assert!(reason.contains(expected), "{key} {value}: {reason}");
        }
        for key in ["format", "format_version", "model", "text", "phrases"] {
            let mut file = file();
            file.metadata.remove(key);
            assert_eq!(reason(&file.bytes()), format!("its metadata lacks `{key}`"));
        }
    }

    #[test]
    fn wrong_tensors_are_errors() {
        type Damage = fn(&mut File);
        let damaged = |damage: Damage| {
            let mut file = file();
            damage(&mut file);
            reason(&file.bytes())
        };
        let cases: [(Damage, &str); 6] = [
            (|f| f.tensors[0].0 = "hiden", "lacks the tensor `hidden`"),
            (|f| f.tensors[0].1 = Dtype::I32, "hidden has element type"),
            (|f| f.tensors[1].2 = vec![8], "embedded has shape [8]"),
            (|f| f.tensors[1].2 = vec![2, 4], "should be equal"),
            (|f| f.tensors[2].3[0] = 0, "attention_mask"),
            (
                |f| f.tensors[0].3[4..8].copy_from_slice(&f32::NAN.to_le_bytes()),
                "hidden holds NaN",
            ),
        ];
        for (damage, expected) in cases {
            let reason = damaged(damage);
            assert!(reason.contains(expected), "{expected}: {reason}");
        }
    }

    #[test]
    fn files_cut_off_anywhere_are_errors() {
        let bytes = file().bytes();
        for length in 0..bytes.len() {
            assert!(LearnedPrompt::from_bytes(&bytes[..length]).is_err());
        }
    }
}
