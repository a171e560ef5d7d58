"""COCO-format data sets: images, their boxes and the categories, checked when they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..data.coco import Dataset, FormatError, Image, Problem, read_dataset
from ..data.text import EncodingError
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
    #: What of the file was left out, or looks wrong.
    problems: tuple[Problem, ...] = ()

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
        return replace(self, images=images, source=source)


def read_coco(path: Path, folder: Path) -> CocoData:
    """Reads a COCO file whose images are in `folder`; raises `TuningError` for what cannot be tuned with."""
    try:
        dataset = read_dataset(path)
    except FileNotFoundError:
        raise TuningError(f"{path} does not exist") from None
    except OSError as error:
        raise TuningError(f"{path} cannot be read: {error.strerror}") from None
    except (FormatError, EncodingError) as error:
        raise TuningError(str(error)) from None
    dataset.complete_sizes(folder)
    ids = tuple(category.id for category in dataset.categories)
    boxes = _boxes_by_image(dataset, ids)
    data = CocoData(
        tuple(_image(image, folder, boxes) for image in dataset.images),
        tuple(category.name for category in dataset.categories),
        dataset.content(),
        ids,
        tuple(dataset.problems),
    )
    _check(path, data)
    return data


def _image(image: Image, folder: Path, boxes: dict[int, list]) -> CocoImage:
    return CocoImage(image.id, image.path_in(folder), image.width, image.height, tuple(boxes.get(image.id, ())))


def _boxes_by_image(dataset: Dataset, category_ids: tuple[int, ...]) -> dict[int, list]:
    """Boxes by image id. As in official's training, crowds and boxes without an area are left out."""
    places = {category: place for place, category in enumerate(category_ids)}
    boxes: dict[int, list] = {}
    for annotation in dataset.annotations:
        _, _, width, height = annotation.bbox
        if not annotation.is_crowd and width > 1 and height > 1:
            entry = places[annotation.category], annotation.bbox
            boxes.setdefault(annotation.image, []).append(entry)
    return boxes


def _check(path: Path, data: CocoData) -> None:
    if not data.categories:
        raise TuningError(f"{path} has no categories")
    if not data.box_count:
        raise TuningError(
            f"{path} has no boxes in {len(data.images)} images: nothing can be learned or measured with it"
        )
    unknown = [image.path for image in data.images if not (image.width and image.height) and image.path.is_file()]
    if unknown:
        raise TuningError(f"{path} does not say the size of {unknown[0]}, which is no picture that tells: replace it")
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
