"""Files that appear when they are complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written(path: str | os.PathLike) -> Iterator[Path]:
    """Where to write, beside `path`: it becomes that when the block ends well, and one that was there before stays if not.

    with written("result.json") as partial:
        partial.write_text("{}")
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
