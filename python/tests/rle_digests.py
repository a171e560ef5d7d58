"""Digests of pycocotools' run lengths of 10,000 random masks, a hundred masks to each: what the crate's must be, byte for byte.

python python/tests/rle_digests.py tests/fixtures/golden/rle.json
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

MASKS, IN_DIGEST = 10_000, 100


def numbers() -> Iterator[int]:
    """The same in any language."""
    state = 1
    while True:
        state = (state * 6364136223846793005 + 1) % 2**64
        yield state >> 33


def random_mask(number: Iterator[int]) -> np.ndarray:
    """`[height, width]`, in runs along its rows that are mostly short, or mostly long."""
    width, height, longest = 1 + next(number) % 80, 1 + next(number) % 60, 1 + next(number) % 300
    pixels: list[int] = []
    value = next(number) % 2
    while len(pixels) < width * height:
        pixels += [value] * (1 + next(number) % longest)
        value = 1 - value
    return np.array(pixels[: width * height], np.uint8).reshape(height, width)


def main(path: Path) -> None:
    number = numbers()
    digests = []
    for _ in range(MASKS // IN_DIGEST):
        digest = hashlib.sha256()
        for _ in range(IN_DIGEST):
            digest.update(coco.encode(np.asfortranarray(random_mask(number)))["counts"] + b"\n")
        digests.append(digest.hexdigest()[:16])
    path.write_text(json.dumps(digests) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
