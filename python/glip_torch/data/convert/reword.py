"""Detection records in other words: the names of COCO's classes become plurals, synonyms, phrases and sentences.

So a detector that is trained on them hears of a thing in as many ways as people say it. Each record is written several times,
each time in words of its own. What is known to be absent is said too: all classes without boxes where all were looked for, and
nouns that mean none of the classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...words.coco_names import CLASSES, THINGS
from ...words.phrases import framed, sentence
from ...words.wordnet import Nouns, all_meanings, plural
from ..files import open_files
from ..grounding import Category, DataError, Header, Phrase, Record
from .report import Report

#: How often a name is said as it is, and in its plural; else it is a synonym.
AS_IS, PLURAL = 0.5, 0.15
#: How often words stand around a name.
FRAMED = 0.2
#: Foreign nouns of a record, at most.
FOREIGN = 12


@dataclass(frozen=True)
class Rewording:
    copies: int = 4
    #: Classes that were looked for everywhere: where they have no boxes they are absent.
    complete: frozenset[str] = frozenset()
    #: Share of the copies that are sentences.
    sentences: float = 0.2
    seed: int = 0


class RewordedSource:
    """Records of grounding files whose categories are COCO's; `foreign` are nouns that mean none of them."""

    header = Header()

    def __init__(self, paths: list[Path], relative_to: Path, rewording: Rewording, foreign: list[str]):
        self.files, self.relative_to, self.rewording, self.foreign = open_files(paths), relative_to, rewording, foreign

    def records(self, report: Report) -> Iterator[Record]:
        rows = [(file, row) for file in self.files for block in file.blocks for row in file.rows(block)]
        for copy in range(self.rewording.copies):
            for number, (file, row) in enumerate(rows):
                record = row.record()
                unknown = [category.name for category in record.categories if category.name not in CLASSES]
                if record.text is not None or unknown:
                    why = f"no class of COCO: {unknown[0]}" if unknown else "a caption"
                    report.skip(str(row.place), "record without COCO's classes", why)
                    continue
                rng = np.random.default_rng([self.rewording.seed, copy, number])
                image = os.path.relpath(file.path.parent / record.image, self.relative_to)
                yield self.reworded(rng, replace(record, image=image))

    def reworded(self, rng: np.random.Generator, record: Record) -> Record:
        there = [category for category in record.categories if category.boxes]
        named = {category.name for category in record.categories}
        absent = [name for name in CLASSES if name in self.rewording.complete and name not in named]
        absent += [category.name for category in record.categories if not category.boxes]
        if there and rng.random() < self.rewording.sentences:
            return _as_sentence(rng, record, there, absent)
        taken: set[str] = set()
        categories = []
        for category in (*there, *map(Category, absent)):
            name = wording(rng, category.name)
            if rng.random() < FRAMED:
                name = framed(rng, name, 0, of_object=category.name != "person").text
            if name in taken:
                name = category.name
            if name not in taken:
                taken.add(name)
                categories.append(replace(category, name=name))
        for _ in range(rng.integers(FOREIGN + 1) if self.foreign else 0):
            name = self.foreign[rng.integers(len(self.foreign))]
            if name not in taken:
                taken.add(name)
                categories.append(Category(name))
        return replace(record, categories=tuple(categories))


def wording(rng: np.random.Generator, name: str) -> str:
    """One of the ways to name a class."""
    thing = THINGS[CLASSES.index(name)]
    share = rng.random()
    if share < AS_IS or not thing.synonyms:
        return name
    if share < AS_IS + PLURAL:
        return thing.plural
    synonym = thing.synonyms[rng.integers(len(thing.synonyms))]
    return plural(synonym) if rng.random() < 0.2 else synonym


def _as_sentence(rng: np.random.Generator, record: Record, there: list[Category], absent: list[str]) -> Record:
    """A sentence about some of what is there, and sometimes of what is not."""
    chosen = [there[index] for index in rng.permutation(len(there))[: rng.integers(1, 4)]]
    if absent and (len(chosen) == 1 or rng.random() < 0.3):
        chosen.insert(int(rng.integers(len(chosen) + 1)), Category(absent[rng.integers(len(absent))]))
    if len(chosen) == 1:
        # A sentence of one name is as well a phrase of a list, all of whose words count.
        return replace(
            record, categories=tuple(replace(category, name=wording(rng, category.name)) for category in chosen)
        )
    text = sentence(rng, [(wording(rng, category.name), index) for index, category in enumerate(chosen)])
    phrases = tuple(Phrase((span,), chosen[index].boxes, chosen[index].scores) for span, index in text.names)
    return replace(record, categories=(), text=text.text, phrases=phrases)


def foreign_nouns(wordnet: Path) -> list[str]:
    """Nouns of one or two words that mean none of the classes."""
    try:
        meanings = all_meanings(Nouns(wordnet))
    except OSError as error:
        raise DataError(f"{wordnet} is not WordNet's folder dict ({error.strerror}: {error.filename})") from None
    return [meaning.text for meaning in meanings if meaning.classes == () and len(meaning.text.split()) <= 2]
