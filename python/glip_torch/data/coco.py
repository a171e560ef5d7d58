"""Data sets in COCO's format, which LVIS and ODinW use too, read as `glip-tools` reads them (`coco.rs`).

Files that people have are not always as they should be. Reading leaves out what cannot be used, names it as a `Problem`, and
goes on. Numbers may be strings, ids and sizes may have a point, and what may be left out may be null.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from .pictures import Frames, read_frames
from .text import parse_json, read_text
from .values import bbox, finite, flag, number, text, whole, wrong

Box = tuple[float, float, float, float]

_LISTS = ("images", "annotations", "categories")
#: What an entry of a list is.
_FIELDS = {
    "image": "id, file_name, width and height",
    "category": "id and name",
    "annotation": "id, image_id, category_id and bbox",
}
_LARGEST_SIDE = (1 << 32) - 1


class FormatError(ValueError):
    """A file is no COCO data set; the message says what it is instead."""


@dataclass(frozen=True)
class Problem:
    """Something that was left out, or if its kind is "doubtful", that was used and looks wrong."""

    kind: str
    #: What it is wrong with.
    subject: str
    #: The value that is wrong, or the reason.
    detail: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.kind.replace('_', ' ')} ({self.detail})"


@dataclass(frozen=True)
class Image:
    id: int
    file_name: str
    #: In pixels; 0 if the file does not say.
    width: int = 0
    height: int = 0
    #: LVIS: the categories that were looked for and are not there, or None if the file is none of LVIS'.
    absent: tuple[int, ...] | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        return (self.width, self.height) if self.width and self.height else None

    def path_in(self, folder: Path) -> Path:
        """Where it is in a folder: as the file says; else, as names may be of Windows or have folders of another computer, by
        the longest end of the name that is there. If none is, as the file says."""
        path = folder / self.file_name
        if path.exists():
            return path
        parts = [part for part in self.file_name.replace("\\", "/").split("/") if part]
        ends = (folder.joinpath(*parts[first:]) for first in range(len(parts)))
        return next((end for end in ends if end.is_file()), path)


@dataclass(frozen=True)
class Annotation:
    id: int
    image: int
    category: int
    #: x, y, width and height in pixels.
    bbox: Box
    area: float
    is_crowd: bool = False
    #: How sure a model was of it, if it is a model's.
    score: float | None = None


@dataclass(frozen=True)
class Category:
    id: int
    name: str
    supercategory: str | None = None


@dataclass
class Dataset:
    """Every annotation is of an image and a category of the set, ids are unique, and boxes are finite, in order, and have a part
    in their image."""

    images: list[Image]
    annotations: list[Annotation]
    #: By ascending id.
    categories: list[Category]
    #: The category that an exporter (Roboflow) puts above all others and that nothing is of; it is none of `categories`.
    root: Category | None = None
    #: What was left out or looks wrong.
    problems: list[Problem] = field(default_factory=list)

    def content(self) -> dict:
        """As JSON has it, for pycocotools."""
        return {
            "images": [
                {"id": i.id, "file_name": i.file_name, "width": i.width, "height": i.height} for i in self.images
            ],
            "annotations": [
                {"id": a.id, "image_id": a.image, "category_id": a.category, "bbox": list(a.bbox), "area": a.area}
                | {"iscrowd": int(a.is_crowd)}
                for a in self.annotations
            ],
            "categories": [{"id": category.id, "name": category.name} for category in self.categories],
        }

    def complete_sizes(self, folder: Path) -> None:
        """Gives the images whose size the file does not say that of their pictures, as far as they can be read.

        Of a picture that is turned by its EXIF orientation, boxes may be in the frame as it is stored or in the upright one.
        They are taken to be in the upright one only if they do not fit into the other.
        """
        boxes: dict[int, list[Box]] = defaultdict(list)
        for annotation in self.annotations:
            boxes[annotation.image].append(annotation.bbox)
        completed, turned = set(), []
        for place, image in enumerate(self.images):
            frames = read_frames(image.path_in(folder)) if image.size is None else None
            if frames is None:
                continue
            width, height = _frame_of(boxes[image.id], frames)
            self.images[place] = replace(image, width=width, height=height)
            completed.add(image.id)
            if frames.is_turned and (width, height) == frames.stored and boxes[image.id]:
                turned.append(image.file_name)
        self.annotations = list(self._usable(self.annotations))
        self._doubt_boxes(lambda image: image.id in completed)
        if turned:
            detail = (
                f"{len(turned)} without width and height in the file are turned by EXIF, such as {turned[0]}: "
                "their boxes are taken to be of the pixels as they are stored"
            )
            self.problems.append(Problem("doubtful", "images", detail))

    def _usable(self, annotations: list[Annotation]) -> Iterator[Annotation]:
        images = {image.id: image for image in self.images}
        categories = {category.id for category in self.categories}
        for annotation in annotations:
            subject = f"annotation {annotation.id}"
            if annotation.image not in images:
                problem = Problem("unknown_image", subject, str(annotation.image))
            elif annotation.category not in categories:
                problem = Problem("unknown_category", subject, str(annotation.category))
            else:
                problem = _wrong_box(annotation.bbox, images[annotation.image], subject)
            if problem is not None:
                self.problems.append(problem)
                continue
            if not math.isfinite(annotation.area):
                area = annotation.bbox[2] * annotation.bbox[3]
                shown = {math.inf: "inf", -math.inf: "-inf"}.get(annotation.area, "NaN")
                self.problems.append(Problem("doubtful", subject, f"area is {shown}: its box's is taken"))
                annotation = replace(annotation, area=area)
            yield annotation

    def _take_root(self) -> None:
        """Takes out the category that an exporter put above all others: it is in no group, all others are in its one, or at least
        in one and it has the id 0, and nothing is of it."""
        used = {annotation.category for annotation in self.annotations}

        def group(category: Category) -> str | None:
            name = category.supercategory
            return None if name is None or name.lower() in ("", "none") else name

        def is_above(root: Category, other: Category) -> bool:
            by_id = root.id == 0 and root.supercategory is not None and group(other) is not None
            return group(other) == root.name or by_id

        for root in self.categories:
            others = [other for other in self.categories if other is not root]
            if root.id not in used and group(root) is None and others and all(is_above(root, o) for o in others):
                self.root, self.categories = root, others
                return

    def _doubt_names(self) -> None:
        """Names categories that a model cannot tell from one another."""
        ids: dict[str, list[str]] = defaultdict(list)
        for category in self.categories:
            ids[category.name.strip()].append(str(category.id))
        for name, named in sorted(ids.items()):
            if len(named) > 1:
                detail = f"all called {json.dumps(name, ensure_ascii=False)}: a model finds the same for each"
                self.problems.append(Problem("doubtful", f"categories {', '.join(named)}", detail))

    def _doubt_boxes(self, of: Callable[[Image], bool]) -> None:
        """Says so if the boxes of these images look like something else than x, y, width and height in pixels."""
        sizes = {image.id: image.size for image in self.images if image.size is not None and of(image)}
        detail = _looks_like([(a, sizes[a.image]) for a in self.annotations if a.image in sizes])
        if detail is not None:
            detail += "? They are taken as x, y, width and height in pixels"
            self.problems.append(Problem("doubtful", "annotations", detail))


def read_dataset(path: Path) -> Dataset:
    """Reads a file; raises `OSError`, `EncodingError` or `FormatError` if it is none."""
    source = read_text(path)
    try:
        content = parse_json(source)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is no JSON ({error}): is the download complete?") from None
    for name in _LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise FormatError(f"{path} has no list of {name}: give COCO's or LVIS' file of instances")
    problems: list[Problem] = []
    images, categories, annotations = (
        list(_entries(name, content[plural], read, problems))
        for name, plural, read in (
            ("image", "images", _image),
            ("category", "categories", _category),
            ("annotation", "annotations", _annotation),
        )
    )
    dataset = Dataset(images, [], sorted(categories, key=lambda category: category.id), problems=problems)
    dataset.annotations = list(dataset._usable(annotations))
    dataset._take_root()
    dataset._doubt_names()
    dataset._doubt_boxes(lambda image: True)
    return dataset


def _entries(name: str, entries: list, read: Callable, problems: list[Problem]) -> Iterator:
    """The entries that can be used; of two with one id, the first."""
    ids = set()
    for position, entry in enumerate(entries):
        place = f"{name} entry {position}"
        if not isinstance(entry, dict):
            detail = f"{json.dumps(entry)[:60]}, expected an object with {_FIELDS[name]}"
            problems.append(Problem("malformed", place, detail))
            continue
        try:
            identity = whole(entry.get("id"), "id")
        except ValueError as error:
            problems.append(Problem("malformed", place, str(error)))
            continue
        if identity in ids:
            problems.append(Problem("duplicate", f"{name} {identity}", f"{place} has the id of an earlier one"))
            continue
        ids.add(identity)
        try:
            yield read(identity, entry)
        except ValueError as error:
            problems.append(Problem("malformed", f"{name} {identity}", str(error)))


def _image(identity: int, entry: dict) -> Image:
    name, address = entry.get("file_name"), entry.get("coco_url")
    if name is None and address is None:
        raise ValueError("neither file_name nor coco_url")
    # LVIS' address ends with the folder and the file.
    file_name = "/".join(text(address, "coco_url").split("/")[-2:]) if name is None else text(name, "file_name")
    sides = (_side(entry.get(side), side) for side in ("width", "height"))
    absent = entry.get("neg_category_ids")
    if absent is not None:
        if not isinstance(absent, list):
            raise ValueError(wrong(absent, "neg_category_ids", "a list of ids"))
        absent = tuple(whole(category, "neg_category_ids") for category in absent)
    return Image(identity, file_name, *sides, absent)


def _side(value: object, name: str) -> int:
    side = 0 if value is None else whole(value, name)
    if side > _LARGEST_SIDE:
        raise ValueError(wrong(value, name, "a size in pixels"))
    return side


def _category(identity: int, entry: dict) -> Category:
    group = entry.get("supercategory")
    return Category(identity, text(entry.get("name"), "name"), group if isinstance(group, str) else None)


def _annotation(identity: int, entry: dict) -> Annotation:
    """An area that is no number is NaN."""
    box, area = bbox(entry.get("bbox")), entry.get("area")
    found = box[2] * box[3] if area is None else number(area)
    return Annotation(
        identity,
        whole(entry.get("image_id"), "image_id"),
        whole(entry.get("category_id"), "category_id"),
        box,
        math.nan if found is None else float(found),
        flag(entry.get("iscrowd"), "iscrowd"),
        finite(entry.get("score")),
    )


def _wrong_box(box: Box, image: Image, subject: str) -> Problem | None:
    x, y, width, height = box
    detail = f"{list(box)} in an image of {image.width} x {image.height}"
    if width < 0 or height < 0:
        return Problem("inverted_box", subject, detail)
    if image.size is None or (x < image.width and y < image.height and x + width > 0 and y + height > 0):
        return None
    return Problem("box_outside", subject, detail)


def _frame_of(boxes: list[Box], frames: Frames) -> tuple[int, int]:
    def fits(size: tuple[int, int]) -> bool:
        return not any(_reaches_beyond(box, size) for box in boxes)

    return frames.upright if not fits(frames.stored) and fits(frames.upright) else frames.stored


def _looks_like(boxes: list[tuple[Annotation, tuple[int, int]]]) -> str | None:
    """What boxes look like if they are not x, y, width and height in pixels."""
    count = len(boxes)
    small = sum(all(0 <= value <= 1 for value in annotation.bbox) for annotation, _ in boxes)
    if 2 * small > count:
        return f"{small} of {count} boxes lie within a single pixel: normalised to 0 to 1"
    beyond = sum(_reaches_beyond(annotation.bbox, size) for annotation, size in boxes)
    as_corners = sum(_could_be_corners(annotation.bbox, size) for annotation, size in boxes)
    by_area = sum(_has_area_of_corners(annotation) for annotation, _ in boxes)
    # One in ten may be wrong for another reason.
    are_corners = 10 * as_corners >= 9 * count
    if beyond and (are_corners or 10 * beyond > count):
        guess = "x1 y1 x2 y2" if are_corners else "of pictures of another size"
        return f"{beyond} of {count} boxes reach beyond their image: {guess}"
    if count and are_corners and 10 * by_area >= 9 * count:
        return f"{by_area} of {count} areas are those of other boxes: x1 y1 x2 y2"
    return None


def _reaches_beyond(box: Box, size: tuple[int, int]) -> bool:
    """Whether a box ends more than a pixel, as rounding makes it, beyond its image."""
    x, y, width, height = box
    return x + width > size[0] + 1 or y + height > size[1] + 1


def _could_be_corners(box: Box, size: tuple[int, int]) -> bool:
    x1, y1, x2, y2 = box
    return x1 <= x2 and y1 <= y2 and not _reaches_beyond((0, 0, x2, y2), size)


def _has_area_of_corners(annotation: Annotation) -> bool:
    """Whether the area is that of the box if its numbers are corners, and not what they are taken for."""
    x, y, width, height = annotation.bbox

    def is_it(area: float) -> bool:
        return abs(annotation.area - area) <= 0.01 * abs(area)

    return is_it((width - x) * (height - y)) and not is_it(width * height)
