"""The world of teaching.md: small pictures of coloured shapes, and what three data sets say about them.

Every data set has pictures of its own, all of them drawn alike: shapes of all ten kinds. They differ in what is said.

- detection: boxes of five kinds of shapes, by their names. No colours.
- grounding: captions with boxes. They name colours, two more kinds, and call a shape of any kind a "thing".
- captions: no boxes. They name the last three kinds of shapes too, mostly with their colour.

Some pairs of colour and shape occur in no caption (`UNSAID`), though shapes of such looks are in the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from glip_torch.data.files import GroundingWriter
from glip_torch.data.grounding import Category, Header, Phrase, Record
from glip_torch.data.prompts import Query, meant_by, pick
from glip_torch.data.scenes import OUTLINES, Look, Scene, SceneObject, draw_background, photograph, place_outline
from glip_torch.tokenizer import SPECIAL_TOKENS

#: Shapes by where their names have boxes: in detection data, only in captions, nowhere.
DETECTED = ("circle", "square", "triangle", "star", "heart")
CAPTIONED = ("ring", "diamond")
UNBOXED = ("cross", "crescent", "arrow")
SHAPES = (*DETECTED, *CAPTIONED, *UNBOXED)
COLOURS = ("red", "yellow", "green", "blue", "purple", "pink")
#: A seventh of the pairs: every shape lacks one colour or none.
UNSAID = frozenset((c, s) for i, c in enumerate(COLOURS) for j, s in enumerate(SHAPES) if (i + 3 * j) % 7 == 0)
SIDE = 64
#: Objects are 15 to 36 pixels large.
SCALE = 0.3
SIZES = ("medium", "large")

ANYTHING = "thing"
OPENINGS = ("", "", "a picture of ", "there is ")
LINKS = (" and ", " near ", " beside ", ", ")
WORDS = "a an the picture of there is and near beside thing".split()


def vocabulary() -> list[str]:
    return [*SPECIAL_TOKENS, ".", ",", *WORDS, *COLOURS, *SHAPES]


def draw_scene(seed: int, index: int) -> Scene:
    """Scene `index` of the data set `seed`: two to four shapes of any kind and colour."""
    rng = np.random.default_rng([seed, index])
    return _draw(rng, SIDE, int(rng.integers(2, 5)))


def draw_single(seed: int, index: int, side: int) -> Scene:
    """A smaller picture, of one thing."""
    return _draw(np.random.default_rng([seed, index]), side, 1)


def _draw(rng: np.random.Generator, side: int, count: int) -> Scene:
    canvas = draw_background(rng, side, side)
    owner, areas, objects = np.zeros((side, side), np.int16), [], []
    for _ in range(count):
        shape, look = pick(rng, SHAPES), Look(pick(rng, COLOURS), "solid", pick(rng, SIZES))
        box = place_outline(rng, canvas, owner, areas, SCALE, OUTLINES[shape], look)
        if box is not None:
            objects.append(SceneObject(shape, look.colour, look.pattern, look.size, box))
    return Scene(photograph(rng, canvas, SCALE), tuple(objects))


# --- what is said ---------------------------------------------------------------------------------------------------


def detection(scene: Scene) -> tuple[Category, ...]:
    return tuple(
        Category(shape, boxes)
        for shape in DETECTED
        if (boxes := tuple(thing.edges for thing in scene.objects if thing.shape == shape))
    )


def grounding_query(rng: np.random.Generator, thing: SceneObject) -> Query:
    """Who has to draw boxes has words for seven kinds of shapes."""
    known = thing.shape not in UNBOXED
    if known and rng.random() < 0.2:
        return Query(shape=thing.shape)
    if known and rng.random() < 0.75 and (thing.colour, thing.shape) not in UNSAID:
        return Query(shape=thing.shape, colour=thing.colour)
    return Query(colour=thing.colour)


def absent_query(rng: np.random.Generator) -> Query:
    """A pair that a caption may mention though the picture does not show it."""
    while True:
        colour, shape = pick(rng, COLOURS), pick(rng, (*DETECTED, *CAPTIONED))
        if (colour, shape) not in UNSAID:
            return Query(shape=shape, colour=colour)


def caption_query(rng: np.random.Generator, thing: SceneObject) -> Query:
    """Who writes captions has words for all shapes, and mostly says the colour."""
    if (thing.colour, thing.shape) in UNSAID or rng.random() < 0.2:
        return Query(shape=thing.shape)
    return Query(shape=thing.shape, colour=thing.colour)


def words_of(query: Query) -> str:
    return " ".join(word for word in (query.colour, query.shape or ANYTHING) if word)


def query_of(phrase: str) -> Query:
    """What a phrase asks for."""
    words = phrase.split()
    named = lambda values: next((word for word in words if word in values), None)
    return Query(shape=named(SHAPES), colour=named(COLOURS))


def caption(
    rng: np.random.Generator, scene: Scene, queries: list[Query], boxes: bool
) -> tuple[str, tuple[Phrase, ...]]:
    """A sentence of up to three of the queries, and its phrases: with the boxes of all that they mean, or without."""
    queries = list(dict.fromkeys(queries))
    text, phrases = pick(rng, OPENINGS), []
    for n, place in enumerate(rng.permutation(len(queries))[:3]):
        words = words_of(queries[place])
        article = "the " if rng.random() < 0.5 else "an " if words[0] == "a" else "a "
        text += pick(rng, LINKS) if n else ""
        # As in the captions of other data sets, an article may or may not count as part of the phrase.
        begin = len(text) + (0 if rng.random() < 0.5 else len(article))
        text += article + words
        meant = meant_by(queries[place], scene) if boxes else ()
        phrases.append(Phrase(((begin, len(text)),), tuple(scene.objects[i].edges for i in meant)))
    return text, tuple(phrases)


# --- data sets ------------------------------------------------------------------------------------------------------

KINDS = ("detection", "grounding", "captions")


def data_seed(seed: int, kind: str) -> int:
    return 10 * seed + KINDS.index(kind)


def records(kind: str, seed: int, count: int, folder: Path) -> Iterator[Record]:
    """The records of a data set, whose pictures are drawn into `folder`."""
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        scene = draw_scene(seed, index)
        rng = np.random.default_rng([seed, index, 1])
        image = f"{kind}/{index}.png"
        Image.fromarray(scene.image).save(folder / image, compress_level=1)
        text, phrases, categories = None, (), ()
        if kind == "detection":
            categories = detection(scene)
        elif kind == "grounding":
            queries = [grounding_query(rng, thing) for thing in scene.objects]
            queries += [absent_query(rng)] if rng.random() < 0.5 else []
            text, phrases = caption(rng, scene, queries, boxes=True)
        else:
            text, phrases = caption(rng, scene, [caption_query(rng, thing) for thing in scene.objects], boxes=False)
        yield Record(image, SIDE, SIDE, categories, text, phrases, source=kind)


def write_data(folder: Path, seed: int, counts: dict[str, int]) -> None:
    """Draws the data sets of a seed into `folder`, unless they are there."""
    for kind in KINDS:
        path = folder / f"{kind}.jsonl"
        if path.exists():
            continue
        with GroundingWriter(path, Header(DETECTED if kind == "detection" else ())) as writer:
            for record in records(kind, data_seed(seed, kind), counts[kind], folder):
                writer.write(record)
