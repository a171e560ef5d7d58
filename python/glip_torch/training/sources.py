"""Where batches come from: scenes that are rendered as they are needed, or grounding files.

A batch is a function of the run's seed, the step and the process, so that a run goes on from any step as if it had never
stopped.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tokenizers import Tokenizer

from ..data.batches import MAX_ASPECT, Batch, SceneBatches
from ..data.grounding_batches import GroundingBatches, ImageOptions
from ..data.grounding_prompts import PromptOptions
from ..data.worlds import WORLDS
from .settings import Settings


class Source(Protocol):
    #: Records of an epoch; None if there are no epochs.
    records: int | None
    #: Short and long side of the largest images.
    sides: tuple[int, int]

    def describe(self) -> dict:
        """What has to be the same when a run is resumed."""
        ...

    def open(self, settings: Settings, rank: int, ranks: int, step: int) -> Batches:
        """The batches of a process from a step on."""
        ...


class Batches(Protocol):
    def next(self, progress: float) -> list[Batch]:
        """The micro-batches of the next step, which is at this share of the run."""
        ...


# --- rendered scenes ------------------------------------------------------------------------------------------------

#: Curriculum: from this share of the run on, scenes have this short side. Small scenes cost a quarter and teach words,
#: colours and shapes just as well.
STAGES = ((0.0, 128), (0.5, 192), (0.8, 256))


def scene_side(progress: float) -> int:
    """Short side of the scenes."""
    return [short_side for begin, short_side in STAGES if progress >= begin][-1]


def simple_share(progress: float) -> float:
    """Share of prompts that are lists of single attributes: the words first, then what they mean together."""
    return max(0.15, 1 - progress / 0.15)


@dataclass(frozen=True)
class RenderedScenes:
    """Scenes of one of `data.worlds`, none of them seen twice; of growing size, or one of `short_sides` for each step.

    `workers` processes render ahead for each training process.
    """

    tokenizer: Tokenizer
    world: str = "shapes"
    short_sides: tuple[int, ...] = ()
    workers: int = 0
    records: None = None

    @property
    def sides(self) -> tuple[int, int]:
        short_side = max(self.short_sides, default=STAGES[-1][1])
        return short_side, int(short_side * MAX_ASPECT)

    def describe(self) -> dict:
        sizes = {"short sides": list(self.short_sides)} if self.short_sides else {}
        return {"data": f"scenes of {self.world}", **sizes}

    def open(self, settings: Settings, rank: int, ranks: int, step: int) -> _SceneReader:
        batches = SceneBatches(self.tokenizer, settings.seed, settings.batch, rank, ranks, WORLDS[self.world])
        return _SceneReader(batches, settings, self.short_sides, self.workers, step)


@dataclass
class _SceneReader:
    batches: SceneBatches
    settings: Settings
    short_sides: tuple[int, ...]
    workers: int
    step: int
    progress: float = 0.0

    def next(self, progress: float) -> list[Batch]:
        self.progress = progress
        return [next(self._loaded) for _ in range(self.settings.accumulate)]

    @functools.cached_property
    def _loaded(self) -> Iterator[Batch]:
        # Workers begin at once, so this waits until `next` knows how far the run is.
        scenes = _LoadedScenes(self.batches)
        return iter(
            torch.utils.data.DataLoader(scenes, batch_size=None, sampler=self._requests(), num_workers=self.workers)
        )

    def _requests(self) -> Iterator[tuple[int, int, float]]:
        """What `SceneBatches.load` is asked for. Workers ask ahead: a run of minutes does not know yet how far it will be."""
        for step in itertools.count(self.step):
            progress = self.progress if self.settings.steps is None else step / self.settings.steps
            side, simple = self._side(step, progress), simple_share(progress)
            for n in range(self.settings.accumulate):
                yield step * self.settings.accumulate + n, side, simple

    def _side(self, step: int, progress: float) -> int:
        """The same in all processes."""
        if not self.short_sides:
            return scene_side(progress)
        return int(np.random.default_rng([self.settings.seed, 6, step]).choice(self.short_sides))


class _LoadedScenes(torch.utils.data.Dataset):
    """`SceneBatches` as a loader wants it: an index is what a batch is a function of."""

    def __init__(self, batches: SceneBatches):
        self.batches = batches

    def __getitem__(self, request: tuple[int, int, float]) -> Batch:
        return self.batches.load(*request)


# --- grounding files ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GroundingFiles:
    """Grounding files, shards, or folders of them; `workers` processes read and decode ahead for each training process."""

    paths: list[Path]
    tokenizer: Tokenizer
    prompts: PromptOptions
    images: ImageOptions
    workers: int = 0

    @property
    def sides(self) -> tuple[int, int]:
        return max(self.images.short_sides), self.images.long_side

    @property
    def records(self) -> int:
        return self._batches(Settings(), 0, 1).data.records

    def describe(self) -> dict:
        return {
            "data": [str(path) for path in self.paths],
            "prompts": vars(self.prompts),
            "images": vars(self.images),
        }

    def open(self, settings: Settings, rank: int, ranks: int, step: int) -> _FileReader:
        loader = torch.utils.data.DataLoader(
            self._batches(settings, rank, ranks),
            batch_size=None,
            # Endless: how long the run is is not known here.
            sampler=range(step * settings.accumulate, sys.maxsize),
            num_workers=self.workers,
        )
        return _FileReader(iter(loader), settings.accumulate)

    def _batches(self, settings: Settings, rank: int, ranks: int) -> GroundingBatches:
        return GroundingBatches(
            self.paths, self.tokenizer, settings.seed, settings.batch, rank, ranks, settings.accumulate, self.prompts,
            self.images,
        )  # fmt: skip


@dataclass
class _FileReader:
    batches: Iterator[Batch]
    accumulate: int

    def next(self, progress: float) -> list[Batch]:
        return [next(self.batches) for _ in range(self.accumulate)]
