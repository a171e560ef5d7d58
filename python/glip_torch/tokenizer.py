"""Tokenizers: BERT's WordPiece from a vocabulary file, glip-nano's own small vocabulary, and the tokens of a phrase."""

from __future__ import annotations

import string
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Typography that survives BERT's normaliser and that people paste.
EXTRA_CHARACTERS = "‘’“”–—…•€£°×©®"


def build_tokenizer(vocabulary: Path | str | Iterable[str]) -> Tokenizer:
    """BERT's uncased tokenizer over a vocab.txt (one token a line) or over the tokens themselves."""
    if isinstance(vocabulary, (str, Path)):
        vocabulary = Path(vocabulary).read_text(encoding="utf-8").splitlines()
    ids = {token: index for index, token in enumerate(vocabulary)}
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing:
        raise ValueError(f"the vocabulary lacks {', '.join(missing)}: use a BERT vocab.txt")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def phrase_tokens(encoding: Encoding, begin: int, end: int) -> range:
    """The tokens of the phrase text[begin:end], by the official rule.

    From the token of the first character to the token of the last one; where a character has no token (a space), up to two
    characters further in are tried. Raises ValueError where official drops the phrase silently.
    """
    first = _first_token(encoding, (begin, begin + 1, begin + 2))
    last = _first_token(encoding, (end - 1, end - 2, end - 3))
    if first is None or last is None or last < first:
        raise ValueError(f"no token covers the characters {begin}..{end}")
    return range(first, last + 1)


def _first_token(encoding: Encoding, positions: tuple[int, ...]) -> int | None:
    tokens = (encoding.char_to_token(position) for position in positions if position >= 0)
    return next((token for token in tokens if token is not None), None)


def nano_vocabulary() -> list[str]:
    """glip-nano's vocabulary: every word its prompts are made of, and letters, digits and marks to spell all others.

    Foreign nouns are left out on purpose: spelled by letters, they teach the model that unknown words mean nothing here.
    """
    from .data import prompts

    texts = [*prompts.ANYTHING, *prompts.OPENINGS, *prompts.LINKS, *prompts.ENDINGS, *prompts.PATTERN_SUFFIXES.values()]
    for names in (
        prompts.SHAPE_NAMES,
        prompts.COLOUR_NAMES,
        prompts.PATTERN_NAMES,
        prompts.SIZE_NAMES,
        prompts.NUMBERS,
    ):
        texts += [name for synonyms in names.values() for name in synonyms]
    texts.append("in that is are colored coloured a an the some several")
    words = {word for text in texts for word in text.replace(",", " ").replace(".", " ").split()}
    characters = [*string.ascii_lowercase, *string.digits]
    pieces = [f"##{character}" for character in characters] + ["##es"]
    marks = [*string.punctuation, *EXTRA_CHARACTERS]
    return [*SPECIAL_TOKENS, *marks, *characters, *pieces, *sorted(words - set(characters))]
