"""What the Python contenders share: one process, one model, one batch size; its times as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..full_size.worker import take_stdout

#: Token ids of a prompt; which ones they are does not change the time.
FIRST_ID = 5


@dataclass(frozen=True)
class Task:
    """What is timed."""

    device: str
    precision: str
    official: bool
    checkpoint: Path
    text_heads: int
    bundle: Path
    batch: int
    height: int
    width: int
    tokens: int
    runs: int
    warm_up: int

    def options(self) -> list[str]:
        return [json.dumps(asdict(self), default=str)]

    @classmethod
    def parse(cls, text: str) -> Task:
        values = json.loads(text)
        return cls(**values | {name: Path(values[name]) for name in ("checkpoint", "bundle")})

    @property
    def device_index(self) -> int:
        return int(self.device.partition(":")[2] or 0)

    def pixels(self) -> np.ndarray:
        shape = (self.batch, 3, self.height, self.width)
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def input_ids(self) -> np.ndarray:
        return np.tile(np.arange(FIRST_ID, FIRST_ID + self.tokens, dtype=np.int64), (self.batch, 1))


def main(prepare: Callable[[Task], Callable[[], None]]) -> None:
    """Times what `prepare` makes ready."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="a Task as JSON")
    task = Task.parse(parser.parse_args().task)
    answers = take_stdout()
    run = prepare(task)
    for _ in range(task.warm_up):
        run()
    ms = []
    for _ in range(task.runs):
        start = time.perf_counter()
        run()
        ms.append(1e3 * (time.perf_counter() - start))
    print(json.dumps({"ms": ms}), file=answers, flush=True)
