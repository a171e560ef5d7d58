"""From a picture to the network's input, as the official evaluation does it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

#: Of B, G and R on the 0..255 scale: what every released GLIP was trained with.
PIXEL_MEAN = (103.53, 116.28, 123.675)
PIXEL_STD = (57.375, 57.12, 58.395)
#: Image sides are padded to multiples of this.
SIZE_DIVISOR = 32


def resized_size(width: int, height: int, short_side: int, long_side: int) -> tuple[int, int]:
    """The (width, height) whose short side is `short_side`, unless the long side would pass `long_side`."""
    short, long = min(width, height), max(width, height)
    if long / short * short_side > long_side:
        short_side = round(long_side * short / long)
    other = int(short_side * long / short)
    return (short_side, other) if width <= height else (other, short_side)


def resize(image: Image.Image, short_side: int, long_side: int) -> Image.Image:
    return image.convert("RGB").resize(resized_size(*image.size, short_side, long_side), Image.Resampling.BILINEAR)


def normalise(image: np.ndarray) -> Tensor:
    """An RGB image `[height, width, 3]` of 8 bits as `[3, height, width]`: BGR, normalised."""
    pixels = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1).float()
    return (pixels - torch.tensor(PIXEL_MEAN)[:, None, None]) / torch.tensor(PIXEL_STD)[:, None, None]


def pad(pixels: Tensor) -> Tensor:
    """Zeros on the right and below, up to multiples of 32. Padding comes after normalising."""
    height, width = pixels.shape[-2:]
    return F.pad(pixels, (0, -width % SIZE_DIVISOR, 0, -height % SIZE_DIVISOR))
