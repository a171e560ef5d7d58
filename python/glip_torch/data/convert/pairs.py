"""Image-caption pairs to caption records without phrases: what a teacher labels.

A pair is a line `{"image": "1.jpg", "caption": "a dog in the snow"}`; other fields are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from ..grounding import DataError, Header, Record
from ..text import decode, parse_json
from .report import Report


class PairSource:
    """The pairs of a JSON Lines file whose images are in `images`; records are relative to the folder `relative_to`."""

    header = Header()

    def __init__(self, path: Path, images: Path, relative_to: Path):
        self.path, self.images, self.relative_to = path, images, relative_to
        if not path.is_file():
            raise DataError(f"{path} does not exist: give a file of lines with image and caption")

    def records(self, report: Report) -> Iterator[Record]:
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    name, caption = _pair(decode(line, number))
                except ValueError as error:
                    report.skip(f"line {number}", "malformed pair", str(error))
                    continue
                try:
                    with Image.open(self.images / name) as image:
                        width, height = image.size
                except Exception as error:  # noqa: BLE001 (Pillow raises nearly anything for a broken file)
                    report.skip(f"line {number}", "unusable image", f"{name}: {error}")
                    continue
                image = os.path.relpath(self.images / name, self.relative_to)
                yield Record(image, width, height, text=caption, source=self.path.stem)


def _pair(line: str) -> tuple[str, str]:
    """Image and caption of a line; raises `ValueError` if it has none."""
    pair = parse_json(line)
    image, caption = (pair.get(name) if isinstance(pair, dict) else None for name in ("image", "caption"))
    if not all(isinstance(text, str) and text.strip() for text in (image, caption)):
        raise ValueError(f"image is {image!r} and caption {caption!r}: give two texts")
    return image, caption.strip()
