"""A task that the first glip-nano was tuned on: `python -m glip_torch.data.objects OUT` draws it as a COCO-format data set.

Houses, fish, keys, mushrooms and bolts (of lightning), in all of its colours and patterns, on its backgrounds. It had seen
none of them, and "house", "fish" and "key" it was even taught to mean nothing that is there; glip-drawn knows all but bolts,
as other pictures. Some of its own shapes stand among them, unlabelled. Every image is a function of its split's seed and its
number.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from ..atomic import written
from ..average_precision import xywh
from .scenes import (
    COLOURS,
    OUTLINES,
    REFERENCE_SHORT_SIDE,
    Outline,
    draw_background,
    draw_clutter,
    photograph,
    place_outline,
    random_look,
)

#: Seed and number of images of each split; the model's own scenes have other seeds.
SPLITS = {"train": (2001, 200), "val": (2002, 40), "test": (2003, 100)}
#: Canvas sizes (width, height) that the images take turns in.
CANVASES = ((192, 192), (256, 192), (224, 192))
MAX_OBJECTS = 7
#: Share of objects that are one of the model's own shapes, which are not labelled.
DISTRACTORS = 0.3


def _arc(centre: tuple[float, float], radius: tuple[float, float], begin: float, end: float, points: int = 24):
    """Points on an ellipse, angles in degrees, clockwise as y points down."""
    angles = np.deg2rad(np.linspace(begin, end, points))
    return np.stack([np.cos(angles), np.sin(angles)], 1) * radius + centre


def _polygon(*corners: tuple[float, float]) -> np.ndarray:
    return np.array(corners, float)


_HOUSE = _polygon((-0.8, 1), (-0.8, -0.1), (-1, -0.1), (0, -1), (1, -0.1), (0.8, -0.1), (0.8, 1))
_DOOR = _polygon((-0.25, 1), (-0.25, 0.3), (0.25, 0.3), (0.25, 1))
_FISH = np.concatenate(
    [_arc((-0.25, 0), (0.75, 0.45), 25, 335), _polygon((0.65, -0.1), (1, -0.5), (0.85, 0), (1, 0.5), (0.65, 0.1))]
)
_EYE = _arc((-0.62, -0.08), (0.09, 0.09), 0, 360)
_KEY = np.concatenate(
    [
        _arc((-0.6, 0), (0.4, 0.4), 20, 340),
        _polygon(
            (1, -0.12), (1, 0.45), (0.82, 0.45), (0.82, 0.12), (0.62, 0.12), (0.62, 0.35), (0.44, 0.35), (0.44, 0.12)
        ),
    ]
)
_BOW = _arc((-0.62, 0), (0.2, 0.2), 0, 360)
_MUSHROOM = np.concatenate(
    [_arc((0, 0), (1, 0.9), 180, 360), _polygon((0.3, 0.1), (0.38, 0.9), (-0.38, 0.9), (-0.3, 0.1))]
)
_BOLT = _polygon((0.15, -1), (-0.55, 0.15), (-0.08, 0.15), (-0.3, 1), (0.55, -0.25), (0.05, -0.25), (0.45, -1))

#: The categories, in the order of their ids.
OBJECTS = {
    "house": Outline(_HOUSE, _DOOR, 15),
    "fish": Outline(_FISH, _EYE, 35),
    "key": Outline(_KEY, _BOW, 180),
    "mushroom": Outline(_MUSHROOM, None, 20),
    "bolt": Outline(_BOLT, None, 25),
}


def render_objects(seed: int, index: int) -> tuple[np.ndarray, list[tuple[str, tuple[int, int, int, int]]]]:
    """Image `index` of the set `seed`, uint8 RGB, and the names and boxes (x1 y1 x2 y2, inclusive) of its objects."""
    rng = np.random.default_rng([seed, index])
    width, height = CANVASES[index % len(CANVASES)]
    scale = min(width, height) / REFERENCE_SHORT_SIDE
    canvas = draw_clutter(rng, draw_background(rng, width, height), scale)
    owner, areas = np.zeros((height, width), np.int16), []
    found = []
    for _ in range(rng.integers(2, MAX_OBJECTS + 1)):
        kinds = OUTLINES if rng.random() < DISTRACTORS else OBJECTS
        name = list(kinds)[rng.integers(len(kinds))]
        look = random_look(rng, list(COLOURS)[rng.integers(len(COLOURS))])
        box = place_outline(rng, canvas, owner, areas, scale, kinds[name], look)
        if box is not None and kinds is OBJECTS:
            found.append((name, box))
    return photograph(rng, canvas, scale), found


def write_split(out: Path, split: str) -> None:
    """Writes OUT/split.json and its images OUT/images/split_*.png."""
    seed, count = SPLITS[split]
    images, annotations = [], []
    for number in range(count):
        picture, found = render_objects(seed, number)
        name = f"{split}_{number:03}.png"
        Image.fromarray(picture).save(out / "images" / name)
        images.append({"id": number + 1, "file_name": name, "width": picture.shape[1], "height": picture.shape[0]})
        annotations += [
            {"image_id": number + 1, "category_id": list(OBJECTS).index(kind) + 1, "bbox": xywh(box), "iscrowd": 0}
            for kind, box in found
        ]
    for number, annotation in enumerate(annotations, 1):
        annotation |= {"id": number, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    categories = [{"id": number, "name": name} for number, name in enumerate(OBJECTS, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    with written(out / f"{split}.json") as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write train.json, val.json, test.json and images/ to")
    out = parser.parse_args().out
    (out / "images").mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        write_split(out, split)


if __name__ == "__main__":
    main()
