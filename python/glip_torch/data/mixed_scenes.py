"""Scenes of everyday things and coloured shapes together: the world of glip-drawn.

Like a scene of shapes alone (`scenes.py`), a scene is a function of (seed, index), and of the pictures' version (`sprites.py`).
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from .nouns import NOUNS
from .scenes import REFERENCE_SHORT_SIDE, Scene, Thing, draw_background, draw_clutter, photograph, place, place_shape
from .sprites import Sprite, sprites

#: Longest side of a thing, in pixels of a scene whose short side is 256. What is a blot at 24 pixels is a dog at 32.
THING_SIZES = {"small": (32, 46), "medium": (56, 78), "large": (88, 128)}
#: Share of things among a scene's objects; the others are shapes.
THING_SHARE = 0.7
#: Chance that a thing is of the kind of one that is there already, so that a phrase can mean several.
REPEAT_SHARE = 0.2
#: Things stand upright, more or less: degrees.
MAX_TURN = 25.0
NAMES = tuple(NOUNS)


def render_mixed_scene(
    seed: int, index: int, width: int = 256, height: int = 256, thing_share: float = THING_SHARE
) -> Scene:
    """Renders scene `index` of the data set `seed`. Its shapes are never of held-out combinations."""
    rng = np.random.default_rng([seed, index])
    scale = min(width, height) / REFERENCE_SHORT_SIDE
    canvas = _tint(rng, draw_background(rng, width, height), low=0.6)
    canvas = draw_clutter(rng, canvas, scale)
    objects: list = []
    owner, areas = np.zeros((height, width), np.int16), []
    for _ in range(rng.integers(1, 8)):
        if rng.random() < thing_share:
            placed = _place_thing(rng, canvas, owner, areas, scale, objects)
        else:
            placed = place_shape(rng, canvas, owner, areas, scale)
        if placed is not None:
            objects.append(placed)
    return Scene(photograph(rng, _tint(rng, canvas, low=0.85), scale), tuple(objects), owner)


def _tint(rng: np.random.Generator, canvas: np.ndarray, low: float) -> np.ndarray:
    """Half of the times, coloured light: each channel weakened to `low` at least."""
    if rng.random() < 0.5:
        return canvas
    return canvas * rng.uniform(low, 1, 3).astype(np.float32)


def _place_thing(rng, canvas, owner, areas, scale, objects) -> Thing | None:
    """Draws one thing, or returns None if there is no place for it."""
    present = [thing.noun for thing in objects if isinstance(thing, Thing)]
    if present and rng.random() < REPEAT_SHARE:
        noun = present[rng.integers(len(present))]
    else:
        noun = NAMES[rng.integers(len(NAMES))]
    looks = sprites(noun)
    colour = list(looks)[rng.integers(len(looks))]
    size = list(THING_SIZES)[rng.choice(3, p=[0.3, 0.4, 0.3])]
    sprite = looks[colour][rng.integers(len(looks[colour]))]
    coverage, pixels = _pose(rng, sprite, rng.uniform(*THING_SIZES[size]) * scale)
    box = place(rng, canvas, owner, areas, coverage, lambda: _light(rng, pixels))
    return None if box is None else Thing(noun, colour, size, box)


def _pose(rng: np.random.Generator, sprite: Sprite, size: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture turned, mirrored and stretched a little, its longest side `size` pixels, cropped to what it covers.

    Returns its coverage, float32 [h, w] in 0..1, and its colours, float32 [h, w, 3].
    """
    turn = math.radians(rng.uniform(-MAX_TURN, MAX_TURN))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = rotation @ np.diag([mirror, rng.uniform(0.88, 1.12)])
    corners = sprite.outline @ linear.T
    factor = size / np.ptp(corners, axis=0).max()
    low = corners.min(0) * factor
    width, height = np.ceil(np.ptp(corners, axis=0) * factor).astype(int) + 1
    # The smallest stored level that need not be enlarged.
    level = min(max(int(-math.log2(factor)), 0), len(sprite.levels) - 1)
    # PIL asks where in the source an output pixel comes from: the inverse, in the level's own pixels.
    inverse = np.linalg.inv(linear * factor) / 2**level
    offset = inverse @ low
    matrix = (inverse[0, 0], inverse[0, 1], offset[0], inverse[1, 0], inverse[1, 1], offset[1])
    posed = sprite.levels[level].transform(
        (int(width), int(height)), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    pixels = np.asarray(posed, np.float32)
    coverage = pixels[..., 3] / 255
    rows, columns = np.flatnonzero(coverage.max(1) > 0.5), np.flatnonzero(coverage.max(0) > 0.5)
    inside = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return coverage[inside], pixels[inside][..., :3] / np.maximum(coverage[inside], 1 / 255)[..., None]


def _light(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """The colours more or less vivid, in light of some strength that falls off to one side."""
    height, width = pixels.shape[:2]
    grey = pixels.mean(2, keepdims=True)
    vivid = grey + (pixels - grey) * rng.uniform(0.75, 1.15)
    turn, slope = rng.random() * 2 * math.pi, rng.uniform(0, 0.2)
    across, down = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    fall = slope * (math.cos(turn) * across[None, :] + math.sin(turn) * down[:, None])
    return vivid * (rng.uniform(0.8, 1.1) + fall[..., None])
