"""Time by component."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable

#: Rows and columns of the matrices whose product stands for the machine's limit.
PEAK_SIZE = 2048
PEAK_REPEATS = 5


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


def matrix_product_peak(product: Callable[[], object]) -> dict:
    """Floating-point operations per second of a product of `PEAK_SIZE`: the best of several."""
    times = []
    for _ in range(PEAK_REPEATS):
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return {"flops_per_second": 2 * PEAK_SIZE**3 / min(times)}
