"""COCO and LVIS annotations to detection records.

As official does: crowds are left out, boxes are clipped to their image, those no wider or higher than a pixel are left out,
and so are images without boxes. LVIS says of each image which categories were looked for and not found (`neg_category_ids`): they
become categories without boxes. Annotations with a `score` are a model's, and keep it.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..grounding import Box, Category, DataError, Header, Record, clip_box
from .report import Report


class CocoSource:
    """A COCO or LVIS file whose images are in `images`; records are relative to the folder `relative_to`."""

    def __init__(self, path: Path, images: Path, relative_to: Path, keep_empty: bool = False):
        self.path, self.images, self.relative_to, self.keep_empty = path, images, relative_to, keep_empty
        self._content = _read(path)
        try:
            self.names = {c["id"]: c["name"] for c in sorted(self._content["categories"], key=lambda c: c["id"])}
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}: a category has no {error}: COCO's have id and name") from None
        self.source = "lvis" if any("neg_category_ids" in image for image in self._content["images"]) else "coco"
        self.header = Header(tuple(dict.fromkeys(self.names.values())))

    def records(self, report: Report) -> Iterator[Record]:
        annotations = self._annotations_by_image(report)
        for image in self._content["images"]:
            try:
                name = os.path.relpath(self.images / _file_name(image), self.relative_to)
                width, height, identity = int(image["width"]), int(image["height"]), image["id"]
                absent = [self.names[category] for category in image.get("neg_category_ids", ())]
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                report.skip(f"image {_identity(image)}", "malformed image", f"{type(error).__name__} {error}")
                continue
            boxes = self._boxes(annotations.pop(identity, []), width, height, report)
            if not boxes and not self.keep_empty:
                report.skip(f"image {identity}", "image without boxes")
                continue
            boxes |= {name: [] for name in absent if name not in boxes}
            categories = tuple(_category(name, found) for name, found in boxes.items())
            yield Record(name, width, height, categories=categories, source=self.source)
        for identity, orphans in annotations.items():
            for annotation in orphans:
                report.skip(f"annotation {_identity(annotation)}", "annotation of an unknown image", str(identity))

    def _annotations_by_image(self, report: Report) -> dict:
        annotations = defaultdict(list)
        for annotation in self._content["annotations"]:
            if isinstance(annotation, dict) and "image_id" in annotation:
                annotations[annotation["image_id"]].append(annotation)
            else:
                report.skip(f"annotation {_identity(annotation)}", "malformed annotation", "no image_id")
        return annotations

    def _boxes(
        self, annotations: list[dict], width: int, height: int, report: Report
    ) -> dict[str, list[tuple[Box, float | None]]]:
        """The boxes of each category, and how sure a model was of them (None: a person's)."""
        boxes: dict[str, list[tuple[Box, float | None]]] = {}
        for annotation in annotations:
            what = f"annotation {_identity(annotation)}"
            if annotation.get("iscrowd"):
                report.skip(what, "crowd")
            elif annotation.get("category_id") not in self.names:
                report.skip(what, "unknown category", repr(annotation.get("category_id")))
            elif (corners := _corners(annotation.get("bbox"))) is None:
                report.skip(what, "malformed box", repr(annotation.get("bbox")))
            elif (box := clip_box(corners, width, height)) is None or box[2] - box[0] <= 1 or box[3] - box[1] <= 1:
                report.skip(what, "box of no more than a pixel in its image", repr(annotation["bbox"]))
            else:
                boxes.setdefault(self.names[annotation["category_id"]], []).append((box, annotation.get("score")))
        return boxes


def _category(name: str, found: list[tuple[Box, float | None]]) -> Category:
    scores = None
    if any(score is not None for _, score in found):
        scores = tuple(1.0 if score is None else score for _, score in found)
    return Category(name, tuple(box for box, _ in found), scores)


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}): is the download complete?") from None
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise DataError(f"{path} has no list of {name}: give COCO's or LVIS' file of instances")
    return content


def _file_name(image: dict) -> str:
    """LVIS gives an address instead, whose last two parts are the folder and the file."""
    return image["file_name"] if "file_name" in image else "/".join(image["coco_url"].split("/")[-2:])


def _corners(box: object) -> Box | None:
    """x1 y1 x2 y2 of x, y, width, height."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, (int, float)) for edge in box):
        return None
    x, y, width, height = box
    return (x, y, x + width, y + height)


def _identity(entry: object) -> object:
    return entry.get("id", "without id") if isinstance(entry, dict) else repr(entry)
