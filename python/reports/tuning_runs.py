"""Runs the experiments of tuning.md and tuning-drawn.md, one after another: `python reports/tuning_runs.py RUNS --model fused=model.pth ...`.

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
from glip_torch.tune import parse_shots
from glip_torch.tuning.coco import CocoData, read_coco
from glip_torch.tuning.examples import FrozenStore
from glip_torch.tuning.loop import Measured, Splits, Tuner
from glip_torch.tuning.phrases import build_prompt, read_categories
from glip_torch.tuning.settings import Settings
from glip_torch.tuning.shots import draw_shots, first_images

SHOTS = (1, 3, 5, 10, None)
SEEDS = (0, 1, 2)
METHODS = ("linear", "prompt", "full")
#: Of the models, and the sides of images, where no option says otherwise: those of the drawn worlds.
TEXT_HEADS = 4
SIDES = (192, 320)
#: Chosen on validation images with shots of another seed; see tuning-drawn.md.
RATES = {
    "linear": {"learning_rate": 0.03},
    "prompt": {"learning_rate": 0.2},
    "full": {"learning_rate": 1e-3, "language_rate": 1e-4},
}
COMMON = {"shared_target": False, "validation_images": 30}
#: Lengths of the runs: shorter than official's 200 epochs with patience 3 and 8, for want of time. An epoch goes through few
#: shots twice as often as official's, as measuring it costs as much as learning.
FEW = {"epochs": 8, "step_patience": 2, "stop_patience": 3}
ALL = {"epochs": 4, "step_patience": 1, "stop_patience": 2}
#: Official's patience, for a look at what the short runs miss.
PATIENT = {"epochs": 40, "step_patience": 3, "stop_patience": 8}
COPIES = {1: 16, 3: 8, 5: 4, 10: 2, None: 1}


@dataclass(frozen=True)
class Run:
    model: str
    task: str
    method: str
    shots: int | None
    seed: int
    rates: dict[str, float]
    sides: tuple[int, int]
    patient: bool = False
    joint_score: bool = False

    def folder(self, runs: Path) -> Path:
        return runs / self.model / self.task / f"{self.method}-{self.shots or 'all'}-{self.seed}"

    @property
    def settings(self) -> Settings:
        length = PATIENT if self.patient else ALL if self.shots is None else FEW
        own = {"method": self.method, "shots": self.shots, "seed": self.seed, "copies": COPIES[self.shots]}
        own |= {"short_side": self.sides[0], "long_side": self.sides[1], "joint_score": self.joint_score}
        return Settings(**own, **self.rates, **COMMON, **length).resolved()


class Task:
    """A data set and a model: what runs on them share."""

    def __init__(self, checkpoint: Path, folder: Path, text_heads: int = TEXT_HEADS):
        self.checkpoint, self.text_heads = checkpoint, text_heads
        self.data: dict[str, CocoData] = {split: read_split(folder, split) for split in ("train", "val", "test")}
        self.stores: dict[str, FrozenStore] = {}
        #: AP untuned, which is the same in every run.
        self.before: Measured | None = None

    def tune(self, settings: Settings, out: Path) -> dict:
        """One run; returns its result."""
        model = load_checkpoint(self.checkpoint, self.text_heads)
        labels = self.data["train"].categories
        tokenizer = build_tokenizer(self.checkpoint.with_name("vocab.txt"))
        prompt = build_prompt(labels, read_categories(None, labels), tokenizer, settings.max_tokens)
        splits = Splits(
            draw_shots(self.data["train"], settings.shots, settings.seed),
            first_images(self.data["val"], settings.validation_images),
            self.data["test"],
        )
        store = self.stores.setdefault(settings.method, FrozenStore())
        result = Tuner(model, prompt, splits, settings, out, store).run(self.before)
        self.before = result["before"]
        return result


def read_split(folder: Path, split: str) -> CocoData:
    """A split of a data set whose files and images are laid out in one of two ways."""
    path = next(path for name in (split, "valid") if (path := folder / f"{name}.json").exists())
    images = folder / "images"
    in_images = (images / json.loads(path.read_text())["images"][0]["file_name"]).exists()
    return read_coco(path, images if in_images else folder)


def all_runs(
    models: list[str],
    tasks: list[str],
    chosen: list[int | None],
    seeds: list[int],
    rates: dict[str, dict[str, float]],
    sides: tuple[int, int],
    patient: bool,
    joint_score: bool,
) -> Iterator[Run]:
    for shots in chosen:
        for seed in seeds:
            for task in tasks:
                for model in models:
                    for method in METHODS:
                        yield Run(model, task, method, shots, seed, rates[method], sides, patient, joint_score)


def own_rates(rate: float) -> dict[str, float]:
    """The rates of a method; only `full` has words to learn, at a tenth as official's."""
    return {"learning_rate": rate, "language_rate": rate / 10}


def named_paths(entries: list[str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in (entry.split("=", 1) for entry in entries)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of all runs")
    parser.add_argument("--model", action="append", required=True, metavar="NAME=CHECKPOINT")
    parser.add_argument(
        "--task", action="append", required=True, metavar="NAME=FOLDER", help="of a COCO-format data set"
    )
    parser.add_argument("--text-heads", type=int, default=TEXT_HEADS, help="of the models")
    parser.add_argument("--sides", nargs=2, type=int, default=SIDES, metavar=("SHORT", "LONG"))
    parser.add_argument(
        "--rates", nargs="+", default=[], metavar="METHOD=RATE", help="others than those of tuning-drawn.md"
    )
    parser.add_argument("--shots", nargs="+", type=parse_shots, default=SHOTS, help="to share the work among processes")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--patient", action="store_true", help="stop as late as official does; give another RUNS for it"
    )
    parser.add_argument("--joint-score", action="store_true", help="as of `glip_torch.tune`; give another RUNS for it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    torch.set_flush_denormal(True)

    models, folders = named_paths(arguments.model), named_paths(arguments.task)
    tasks = {
        (model, task): Task(models[model], folders[task], arguments.text_heads) for model in models for task in folders
    }
    given = {method: own_rates(float(rate)) for method, rate in (entry.split("=") for entry in arguments.rates)}
    rates, sides = RATES | given, tuple(arguments.sides)
    chosen = (arguments.shots, arguments.seeds, rates, sides, arguments.patient, arguments.joint_score)
    for run in all_runs(list(models), list(folders), *chosen):
        out = run.folder(arguments.runs)
        if not (out / "result.json").exists():
            print(run, flush=True)
            result = tasks[run.model, run.task].tune(run.settings, out)
            print(result["before"]["test"], result["after"]["test"], result["seconds"], flush=True)


if __name__ == "__main__":
    main()
