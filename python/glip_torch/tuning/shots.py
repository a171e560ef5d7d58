"""Few-shot training sets, drawn as in the ODinW benchmark: images at random until every category has its boxes."""

from __future__ import annotations

import numpy as np

from . import TuningError
from .coco import CocoData


def draw_shots(data: CocoData, shots: int | None, seed: int) -> CocoData:
    """A part of `data` with at least `shots` boxes of every category; all of it for None.

    Images are gone through in an order that `seed` gives; one is taken if it has a category that still lacks boxes. Whole
    images are taken, so that frequent categories get more than `shots`: nothing in a training image may go unlabelled.
    """
    counts = data.boxes_per_category()
    needed = shots or 1
    for index, name in enumerate(data.categories):
        if counts[index] < needed:
            raise TuningError(
                f"category {name!r} has {counts[index]} boxes in the training set, and {needed} are needed: "
                "add images of it, take fewer shots, or remove the category"
            )
    if shots is None:
        return data
    lacking = dict.fromkeys(range(len(data.categories)), shots)
    drawn = []
    for place in np.random.default_rng([seed, shots]).permutation(len(data.images)):
        image = data.images[place]
        present = [category for category, _ in image.boxes]
        if any(lacking[category] > 0 for category in present):
            drawn.append(image)
            for category in present:
                lacking[category] -= 1
        if all(count <= 0 for count in lacking.values()):
            break
    return data.only(drawn)


def first_images(data: CocoData, count: int | None) -> CocoData:
    """At most `count` images, the same ones always: a validation set that costs less."""
    if count is None or count >= len(data.images):
        return data
    order = np.random.default_rng(0).permutation(len(data.images))[:count]
    return data.only(data.images[place] for place in sorted(order))
