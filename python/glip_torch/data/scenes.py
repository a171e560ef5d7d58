"""Scenes of coloured shapes: a picture and the truth about every object in it.

A scene is a function of (seed, index) alone, so a data set is a seed and a range of indices: nothing is stored, and any
scene can be rendered again in any process. One fifth of the colour-shape combinations is held out (`HELD_OUT`): training
scenes never show them, which makes them the zero-shot test.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond", "crescent", "arrow")
# Hue in turns, with saturation and value at full light. Eight hues that people name without hesitation.
COLOURS = {
    "red": (0.995, 0.90, 0.85),
    "orange": (0.075, 0.95, 0.97),
    "yellow": (0.155, 0.90, 0.97),
    "green": (0.345, 0.80, 0.65),
    "cyan": (0.500, 0.80, 0.88),
    "blue": (0.615, 0.85, 0.85),
    "purple": (0.765, 0.70, 0.65),
    "pink": (0.925, 0.48, 0.99),
}
PATTERNS = ("solid", "striped", "dotted", "checked")
# Longest side of an object, in pixels of a scene whose short side is 256. The gaps keep the size words unambiguous.
SIZES = {"small": (24, 44), "medium": (52, 76), "large": (84, 120)}
REFERENCE_SHORT_SIDE = 256

# Every shape misses one or two colours and every colour two shapes; "red circle", the first thing anyone tries, is shown.
HELD_OUT = frozenset(
    (colour, shape) for j, colour in enumerate(COLOURS) for i, shape in enumerate(SHAPES) if (2 * i + j) % 5 == 3
)

# An object keeps at least this share of its pixels in view; a placement that would cover more is tried elsewhere.
MIN_VISIBLE = 0.65
PLACEMENT_TRIES = 12
SUPERSAMPLING = 4

#: x1 y1 x2 y2 as first and last pixel (inclusive).
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class SceneObject:
    """One object: its attributes and its box, x1 y1 x2 y2 as first and last pixel (inclusive), of its whole silhouette."""

    shape: str
    colour: str
    pattern: str
    size: str
    box: Box

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """The box by its edges, so that a width is x2 - x1."""
        x1, y1, x2, y2 = map(float, self.box)
        return x1, y1, x2 + 1, y2 + 1

    @property
    def held_out(self) -> bool:
        return (self.colour, self.shape) in HELD_OUT


@dataclass(frozen=True)
class Thing:
    """An everyday thing of a mixed scene (`mixed_scenes.py`); the box as `SceneObject`'s."""

    noun: str
    #: None where it has its own colours, which no phrase names.
    colour: str | None
    size: str
    box: Box


@dataclass(frozen=True)
class Scene:
    """A picture, uint8 [height, width, 3] RGB, and its objects, back to front."""

    image: np.ndarray
    objects: tuple[SceneObject | Thing, ...]
    #: Which object each pixel shows, counted from 1, or 0 for none, int16 [height, width]; None of what was not drawn.
    owner: np.ndarray | None = None

    def mask(self, index: int) -> np.ndarray:
        """Where object `index` is in view, bool [height, width]: not where another one, or the picture's edge, hides it."""
        return self.owner == index + 1


def render_scene(seed: int, index: int, width: int = 256, height: int = 256, held_out_share: float = 0.0) -> Scene:
    """Renders scene `index` of the data set `seed`.

    `held_out_share` is the chance of an object to be of a held-out combination: 0 for training.
    """
    rng = np.random.default_rng([seed, index])
    scale = min(width, height) / REFERENCE_SHORT_SIDE
    canvas = draw_background(rng, width, height)
    canvas = draw_clutter(rng, canvas, scale)
    objects: list[SceneObject] = []
    # Which object owns a pixel, counted from 1: how much of each object is in view.
    owner = np.zeros((height, width), np.int16)
    areas: list[int] = []
    for _ in range(rng.integers(1, 8)):
        placed = place_shape(rng, canvas, owner, areas, scale, held_out_share)
        if placed is not None:
            objects.append(placed)
    return Scene(photograph(rng, canvas, scale), tuple(objects), owner)


# --- background -----------------------------------------------------------------------------------------------------


def _dull_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour no palette name fits: low saturation, any hue and lightness."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.random() * 0.25, 0.08 + 0.92 * rng.random())
    return np.asarray(rgb, np.float32) * 255


def draw_background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """float32 [height, width, 3]: flat, a gradient, or cloudy or grainy texture between two dull colours."""
    first = _dull_colour(rng)
    kind = rng.integers(4)
    if kind == 0:
        return np.broadcast_to(first, (height, width, 3)).copy()
    second = _dull_colour(rng)
    if kind == 1:
        angle = rng.random() * 2 * math.pi
        ramp = np.cos(angle) * np.linspace(-1, 1, width)[None, :] + np.sin(angle) * np.linspace(-1, 1, height)[:, None]
        mix = (ramp / (abs(math.cos(angle)) + abs(math.sin(angle))) + 1) / 2
    else:
        # Texture is value noise of one to three octaves, strong when coarse, weak when fine.
        mix = np.zeros((height, width))
        for _ in range(rng.integers(1, 4)):
            cells = int(2 ** rng.uniform(1, 6))
            noise = Image.fromarray(rng.random((cells, cells), np.float32))
            mix += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) * min(1.0, 8 / cells)
        mix = np.clip(mix / max(mix.max(), 1e-6), 0, 1)
    mix = mix[..., None].astype(np.float32)
    return first * (1 - mix) + second * mix


def draw_clutter(rng: np.random.Generator, canvas: np.ndarray, scale: float) -> np.ndarray:
    """Draws dull lines, arcs and irregular blobs: things that are there and that no phrase means."""
    if rng.random() < 0.35:
        return canvas
    height, width = canvas.shape[:2]
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 9)):
        ink = tuple(int(c) for c in _dull_colour(rng))
        x, y = rng.random() * width, rng.random() * height
        reach = rng.uniform(10, 90) * scale
        thickness = max(1, round(rng.uniform(1, 5) * scale))
        kind = rng.integers(3)
        if kind == 0:
            turn = rng.random() * 2 * math.pi
            draw.line((x, y, x + reach * math.cos(turn), y + reach * math.sin(turn)), ink, thickness)
        elif kind == 1:
            start = rng.random() * 360
            draw.arc((x - reach, y - reach, x + reach, y + reach), start, start + rng.uniform(30, 150), ink, thickness)
        else:
            angles = np.sort(rng.random(7)) * 2 * math.pi
            radii = reach * rng.uniform(0.15, 0.5, 7)
            draw.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles)], ink)
    return np.asarray(image, np.float32).copy()


# --- objects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outline:
    """A shape: its outline `[points, 2]`, y down, perhaps a hole in it, and how far it may turn, in degrees."""

    points: np.ndarray
    hole: np.ndarray | None
    max_turn: float


def _ngon(radii: list[float], start: float = -90.0) -> np.ndarray:
    angles = np.deg2rad(start + 360 * np.arange(len(radii)) / len(radii))
    return np.stack([np.cos(angles), np.sin(angles)], 1) * np.asarray(radii)[:, None]


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], 1) / 16


_CIRCLE = _ngon([1.0] * 40)
_CROSS = (
    np.array(
        [(-1, 3), (1, 3), (1, 1), (3, 1), (3, -1), (1, -1), (1, -3), (-1, -3), (-1, -1), (-3, -1), (-3, 1), (-1, 1)]
    )
    / 3
)
_ARROW = np.array([(-1, -0.28), (0.05, -0.28), (0.05, -0.8), (1, 0), (0.05, 0.8), (0.05, 0.28), (-1, 0.28)])
# A square and a diamond differ by their attitude, so those turn little; a star may stand anyhow.
OUTLINES = {
    "circle": Outline(_CIRCLE, None, 180),
    "square": Outline(_ngon([1.0] * 4, -45), None, 20),
    "triangle": Outline(_ngon([1.0] * 3), None, 180),
    "star": Outline(_ngon([1.0, 0.42] * 5), None, 180),
    "cross": Outline(_CROSS, None, 20),
    "ring": Outline(_CIRCLE, _CIRCLE * 0.58, 180),
    "heart": Outline(_heart(), None, 35),
    "diamond": Outline(np.array([(0, -1), (0.62, 0), (0, 1), (-0.62, 0)]), None, 15),
    "crescent": Outline(_CIRCLE, _CIRCLE * 0.85 + (0.48, 0), 180),
    "arrow": Outline(_ARROW, None, 180),
}


def _silhouette(rng: np.random.Generator, outline: Outline, size: float) -> np.ndarray:
    """The shape's coverage, float32 [h, w] in 0..1, turned and slightly stretched, its longest side `size` pixels."""
    turn = math.radians(rng.uniform(-outline.max_turn, outline.max_turn))
    stretch = np.array([1.0, rng.uniform(0.88, 1.12)])
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    place = lambda points: (points * stretch) @ rotation.T
    points = place(outline.points)
    low, span = points.min(0), np.ptp(points, axis=0)
    to_pixels = size * SUPERSAMPLING / span.max()
    w, h = np.ceil(span * to_pixels / SUPERSAMPLING).astype(int) + 1
    mask = Image.new("L", (int(w) * SUPERSAMPLING, int(h) * SUPERSAMPLING))
    draw = ImageDraw.Draw(mask)
    draw.polygon([tuple(p) for p in (points - low) * to_pixels], 255)
    if outline.hole is not None:
        draw.polygon([tuple(p) for p in (place(outline.hole) - low) * to_pixels], 0)
    coverage = np.asarray(mask.reduce(SUPERSAMPLING), np.float32) / 255
    rows, columns = np.flatnonzero(coverage.max(1) > 0.5), np.flatnonzero(coverage.max(0) > 0.5)
    return coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _paint(rng: np.random.Generator, colour: str, pattern: str, width: int, height: int) -> np.ndarray:
    """float32 [height, width, 3]: the object's colour, jittered, with its pattern in a lighter or darker shade."""
    hue, saturation, value = COLOURS[colour]
    hue = (hue + rng.uniform(-0.012, 0.012)) % 1
    saturation = np.clip(saturation * rng.uniform(0.85, 1.1), 0, 1)
    value = np.clip(value * rng.uniform(0.88, 1.08), 0, 1)
    base = np.asarray(colorsys.hsv_to_rgb(hue, saturation, value), np.float32) * 255
    if pattern == "solid":
        paint = np.broadcast_to(base, (height, width, 3))
    else:
        light = rng.random() < 0.6
        shade = base + (255 - base) * 0.8 if light else base * 0.3
        paint = np.where(_pattern(rng, pattern, width, height)[..., None], shade, base)
    # Soft light from one side, so that a flat fill is not the only look.
    slope = rng.uniform(-0.12, 0.12)
    return paint * (1 + slope * np.linspace(-1, 1, height, dtype=np.float32)[:, None, None])


def _pattern(rng: np.random.Generator, pattern: str, width: int, height: int) -> np.ndarray:
    """bool [height, width]: where the pattern shows its second shade."""
    turn = rng.random() * math.pi
    x, y = np.arange(width)[None, :], np.arange(height)[:, None]
    u = x * math.cos(turn) + y * math.sin(turn) + 1000
    v = y * math.cos(turn) - x * math.sin(turn) + 1000
    period = max(5.0, max(width, height) * rng.uniform(0.16, 0.3))
    if pattern == "striped":
        return (u % period) < period * 0.42
    if pattern == "checked":
        return ((u // (period * 0.6)).astype(int) + (v // (period * 0.6)).astype(int)) % 2 == 0
    return (u % period - period / 2) ** 2 + (v % period - period / 2) ** 2 < (0.3 * period) ** 2


def _combination(rng: np.random.Generator, held_out_share: float) -> tuple[str, str]:
    held_out = rng.random() < held_out_share
    while True:
        pair = (list(COLOURS)[rng.integers(len(COLOURS))], SHAPES[rng.integers(len(SHAPES))])
        if (pair in HELD_OUT) == held_out:
            return pair


def place_shape(rng, canvas, owner, areas, scale, held_out_share=0.0) -> SceneObject | None:
    """Draws one shape of a random kind, or returns None if there is no place for it."""
    colour, shape = _combination(rng, held_out_share)
    look = random_look(rng, colour)
    box = place_outline(rng, canvas, owner, areas, scale, OUTLINES[shape], look)
    return None if box is None else SceneObject(shape, colour, look.pattern, look.size, box)


@dataclass(frozen=True)
class Look:
    colour: str
    pattern: str
    size: str


def random_look(rng: np.random.Generator, colour: str) -> Look:
    """A pattern and a size at random: plain objects are common, large ones rare."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))] if rng.random() < 0.6 else "solid"
    return Look(colour, pattern, list(SIZES)[rng.choice(3, p=[0.35, 0.4, 0.25])])


def place_outline(
    rng: np.random.Generator,
    canvas: np.ndarray,
    owner: np.ndarray,
    areas: list[int],
    scale: float,
    outline: Outline,
    look: Look,
) -> Box | None:
    """Draws an outline on `canvas` and into `owner`; returns its box, or None if no place leaves everything well in view."""
    coverage = _silhouette(rng, outline, rng.uniform(*SIZES[look.size]) * scale)
    paint = lambda: _paint(rng, look.colour, look.pattern, *coverage.shape[::-1])
    return place(rng, canvas, owner, areas, coverage, paint)


def place(
    rng: np.random.Generator,
    canvas: np.ndarray,
    owner: np.ndarray,
    areas: list[int],
    coverage: np.ndarray,
    paint: Callable[[], np.ndarray],
) -> Box | None:
    """Draws what `coverage [h, w]` (0..1) covers, in the colours of `paint() [h, w, 3]`, somewhere on `canvas`.

    `owner` and `areas` take note of it. Returns its box, or None if no place leaves everything well in view.
    """
    height, width = owner.shape
    h, w = coverage.shape
    solid = coverage > 0.5
    for _ in range(PLACEMENT_TRIES):
        left = int(rng.integers(-w // 10, max(width - w + w // 10, 1)))
        top = int(rng.integers(-h // 10, max(height - h + h // 10, 1)))
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + w, width), min(top + h, height)
        inside = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
        window = owner[y1:y2, x1:x2]
        covered = np.bincount(window[solid[inside]], minlength=len(areas) + 1)[1:]
        in_view = np.bincount(owner.ravel(), minlength=len(areas) + 1)[1:] - covered if covered.any() else None
        if in_view is None or all(v >= MIN_VISIBLE * a for v, a in zip(in_view, areas)):
            break
    else:
        return None
    alpha = coverage[inside][..., None]
    canvas[y1:y2, x1:x2] = canvas[y1:y2, x1:x2] * (1 - alpha) + paint()[inside] * alpha
    window[solid[inside]] = len(areas) + 1
    areas.append(int(solid.sum()))
    return x1, y1, x2 - 1, y2 - 1


# --- camera ---------------------------------------------------------------------------------------------------------


def photograph(rng: np.random.Generator, canvas: np.ndarray, scale: float) -> np.ndarray:
    """Blur, brightness, contrast and sensor noise; returns uint8."""
    if rng.random() < 0.4:
        image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
        canvas = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.4) * scale)), np.float32)
    contrast = rng.uniform(0.8, 1.15)
    canvas = (canvas - 128) * contrast + 128 + rng.uniform(-22, 18)
    if rng.random() < 0.6:
        canvas = canvas + rng.standard_normal(canvas.shape, np.float32) * rng.uniform(1, 11)
    return np.clip(canvas, 0, 255).astype(np.uint8)
