"""Runs the experiments of tuning.md, one after another: `python reports/tuning_runs.py RUNS --model fused=model.pth ...`.

Every run has a folder of its own, RUNS/MODEL/TASK/METHOD-SHOTS-SEED, and is left out if it has a result, so that this can be
stopped and started at any time; runs that share a model, a task and a method share what is frozen. The order is by shots, then
seeds: what is complete is always complete for all methods and tasks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numba
import torch

from glip_torch.checkpoint import load_checkpoint
from glip_torch.tokenizer import build_tokenizer
from glip_torch.tuning.coco import CocoData, read_coco
from glip_torch.tuning.examples import FrozenStore
from glip_torch.tuning.loop import Measured, Splits, Tuner
from glip_torch.tuning.phrases import build_prompt, read_categories
from glip_torch.tuning.settings import Settings
from glip_torch.tuning.shots import draw_shots, first_images

SHOTS = (1, 3, 5, 10, None)
SEEDS = (0, 1, 2)
METHODS = ("linear", "prompt", "full")
TEXT_HEADS = 4
#: Chosen on validation images with shots of another seed; see tuning.md.
RATES = {
    "linear": {"learning_rate": 0.03},
    "prompt": {"learning_rate": 0.2},
    "full": {"learning_rate": 1e-3, "language_rate": 1e-4},
}
COMMON = {
    "shared_target": False,
    "short_side": 192,
    "long_side": 320,
    "validation_images": 30,
}
#: At most so many epochs, and when to slow down and stop, for few shots and for all: less patience than official's 3 and 8,
#: 2 and 4, for want of time.
FEW = {"epochs": 15, "step_patience": 3, "stop_patience": 5}
ALL = {"epochs": 6, "step_patience": 1, "stop_patience": 2}


@dataclass(frozen=True)
class Run:
    model: str
    task: str
    method: str
    shots: int | None
    seed: int

    def folder(self, runs: Path) -> Path:
        return runs / self.model / self.task / f"{self.method}-{self.shots or 'all'}-{self.seed}"

    @property
    def settings(self) -> Settings:
        length = ALL if self.shots is None else FEW
        own = {"method": self.method, "shots": self.shots, "seed": self.seed}
        return Settings(**own, **RATES[self.method], **COMMON, **length).resolved()


class Task:
    """A data set and a model: what runs on them share."""

    def __init__(self, checkpoint: Path, folder: Path):
        self.checkpoint = checkpoint
        self.data: dict[str, CocoData] = {
            split: read_coco(folder / f"{split}.json", folder / "images") for split in ("train", "val", "test")
        }
        self.stores: dict[str, FrozenStore] = {}
        #: AP untuned, which is the same in every run.
        self.before: Measured | None = None

    def run(self, run: Run, out: Path) -> None:
        settings = run.settings
        model = load_checkpoint(self.checkpoint, TEXT_HEADS)
        labels = self.data["train"].categories
        tokenizer = build_tokenizer(self.checkpoint.with_name("vocab.txt"))
        prompt = build_prompt(labels, read_categories(None, labels), tokenizer, settings.max_tokens)
        splits = Splits(
            draw_shots(self.data["train"], settings.shots, settings.seed),
            first_images(self.data["val"], settings.validation_images),
            self.data["test"],
        )
        store = self.stores.setdefault(run.method, FrozenStore())
        result = Tuner(model, prompt, splits, settings, out, store).run(self.before)
        self.before = result["before"]


def all_runs(models: list[str], tasks: list[str]) -> Iterator[Run]:
    for shots in SHOTS:
        for seed in SEEDS:
            for task in tasks:
                for model in models:
                    for method in METHODS:
                        yield Run(model, task, method, shots, seed)


def named_paths(entries: list[str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in (entry.split("=", 1) for entry in entries)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of all runs")
    parser.add_argument("--model", action="append", required=True, metavar="NAME=CHECKPOINT")
    parser.add_argument(
        "--task", action="append", required=True, metavar="NAME=FOLDER", help="of a COCO-format data set"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    torch.set_flush_denormal(True)

    models, folders = named_paths(arguments.model), named_paths(arguments.task)
    tasks = {(model, task): Task(models[model], folders[task]) for model in models for task in folders}
    for run in all_runs(list(models), list(folders)):
        out = run.folder(arguments.runs)
        if not (out / "result.json").exists():
            print(run, flush=True)
            tasks[run.model, run.task].run(run, out)
            result = json.loads((out / "result.json").read_text())
            print(result["before"]["test"], result["after"]["test"], result["seconds"], flush=True)


if __name__ == "__main__":
    main()
