"""Flickr30K Entities to caption records, one for each sentence.

`Sentences/ID.txt` holds five sentences with their entities marked, "[/EN#1/people A man] in [/EN#2/clothing a red hat] ...";
`Annotations/ID.xml` the boxes of each entity by its number. Entities without a box, such as scenes, become phrases
without boxes only if the annotators said that there is nothing to box (`nobndbox`); entities that are not visible or
that stand for the whole scene are left unmarked.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ..grounding import Box, DataError, Header, Phrase, Record, clip_box
from ..text import EncodingError, read_text
from .report import Report

_ENTITY = re.compile(r"\[/EN#(?P<entity>\d+)(?:/[^\s\]]+)+ (?P<words>[^\]]*)\]")


class FlickrSource:
    """The folder with Sentences and Annotations; `ids` (a file of one id a line) may choose a split."""

    header = Header()

    def __init__(self, folder: Path, images: Path, relative_to: Path, ids: Path | None = None):
        self.folder, self.images, self.relative_to = folder, images, relative_to
        for name in ("Sentences", "Annotations"):
            if not (folder / name).is_dir():
                raise DataError(f"{folder} has no folder {name}: unpack Flickr30K Entities' annotations.zip there")
        if ids is None:
            self.ids = sorted(path.stem for path in (folder / "Sentences").glob("*.txt"))
        else:
            try:
                self.ids = read_text(ids).split()
            except OSError as error:
                raise DataError(f"{ids} cannot be read: {error.strerror}") from None
            except EncodingError as error:
                raise DataError(str(error)) from None
        if not self.ids:
            raise DataError(f"there are no sentences in {ids or folder / 'Sentences'}")

    def records(self, report: Report) -> Iterator[Record]:
        for image in self.ids:
            try:
                width, height, boxes, absent, wrong = _read_annotations(self.folder / "Annotations" / f"{image}.xml")
                sentences = read_text(self.folder / "Sentences" / f"{image}.txt").splitlines()
            except (OSError, ValueError, ElementTree.ParseError) as error:
                report.skip(f"image {image}", "unreadable annotations", str(error))
                continue
            for entity, kind, corners in wrong:
                report.skip(f"image {image}, entity {entity}", kind, str(corners).replace("nan", "NaN"))
            name = os.path.relpath(self.images / f"{image}.jpg", self.relative_to)
            for number, sentence in enumerate(sentences, 1):
                text, marked = read_sentence(sentence)
                phrases = tuple(_phrases(marked, boxes, absent, width, height))
                if any(phrase.boxes for phrase in phrases):
                    yield Record(name, width, height, text=text, phrases=phrases, source="flickr30k")
                else:
                    report.skip(f"image {image}, sentence {number}", "sentence without boxes")


def read_sentence(sentence: str) -> tuple[str, list[tuple[str, tuple[int, int]]]]:
    """The sentence as it reads, and each marked entity's number and characters."""
    text, marked, end = "", [], 0
    for match in _ENTITY.finditer(sentence):
        text += sentence[end : match.start()]
        words = match["words"].strip()
        if words:
            marked.append((match["entity"], (len(text), len(text) + len(words))))
        text += words
        end = match.end()
    return text + sentence[end:].rstrip(), marked


def _read_annotations(
    path: Path,
) -> tuple[int, int, dict[str, list[Box]], set[str], list[tuple[str, str, list[float]]]]:
    """Width, height, boxes by entity, the entities that nothing in the image shows, and boxes that cannot be used: whose they
    are, what is wrong with them, and their corners."""
    root = ElementTree.fromstring(read_text(path))
    width, height = int(_number(root, "size/width")), int(_number(root, "size/height"))
    boxes, absent, wrong = defaultdict(list), set(), []
    for thing in root.iter("object"):
        names = [name.text for name in thing.iter("name")]
        box = thing.find("bndbox")
        if box is not None:
            corners = [_number(box, edge) for edge in ("xmin", "ymin", "xmax", "ymax")]
            kind = _problem(corners)
            if kind is not None:
                wrong += [(name, kind, corners) for name in names]
                continue
            # The files have the first and the last pixel, and count them from 1.
            x1, y1, x2, y2 = corners
            for name in names:
                boxes[name].append((x1 - 1, y1 - 1, x2, y2))
        elif _flag(thing, "nobndbox") and not _flag(thing, "scene"):
            absent.update(names)
    return width, height, boxes, absent, wrong


def _problem(corners: list[float]) -> str | None:
    if not all(map(math.isfinite, corners)):
        return "malformed"
    x1, y1, x2, y2 = corners
    return "inverted box" if x2 < x1 or y2 < y1 else None


def _phrases(marked, boxes: dict[str, list[Box]], absent: set[str], width: int, height: int) -> Iterator[Phrase]:
    for entity, span in marked:
        clipped = [clip_box(box, width, height) for box in boxes.get(entity, ())]
        found = tuple(box for box in clipped if box is not None)
        if found or entity in absent:
            yield Phrase((span,), found)


def _number(element: ElementTree.Element, path: str) -> float:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"no {path}")
    return float(text)


def _flag(element: ElementTree.Element, name: str) -> bool:
    return element.findtext(name, "0").strip() == "1"
