"""Prompts about mixed scenes: everyday things by their many names, with shapes among them.

The rules of `prompts.py` hold: a phrase means all objects that match it. They go on as follows.

- A phrase without a noun ("red", "striped") is only asked where every object is a shape: things have colours of their own, which
  the scene's truth does not know.
- A caption says where something is ("on the left") and how two things lie ("above", "behind") only if it is true and each
  phrase means a single object. Such words are outside the phrases.
- Foreign nouns (`nouns.ABSENT`) and random letters mean nothing, and so do names of things that are not in the scene.
- Held-out wordings (`nouns.HELD_OUT_NAMES`) never occur.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..config import SEPARATOR
from .nouns import ABSENT, ABSENT_HELD_OUT, HELD_OUT_NAMES, NOUNS, UNCOUNTED, plural
from .prompts import (
    ENDINGS,
    NUMBERS,
    OPENINGS,
    UNKNOWN_WORD_LETTERS,
    Query,
    ScenePrompt,
    absent_query,
    article,
    category_prompt,
    meant_by,
    phrase_words,
    pick,
    query_about,
    with_attributes,
)
from .scenes import COLOURS, SHAPES, SIZES, Box, Scene, SceneObject, Thing

MAX_PHRASES = 16
MAX_ABSENT = 12
CAPTION_SHARE = 0.35
NEUTRAL_LINKS = (" and ", " and ", ", ", " with ", " and then ")
NEAR = (" next to ", " near ", " beside ", " close to ", " by ")
LEFT = (" to the left of ", " left of ")
RIGHT = (" to the right of ", " right of ")
ABOVE = (" above ", " over ")
BELOW = (" below ", " under ")
BEHIND = (" behind ", " partly hidden by ")
IN_FRONT = (" in front of ", " covering part of ")
PLACES = {"left": " on the left", "right": " on the right", "top": " at the top", "bottom": " at the bottom"}
RELATIONS = (NEAR, LEFT, RIGHT, ABOVE, BELOW, BEHIND, IN_FRONT)
NAMES = tuple(NOUNS)
_GROUPS = {noun.group: tuple(n.name for n in NOUNS.values() if n.group == noun.group) for noun in NOUNS.values()}
# Words that letters drawn at random must not hit: they mean something, or are to stay unseen.
_MEANING = frozenset(
    word
    for wording in (*HELD_OUT_NAMES, *ABSENT_HELD_OUT, *(name for noun in NOUNS.values() for name in noun.names))
    for word in wording.split()
)


def sample_mixed_prompt(rng: np.random.Generator, scene: Scene, simple: float = 0.0) -> ScenePrompt:
    """Draws a training prompt about `scene`: a list of phrases or a caption.

    With the chance `simple` it is a list of single nouns, to learn words from.
    """
    if rng.random() < simple:
        return _as_list(rng, scene, _simple_queries(rng, scene))
    if rng.random() < CAPTION_SHARE:
        return _caption(rng, scene)
    queries = [_query_about(rng, scene, thing) for thing in scene.objects if rng.random() < 0.8]
    queries += [_absent_query(rng, scene) for _ in range(rng.integers(0, MAX_ABSENT + 1))]
    return _as_list(rng, scene, queries)


# --- queries --------------------------------------------------------------------------------------------------------


def _shapes_of(scene: Scene) -> Scene:
    return Scene(scene.image, tuple(thing for thing in scene.objects if isinstance(thing, SceneObject)))


def _only_shapes(scene: Scene) -> bool:
    return not any(isinstance(thing, Thing) for thing in scene.objects)


def _query_about(rng: np.random.Generator, scene: Scene, thing: SceneObject | Thing) -> Query:
    """A query that the object matches."""
    if isinstance(thing, SceneObject):
        query = query_about(rng, thing)
        return query if _only_shapes(scene) or query.shape else replace(query, shape=thing.shape)
    colour = thing.colour if rng.random() < 0.5 else None
    return Query(noun=thing.noun, colour=colour, size=thing.size if rng.random() < 0.12 else None)


def _absent_query(rng: np.random.Generator, scene: Scene) -> Query:
    """A query that nothing in the scene matches (usually): something else, or nearly what is there."""
    if rng.random() < 0.2:
        colour = pick(rng, tuple(COLOURS)) if rng.random() < 0.2 else None
        return Query(colour=colour, foreign=_foreign_noun(rng))
    if rng.random() < (0.6 if _only_shapes(scene) else 0.2):
        return _absent_shape(rng, scene)
    things = [thing for thing in scene.objects if isinstance(thing, Thing)]
    if things and rng.random() < 0.5:
        near = pick(rng, things)
        if near.colour is not None and rng.random() < 0.5:
            return Query(noun=near.noun, colour=pick(rng, tuple(COLOURS)))
        return Query(noun=pick(rng, _GROUPS[NOUNS[near.noun].group]))
    noun = pick(rng, NAMES)
    colour = pick(rng, tuple(COLOURS)) if NOUNS[noun].painted and rng.random() < 0.5 else None
    return Query(noun=noun, colour=colour, size=pick(rng, tuple(SIZES)) if rng.random() < 0.1 else None)


def _absent_shape(rng: np.random.Generator, scene: Scene) -> Query:
    query = absent_query(rng, _shapes_of(scene))
    if query.foreign is not None:
        return replace(query, foreign=_foreign_noun(rng))
    return query if _only_shapes(scene) or query.shape else replace(query, shape=pick(rng, SHAPES))


def _simple_queries(rng: np.random.Generator, scene: Scene) -> list[Query]:
    """Nouns alone, of things and shapes, about half of them present; colours alone where that makes sense."""
    queries = [Query(noun=getattr(thing, "noun", None), shape=getattr(thing, "shape", None)) for thing in scene.objects]
    queries += [Query(noun=pick(rng, NAMES)) for _ in range(4)] + [Query(shape=pick(rng, SHAPES))]
    if _only_shapes(scene):
        queries += [Query(colour=thing.colour) for thing in scene.objects] + [Query(colour=pick(rng, tuple(COLOURS)))]
    return [query for query in queries if rng.random() < 0.75]


def _foreign_noun(rng: np.random.Generator) -> str:
    if rng.random() < 0.65:
        return pick(rng, ABSENT)
    while True:
        letters = "".join(pick(rng, UNKNOWN_WORD_LETTERS) for _ in range(rng.integers(3, 9)))
        if letters not in _MEANING:
            return letters


# --- words ----------------------------------------------------------------------------------------------------------


def _counted(rng: np.random.Generator, query: Query, count: int) -> tuple[str, str]:
    """A determiner that is true of `count` objects, and the noun phrase in the right number."""
    several = count > 1 or (count == 0 and rng.random() < 0.2)
    if query.noun is None:
        words = phrase_words(rng, query, several)
    else:
        name = _name(rng, query.noun)
        several = several and NOUNS[query.noun].plural_known
        words = with_attributes(rng, query, plural(name) if several else name, several)
        if name in UNCOUNTED:
            return pick(rng, ("some ", "the ", "")), words
    if not several:
        return article(rng, words), words
    if count in NUMBERS and rng.random() < 0.6:
        return pick(rng, NUMBERS[count]) + " ", words
    return pick(rng, ("some ", "the ", "several ", "")), words


def _name(rng: np.random.Generator, noun: str) -> str:
    """One of the noun's trained names, the first as often as the others together."""
    names = NOUNS[noun].names
    return names[0] if rng.random() < 0.5 else pick(rng, names)


# --- the two kinds of prompts ---------------------------------------------------------------------------------------


def _allowed(rng: np.random.Generator, queries: list[Query]) -> list[Query]:
    """The queries in any order, each once, none of a held-out combination of colour and shape."""
    queries = [query for query in dict.fromkeys(queries) if not query.held_out] or [Query(noun=pick(rng, NAMES))]
    return [queries[i] for i in rng.permutation(len(queries))]


def _as_list(rng: np.random.Generator, scene: Scene, queries: list[Query]) -> ScenePrompt:
    """The queries as class prompts are written; now and then with articles, or in the plural where there are several."""
    queries = _allowed(rng, queries)[:MAX_PHRASES]
    targets = tuple(meant_by(query, scene) for query in queries)
    with_articles, in_number = rng.random() < 0.2, rng.random() < 0.3
    phrases = []
    for query, meant in zip(queries, targets):
        determiner, words = _counted(rng, query, len(meant) if in_number else 1)
        phrases.append(determiner + words if with_articles else words)
    text, spans = category_prompt(phrases, SEPARATOR if rng.random() < 0.85 else " . ")
    return ScenePrompt(text + ("." if rng.random() < 0.15 else ""), tuple(spans), targets)


def _caption(rng: np.random.Generator, scene: Scene) -> ScenePrompt:
    """A sentence such as "there is a puppy on the left and two red cars"; now and then it mentions what is not there."""
    queries = [_query_about(rng, scene, thing) for thing in scene.objects]
    queries += [_absent_query(rng, scene) for _ in range(rng.integers(0, 4))]
    queries = _allowed(rng, queries)[: rng.integers(1, 6)]
    text, spans, targets = pick(rng, OPENINGS), [], []
    for query in queries:
        meant = meant_by(query, scene)
        if targets:
            text += _link(rng, scene, targets[-1], meant)
        determiner, words = _counted(rng, query, len(meant))
        # A user may or may not count the article to the phrase: both are seen in training.
        begin = len(text) + (0 if rng.random() < 0.5 else len(determiner))
        text += determiner + words
        spans.append((begin, len(text)))
        targets.append(meant)
        if len(meant) == 1 and rng.random() < 0.15:
            text += _place(scene, scene.objects[meant[0]].box)
    return ScenePrompt(text + pick(rng, ENDINGS), tuple(spans), tuple(targets))


def _link(rng: np.random.Generator, scene: Scene, before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """Words between two phrases: a relation that is true of their objects, or none."""
    if len(before) == len(after) == 1 and before != after and rng.random() < 0.6:
        links = true_relations(scene, before[0], after[0])
        if links:
            return pick(rng, pick(rng, links))
    return pick(rng, NEUTRAL_LINKS)


def true_relations(scene: Scene, first: int, second: int) -> list[tuple[str, ...]]:
    """All of `RELATIONS` that the first object has to the second."""
    a, b = scene.objects[first].box, scene.objects[second].box
    apart_x, apart_y = max(a[0] - b[2], b[0] - a[2]), max(a[1] - b[3], b[1] - a[3])
    relations = []
    if apart_x > 0:
        relations.append(LEFT if a[0] < b[0] else RIGHT)
    if apart_y > 0:
        relations.append(ABOVE if a[1] < b[1] else BELOW)
    if max(apart_x, apart_y) < 0.12 * min(scene.image.shape[:2]):
        relations.append(NEAR)
    if apart_x < 0 and apart_y < 0:
        # Objects are in the order they were drawn in.
        relations.append(BEHIND if first < second else IN_FRONT)
    return relations


def _place(scene: Scene, box: Box) -> str:
    """Where the box's middle is, if that is clear; else nothing."""
    height, width = scene.image.shape[:2]
    x, y = (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height
    clear = {"left": 0.35 - x, "right": x - 0.65, "top": 0.35 - y, "bottom": y - 0.65}
    place = max(clear, key=clear.__getitem__)
    return PLACES[place] if clear[place] > 0 else ""
