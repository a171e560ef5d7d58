//! What a `tokenizer.json` may hold.
//!
//! The tokenizer library reads many more kinds than these models use, and some bytes make it panic, when
//! it reads them or later at a text. So a file is read here first, into the one kind there is, BERT's
//! WordPiece, and the library is given what was understood.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Letters of the longest word that is looked at; BERT has 100. The time for a word grows with its square.
const LONGEST_WORD: usize = 1000;

/// A tokenizer, and the id of what it does not know.
pub(super) struct TokenizerFile {
    pub(super) tokenizer: tokenizers::Tokenizer,
    pub(super) unknown: u32,
}

impl TokenizerFile {
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        let unreadable =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::Tokenizer { source };
        let contents: Contents =
            serde_json::from_slice(json).map_err(|error| unreadable(error.into()))?;
        let unknown = contents.check().map_err(|wrong| unreadable(wrong.into()))?;
        let understood = serde_json::to_vec(&contents).map_err(|error| unreadable(error.into()))?;
        let tokenizer = tokenizers::Tokenizer::from_bytes(understood).map_err(unreadable)?;
        Ok(Self { tokenizer, unknown })
    }
}

/// The file. What it says of truncation, padding, pairs of texts and decoding is not used: a prompt that
/// is cut loses phrases silently, and padding costs time.
#[derive(Deserialize, Serialize)]
struct Contents {
    version: String,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Normalizer,
    pre_tokenizer: PreTokenizer,
    post_processor: PostProcessor,
    model: Model,
}

/// A token that is found in a text before it is split into words, such as `[SEP]`.
#[derive(Deserialize, Serialize)]
struct AddedToken {
    id: u32,
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type")]
enum Normalizer {
    BertNormalizer {
        clean_text: bool,
        handle_chinese_chars: bool,
        strip_accents: Option<bool>,
        lowercase: bool,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type")]
enum PreTokenizer {
    BertPreTokenizer,
}

/// What is put around a text.
#[derive(Deserialize, Serialize)]
#[serde(tag = "type")]
enum PostProcessor {
    BertProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
    TemplateProcessing {
        single: Vec<Piece>,
        /// Of two texts, which there never are.
        #[serde(skip_deserializing, default = "pair")]
        pair: [Piece; 2],
        special_tokens: BTreeMap<String, SpecialToken>,
    },
}

#[derive(Deserialize, Serialize, PartialEq)]
enum Piece {
    Sequence { id: Sequence, type_id: u32 },
    SpecialToken { id: String, type_id: u32 },
}

#[derive(Deserialize, Serialize, PartialEq)]
enum Sequence {
    A,
    B,
}

#[derive(Deserialize, Serialize)]
struct SpecialToken {
    id: String,
    ids: Vec<u32>,
    tokens: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type")]
enum Model {
    WordPiece {
        unk_token: String,
        continuing_subword_prefix: String,
        max_input_chars_per_word: usize,
        vocab: BTreeMap<String, u32>,
    },
}

fn pair() -> [Piece; 2] {
    [Sequence::A, Sequence::B].map(|id| Piece::Sequence { id, type_id: 0 })
}

/// What is wrong with a file that has the right form.
#[derive(Debug)]
struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

fn require(valid: bool, wrong: impl FnOnce() -> String) -> std::result::Result<(), Wrong> {
    if valid { Ok(()) } else { Err(Wrong(wrong())) }
}

impl Contents {
    /// What the library takes for granted. Returns the id of the unknown token.
    fn check(&self) -> std::result::Result<u32, Wrong> {
        let Model::WordPiece {
            unk_token,
            max_input_chars_per_word: longest,
            vocab,
            ..
        } = &self.model;
        require(*longest <= LONGEST_WORD, || {
            format!("max_input_chars_per_word is {longest}, at most {LONGEST_WORD} is read")
        })?;
        // It counts on from the highest.
        let highest = vocab.values().max().copied().unwrap_or(0);
        require(i32::try_from(highest).is_ok(), || {
            format!("a token has the id {highest}, more than 31 bits")
        })?;
        self.post_processor.check()?;
        vocab.get(unk_token).copied().ok_or_else(|| {
            Wrong(format!(
                "the vocabulary lacks {unk_token:?}, its own unknown token"
            ))
        })
    }
}

impl PostProcessor {
    fn check(&self) -> std::result::Result<(), Wrong> {
        let Self::TemplateProcessing {
            single,
            special_tokens,
            ..
        } = self
        else {
            return Ok(());
        };
        let mut texts = 0;
        for piece in single {
            match piece {
                Piece::Sequence { id, .. } => texts += 1 + usize::from(*id == Sequence::B),
                Piece::SpecialToken { id, .. } => {
                    let known = special_tokens.get(id);
                    let whole = known.is_some_and(|token| token.ids.len() == token.tokens.len());
                    require(whole, || {
                        format!(
                            "the template puts {id:?} around a text, which special_tokens lacks"
                        )
                    })?;
                }
            }
        }
        require(texts == 1, || {
            "the template does not hold one text, A".to_owned()
        })
    }
}
