"""Pictures of everyday things, from an openly licensed icon set that is installed beside this package.

The set is Noto Emoji (Google Inc, Apache-2.0) as `@iconify-json/noto` on npm; `resvg_py` turns its vector graphics into pixels:

    npm install --prefix ~/.glip-pictures @iconify-json/noto@1.2.9
    pip install "glip-torch[pictures]"

It is looked for in $GLIP_PICTURES (the file icons.json or a folder with it), then in node_modules of the current folder and its
parents, then in ~/.glip-pictures. Pictures are rasterised once and kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from .nouns import NOUNS, Noun
from .scenes import COLOURS

PACKAGE, VERSION = "@iconify-json/noto", "1.2.9"
INSTALL = f'npm install --prefix ~/.glip-pictures {PACKAGE}@{VERSION}, and pip install "glip-torch[pictures]"'
ATTRIBUTION = "Noto Emoji, Copyright Google Inc, Apache License 2.0, https://github.com/googlefonts/noto-emoji"
#: Longest side of the stored pictures, in pixels; smaller copies, each half the size, are kept beside them.
STORED_SIZE = 192
LEVELS = 4
#: What is drawn for a picture: raised when the pixels of the same package change.
_CACHE_FORMAT = 1
#: A painted picture's pixels change colour if their hue is this close to its main one, in turns, and they are this vivid.
_HUE_REACH, _MIN_SATURATION = 0.09, 0.18
#: Loose parts are told apart on cells of so many pixels; those smaller than this share of the largest are dropped.
_CELL, _MIN_PART = 4, 0.1


class PicturesMissing(RuntimeError):
    """The icon set, or what rasterises it, is not installed."""


@dataclass(frozen=True)
class Sprite:
    """A picture in `LEVELS` sizes, each half of the one before, and its outline."""

    #: PIL images of premultiplied colour ("RGBa"), cropped to what is opaque, the largest first.
    levels: tuple[Image.Image, ...]
    #: Leftmost and rightmost edge of the picture in each row of the largest level [points, 2], x and y.
    outline: np.ndarray


@cache
def sprites(noun: str) -> dict[str | None, tuple[Sprite, ...]]:
    """The noun's pictures in each colour it comes in; None is its own colours."""
    entry = NOUNS[noun]
    own = [_all_pictures()[picture] for picture in entry.pictures]
    if not entry.painted:
        return {None: tuple(_sprite(pixels) for pixels in own)}
    return {colour: tuple(_sprite(repaint(pixels, colour)) for pixels in own) for colour in COLOURS}


def available() -> str | None:
    """None if the pictures can be drawn, else the reason why not."""
    try:
        _all_pictures()
    except PicturesMissing as reason:
        return str(reason)
    return None


def find_icons() -> Path:
    """The icon set's file icons.json, of the right version; raises `PicturesMissing` with the command that installs it."""
    named = os.environ.get("GLIP_PICTURES")
    if named is not None:
        folders: Iterable[Path] = [Path(named)]
    else:
        bases = [Path.cwd(), *Path.cwd().parents, Path.home() / ".glip-pictures"]
        folders = [base / "node_modules" / PACKAGE for base in bases]
    for folder in folders:
        file = folder / "icons.json" if folder.is_dir() else folder
        if file.is_file():
            _check_version(file)
            return file
    where = f"$GLIP_PICTURES ({named})" if named is not None else "node_modules here or above, or in ~/.glip-pictures"
    raise PicturesMissing(f"the icon set {PACKAGE} is not in {where}: {INSTALL}")


def _check_version(file: Path) -> None:
    """Scenes are a function of seed and index only as long as the pictures stay the same."""
    manifest = file.with_name("package.json")
    version = json.loads(manifest.read_text(encoding="utf-8")).get("version") if manifest.is_file() else "unknown"
    if version != VERSION:
        raise PicturesMissing(f"{file} is of version {version}, the scenes need {VERSION}: {INSTALL}")


@cache
def _all_pictures() -> dict[str, np.ndarray]:
    """Every picture of the table by its name, uint8 [height, width, 4] RGBA, from the cache or rasterised into it."""
    names = sorted({picture for noun in NOUNS.values() for picture in noun.pictures})
    key = hashlib.sha256(json.dumps([_CACHE_FORMAT, VERSION, STORED_SIZE, names]).encode()).hexdigest()[:16]
    file = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glip-torch" / f"pictures-{key}.npz"
    if not file.is_file():
        _write_whole(file, _rasterise_all(names))
    with np.load(file) as stored:
        return {name: stored[name] for name in names}


def _rasterise_all(names: list[str]) -> dict[str, np.ndarray]:
    icons = json.loads(find_icons().read_text(encoding="utf-8"))["icons"]
    return {name: rasterise(icons[name]["body"]) for name in names}


def _write_whole(file: Path, pictures: dict[str, np.ndarray]) -> None:
    """Several processes may come here at once: each writes a file of its own, and the last one's stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as handle:
        np.savez_compressed(handle, **pictures)
    partial.replace(file)


def rasterise(body: str) -> np.ndarray:
    """uint8 [height, width, 4] RGBA of the inside of a 128 x 128 SVG, cropped, its longest side about `STORED_SIZE`."""
    try:
        import resvg_py
    except ImportError as error:
        raise PicturesMissing(f"resvg_py is not installed: {INSTALL}") from error
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {namespaces} viewBox="0 0 128 128" width="128" height="128">{body}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=svg, width=2 * STORED_SIZE, height=2 * STORED_SIZE, skip_system_fonts=True)
    image = Image.fromarray(_without_crumbs(np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))), "RGBA")
    image = image.crop(image.getchannel("A").point(lambda alpha: 255 * (alpha > 127)).getbbox())
    scale = STORED_SIZE / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    # Premultiplied while resizing, or the hidden colour of transparent pixels would bleed in.
    return np.asarray(image.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA"))


def _without_crumbs(pixels: np.ndarray) -> np.ndarray:
    """The picture without its small loose parts (stars around a rocket), which would widen its box."""
    opaque = pixels[..., 3] > 127
    height, width = opaque.shape
    cells = opaque.reshape(height // _CELL, _CELL, width // _CELL, _CELL).any((1, 3))
    # Every cell takes the largest number among its neighbours' until nothing changes: then each part has one number.
    numbers = np.where(cells, np.arange(1, cells.size + 1).reshape(cells.shape), 0)
    while True:
        spread = np.where(cells, _largest_around(numbers), 0)
        if (spread == numbers).all():
            break
        numbers = spread
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    large = (sizes >= _MIN_PART * sizes.max())[numbers] & cells
    kept = pixels.copy()
    # Cells next to a part hold its faint edge.
    shown = _largest_around(large) & (large | ~cells)
    kept[~shown.repeat(_CELL, 0).repeat(_CELL, 1)] = 0
    return kept


def _largest_around(cells: np.ndarray) -> np.ndarray:
    """The largest value of each cell and its eight neighbours."""
    (rows, columns), padded = cells.shape, np.pad(cells, 1)
    return np.max([padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0)


def _sprite(pixels: np.ndarray) -> Sprite:
    image = Image.fromarray(pixels, "RGBA").convert("RGBa")
    levels = tuple(image if level == 0 else image.reduce(2**level) for level in range(LEVELS))
    solid = pixels[..., 3] > 127
    rows = np.flatnonzero(solid.any(1))
    left, right = solid[rows].argmax(1), solid.shape[1] - solid[rows, ::-1].argmax(1)
    # Both edges of each row of pixels, above and below.
    edges = [np.stack([x, rows + y], 1) for x in (left, right) for y in (0, 1)]
    return Sprite(levels, np.concatenate(edges).astype(np.float64))


def repaint(pixels: np.ndarray, colour: str) -> np.ndarray:
    """The picture with its main hue turned into a palette colour; other hues, white, grey and black stay."""
    hsv = np.asarray(Image.fromarray(pixels[..., :3], "RGB").convert("HSV"), np.float32) / 255
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    vivid = (saturation > _MIN_SATURATION) & (pixels[..., 3] > 127)
    counts = np.bincount((hue[vivid] * 64).astype(int) % 64, minlength=64).astype(float)
    # The bin whose neighbourhood is fullest: shades of one colour spread over a few bins.
    main = np.argmax(counts + np.roll(counts, 1) + np.roll(counts, -1))
    distance = np.abs((hue - (main + 0.5) / 64 + 0.5) % 1 - 0.5)
    turned = (distance < _HUE_REACH) & (saturation > _MIN_SATURATION)
    chosen = turned & vivid
    wanted_hue, wanted_saturation, wanted_value = COLOURS[colour]
    result = hsv.copy()
    result[turned, 0] = wanted_hue % 1
    result[turned, 1] = np.clip(saturation[turned] * wanted_saturation / np.median(saturation[chosen]), 0, 1)
    result[turned, 2] = np.clip(value[turned] * wanted_value / np.median(value[chosen]), 0, 1)
    painted = Image.fromarray((result * 255).round().astype(np.uint8), "HSV").convert("RGB")
    return np.dstack([np.asarray(painted), pixels[..., 3]])


def pictures_of(noun: Noun) -> list[np.ndarray]:
    """The noun's pictures as they are in the set, uint8 [height, width, 4] RGBA."""
    return [_all_pictures()[picture] for picture in noun.pictures]
