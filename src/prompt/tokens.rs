//! From a prompt's text to the model's token ids, and from phrases to their tokens.

use std::{ops::Range, path::Path};

use ndarray::Array2;

use super::{
    caption,
    phrase::Phrase,
    prompt::Prompt,
    rule::{PromptRule, PromptText},
    tokenizer_file::TokenizerFile,
};
use crate::{
    error::{Error, Result},
    regular_file::read_regular,
};

/// The bytes of prompt that are read for each token that a model takes. English has four or five; what has
/// more is too long whatever it says, and is not split to learn that.
const BYTES_PER_TOKEN: usize = 100;

/// Writes prompts as a model wants them and splits them into the tokens that it was trained on.
///
/// ```
/// use glip::{Prompt, parts::Tokenizer};
///
/// let tokenizer = Tokenizer::from_file("tests/fixtures/tokenizer.json", 256)?;
/// let tokens = tokenizer.tokenize(&Prompt::from("a red circle. cat"))?;
/// assert_eq!(tokens.ids(), [101, 1037, 2417, 4418, 1012, 4937, 102]);
/// assert_eq!(tokens.phrases()[0].tokens, [1, 2, 3]);
/// assert_eq!(tokens.phrases()[1].tokens, [5]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The id of what is not in the vocabulary.
    unknown: u32,
    max_tokens: usize,
    rule: PromptRule,
    /// The ids of the rule's [block ends](PromptRule::block_ends).
    block_ends: Vec<u32>,
}

/// A prompt as the model reads it.
///
/// Its length is the number of tokens `T`, the special ones at both ends included; there is no
/// padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizedPrompt {
    text: String,
    ids: Vec<u32>,
    attention_mask: Vec<u32>,
    offsets: Vec<Range<usize>>,
    /// For each token, the tokens of its block.
    blocks: Vec<Range<usize>>,
    phrases: Vec<TokenizedPhrase>,
}

/// A phrase and the tokens it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizedPhrase {
    /// The phrase at its place in the text.
    pub phrase: Phrase,
    /// Its tokens in rising order, as indices into [`TokenizedPrompt::ids`] and the token axis of
    /// the logits.
    pub tokens: Vec<usize>,
}

impl Tokenizer {
    /// Loads a `tokenizer.json` with BERT's WordPiece, which is what these models have. Truncation and
    /// padding it may ask for are not used: a prompt that is cut loses phrases silently, and padding costs
    /// time.
    ///
    /// `max_tokens` is the most tokens a prompt may have, the special ones included.
    ///
    /// # Errors
    /// - [`Error::BundleFile`]: the file cannot be read.
    /// - [`Error::Tokenizer`]: it does not describe such a tokenizer.
    pub fn from_file(path: impl AsRef<Path>, max_tokens: usize) -> Result<Self> {
        let path = path.as_ref();
        let json = read_regular(path, u64::MAX).map_err(|source| Error::BundleFile {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(&json, max_tokens)
    }

    /// As [`from_file`](Self::from_file), from the file's contents.
    ///
    /// # Errors
    /// - [`Error::Tokenizer`]: the contents do not describe such a tokenizer.
    pub fn from_bytes(json: &[u8], max_tokens: usize) -> Result<Self> {
        let TokenizerFile { tokenizer, unknown } = TokenizerFile::parse(json)?;
        Ok(Self {
            inner: tokenizer,
            unknown,
            max_tokens,
            rule: PromptRule::default(),
            block_ends: Vec::new(),
        })
    }

    /// Writes prompts by this rule. Default: GLIP's.
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: the vocabulary lacks a token that the rule ends blocks with.
    pub fn with_rule(self, rule: PromptRule) -> Result<Self> {
        let id = |token: &String| {
            self.inner
                .token_to_id(token)
                .ok_or_else(|| Error::InvalidOption {
                    option: "block_ends",
                    found: format!("{token:?}"),
                    expected: "tokens of the model's vocabulary",
                })
        };
        Ok(Self {
            block_ends: rule.block_ends.iter().map(id).collect::<Result<_>>()?,
            rule,
            ..self
        })
    }

    /// How the model wants prompts written.
    pub fn rule(&self) -> &PromptRule {
        &self.rule
    }

    /// The most tokens a prompt may have, the special ones included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Writes the prompt by the model's rule, splits it into tokens and finds those of each phrase.
    ///
    /// # Errors
    /// - [`Error::PromptTooLarge`]: it has more than 100 bytes for each of the tokens that there may be.
    /// - Those of [`PromptRule::render`].
    /// - [`Error::PromptTooLong`]: there are more than [`max_tokens`](Self::max_tokens).
    /// - [`Error::SpanWithoutTokens`]: no token covers a phrase, for example because it is made of
    ///   spaces only.
    /// - [`Error::UnknownPhrase`]: the vocabulary has none of a phrase's words.
    /// - [`Error::Tokenize`]: the tokenizer itself fails.
    pub fn tokenize(&self, prompt: &Prompt) -> Result<TokenizedPrompt> {
        let tokens = self.read(prompt)?;
        match tokens
            .phrases
            .iter()
            .find(|phrase| self.is_unknown(&tokens, phrase))
        {
            None => Ok(tokens),
            Some(TokenizedPhrase { phrase, .. }) => Err(Error::UnknownPhrase {
                phrase: caption::words(&tokens.text, &phrase.spans),
            }),
        }
    }

    /// As [`tokenize`](Self::tokenize), whether or not the words are known.
    pub(super) fn read(&self, prompt: &Prompt) -> Result<TokenizedPrompt> {
        self.check_bytes(prompt.bytes())?;
        let (text, phrases) = self.rule.render(prompt).map(PromptText::into_parts)?;
        let encoding = self.encode(&text, true)?;
        if encoding.len() > self.max_tokens {
            return Err(Error::PromptTooLong {
                tokens: encoding.len(),
                limit: self.max_tokens,
            });
        }
        let offsets: Vec<_> = encoding
            .get_offsets()
            .iter()
            .map(|&(begin, end)| begin..end)
            .collect();
        let phrases = phrases
            .into_iter()
            .map(|phrase| {
                let tokens = tokens_of(&phrase, &text, &offsets)?;
                Ok(TokenizedPhrase { phrase, tokens })
            })
            .collect::<Result<_>>()?;
        Ok(TokenizedPrompt {
            text,
            blocks: blocks(encoding.get_ids(), &self.block_ends),
            ids: encoding.get_ids().to_vec(),
            attention_mask: encoding.get_attention_mask().to_vec(),
            offsets,
            phrases,
        })
    }

    /// Whether a phrase has words, none of which is known. Marks between them tell nothing.
    fn is_unknown(&self, prompt: &TokenizedPrompt, phrase: &TokenizedPhrase) -> bool {
        let is_unknown = |token: &usize| prompt.ids[*token] == self.unknown;
        let is_mark = |token: &usize| {
            let text = &prompt.text[prompt.offsets[*token].clone()];
            !text.contains(char::is_alphanumeric)
        };
        let tokens = &phrase.tokens;
        tokens.iter().any(is_unknown)
            && tokens
                .iter()
                .all(|token| is_unknown(token) || is_mark(token))
    }

    /// The tokens themselves, as the vocabulary spells them; `?` for an id that it lacks.
    pub(super) fn spell(&self, id: u32) -> String {
        self.inner.id_to_token(id).unwrap_or_else(|| "?".to_owned())
    }

    /// The number of tokens in a text, without the special ones.
    pub(super) fn count(&self, text: &str) -> Result<usize> {
        self.check_bytes(text.len())?;
        Ok(self.encode(text, false)?.len())
    }

    /// The number of special tokens that are put around every text.
    pub(super) fn special_tokens(&self) -> Result<usize> {
        Ok(self.encode("", true)?.len())
    }

    fn check_bytes(&self, bytes: usize) -> Result<()> {
        let limit = self.max_tokens.saturating_mul(BYTES_PER_TOKEN);
        if bytes <= limit {
            return Ok(());
        }
        Err(Error::PromptTooLarge {
            bytes,
            tokens: self.max_tokens,
            limit,
        })
    }

    fn encode(&self, text: &str, special_tokens: bool) -> Result<tokenizers::Encoding> {
        self.inner
            .encode(text, special_tokens)
            .map_err(|source| Error::Tokenize {
                text: text.to_owned(),
                source,
            })
    }
}

impl TokenizedPrompt {
    /// The text that was split.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The tokens' ids, `[T]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// 1 for every token that the model shall attend to, `[T]`.
    pub fn attention_mask(&self) -> &[u32] {
        &self.attention_mask
    }

    /// Where each token stands in the text, as byte ranges, `[T]`; empty for special tokens.
    pub fn offsets(&self) -> &[Range<usize>] {
        &self.offsets
    }

    /// Each token's place in its block, `[T]`; in the prompt, if the model's rule has no blocks.
    pub fn position_ids(&self) -> Vec<u32> {
        let blocks = self.blocks.iter().enumerate();
        // At most as many as the model takes.
        let places = blocks.map(|(token, block)| (token - block.start) as u32);
        places.collect()
    }

    /// Which tokens each token sees, `[T, T]`: those of its block, or all, if the model's rule has no
    /// blocks.
    pub fn block_mask(&self) -> Array2<bool> {
        let tokens = self.ids.len();
        Array2::from_shape_fn((tokens, tokens), |(token, other)| {
            self.blocks[token].contains(&other)
        })
    }

    /// The phrases and their tokens, in the order they were given.
    pub fn phrases(&self) -> &[TokenizedPhrase] {
        &self.phrases
    }

    pub(crate) fn into_phrases(self) -> Vec<TokenizedPhrase> {
        self.phrases
    }
}

/// The block of each token. A block ends with one of `ends`; the first and the last token, which are
/// there in every prompt, are blocks of their own. Source: Grounding DINO's
/// `generate_masks_with_special_tokens_and_transfer_map`.
fn blocks(ids: &[u32], ends: &[u32]) -> Vec<Range<usize>> {
    let last = ids.len().saturating_sub(1);
    if ends.is_empty() {
        return vec![0..ids.len(); ids.len()];
    }
    let mut blocks = Vec::with_capacity(ids.len());
    let mut begin = 0;
    for (token, id) in ids.iter().enumerate() {
        let next_is_last = token + 1 == last;
        if token == 0 || token == last || next_is_last || ends.contains(id) {
            blocks.extend(vec![begin..token + 1; token + 1 - begin]);
            begin = token + 1;
        }
    }
    blocks
}

/// The tokens of all spans of a phrase.
fn tokens_of(phrase: &Phrase, text: &str, offsets: &[Range<usize>]) -> Result<Vec<usize>> {
    let mut tokens = Vec::new();
    for span in &phrase.spans {
        let of_span =
            tokens_of_span(span, text, offsets).ok_or_else(|| Error::SpanWithoutTokens {
                phrase: text[span.clone()].to_owned(),
                span: span.clone(),
            })?;
        tokens.extend(of_span);
    }
    tokens.sort_unstable();
    tokens.dedup();
    Ok(tokens)
}

/// The tokens of a span by official's rule: from the token of its first character to that of its
/// last one. A character that belongs to no token (a space, say) is replaced by the next one inwards,
/// at most twice.
///
/// Official takes the first token of the last character. This takes the last, which differs where one
/// character is several tokens (as Korean syllables are), whose score would be of half a syllable.
fn tokens_of_span(
    span: &Range<usize>,
    text: &str,
    offsets: &[Range<usize>],
) -> Option<Range<usize>> {
    const TRIES: usize = 3;
    let from_start = text[span.start..].char_indices();
    let from_end = text[..span.end].char_indices().rev();
    let first = from_start.take(TRIES).find_map(|(at, _)| {
        let at = span.start + at;
        offsets.iter().position(|offset| offset.contains(&at))
    })?;
    let last = from_end
        .take(TRIES)
        .find_map(|(at, _)| offsets.iter().rposition(|offset| offset.contains(&at)))?;
    // Past the other end of a short phrase both may leave it, and then they have crossed.
    (first <= last).then_some(first..last + 1)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    /// The words that the tests need, with the ids of bert-base-uncased.
    const TOKENIZER_JSON: &[u8] = include_bytes!("../../tests/fixtures/tokenizer.json");

    pub(in crate::prompt) fn tokenizer(max_tokens: usize) -> Tokenizer {
        Tokenizer::from_bytes(TOKENIZER_JSON, max_tokens).unwrap()
    }

    fn tokenize(prompt: &Prompt) -> Result<TokenizedPrompt> {
        tokenizer(256).tokenize(prompt)
    }

    /// The text that a phrase's tokens cover.
    fn covered(tokens: &TokenizedPrompt, phrase: usize) -> &str {
        let (first, last) = match tokens.phrases()[phrase].tokens.as_slice() {
            &[first, .., last] => (first, last),
            &[only] => (only, only),
            [] => panic!("no tokens"),
        };
        &tokens.text()[tokens.offsets()[first].start..tokens.offsets()[last].end]
    }

    #[test]
    fn tokens_cover_their_phrases_in_any_script() {
        let text = "süße café 日本 cat";
        let prompt = Prompt::caption(text)
            .phrases(["café", "cat"])
            .spans([13..19, 0..6]);
        let tokens = tokenizer(256).read(&prompt).unwrap();
        let expected = ["café", "cat", "日本", "süße"];
        for (phrase, expected) in expected.into_iter().enumerate() {
            assert_eq!(covered(&tokens, phrase), expected);
        }
    }

    #[test]
    fn several_spans_are_one_set_of_tokens() {
        let prompt = Prompt::caption("a red cat circle").spans([vec![10..16, 0..1, 0..5]]);
        let tokens = tokenize(&prompt).unwrap();
        assert_eq!(tokens.phrases()[0].tokens, [1, 2, 4]);
    }

    #[test]
    fn characters_of_several_tokens_have_them_all() {
        // The tokenizer takes Hangul syllables apart, into tokens at one place of the text.
        let prompt = Prompt::caption("한 cat").spans([0..3]);
        let tokens = tokenizer(256).read(&prompt).unwrap();
        let same_place = tokens.offsets().iter().filter(|&offset| *offset == (0..3));
        assert_eq!(tokens.phrases()[0].tokens.len(), same_place.count());
    }

    #[test]
    fn spans_over_spaces_fall_back_inwards() {
        let text = "red  cat  dog";
        let cases = [
            (3..10, Some("cat")),
            (4..9, Some("cat")),
            (8..13, Some("dog")),
        ];
        for (span, expected) in cases {
            let tokens = tokenize(&Prompt::caption(text).spans([span])).unwrap();
            assert_eq!(Some(covered(&tokens, 0)), expected);
        }
    }

    #[test]
    fn spans_without_tokens_are_errors() {
        for (text, span) in [("red  cat", 3..5), (" cat", 0..1), ("cat    dog", 3..10)] {
            let error = tokenize(&Prompt::caption(text).spans([span.clone()])).unwrap_err();
            assert!(
                matches!(error, Error::SpanWithoutTokens { .. }),
                "{text:?} {span:?}: {error}"
            );
        }
    }

    /// As Grounding DINO's: the dot belongs to the phrase before it.
    #[test]
    fn phrases_of_a_rule_with_blocks_see_themselves_alone() {
        let rule = PromptRule::default()
            .with_closing(".")
            .with_block_ends(["[CLS]", "[SEP]", "."]);
        let tokenizer = tokenizer(256).with_rule(rule).unwrap();
        let tokens = tokenizer
            .tokenize(&Prompt::from("a red circle . cat"))
            .unwrap();
        assert_eq!(tokens.text(), "a red circle. cat.");
        assert_eq!(tokens.position_ids(), [0, 0, 1, 2, 3, 0, 1, 0]);
        let mask = tokens.block_mask();
        let seen = |token: usize| -> Vec<usize> {
            let row = mask.row(token);
            (0..row.len()).filter(|&other| row[other]).collect()
        };
        let seen: Vec<_> = [0, 1, 4, 5, 6, 7].map(seen).into();
        let (first, second) = (vec![1, 2, 3, 4], vec![5, 6]);
        let expected = [
            vec![0],
            first.clone(),
            first,
            second.clone(),
            second,
            vec![7],
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn without_blocks_every_token_sees_all() {
        let tokens = tokenize(&Prompt::from("red . cat")).unwrap();
        assert_eq!(tokens.position_ids(), [0, 1, 2, 3, 4]);
        assert!(tokens.block_mask().iter().all(|&seen| seen));
    }

    #[test]
    fn block_ends_that_the_vocabulary_lacks_are_errors() {
        let rule = PromptRule::default().with_block_ends(["[CLS]", "<end>"]);
        let error = tokenizer(256).with_rule(rule).unwrap_err();
        assert!(error.to_string().contains("<end>"), "{error}");
    }

    #[test]
    fn special_tokens_have_no_place_in_the_text() {
        let tokens = tokenize(&Prompt::from("cat")).unwrap();
        assert_eq!(tokens.offsets(), [0..0, 0..3, 0..0]);
        assert_eq!(tokens.attention_mask(), [1; 3]);
    }

    #[test]
    fn long_prompts_are_errors_not_cut() {
        let prompt = Prompt::from("a red circle. cat");
        assert_eq!(tokenizer(7).tokenize(&prompt).unwrap().ids().len(), 7);
        let error = tokenizer(6).tokenize(&prompt).unwrap_err();
        assert!(
            matches!(
                error,
                Error::PromptTooLong {
                    tokens: 7,
                    limit: 6
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn phrases_of_unknown_words_alone_are_errors() {
        for (list, expected) in [
            ("🔴", "🔴"),
            ("cat . 红色圆圈", "红色圆圈"),
            ("cat . 🔴, (🔵) . dog", "🔴, (🔵)"),
        ] {
            match tokenize(&Prompt::from(list)) {
                Err(Error::UnknownPhrase { phrase }) => assert_eq!(phrase, expected),
                other => panic!("{list}: {other:?}"),
            }
            let description = Prompt::from(list).describe(&tokenizer(256)).unwrap();
            assert!(description.contains("[UNK]"), "{description}");
        }
        for list in ["cat 🔴", "红 cat", "?", "cat . dog"] {
            assert!(tokenize(&Prompt::from(list)).is_ok(), "{list}");
        }
        // Of a caption, only what is looked for has to be known.
        assert!(tokenize(&Prompt::caption("红 cat").phrases(["cat"])).is_ok());
        let synonym = crate::prompt::Category::new("cat").with_synonym("猫");
        let synonym = tokenize(&Prompt::categories([synonym]));
        assert!(matches!(synonym, Err(Error::UnknownPhrase { .. })));
    }

    /// Ten megabytes, which a tokenizer takes seconds for.
    #[test]
    fn what_is_far_too_long_is_not_looked_at() {
        let list = "cat . ".repeat(10_000_000 / 6);
        let names = vec!["cat"; 1_000_000];
        let prompts = [
            Prompt::from(list.as_str()),
            Prompt::caption(&list).phrases(["cat"]),
            Prompt::from(" ".repeat(10_000_000)),
            Prompt::categories(names),
        ];
        let name = crate::prompt::Vocabulary::new(["cat", &list]);
        let error = name.prompts(&tokenizer(256)).unwrap_err();
        assert!(matches!(error, Error::PromptTooLarge { .. }), "{error}");
        for prompt in prompts {
            let begun = std::time::Instant::now();
            let error = tokenize(&prompt).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::PromptTooLarge {
                        tokens: 256,
                        limit: 25_600,
                        ..
                    }
                ),
                "{error}"
            );
            assert!(begun.elapsed() < std::time::Duration::from_millis(200));
        }
        let error = tokenize(&Prompt::from("cat . ".repeat(4_000))).unwrap_err();
        assert!(matches!(error, Error::DuplicateLabel { .. }), "{error}");
        let error = tokenize(&Prompt::caption("cat ".repeat(6_000)).spans([0..3])).unwrap_err();
        assert!(
            matches!(error, Error::PromptTooLong { tokens: 6_002, .. }),
            "{error}"
        );
    }

    #[test]
    fn truncation_and_padding_of_the_file_are_ignored() {
        let mut json: serde_json::Value = serde_json::from_slice(TOKENIZER_JSON).unwrap();
        json["truncation"] = serde_json::json!({
            "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0
        });
        json["padding"] = serde_json::json!({
            "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
        });
        let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes(), 256).unwrap();
        assert_eq!(
            tokenizer
                .tokenize(&Prompt::from("a red circle"))
                .unwrap()
                .ids()
                .len(),
            5
        );
    }

    #[test]
    fn unusable_files_are_errors() {
        for json in [
            &b""[..],
            b"{",
            b"{}",
            b"\xff\xfe",
            b"{\"decoder\":",
            b"[[[[",
        ] {
            let error = Tokenizer::from_bytes(json, 256).unwrap_err();
            assert!(matches!(error, Error::Tokenizer { .. }));
        }
        // A file is cut off anywhere.
        for length in (0..TOKENIZER_JSON.len()).step_by(37) {
            assert!(Tokenizer::from_bytes(&TOKENIZER_JSON[..length], 256).is_err());
        }
        let error = Tokenizer::from_file("no/such/tokenizer.json", 256).unwrap_err();
        assert!(matches!(error, Error::BundleFile { .. }));
    }

    /// The test's own tokenizer with other values in it, for each of which a place of the file and what an
    /// error has to say.
    #[test]
    fn tokenizers_of_other_kinds_are_errors_that_say_so() {
        let json: serde_json::Value = serde_json::from_slice(TOKENIZER_JSON).unwrap();
        let cases = [
            ("/model/type", serde_json::json!("BPE"), "WordPiece"),
            ("/model/unk_token", serde_json::json!("?!"), "?!"),
            (
                "/model/max_input_chars_per_word",
                serde_json::json!(1_000_000),
                "1000000",
            ),
            (
                "/model/vocab/cat",
                serde_json::json!(4_294_967_295_u32),
                "31 bits",
            ),
            ("/model/vocab/cat", serde_json::json!(-1), "-1"),
            ("/normalizer", serde_json::Value::Null, "Normalizer"),
            ("/normalizer/type", serde_json::json!("NFKC"), "NFKC"),
            (
                "/pre_tokenizer/type",
                serde_json::json!("Whitespace"),
                "Whitespace",
            ),
            (
                "/post_processor/type",
                serde_json::json!("RobertaProcessing"),
                "Roberta",
            ),
            (
                "/post_processor/special_tokens",
                serde_json::json!({}),
                "[CLS]",
            ),
            ("/post_processor/single", serde_json::json!([]), "one text"),
            (
                "/post_processor/special_tokens/[SEP]/ids",
                serde_json::json!([1, 2]),
                "[SEP]",
            ),
        ];
        for (place, value, expected) in cases {
            let mut json = json.clone();
            *json.pointer_mut(place).unwrap() = value;
            let error = Tokenizer::from_bytes(json.to_string().as_bytes(), 256).unwrap_err();
            assert!(
                format!("{error:?}").contains(expected),
                "{place}: {error:?}"
            );
        }
    }

    /// Every phrase has tokens, all of them the prompt's, and every token in one of its spans is
    /// among them.
    fn check_tokens(tokens: &TokenizedPrompt) {
        let length = tokens.ids().len();
        assert_eq!(tokens.offsets().len(), length);
        for TokenizedPhrase {
            phrase,
            tokens: own,
        } in tokens.phrases()
        {
            assert!(!own.is_empty() && own.is_sorted_by(|a, b| a < b));
            assert!(own.iter().all(|&token| token < length));
            for span in &phrase.spans {
                let shared =
                    |offset: &Range<usize>| offset.start.max(span.start) < offset.end.min(span.end);
                let inside = (0..length).filter(|&token| shared(&tokens.offsets()[token]));
                assert!(inside.into_iter().all(|token| own.contains(&token)));
            }
        }
    }

    proptest! {
        /// Whatever stands in the file's place, and whatever of it is changed.
        #[test]
        fn no_file_makes_a_panic(
            bytes: Vec<u8>,
            changes in prop::collection::vec((0..TOKENIZER_JSON.len(), any::<u8>()), 1..4),
            text: String,
        ) {
            let mut changed = TOKENIZER_JSON.to_vec();
            for (at, byte) in changes {
                changed[at] = byte;
            }
            for json in [bytes, changed] {
                if let Ok(tokenizer) = Tokenizer::from_bytes(&json, 256) {
                    drop(tokenizer.tokenize(&Prompt::from(text.as_str())));
                }
            }
        }

        #[test]
        fn any_text_and_spans_give_tokens_or_an_error(
            text in any::<String>(),
            spans in prop::collection::vec(
                prop::collection::vec((0usize..40, 0usize..40), 0..4), 0..4,
            ),
        ) {
            let range = |(begin, end): (usize, usize)| begin..end;
            let spans: Vec<Vec<_>> = spans
                .into_iter()
                .map(|spans| spans.into_iter().map(range).collect())
                .collect();
            let caption = Prompt::caption(&text);
            for prompt in [caption.clone().spans(spans.clone()), caption.char_spans(spans)] {
                match tokenize(&prompt) {
                    Ok(tokens) => check_tokens(&tokens),
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Prompt),
                }
            }
        }

        #[test]
        fn spans_of_characters_are_never_cut(
            text in "\\PC{1,12}",
            ends in prop::collection::vec((0usize..12, 0usize..12), 1..4),
        ) {
            let count = text.chars().count();
            for (begin, end) in ends {
                let prompt = Prompt::caption(&text).char_spans([begin..end]);
                match PromptRule::default().render(&prompt) {
                    Ok(found) => {
                        let expected: String = text.chars().skip(begin).take(end - begin).collect();
                        prop_assert_eq!(&found.phrases()[0].label, &expected);
                    }
                    Err(_) => prop_assert!(begin >= end || end > count),
                }
            }
        }

        #[test]
        fn any_list_gives_tokens_or_an_error(list in any::<String>(), names: Vec<String>) {
            let in_context = names.iter().map(|name| {
                crate::prompt::Category::new(name).with_prefix(&list).with_suffix(name).with_synonym(&list)
            });
            let in_context = Prompt::categories(in_context);
            for prompt in [Prompt::from(&list), Prompt::categories(&names), in_context] {
                match tokenize(&prompt) {
                    Ok(tokens) => check_tokens(&tokens),
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Prompt),
                }
            }
        }

        #[test]
        fn words_of_a_caption_are_found_in_it(words in prop::collection::vec("[a-zé]{1,4}", 1..8)) {
            let prompt = Prompt::caption(words.join(" ")).phrases(&words);
            let tokens = tokenize(&prompt).unwrap();
            for (phrase, word) in words.iter().enumerate() {
                prop_assert_eq!(covered(&tokens, phrase), word);
            }
        }
    }
}
