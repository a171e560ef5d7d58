"""COCO and LVIS annotations to detection records.

As official does: crowds are left out, boxes are clipped to their image, those no wider or higher than a pixel are left out,
and so are images without boxes. LVIS says of each image which categories were looked for and not found (`neg_category_ids`): they
become categories without boxes. Annotations with a `score` are a model's, and keep it. The category that an exporter puts above
all others is none: what it would be absent from is full of it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..coco import Annotation, FormatError, Image, read_dataset
from ..grounding import Box, Category, DataError, Header, Record, clip_box
from ..text import EncodingError
from .report import Report


class CocoSource:
    """A COCO or LVIS file whose images are in `images`; records are relative to the folder `relative_to`."""

    def __init__(self, path: Path, images: Path, relative_to: Path, keep_empty: bool = False):
        self.images, self.relative_to, self.keep_empty = images, relative_to, keep_empty
        try:
            self._dataset = read_dataset(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        except (FormatError, EncodingError) as error:
            raise DataError(str(error)) from None
        self._dataset.complete_sizes(images)
        self.names = {category.id: category.name for category in self._dataset.categories}
        is_lvis = any(image.absent is not None for image in self._dataset.images)
        self.source = "lvis" if is_lvis else "coco"
        self.header = Header(tuple(dict.fromkeys(self.names.values())))

    def records(self, report: Report) -> Iterator[Record]:
        for problem in self._dataset.problems:
            if problem.kind == "doubtful":
                report.warn(problem.subject, problem.detail)
            else:
                report.skip(problem.subject, problem.kind.replace("_", " "), problem.detail)
        if self._dataset.root is not None:
            root = self._dataset.root
            report.skip(f"category {root.id}", "category above all others, without a box", root.name)
        annotations = defaultdict(list)
        for annotation in self._dataset.annotations:
            annotations[annotation.image].append(annotation)
        for image in self._dataset.images:
            record = self._record(image, annotations[image.id], report)
            if record is not None:
                yield record

    def _record(self, image: Image, annotations: list[Annotation], report: Report) -> Record | None:
        if image.size is None:
            detail = f"the file does not say it, and {image.path_in(self.images)} is no picture that tells"
            report.skip(f"image {image.id}", "image without a size", detail)
            return None
        boxes = self._boxes(annotations, image, report)
        if not boxes and not self.keep_empty:
            report.skip(f"image {image.id}", "image without boxes")
            return None
        absent = [self.names[category] for category in image.absent or () if category in self.names]
        boxes |= {name: [] for name in absent if name not in boxes}
        categories = tuple(_category(name, found) for name, found in boxes.items())
        name = os.path.relpath(image.path_in(self.images), self.relative_to)
        return Record(name, image.width, image.height, categories=categories, source=self.source)

    def _boxes(
        self, annotations: list[Annotation], image: Image, report: Report
    ) -> dict[str, list[tuple[Box, float | None]]]:
        """The boxes of each category, and how sure a model was of them (None: a person's)."""
        boxes: dict[str, list[tuple[Box, float | None]]] = {}
        for annotation in annotations:
            what = f"annotation {annotation.id}"
            x, y, width, height = annotation.bbox
            box = clip_box((x, y, x + width, y + height), image.width, image.height)
            if annotation.is_crowd:
                report.skip(what, "crowd")
            elif box is None or box[2] - box[0] <= 1 or box[3] - box[1] <= 1:
                report.skip(what, "box of no more than a pixel in its image", repr(list(annotation.bbox)))
            else:
                boxes.setdefault(self.names[annotation.category], []).append((box, annotation.score))
        return boxes


def _category(name: str, found: list[tuple[Box, float | None]]) -> Category:
    scores = None
    if any(score is not None for _, score in found):
        scores = tuple(1.0 if score is None else score for _, score in found)
    return Category(name, tuple(box for box, _ in found), scores)
