"""The prompt that is tuned: each category's phrase, perhaps with context around it, and the tokens that are its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from ..config import SEPARATOR
from ..data.prompts import clean_name
from ..tokenizer import phrase_tokens
from . import TuningError


@dataclass(frozen=True)
class Category:
    """A category's name as it is said, and the context before and after it, which is no part of the phrase."""

    name: str
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class Phrase:
    label: str
    text: str
    #: Characters of the prompt, begin and end.
    span: tuple[int, int]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class TuningPrompt:
    text: str
    input_ids: tuple[int, ...]
    #: One for each category, in their order.
    phrases: tuple[Phrase, ...]


def build_prompt(
    labels: Sequence[str], categories: Sequence[Category], tokenizer: Tokenizer, max_tokens: int
) -> TuningPrompt:
    """One prompt of all categories; `labels` are what they are called in the data."""
    text, spans = "", []
    for category in categories:
        text += (SEPARATOR if text else "") + category.prefix
        spans.append((len(text), len(text) + len(category.name)))
        text += category.name + category.suffix
    encoding = tokenizer.encode(text)
    if len(encoding.ids) > max_tokens:
        raise TuningError(
            f"the prompt of {len(categories)} categories has {len(encoding.ids)} tokens, more than the limit of "
            f"{max_tokens}: shorten names and context, or tune the categories in several groups"
        )
    phrases = []
    for label, category, span in zip(labels, categories, spans):
        try:
            tokens = phrase_tokens(encoding, *span)
        except ValueError:
            raise TuningError(f"category {label!r} is said as {category.name!r}, which has no token: name it") from None
        phrases.append(Phrase(label, category.name, span, tuple(tokens)))
    return TuningPrompt(text, tuple(encoding.ids), tuple(phrases))


def read_categories(path: Path | None, labels: Sequence[str]) -> list[Category]:
    """What to say for each label: the labels' own names, or the entries of a prompt file, which are in the labels' order.

    The file is JSON or YAML, a list of `{name, prefix, suffix}` as ODinW's; prefix and suffix may be left out.
    """
    if path is None:
        return [Category(clean_name(label)) for label in labels]
    entries = _read_entries(path)
    if len(entries) != len(labels):
        raise TuningError(
            f"{path} has {len(entries)} entries for {len(labels)} categories; give one for each, in this order: {list(labels)}"
        )
    return [_category(path, number, entry) for number, entry in enumerate(entries, 1)]


def _read_entries(path: Path) -> list:
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TuningError(f"{path} does not exist") from None
    if path.suffix in (".yaml", ".yml"):
        import yaml

        load, failure = yaml.safe_load, yaml.YAMLError
    else:
        load, failure = json.loads, ValueError
    try:
        entries = load(content)
    except failure as error:
        raise TuningError(f"{path} cannot be read: {error}") from None
    if not isinstance(entries, list):
        raise TuningError(f"{path} is not a list of entries with name, prefix and suffix")
    return entries


def _category(path: Path, number: int, entry: object) -> Category:
    known = ("name", "prefix", "suffix")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key, ""), str) for key in known):
        raise TuningError(f"{path}, entry {number}: not an object of texts name, prefix and suffix")
    if not entry.get("name", "").strip():
        raise TuningError(f"{path}, entry {number}: no name")
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise TuningError(f"{path}, entry {number}: unknown {unknown}; known are name, prefix and suffix")
    return Category(entry["name"], entry.get("prefix", ""), entry.get("suffix", ""))
