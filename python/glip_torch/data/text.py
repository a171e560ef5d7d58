"""Text as people's files have it: with a byte order mark, in another encoding, with numbers that JSON does not have."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

#: What Python's `json` writes for numbers that JSON does not have.
NOT_FINITE = ("-Infinity", "Infinity", "NaN")


class EncodingError(ValueError):
    """A text is not UTF-8; the message says what it is instead, and where that shows."""


def read_text(path: Path) -> str:
    """A file's text, without the byte order mark that some editors put before it."""
    try:
        return decode(path.read_bytes())
    except EncodingError as error:
        raise EncodingError(f"{path} is {error}, not in UTF-8: save it as UTF-8") from None


def decode(content: bytes, line: int = 1) -> str:
    """Text of UTF-8, without a byte order mark; `line` is the number of its first line."""
    order = _utf_16(content)
    if order is not None:
        raise EncodingError(f"in UTF-16 ({order} endian)")
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        good, byte = error.object[: error.start], error.object[error.start]
        column = len(good.rpartition(b"\n")[2].decode()) + 1
        raise EncodingError(
            f"in Latin-1 or another encoding (byte 0x{byte:02x} in line {line + good.count(10)}, column {column})"
        ) from None


def _utf_16(content: bytes) -> str | None:
    """The order of bytes in UTF-16, be it without a mark: every text here begins with ASCII."""
    first = content[:2]
    if first == codecs.BOM_UTF16_LE or (len(first) == 2 and 0 < first[0] < 128 and first[1] == 0):
        return "little"
    return "big" if first == codecs.BOM_UTF16_BE or (len(first) == 2 and first[0] == 0 < first[1] < 128) else None


def parse_json(text: str, **options) -> object:
    """As `json.loads`, but `NaN`, `Infinity` and `-Infinity` are strings, as `glip-tools` reads them: no number is NaN."""
    return json.loads(text, parse_constant=str, **options)
