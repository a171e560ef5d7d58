"""COCO-format data sets: images, their boxes and the categories, checked when they are read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import TuningError


@dataclass(frozen=True)
class CocoImage:
    """A picture's file and size, and its boxes: category (an index) and x, y, width, height in its pixels."""

    id: int
    path: Path
    width: int
    height: int
    boxes: tuple[tuple[int, tuple[float, float, float, float]], ...] = ()


@dataclass(frozen=True)
class CocoData:
    images: tuple[CocoImage, ...]
    #: Names by ascending id; everywhere else a category is its place here.
    categories: tuple[str, ...]
    #: The data set as it was read, for pycocotools, and the categories' ids there.
    source: dict = field(repr=False)
    category_ids: tuple[int, ...] = ()

    @property
    def box_count(self) -> int:
        return sum(len(image.boxes) for image in self.images)

    def boxes_per_category(self) -> Counter:
        return Counter(category for image in self.images for category, _ in image.boxes)

    def only(self, images: Iterable[CocoImage]) -> CocoData:
        """The same data set with these images alone."""
        images = tuple(images)
        ids = {image.id for image in images}
        source = {
            **self.source,
            "images": [image for image in self.source["images"] if image["id"] in ids],
            "annotations": [a for a in self.source["annotations"] if a["image_id"] in ids],
        }
        return CocoData(images, self.categories, source, self.category_ids)


def read_coco(path: Path, folder: Path) -> CocoData:
    """Reads a COCO file whose images are in `folder`; raises `TuningError` for whatever is not as it must be."""
    source = _read_json(path)
    try:
        categories = sorted(source["categories"], key=lambda category: category["id"])
        index = {category["id"]: place for place, category in enumerate(categories)}
        boxes = _boxes_by_image(path, source["annotations"], index)
        images = tuple(
            CocoImage(
                image["id"],
                folder / image["file_name"],
                image["width"],
                image["height"],
                tuple(boxes.get(image["id"], ())),
            )
            for image in source["images"]
        )
        names = tuple(category["name"] for category in categories)
    except (KeyError, TypeError) as error:
        raise TuningError(f"{path} is no COCO data set of boxes: {type(error).__name__} {error}") from None
    data = CocoData(images, names, source, tuple(category["id"] for category in categories))
    _check(path, data, boxes.keys())
    return data


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TuningError(f"{path} does not exist") from None
    except ValueError as error:
        raise TuningError(f"{path} is no JSON: {error}") from None


def _boxes_by_image(path: Path, annotations: list[dict], index: dict[int, int]) -> dict[int, list]:
    """Boxes by image id. As in official's training, crowds and boxes without an area are left out."""
    boxes: dict[int, list] = {}
    for annotation in annotations:
        if annotation["category_id"] not in index:
            raise TuningError(
                f"{path}: annotation {annotation.get('id')} is of the unknown category {annotation['category_id']}"
            )
        x, y, width, height = annotation["bbox"]
        if annotation.get("iscrowd") or width <= 1 or height <= 1:
            continue
        entry = index[annotation["category_id"]], (float(x), float(y), float(width), float(height))
        boxes.setdefault(annotation["image_id"], []).append(entry)
    return boxes


def _check(path: Path, data: CocoData, with_boxes: Iterable[int]) -> None:
    if not data.categories:
        raise TuningError(f"{path} has no categories")
    if not data.box_count:
        raise TuningError(
            f"{path} has no boxes in {len(data.images)} images: nothing can be learned or measured with it"
        )
    unknown = sorted(set(with_boxes) - {image.id for image in data.images})
    if unknown:
        raise TuningError(f"{path}: annotations of images that are not listed: {unknown[:5]}")
    missing = [image.path for image in data.images if not image.path.is_file()]
    if missing:
        raise TuningError(f"{path}: {len(missing)} of {len(data.images)} images are missing, such as {missing[0]}")


def check_same_categories(named: dict[str, CocoData]) -> None:
    """All splits must list the same categories, or a phrase would mean different things in them."""
    (first_name, first), *others = named.items()
    for name, data in others:
        if (data.categories, data.category_ids) != (first.categories, first.category_ids):
            raise TuningError(
                f"{first_name} and {name} list different categories: {list(first.categories)} and {list(data.categories)}"
            )
