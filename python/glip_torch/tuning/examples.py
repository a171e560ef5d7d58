"""Pictures and their boxes as the network takes them, and what the frozen part made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..data.pictures import in_frame
from ..losses import Targets
from ..postprocess import Detections
from ..preprocess import SIZE_DIVISOR, normalise, pad, resized_size
from . import TuningError
from .coco import CocoData, CocoImage
from .methods import Frozen, Method


@dataclass(frozen=True)
class Example:
    """An image of the data set as the network sees it: resized, not yet padded."""

    image: CocoImage
    #: Width and height after the resize.
    size: tuple[int, int]

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        width, height = self.size
        return height + -height % SIZE_DIVISOR, width + -width % SIZE_DIVISOR

    @property
    def _scale(self) -> tuple[float, float]:
        return self.size[0] / self.image.width, self.size[1] / self.image.height

    @cached_property
    def boxes(self) -> Tensor:
        """`[boxes, 4]` x1 y1 x2 y2, the last row and column included, in pixels of the network's input."""
        x, y, width, height = (
            torch.tensor([box for _, box in self.image.boxes]).reshape(len(self.image.boxes), 4).unbind(1)
        )
        limit = torch.tensor([self.image.width - 1, self.image.height - 1])
        corners = torch.stack([x, y, x + width - 1, y + height - 1], dim=1)
        corners = torch.minimum(corners.clamp(min=0), limit.repeat(2))
        return corners * torch.tensor(self._scale * 2)

    def to_original(self, found: Detections) -> Detections:
        x, y = self._scale
        return found.scaled(1 / x, 1 / y)

    def pixels(self) -> Tensor:
        """`[3, height, width]`, padded."""
        try:
            with Image.open(self.image.path) as picture:
                framed = in_frame(picture, (self.image.width, self.image.height))
                if framed is None:
                    raise TuningError(
                        f"{self.image.path} is {picture.width} x {picture.height}, but listed as "
                        f"{self.image.width} x {self.image.height}"
                    )
                resized = framed.convert("RGB").resize(self.size, Image.Resampling.BILINEAR)
        except (UnidentifiedImageError, OSError) as error:
            raise TuningError(f"image {self.image.path} cannot be read: {error}") from None
        return pad(normalise(np.asarray(resized)))


def examples_of(data: CocoData, short_side: int, long_side: int) -> list[Example]:
    return [Example(image, resized_size(image.width, image.height, short_side, long_side)) for image in data.images]


class FrozenStore:
    """What the frozen part made of images, by file and size: kept in memory up to `limit` bytes."""

    def __init__(self, limit: int = 4 << 30):
        self.limit, self.bytes = limit, 0
        self._kept: dict[tuple, Frozen] = {}

    def get(self, method: Method, example: Example) -> Frozen:
        key = (example.image.path, example.size)
        if key in self._kept:
            return self._kept[key]
        pixels = example.pixels()[None].to(method.input_ids.device)
        # Cloned, or a row would keep the whole batch alive that it is a view of.
        frozen = tuple(tensor[0].clone() for tensor in method.freeze(pixels))
        size = sum(tensor.numel() * tensor.element_size() for tensor in frozen)
        if self.bytes + size <= self.limit:
            self._kept[key] = frozen
            self.bytes += size
        return frozen


class FrozenStates:
    """The frozen part's outputs for `examples`, computed when they are first asked for."""

    def __init__(self, method: Method, examples: Sequence[Example], store: FrozenStore):
        self.method, self.examples, self.store = method, examples, store

    def batch(self, indices: Sequence[int]) -> Frozen:
        """The outputs for examples of one padded size, stacked."""
        each = [self.store.get(self.method, self.examples[index]) for index in indices]
        return tuple(torch.stack(tensors) for tensors in zip(*each))


def batches(examples: Sequence[Example], order: Sequence[int], size: int) -> Iterator[list[int]]:
    """Splits `order` into batches of up to `size`, each of examples of one padded size."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index in order:
        group = groups.setdefault(examples[index].padded, [])
        group.append(index)
        if len(group) == size:
            yield groups.pop(examples[index].padded)
    yield from groups.values()


def targets_of(examples: Sequence[Example], phrase_tokens: Sequence[Sequence[int]], tokens: int) -> Targets:
    """The truth of a batch; a box's category means its phrase's tokens, out of `tokens`."""
    most = max(len(example.image.boxes) for example in examples)
    targets = Targets(
        boxes=torch.zeros(len(examples), most, 4),
        valid=torch.zeros(len(examples), most, dtype=torch.bool),
        tokens=torch.zeros(len(examples), most, tokens, dtype=torch.bool),
    )
    for row, example in enumerate(examples):
        count = len(example.image.boxes)
        targets.boxes[row, :count] = example.boxes
        targets.valid[row, :count] = True
        for column, (category, _) in enumerate(example.image.boxes):
            targets.tokens[row, column, list(phrase_tokens[category])] = True
    return targets
