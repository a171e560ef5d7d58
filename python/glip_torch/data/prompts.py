"""Prompts about a scene, with the truth: which objects each phrase means.

A phrase means *all* objects that match it, so "a square" beside two squares has two boxes, and a phrase that nothing
matches is a negative. Phrases come as lists (". "-separated, as GLIP's class prompts) and inside captions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from ..config import SEPARATOR
from .scenes import COLOURS, HELD_OUT, PATTERNS, SHAPES, SIZES, Scene, SceneObject, Thing

# The first name of each list is the canonical one, used by evaluation.
SHAPE_NAMES = {
    "circle": ("circle", "circle", "disc", "disk"),
    "square": ("square", "square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "cross": ("cross", "cross", "plus", "plus sign"),
    "ring": ("ring", "ring", "hoop", "donut"),
    "heart": ("heart",),
    "diamond": ("diamond", "diamond", "rhombus"),
    "crescent": ("crescent", "crescent", "moon", "crescent moon"),
    "arrow": ("arrow", "arrow", "pointer"),
}
COLOUR_NAMES = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "orange": ("orange", "orange", "tangerine"),
    "yellow": ("yellow", "yellow", "golden"),
    "green": ("green", "green", "emerald"),
    "cyan": ("cyan", "cyan", "turquoise", "aqua"),
    "blue": ("blue", "blue", "blue", "azure"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "magenta"),
}
PATTERN_NAMES = {
    "solid": ("solid", "plain"),
    "striped": ("striped", "striped", "stripy"),
    "dotted": ("dotted", "dotted", "spotted"),
    "checked": ("checked", "checked", "checkered"),
}
PATTERN_SUFFIXES = {"striped": "with stripes", "dotted": "with dots", "checked": "with checks"}
SIZE_NAMES = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("medium", "medium sized"),
    "large": ("large", "big"),
}
ANYTHING = ("shape", "object", "thing", "figure")
# Things no scene shows. Most are spelled by letter pieces, so the model learns that words it does not know mean nothing.
FOREIGN_NOUNS = tuple(
    "dog cat car person man woman tree chair table bottle bird horse boat train truck house door window book phone apple banana "
    "cup knife spoon bed sofa lamp clock vase flower cloud road river mountain fish sheep cow elephant bear zebra giraffe hat "
    "umbrella bag tie ball kite bat glove skateboard surfboard racket fork bowl sandwich pizza cake carrot laptop mouse keyboard "
    "oven sink fridge scissors raccoon robot traffic-light bicycle motorcycle airplane bus bench wheel ladder rope key coin "
    "shoe shirt face hand eye nose cell platelet chandelier aerosol helmet drone valve screw cable bucket".split()
)
NUMBERS = {1: ("one", "a", "a single"), 2: ("two", "a pair of"), 3: ("three",), 4: ("four",)}
OPENINGS = (
    "",
    "",
    "a picture of ",
    "an image of ",
    "there is ",
    "i see ",
    "we can see ",
    "the scene shows ",
    "find ",
    "here is ",
)
LINKS = (" and ", " and ", ", ", " near ", " next to ", " beside ", " with ", " above ", " below ", " to the left of ", " to the right of ",
         " behind ", " in front of ", " on ", " under ", " close to ", " and then ")  # fmt: skip
ENDINGS = ("", "", "", ".", " on a grey background", " in the picture", " in the image")
UNKNOWN_WORD_LETTERS = "abcdefghijklmnopqrstuvwxyz"
MAX_PHRASES = 10


@dataclass(frozen=True)
class Query:
    """What a phrase asks for; None is "any"."""

    shape: str | None = None
    colour: str | None = None
    pattern: str | None = None
    size: str | None = None
    #: An everyday thing of `nouns.NOUNS`.
    noun: str | None = None
    foreign: str | None = None

    def matches(self, thing: SceneObject | Thing) -> bool:
        """Whether the object has all that is asked for; a thing has no shape or pattern, and a shape is no thing."""
        if self.foreign is not None:
            return False
        asked = ("shape", "colour", "pattern", "size", "noun")
        wanted = [(getattr(self, name), getattr(thing, name, None)) for name in asked]
        return all(want is None or want == have for want, have in wanted)

    @property
    def held_out(self) -> bool:
        return (self.colour, self.shape) in HELD_OUT


@dataclass(frozen=True)
class ScenePrompt:
    """A prompt's text, its phrases as character spans (begin, end), and for each the indices of the objects it means."""

    text: str
    spans: tuple[tuple[int, int], ...]
    targets: tuple[tuple[int, ...], ...]


def clean_name(name: str) -> str:
    """A category's name as official GLIP says it: without remarks in brackets, underscores as spaces."""
    return re.sub(r"\s+", " ", re.sub(r"\(.*\)", "", name).replace("_", " ")).strip()


def category_prompt(phrases: list[str], separator: str = SEPARATOR) -> tuple[str, list[tuple[int, int]]]:
    """Joins phrases as GLIP's class prompts are joined; returns the text and every phrase's span."""
    spans, begin = [], 0
    for phrase in phrases:
        spans.append((begin, begin + len(phrase)))
        begin += len(phrase) + len(separator)
    return separator.join(phrases), spans


def sample_prompt(rng: np.random.Generator, scene: Scene, simple: float = 0.0) -> ScenePrompt:
    """Draws a training prompt about `scene`: a list of phrases or a caption, never naming a held-out combination.

    With the chance `simple` it is a list of single colours and shapes, to learn words from.
    """
    if rng.random() < simple:
        return _sample_simple_list(rng, scene)
    return _sample_caption(rng, scene) if rng.random() < 0.3 else _sample_list(rng, scene)


# --- queries --------------------------------------------------------------------------------------------------------


def pick(rng: np.random.Generator, options):
    return options[rng.integers(len(options))]


# How often a phrase names which attributes.
_FORMS = (
    (0.46, ("colour", "shape")),
    (0.16, ("shape",)),
    (0.14, ("colour",)),
    (0.08, ("pattern", "colour", "shape")),
    (0.05, ("pattern", "shape")),
    (0.04, ("size", "colour", "shape")),
    (0.03, ("size", "shape")),
    (0.02, ("pattern",)),
    (0.02, ()),
)
_FORM_WEIGHTS = np.array([weight for weight, _ in _FORMS])
_VALUES = {"shape": SHAPES, "colour": tuple(COLOURS), "pattern": PATTERNS, "size": tuple(SIZES)}


def _form(rng: np.random.Generator) -> tuple[str, ...]:
    return _FORMS[rng.choice(len(_FORMS), p=_FORM_WEIGHTS)][1]


def query_about(rng: np.random.Generator, thing: SceneObject) -> Query:
    return Query(**{attribute: getattr(thing, attribute) for attribute in _form(rng)})


def absent_query(rng: np.random.Generator, scene: Scene) -> Query:
    """A query that nothing in the scene matches (usually): often one attribute away from something that is there."""
    draw = rng.random()
    if draw < 0.12:
        colour = pick(rng, tuple(COLOURS)) if rng.random() < 0.4 else None
        return Query(colour=colour, foreign=_foreign_noun(rng))
    if draw < 0.6 and scene.objects:
        query = query_about(rng, pick(rng, scene.objects))
        named = [name for name in _VALUES if getattr(query, name) is not None]
        if named:
            changed = pick(rng, named)
            return replace(query, **{changed: pick(rng, _VALUES[changed])})
    return Query(**{attribute: pick(rng, _VALUES[attribute]) for attribute in _form(rng)})


def _foreign_noun(rng: np.random.Generator) -> str:
    if rng.random() < 0.6:
        return pick(rng, FOREIGN_NOUNS).replace("-", " ")
    return "".join(pick(rng, UNKNOWN_WORD_LETTERS) for _ in range(rng.integers(3, 9)))


# --- words ----------------------------------------------------------------------------------------------------------


def phrase_words(rng: np.random.Generator, query: Query, plural: bool = False) -> str:
    """One of the ways to say a query about shapes: synonyms, and attributes before or after the noun in any usual order."""
    noun = query.foreign or pick(rng, SHAPE_NAMES[query.shape] if query.shape else ANYTHING)
    if plural:
        noun += "es" if noun.endswith(("s", "x")) else "s"
    return with_attributes(rng, query, noun, plural)


def with_attributes(rng: np.random.Generator, query: Query, noun: str, plural: bool) -> str:
    """The noun with the colour, pattern and size that the query asks for."""
    before, after = [], []
    if query.colour:
        colour = pick(rng, COLOUR_NAMES[query.colour])
        if rng.random() < 0.1:
            after.append(pick(rng, ("in ", "that is " if not plural else "that are ", "colored ")) + colour)
        else:
            before.append(colour)
    if query.pattern:
        if query.pattern in PATTERN_SUFFIXES and rng.random() < 0.3:
            after.append(PATTERN_SUFFIXES[query.pattern])
        else:
            before.insert(rng.integers(len(before) + 1), pick(rng, PATTERN_NAMES[query.pattern]))
    if query.size:
        before.insert(0, pick(rng, SIZE_NAMES[query.size]))
    return " ".join([*before, noun, *after])


def article(rng: np.random.Generator, words: str) -> str:
    return ("an " if words[0] in "aeio" else "a ") if rng.random() < 0.8 else "the "


def meant_by(query: Query, scene: Scene) -> tuple[int, ...]:
    return tuple(i for i, thing in enumerate(scene.objects) if query.matches(thing))


# --- the two kinds of prompts ---------------------------------------------------------------------------------------


def _sample_simple_list(rng: np.random.Generator, scene: Scene) -> ScenePrompt:
    """Colours and shapes by themselves, about half of them present."""
    queries = [Query(**{name: getattr(thing, name)}) for thing in scene.objects for name in ("colour", "shape")]
    queries = [query for query in queries if rng.random() < 0.6]
    queries += [Query(**{name: pick(rng, _VALUES[name])}) for name in ("colour", "shape") for _ in range(2)]
    return _as_list(rng, scene, queries)


def _sample_list(rng: np.random.Generator, scene: Scene) -> ScenePrompt:
    """Some phrases that something matches and some that nothing does, shuffled."""
    queries = [query_about(rng, thing) for thing in scene.objects if rng.random() < 0.75]
    queries += [absent_query(rng, scene) for _ in range(rng.integers(0, 9))]
    return _as_list(rng, scene, queries)


def _as_list(rng: np.random.Generator, scene: Scene, queries: list[Query]) -> ScenePrompt:
    """The queries in any order, each once, none of a held-out combination."""
    queries = [query for query in dict.fromkeys(queries) if not query.held_out]
    queries = queries or [Query(colour="red", shape="circle")]
    queries = [queries[i] for i in rng.permutation(len(queries))[:MAX_PHRASES]]
    with_article = rng.random() < 0.25
    phrases = [phrase_words(rng, query) for query in queries]
    if with_article:
        phrases = [article(rng, phrase) + phrase for phrase in phrases]
    text, spans = category_prompt(phrases, SEPARATOR if rng.random() < 0.85 else " . ")
    return ScenePrompt(
        text + ("." if rng.random() < 0.15 else ""), tuple(spans), tuple(meant_by(q, scene) for q in queries)
    )


def _sample_caption(rng: np.random.Generator, scene: Scene) -> ScenePrompt:
    """A sentence such as "a red circle and two blue squares near a star"; now and then it mentions what is not there."""
    queries = [query_about(rng, thing) for thing in scene.objects]
    queries += [absent_query(rng, scene) for _ in range(rng.integers(0, 3))]
    queries = [query for query in dict.fromkeys(queries) if not query.held_out] or [Query(shape="circle")]
    queries = [queries[i] for i in rng.permutation(len(queries))[: rng.integers(1, 6)]]
    text, spans, targets = pick(rng, OPENINGS), [], []
    for n, query in enumerate(queries):
        if n:
            text += pick(rng, LINKS)
        meant = meant_by(query, scene)
        determiner, words = _counted(rng, query, len(meant))
        # A user may or may not count the article to the phrase: both are seen in training.
        begin = len(text) + (0 if rng.random() < 0.5 else len(determiner))
        text += determiner + words
        spans.append((begin, len(text)))
        targets.append(meant)
    return ScenePrompt(text + pick(rng, ENDINGS), tuple(spans), tuple(targets))


def _counted(rng: np.random.Generator, query: Query, count: int) -> tuple[str, str]:
    """A determiner that is true of `count` objects, and the noun phrase in the right number."""
    plural = count > 1 or (count == 0 and rng.random() < 0.2)
    words = phrase_words(rng, query, plural)
    if not plural:
        return (article(rng, words) if rng.random() < 0.9 else pick(rng, NUMBERS[1][:1]) + " "), words
    if count in NUMBERS and rng.random() < 0.6:
        return pick(rng, NUMBERS[count]) + " ", words
    return pick(rng, ("some ", "the ", "several ", "")), words
