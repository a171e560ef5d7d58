"""Texts that the text encoder is taught with: names as they are, with words around them, and several in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Span = tuple[int, int]

#: What may stand around a name that is still that name.
FRAMES = [
    "a {}", "an {}", "the {}", "my {}", "this {}", "that {}", "some {}", "one {}", "two {}", "three {}", "many {}", "several {}",
    "a photo of a {}", "a photo of the {}", "a picture of a {}", "an image of a {}", "a close-up photo of a {}", "photo of {}",
    "a good photo of a {}", "a cropped photo of the {}", "there is a {}", "there is a {} in the picture", "find the {}",
    "find every {}", "any {}", "each {}", "{} in the picture", "{} in the background", "{} on the left", "{} on the right",
    "{} in the foreground", "a {} in the scene",
]  # fmt: skip
#: Of anything, and of anything but people.
QUALITIES = (
    "small big large little tiny huge tall short long old young new wet dirty clean happy sleeping sitting standing closest "
    "nearest other same beautiful cute"
).split()
OF_OBJECTS = (
    "red orange yellow green blue purple pink brown black white grey gray golden silver wooden metal plastic glass round square "
    "striped dark bright broken empty full parked colorful modern vintage"
).split()
LINKS = [
    " and a ", " and the ", " and ", " with a ", " next to a ", " beside the ", " on a ", " on the ", " in front of a ", " behind a ",
    " holding a ", " under a ", " near the ", ", a ", ", ", " riding a ", " looking at a ", " on top of the ", " in a ", " over the ",
]  # fmt: skip
OPENINGS = ["", "a ", "the ", "a photo of a ", "there is a ", "two ", "a picture of the ", "we see a "]
ENDINGS = [
    "",
    "",
    "",
    " in the street",
    " in a room",
    " on the table",
    " in a field",
    " at night",
    " outside",
    " in the kitchen",
]


@dataclass(frozen=True)
class TaughtText:
    """A text, and for each name that is taught in it the span and the meaning's index."""

    text: str
    names: tuple[tuple[Span, int], ...]


def _quality(rng: np.random.Generator, of_object: bool) -> str:
    qualities = QUALITIES + OF_OBJECTS if of_object else QUALITIES
    return qualities[rng.integers(len(qualities))]


def framed(rng: np.random.Generator, name: str, index: int, of_object: bool = True) -> TaughtText:
    """One name; all of the text is what is asked for, as it is in a list of phrases."""
    if rng.random() < 0.4:
        name = f"{_quality(rng, of_object)} {name}"
    text = FRAMES[rng.integers(len(FRAMES))].format(name) if rng.random() < 0.7 else name
    return TaughtText(text, (((0, len(text)), index),))


def sentence(rng: np.random.Generator, names: list[tuple[str, int]]) -> TaughtText:
    """Several names; each is taught where it stands, what links them is not."""
    text, spans = OPENINGS[rng.integers(len(OPENINGS))], []
    for number, (name, index) in enumerate(names):
        if number:
            text += LINKS[rng.integers(len(LINKS))]
        if rng.random() < 0.3:
            text += _quality(rng, of_object=False) + " "
        spans.append(((len(text), len(text) + len(name)), index))
        text += name
    return TaughtText(text + ENDINGS[rng.integers(len(ENDINGS))], tuple(spans))
