"""What the Python contenders share: one process, one model, one batch size; its times as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..full_size.family import Prompt
from ..full_size.models import MODELS, Model
from ..full_size.worker import take_stdout


@dataclass(frozen=True)
class Task:
    """What is timed."""

    device: str
    precision: str
    #: Of `MODELS`.
    model: str
    #: Which of the family's contenders in PyTorch, of those.
    kind: str | None
    compiled: bool
    #: Whether to tell what the device did, in place of times.
    profiled: bool
    checkpoint: Path
    #: Of those that run one.
    bundle: Path | None
    batch: int
    tokens: int
    runs: int
    warm_up: int

    def options(self) -> list[str]:
        return [json.dumps(asdict(self), default=str)]

    @classmethod
    def parse(cls, text: str) -> Task:
        values = json.loads(text)
        return cls(**values | {name: values[name] and Path(values[name]) for name in ("checkpoint", "bundle")})

    @property
    def device_index(self) -> int:
        return int(self.device.partition(":")[2] or 0)

    @property
    def subject(self) -> Model:
        return MODELS[self.model]

    def pixels(self) -> np.ndarray:
        shape = (self.batch, 3, self.subject.height, self.subject.width)
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def prompt(self) -> Prompt:
        """Of batch 1; which words they are does not change the time."""
        return self.subject.family.prompt(self.tokens)

    def prompts(self) -> Prompt:
        """The same for every image."""
        return {name: np.repeat(values, self.batch, axis=0) for name, values in self.prompt().items()}


def main(prepare: Callable[[Task], Callable[[], None]]) -> None:
    """Times what `prepare` makes ready."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", help="a Task as JSON")
    task = Task.parse(parser.parse_args().task)
    answers = take_stdout()
    run = prepare(task)
    for _ in range(task.warm_up):
        run()
    if task.profiled:
        from .profile import kernels

        answer = {"kernels": kernels(run, task.runs)}
    else:
        answer = {"ms": [timed(run) for _ in range(task.runs)]}
    print(json.dumps(answer), file=answers, flush=True)


def timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)
