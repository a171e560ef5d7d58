"""Pictures in the frames that their boxes may be for: as they are stored, and upright, as their EXIF orientation turns them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

_ORIENTATION = 0x0112
#: Orientations in which width and height change places.
_ON_ITS_SIDE = (5, 6, 7, 8)


@dataclass(frozen=True)
class Frames:
    """Width and height in either frame."""

    stored: tuple[int, int]
    upright: tuple[int, int]
    is_turned: bool


def read_frames(path: Path) -> Frames | None:
    """The sizes of a picture, read off its beginning; None if it cannot be read."""
    try:
        with Image.open(path) as picture:
            size, orientation = picture.size, picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 (Pillow raises nearly anything for a broken file)
        return None
    return Frames(size, size[::-1] if orientation in _ON_ITS_SIDE else size, orientation in range(2, 9))


def in_frame(picture: Image.Image, size: tuple[int, int]) -> Image.Image | None:
    """The picture in the frame in which it has this size, if there is one."""
    if picture.size == size:
        return picture
    upright = ImageOps.exif_transpose(picture)
    return upright if upright.size == size else None
