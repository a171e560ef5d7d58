"""From a record to its training prompt: the text, and which of its characters each box is meant by.

Detection records become lists of names as official makes them: all categories that are there, random ones that are not, in
any order, joined with ". ". Caption records are their text; every word that no box belongs to is a negative.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer

from ..config import SEPARATOR
from ..tokenizer import phrase_tokens
from .grounding import Box, Category, DataError, Header, Phrase, Place, Record, Span
from .prompts import category_prompt, clean_name

#: [CLS] and [SEP].
SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class PromptOptions:
    """How prompts of detection records are drawn; the defaults are official's."""

    #: Tokens of a prompt, the two special ones included.
    max_tokens: int = 256
    #: Names of absent categories in a prompt, at most (official's RANDOM_SAMPLE_NEG).
    negatives: int = 85
    #: Share of prompts with as many negatives as there may be; the others have any number of them (CONTROL_PROB).
    full_share: float = 0.5
    #: Few negatives more often than many: their number is drawn evenly by its logarithm, if there are not as many as may be.
    mostly_few: bool = False
    #: Draw negatives only from what records list without boxes, where categories are not annotated everywhere (LVIS).
    #: Official draws from all names.
    verified_only: bool = False
    #: Boxes of a model that was less sure than this are doubtful: what they show is neither there nor absent.
    certain: float = 0.0


#: For closed sets: all categories, each time.
EVERY_CATEGORY = PromptOptions(max_tokens=sys.maxsize, negatives=sys.maxsize, full_share=1.0)


#: The spans and the boxes of each phrase that has any.
Named = tuple[tuple[tuple[Span, ...], tuple[Box, ...]], ...]


@dataclass(frozen=True)
class GroundedPrompt:
    """A prompt, and its positives."""

    text: str
    encoding: Encoding
    positives: Named
    #: The same of boxes that are doubtful.
    doubtful: Named = ()


class PromptMaker:
    def __init__(self, tokenizer: Tokenizer, options: PromptOptions | None = None):
        self.tokenizer, self.options = tokenizer, options or PromptOptions()
        self._lengths: dict[str, int] = {}

    def make(self, rng: np.random.Generator, record: Record, header: Header, place: Place) -> GroundedPrompt:
        """The prompt of a record; raises `DataError` if it has no room or a phrase has no token."""
        if record.text is None:
            text, named = self._category_list(rng, record, header, place)
        else:
            text, named = record.text, [(phrase.spans, phrase) for phrase in record.phrases]
        positives, doubtful = self._by_certainty(named)
        encoding = self._encode(text, place)
        if len(encoding.ids) > self.options.max_tokens:
            raise DataError(
                f"{place}: the text has {len(encoding.ids)} tokens, the model takes {self.options.max_tokens}: shorten it"
            )
        for spans, _ in (*positives, *doubtful):
            for begin, end in spans:
                try:
                    phrase_tokens(encoding, begin, end)
                except ValueError:
                    raise DataError(
                        f"{place}: the characters {begin} to {end} ({text[begin:end]!r}) have no token: name the thing in words"
                    ) from None
        return GroundedPrompt(text, encoding, positives, doubtful)

    def _by_certainty(self, named: list[tuple[tuple[Span, ...], Category | Phrase]]) -> tuple[Named, Named]:
        """The spans and boxes of what is named and certain, and of what is doubtful."""
        sides: tuple[dict, dict] = ({}, {})
        for spans, entry in named:
            for box, score in zip(entry.boxes, entry.scores or (1.0,) * len(entry.boxes)):
                side = sides[score < self.options.certain]
                side[spans] = side.get(spans, ()) + (box,)
        return tuple(sides[0].items()), tuple(sides[1].items())

    def _category_list(
        self, rng: np.random.Generator, record: Record, header: Header, place: Place
    ) -> tuple[str, list[tuple[tuple[Span, ...], Category]]]:
        boxes: dict[str, list[Category]] = {}
        for category in record.categories:
            if category.boxes:
                boxes.setdefault(_said(category.name, place), []).append(category)
        positive, budget = self._fitting(_shuffled(rng, list(boxes)), self.options.max_tokens - SPECIAL_TOKENS, place)
        if boxes and not positive:
            raise DataError(
                f"{place}: category {next(iter(boxes))!r} alone has more than the model's {self.options.max_tokens} tokens: "
                "shorten its name"
            )
        negative, _ = self._fitting(self._draw_negatives(rng, record, header, boxes, place), budget, place)
        names = _shuffled(rng, positive + negative)
        if not names:
            raise DataError(f"{place}: no category to ask for: list absent ones without boxes, or in the header")
        text, spans = category_prompt(names)
        return text, [((span,), category) for name, span in zip(names, spans) for category in boxes.get(name, ())]

    def _draw_negatives(
        self, rng: np.random.Generator, record: Record, header: Header, present: dict, place: Place
    ) -> list[str]:
        pool = [category.name for category in record.categories if not category.boxes]
        if not self.options.verified_only:
            pool += header.categories
        pool = list(dict.fromkeys(_said(name, place) for name in pool))
        most = min(self.options.negatives, len(pool))
        if not most:
            return []
        if rng.random() < self.options.full_share:
            count = most
        elif self.options.mostly_few:
            count = min(most, int((most + 1) ** rng.random()))
        else:
            count = int(rng.integers(1, most + 1))
        # As official does: what is drawn and there is no negative, and none takes its place.
        return [pool[i] for i in rng.choice(len(pool), count, replace=False) if pool[i] not in present]

    def _fitting(self, names: list[str], budget: int, place: Place) -> tuple[list[str], int]:
        """The first names that fit into `budget` tokens, and what is left of it."""
        for count, name in enumerate(names):
            length = self._length(name, place)
            if length > budget:
                return names[:count], budget
            budget -= length
        return names, budget

    def _length(self, name: str, place: Place) -> int:
        if name not in self._lengths:
            self._lengths[name] = len(self._encode(name + SEPARATOR, place, add_special_tokens=False).ids)
        return self._lengths[name]

    def _encode(self, text: str, place: Place, **options) -> Encoding:
        try:
            return self.tokenizer.encode(text, **options)
        except Exception:  # noqa: BLE001 (tokenizers raises nothing narrower)
            # Only the tokenizer of a closed set refuses a text.
            raise DataError(
                f"{place}: {text.removesuffix(SEPARATOR)!r} is no list of the closed set's categories: leave the record out"
            ) from None


def _said(name: str, place: Place) -> str:
    said = clean_name(name)
    if not said:
        raise DataError(f"{place}: nothing is left of the category name {name!r} without brackets: rename it")
    return said


def _shuffled(rng: np.random.Generator, names: list[str]) -> list[str]:
    return [names[i] for i in rng.permutation(len(names))]
