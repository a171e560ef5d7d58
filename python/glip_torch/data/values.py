"""Numbers, flags and texts as people's JSON has them: in strings, with a point, as null, as NaN.

What cannot be read is a `ValueError` that says what was found. `glip-tools` reads them in the same way (`values.rs`).
"""

from __future__ import annotations

import json
import math

from .text import NOT_FINITE

#: Up to here floating point has every whole number.
_LARGEST_WHOLE = 1 << 53
_LARGEST_ID = (1 << 64) - 1
#: Of a value in a message.
_SHOWN = 60


def number(value: object) -> float | int | None:
    """A number, also one in a string; it may be NaN or infinite. None if it is something else."""
    if isinstance(value, str):
        value = value.strip(" \t\n\r")
        # Python reads more, such as 1_000 and inf.
        if not (value in NOT_FINITE or set(value) <= set("0123456789+-.eE")):
            return None
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value


def finite(value: object) -> float | int | None:
    """A number that is neither NaN nor infinite, or None."""
    found = number(value)
    try:
        return found if found is not None and math.isfinite(found) else None
    except OverflowError:  # an integer that no float holds
        return None


def whole(value: object, name: str) -> int:
    """A whole number from 0: an id or a size."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is int and 0 <= value <= _LARGEST_ID:
        return value
    found = finite(value)
    if isinstance(found, float) and found.is_integer() and 0 <= found <= _LARGEST_WHOLE:
        return int(found)
    raise ValueError(wrong(value, name, "a whole number"))


def bbox(value: object) -> tuple[float, float, float, float]:
    """x, y, width and height."""
    numbers = [finite(edge) for edge in value] if isinstance(value, list) else []
    if len(numbers) != 4 or None in numbers:
        raise ValueError(wrong(value, "bbox", "x, y, width and height in pixels"))
    x, y, width, height = map(float, numbers)
    return x, y, width, height


def flag(value: object, name: str) -> bool:
    """True or false, as most files have it: 1 or 0. Nothing is false."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    found = finite(value)
    if found is None:
        raise ValueError(wrong(value, name, "0 or 1"))
    return found != 0


def text(value: object, name: str) -> str:
    """A text that says something."""
    if isinstance(value, str) and value.strip() and value != "NaN":
        return value
    raise ValueError(wrong(value, name, "a text"))


def wrong(value: object, name: str, expected: str) -> str:
    """What is wrong with a value, which is cut if it is long."""
    if value is None:
        return f"no {name}: give {expected}"
    shown = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for word in NOT_FINITE:
        shown = shown.replace(f'"{word}"', word)
    shown = f"{shown[:_SHOWN]} ..." if len(shown) > _SHOWN else shown
    return f"{name} is {shown}: give {expected}"
