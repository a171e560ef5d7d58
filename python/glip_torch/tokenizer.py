"""Tokenizers: BERT's WordPiece from a vocabulary file, small vocabularies of drawn worlds, and the tokens of a phrase."""

from __future__ import annotations

import string
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from .config import SEPARATOR

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Typography that survives BERT's normaliser and that people paste.
EXTRA_CHARACTERS = "‘’“”–—…•€£°×©®"


def build_tokenizer(vocabulary: Path | str | Iterable[str]) -> Tokenizer:
    """BERT's uncased tokenizer over a vocab.txt (one token a line) or over the tokens themselves."""
    ids = {token: index for index, token in enumerate(_lines(vocabulary))}
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


def tokenizer_in(folder: Path) -> Tokenizer | None:
    """The tokenizer of a folder, if it has one: its tokenizer.json or its vocab.txt."""
    if (folder / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
    return build_tokenizer(folder / "vocab.txt") if (folder / "vocab.txt").exists() else None


def _lines(vocabulary: Path | str | Iterable[str]) -> Iterable[str]:
    if isinstance(vocabulary, (str, Path)):
        return Path(vocabulary).read_text(encoding="utf-8").splitlines()
    return vocabulary


def model_tokenizer(model: object, vocabulary: Path | str | Iterable[str]) -> Tokenizer:
    """The tokenizer that a model's vocab.txt means: of words, or for a `DyHead` of its classes."""
    from .dyhead import DyHead

    return class_tokenizer(_lines(vocabulary)) if isinstance(model, DyHead) else build_tokenizer(vocabulary)


def class_tokenizer(names: Iterable[str], strict: bool = False) -> Tokenizer:
    """For closed sets: each name of a list joined with ". " is one token, its id the name's place in `names`.

    Other names have the id after the last, which is never found; if `strict`, as in training, they cannot be encoded.
    """
    ids = {name: index for index, name in enumerate(names)}
    parted = next((name for name in ids if SEPARATOR in name), None)
    if parted is not None:
        raise ValueError(f"the class {parted!r} holds {SEPARATOR!r}, which parts classes: rename it")
    # A token that no name can be, as names do not hold the separator.
    other = {} if strict else {SEPARATOR: len(ids)}
    tokenizer = Tokenizer(models.WordLevel(ids | other, unk_token=SEPARATOR))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(SEPARATOR, "removed")
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
    """The vocabulary of the world of shapes: every word of its prompts, and letters, digits and marks to spell all others.

    Foreign nouns are left out on purpose: spelled by letters, they teach the model that unknown words mean nothing here.
    """
    return _small_vocabulary(_words_about_shapes())


def mixed_vocabulary() -> list[str]:
    """The vocabulary of the world of things and shapes: as `nano_vocabulary`, with some words in pieces (`nouns.PIECES`).

    Regular plurals are the word and "##s" or "##es". Words of held-out wordings are in it only if training uses them too.
    """
    from .data import mixed_prompts
    from .data.nouns import NOUNS, PIECES, plural

    names = [name for noun in NOUNS.values() for name in noun.names]
    regular = {word + ending for name in names for word in name.split() for ending in ("s", "es")}
    plurals = [word for noun in NOUNS.values() if noun.plural_known for word in map(plural, noun.names)]
    links = [link for relation in mixed_prompts.RELATIONS for link in relation]
    texts = [*names, *plurals, *links, *mixed_prompts.NEUTRAL_LINKS, *mixed_prompts.PLACES.values()]
    spelled = {word + ending for word in PIECES for ending in ("", "s", "es")}
    words = _split(names) | (_split(texts) - regular) | _words_about_shapes()
    return _small_vocabulary((words - spelled) | {piece for pieces in PIECES.values() for piece in pieces})


def _words_about_shapes() -> set[str]:
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
    return _split(texts)


def _split(texts: list[str]) -> set[str]:
    return {word for text in texts for word in text.replace(",", " ").replace(".", " ").replace("-", " ").split()}


def _small_vocabulary(words: set[str]) -> list[str]:
    """Special tokens, marks, letters and digits (at the start of a word and within it), then the words and pieces."""
    characters = [*string.ascii_lowercase, *string.digits]
    pieces = [f"##{character}" for character in characters] + ["##es"]
    marks = [*string.punctuation, *EXTRA_CHARACTERS]
    known = {*characters, *pieces}
    return [*SPECIAL_TOKENS, *marks, *characters, *pieces, *sorted(words - known)]
