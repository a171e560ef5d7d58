"""The grounding format: one JSON object a line for an image, what is said about it, and where that is.

The first line of a file is its header, every further line a record:

    {"format": "glip-grounding", "format_version": 2, "categories": ["dog", "cat"]}
    {"image": "images/1.jpg", "width": 640, "height": 480, "source": "coco",
     "categories": [{"name": "dog", "boxes": [[8, 20, 99, 140]]}, {"name": "cat", "boxes": []}]}
    {"image": "images/2.jpg", "width": 640, "height": 427, "source": "flickr30k", "text": "A dog chases two cats",
     "phrases": [{"spans": [[0, 5]], "boxes": [[8, 20, 99, 140]], "scores": [0.93]}, {"spans": [[13, 21]], "boxes": []}]}

- `image` is a path relative to the file, or the name of another member of the same tar shard; `width` and `height` are its.
- A detection record has `categories`, a caption record `text` and `phrases`. Either way what has no boxes is known to be
  absent. The header's `categories`, which may be left out, are the names that negatives are drawn from.
- Boxes are x1 y1 x2 y2 in pixels, their edges: a box over the first ten columns goes from 0 to 10, and a width is x2 - x1.
  In version 1, x2 and y2 were the last column and row, which belong to the box. It is read still, and boxes are edges then too.
- Spans are begin and end (exclusive) in characters of the text, that is Unicode code points: as `str` counts in Python,
  and as official's `tokens_positive`. A phrase may have several.
- `scores`, one for each box in 0..1, mark boxes that a model found; `source` says where a record is from.
- `masks`, one for each box, say which pixels of the image it is, as COCO's run lengths: {"size": [height, width], "counts": "...",
  "score": 0.9}. `glip label --segmenter` writes them; they are passed over here.
- What may be left out may be null as well. Fields that are not named here are passed over.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from .text import EncodingError, decode, parse_json

FORMAT, FORMAT_VERSION = "glip-grounding", 2
#: Versions that are read.
READABLE = (1, FORMAT_VERSION)
#: A box may pass the image's border by this much, in pixels, as rounding makes it; it is clipped.
TOLERANCE = 1.0
#: The largest width and height, as other programs hold them.
MAX_SIDE = (1 << 32) - 1

Box = tuple[float, float, float, float]
Span = tuple[int, int]


class DataError(ValueError):
    """Training data that is not as it must be; the message says where, what, and what to do about it."""


@dataclass(frozen=True)
class Place:
    """Where a record is: its file and its line there, counted from 1 (in a tar shard: the record's member)."""

    file: Path
    line: int | str

    def __str__(self) -> str:
        return f"{self.file}, {f'line {self.line}' if isinstance(self.line, int) else self.line}"


@dataclass(frozen=True)
class Header:
    categories: tuple[str, ...] = ()
    #: That of the records after it. What is written is of the newest, whatever was read.
    version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Category:
    """A category's name and its boxes, none if it is known to be absent."""

    name: str
    boxes: tuple[Box, ...] = ()
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Phrase:
    """A phrase of a text and its boxes, none if it is known to be absent."""

    spans: tuple[Span, ...]
    boxes: tuple[Box, ...] = ()
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Record:
    """An image with categories (then `text` is None) or with a text and its phrases."""

    image: str
    width: int
    height: int
    categories: tuple[Category, ...] = ()
    text: str | None = None
    phrases: tuple[Phrase, ...] = ()
    source: str | None = None

    @property
    def box_count(self) -> int:
        return sum(len(named.boxes) for named in (*self.categories, *self.phrases))


# --- writing --------------------------------------------------------------------------------------------------------


def header_line(header: Header) -> str:
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "categories": header.categories}
    return json.dumps(content if header.categories else {**content, "categories": []}, ensure_ascii=False)


def record_line(record: Record) -> str:
    """The record as a line (without the line feed); raises `DataError` if it could not be read back."""
    content: dict = {"image": record.image, "width": record.width, "height": record.height}
    if record.text is None:
        content["categories"] = [{"name": c.name, **_boxes_content(c)} for c in record.categories]
    else:
        content["text"] = record.text
        content["phrases"] = [{"spans": p.spans, **_boxes_content(p)} for p in record.phrases]
    if record.source is not None:
        content["source"] = record.source
    line = json.dumps(content, ensure_ascii=False)
    parse_record(line, Place(Path("a new record"), record.image))
    return line


def _boxes_content(named: Category | Phrase) -> dict:
    content: dict = {"boxes": [[round(edge, 2) for edge in box] for box in named.boxes]}
    if named.scores is not None:
        content["scores"] = [round(score, 4) for score in named.scores]
    return content


# --- reading --------------------------------------------------------------------------------------------------------


def parse_header(line: str | bytes, place: Place) -> Header:
    content = _parse_json(line, place)
    expected = f'"format": "{FORMAT}", "format_version": {FORMAT_VERSION}'
    if content.get("format") != FORMAT:
        raise DataError(f"{place}: not a header of the grounding format: begin the file with {{{expected}}}")
    version = content.get("format_version")
    if type(version) is not int or version not in READABLE:
        raise DataError(
            f"{place}: format version {version!r}, but {' and '.join(map(str, READABLE))} are what this version reads: "
            "update glip_torch or write the file anew"
        )
    names = content.get("categories")
    names = [] if names is None else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{place}: the header's categories are no list of names")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{place}: the header lists category {twice!r} twice: list it once")
    return Header(tuple(names), version)


def parse_record(line: str | bytes, place: Place, version: int = FORMAT_VERSION) -> Record:
    """The record in a line of a file of this version; raises `DataError` for whatever is not as the format says."""
    content = _parse_json(line, place)
    image = content.get("image")
    if not isinstance(image, str) or not image:
        raise DataError(f"{place}: image is {image!r}: give the path of the image, relative to this file")
    width, height = (_side(content, name, place) for name in ("width", "height"))
    frame = _Frame(width, height, version)
    source = content.get("source")
    if source is not None and not isinstance(source, str):
        raise DataError(f"{place}: source is {source!r}: give a text or leave it out")
    text, entries = content.get("text"), content.get("categories")
    if (text is None) == (entries is None):
        raise DataError(f"{place}: a record has either a text or categories: remove one or add one")
    if text is None:
        if content.get("phrases") is not None:
            raise DataError(f"{place}: phrases belong to a text: give the text, or name categories instead")
        categories = _parse_categories(entries, frame, place)
        return Record(image, width, height, categories=categories, source=source)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{place}: text is {text!r}: give a text of at least one word")
    phrases = tuple(
        _parse_phrase(phrase, number, text, frame, place)
        for number, phrase in enumerate(_list(content, "phrases", place), 1)
    )
    return Record(image, width, height, text=text, phrases=phrases, source=source)


def _parse_json(line: str | bytes, place: Place) -> dict:
    try:
        text = decode(line) if isinstance(line, bytes) else line
    except EncodingError as error:
        raise DataError(f"{place}: {error}, not in UTF-8: save the file as UTF-8") from None
    try:
        content = parse_json(text, object_pairs_hook=_once_each)
        if "\\ud" in text.lower():
            # Half of a surrogate pair is JSON to Python, and no text to anybody else.
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON ({error}): write one object a line") from None
    if not isinstance(content, dict):
        raise DataError(f"{place}: a {type(content).__name__}, not an object: write one object a line")
    return content


def _once_each(pairs: list[tuple[str, object]]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} occurs twice in an object")
    return content


def _list(content: dict, name: str, place: Place) -> list:
    value = content.get(name)
    if not isinstance(value, list):
        raise DataError(f"{place}: {name} is {value!r}: give a list, which may be empty")
    return value


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _side(content: dict, name: str, place: Place) -> int:
    value = content.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_SIDE:
        raise DataError(f"{place}: {name} is {value!r}: give the image's {name} in pixels")
    return value


@dataclass(frozen=True)
class _Frame:
    """What the numbers of a record's boxes mean: the image's size, and the version of the format."""

    width: int
    height: int
    version: int


def _parse_categories(entries: object, frame: _Frame, place: Place) -> tuple[Category, ...]:
    categories = []
    for number, entry in enumerate(_list({"categories": entries}, "categories", place), 1):
        what = f"category {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
            raise DataError(f"{place}: {what} has no name: write {{'name': ..., 'boxes': [...]}}")
        what = f"category {entry['name']!r}"
        categories.append(Category(entry["name"], *_parse_boxes(entry, what, frame, place)))
    names = [category.name for category in categories]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{place}: category {twice!r} occurs twice: give all its boxes in one entry")
    return tuple(categories)


def _parse_phrase(entry: object, number: int, text: str, frame: _Frame, place: Place) -> Phrase:
    what = f"phrase {number}"
    if not isinstance(entry, dict):
        raise DataError(f"{place}: {what} is {entry!r}: write {{'spans': [[begin, end]], 'boxes': [...]}}")
    spans = tuple(_parse_span(span, what, text, place) for span in _list(entry, "spans", place))
    if not spans:
        raise DataError(f"{place}: {what} has no spans: say which characters of the text it is")
    return Phrase(spans, *_parse_boxes(entry, what, frame, place))


def _parse_span(span: object, what: str, text: str, place: Place) -> Span:
    if not isinstance(span, list) or len(span) != 2 or not all(type(end) is int for end in span):
        raise DataError(f"{place}: {what} has the span {span!r}: give [begin, end] in characters")
    begin, end = span
    if not 0 <= begin < end <= len(text):
        raise DataError(
            f"{place}: {what} has the span {span}, but the text has the characters 0 to {len(text)}: "
            "spans count characters, not bytes, and end after their last character"
        )
    if not text[begin:end].strip():
        raise DataError(f"{place}: {what} has the span {span}, which holds spaces only: point it at words")
    return begin, end


def _parse_boxes(
    entry: dict, what: str, frame: _Frame, place: Place
) -> tuple[tuple[Box, ...], tuple[float, ...] | None]:
    boxes = tuple(_parse_box(box, what, frame, place) for box in _list(entry, "boxes", place))
    if entry.get("scores") is None:
        return boxes, None
    scores = _list(entry, "scores", place)
    if len(scores) != len(boxes):
        raise DataError(f"{place}: {what} has {len(scores)} scores for {len(boxes)} boxes: give one for each box")
    if not all(_is_number(score) and 0 <= score <= 1 for score in scores):
        raise DataError(f"{place}: {what} has the scores {scores}: scores lie in 0..1")
    return boxes, tuple(float(score) for score in scores)


def _parse_box(box: object, what: str, frame: _Frame, place: Place) -> Box:
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(edge) for edge in box):
        raise DataError(f"{place}: {what} has the box {box!r}: give [x1, y1, x2, y2] in pixels")
    x1, y1, x2, y2 = box
    if x1 > x2 or y1 > y2:
        raise DataError(
            f"{place}: {what} has the box {box}, whose end lies before its begin: give x1 y1 x2 y2, not width and height"
        )
    if frame.version == 1:
        x2, y2 = x2 + 1, y2 + 1
    width, height = frame.width, frame.height
    leaves = min(x1, y1) < -TOLERANCE or x2 > width + TOLERANCE or y2 > height + TOLERANCE
    if leaves or x1 > width or y1 > height or x2 < 0 or y2 < 0:
        raise DataError(f"{place}: {what} has the box {box}, which leaves the image of {width} x {height}: clip it")
    return _clamped((x1, y1, x2, y2), width, height)


def clip_box(box: Box, width: int, height: int) -> Box | None:
    """The part of a box that is in the image, or None if there is none."""
    x1, y1, x2, y2 = _clamped(box, width, height)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _clamped(box: Box, width: int, height: int) -> Box:
    x1, y1, x2, y2 = box
    return float(max(x1, 0)), float(max(y1, 0)), float(min(x2, width)), float(min(y2, height))
