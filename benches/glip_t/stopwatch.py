"""Time by component."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict


class Stopwatch:
    """Adds up what each component takes; nested ones count in each other."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, component: str):
        start = time.perf_counter()
        yield
        self.seconds[component] += time.perf_counter() - start

    def answer(self) -> dict:
        return {"seconds": dict(self.seconds)}
