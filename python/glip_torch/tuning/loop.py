"""The run: epochs of training, each measured on the validation set, until the stop rule ends it; the best one is tested."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..atomic import written
from ..checkpoint import fingerprint, save_checkpoint
from ..config import level_sizes
from ..head import HeadOutput
from ..losses import Losses, Targets, grounding_losses
from ..model import GLIP
from ..postprocess import anchors_for
from . import TuningError
from .coco import CocoData
from .examples import FrozenStates, FrozenStore, batches, examples_of, targets_of
from .learned_prompt import write_learned_prompt
from .measuring import measure
from .methods import METHODS, PromptTuning
from .optimizer import build_optimizer, set_rates
from .phrases import TuningPrompt
from .settings import Settings
from .stopping import StopRule

Measured = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Splits:
    """`train` is the set that shots are already drawn from."""

    train: CocoData
    val: CocoData
    test: CocoData


class Tuner:
    """One run. `settings` are resolved; `out` is the run's folder, of which a half-done run is gone on with.

    OUT/state.pt             everything to go on from, while the run lasts
    OUT/prompt.safetensors   what `prompt` learned
    OUT/model.pth            what `linear` and `full` learned, as an official-format checkpoint
    OUT/result.json          the numbers, written last
    """

    def __init__(
        self,
        model: GLIP,
        prompt: TuningPrompt,
        splits: Splits,
        settings: Settings,
        out: Path,
        store: FrozenStore | None = None,
        device: str = "cpu",
    ):
        self.prompt, self.splits, self.settings, self.out = prompt, splits, settings, out
        self.model_fingerprint = fingerprint(model)
        model = model.to(device)
        self.method = METHODS[settings.method](model, torch.tensor(prompt.input_ids, device=device)).to(device)
        self.optimizer = build_optimizer(self.method, settings)
        self.rule = StopRule(settings.step_patience, settings.stop_patience)
        self.curve: list[dict] = []
        self.before: Measured | None = None
        self.best: dict[str, Tensor] = {}
        self.seconds = 0.0
        store = store or FrozenStore()
        self.states = {
            name: FrozenStates(self.method, examples_of(data, settings.short_side, settings.long_side), store)
            for name, data in vars(splits).items()
        }
        self.state_file, self.result_file = out / "state.pt", out / "result.json"

    def discard(self) -> None:
        """Removes what an earlier run left in the folder."""
        for name in ("result.json", "state.pt", "prompt.safetensors", "model.pth"):
            (self.out / name).unlink(missing_ok=True)

    def run(self, before: Measured | None = None) -> dict:
        """Tunes, tests and writes the files; returns the result. `before` may give the untuned AP if it is known."""
        self.out.mkdir(parents=True, exist_ok=True)
        if self.state_file.exists():
            self._resume()
        started = time.monotonic() - self.seconds
        if self.before is None:
            self.before = before or self._measure("val", "test")
        with self._progress() as progress:
            while not self.rule.stopped and self.rule.epoch < self.settings.epochs:
                self._epoch()
                self.seconds = time.monotonic() - started
                self._save()
                progress.update()
                progress.set_postfix(AP=f"{self.curve[-1]['AP']:.3f}", best=f"{self.rule.best:.3f}")
        self._load_trained(self.best)
        after = self._measure("val", "test")
        self.seconds = time.monotonic() - started
        return self._finish(after)

    def _progress(self) -> tqdm:
        description = f"{self.settings.method}, {self.settings.shots or 'all'} shots"
        return tqdm(total=self.settings.epochs, initial=self.rule.epoch, desc=description, unit="epoch", mininterval=1)

    # --- learning ---------------------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        set_rates(self.optimizer, self.settings, self.rule.reductions)
        rate = self.optimizer.param_groups[0]["lr"] / self.optimizer.param_groups[0]["initial_lr"]
        steps = [self._step(indices) for indices in self._batches()]
        means = {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}
        ap = self._measure("val")["val"]["AP"]
        if self.rule.update(ap):
            self.best = self._trained()
        self.curve.append({"epoch": self.rule.epoch, "rate": rate, **means, "AP": ap})

    def _batches(self) -> Iterator[list[int]]:
        """The epoch's batches; what they are depends on the seed and the epoch alone."""
        rng = np.random.default_rng([self.settings.seed, self.rule.epoch])
        examples = self.states["train"].examples
        order = [index for _ in range(self.settings.copies) for index in rng.permutation(len(examples)).tolist()]
        epoch = list(batches(examples, order, self.settings.batch))
        return (epoch[place] for place in rng.permutation(len(epoch)))

    def _step(self, indices: list[int]) -> dict[str, float]:
        states = self.states["train"]
        examples = [states.examples[index] for index in indices]
        output = self.method(*states.batch(indices))
        targets = targets_of(examples, [phrase.tokens for phrase in self.prompt.phrases], len(self.prompt.input_ids))
        losses = self._losses(output, targets, level_sizes(*examples[0].padded, self.method.model.config.strides))
        if not torch.isfinite(losses.total):
            raise TuningError(
                f"the loss is {losses.total.item()} in epoch {self.rule.epoch + 1}: tune with a lower learning rate than "
                f"{self.settings.learning_rate}"
            )
        self.optimizer.zero_grad()
        losses.total.backward()
        nn.utils.clip_grad_norm_((parameter for _, parameter in self.method.trained()), self.settings.gradient_clip)
        self.optimizer.step()
        return {name: loss.item() for name, loss in vars(losses).items()}

    def _losses(self, output: HeadOutput, targets: Targets, sizes: list[tuple[int, int]]) -> Losses:
        device, config = output.logits.device, self.method.model.config
        return grounding_losses(
            output,
            self.method.attention_mask.expand(len(output.logits), -1),
            anchors_for(sizes, config.strides, config.anchor_sizes).to(device),
            [height * width for height, width in sizes],
            Targets(targets.boxes.to(device), targets.valid.to(device), targets.tokens.to(device)),
            self.settings.shared_target,
            joint_score=self.settings.joint_score,
        )

    def _measure(self, *splits: str) -> Measured:
        return {
            name: measure(self.method, self.prompt, getattr(self.splits, name), self.states[name], self.settings.batch)
            for name in splits
        }

    # --- what is kept -----------------------------------------------------------------------------------------------

    def _trained(self) -> dict[str, Tensor]:
        return {name: parameter.detach().cpu().clone() for name, parameter in self.method.trained()}

    def _load_trained(self, tensors: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.method.trained():
                parameter.copy_(tensors[name])

    def _description(self) -> dict:
        """What makes a run this run and no other."""
        return {
            "settings": asdict(self.settings),
            "model": self.model_fingerprint,
            "prompt": self.prompt.text,
            "images": {name: [image.id for image in data.images] for name, data in vars(self.splits).items()},
        }

    def _save(self) -> None:
        state = {
            "run": self._description(),
            "trained": self._trained(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "rule": self.rule.state(),
            "curve": self.curve,
            "before": self.before,
            "seconds": self.seconds,
        }
        with written(self.state_file) as partial:
            torch.save(state, partial)

    def _resume(self) -> None:
        state = torch.load(self.state_file, weights_only=True)
        mine, theirs = self._description(), state["run"]
        if mine != theirs:
            settings = mine.pop("settings"), theirs.pop("settings")
            differing = [name for name in mine if mine[name] != theirs[name]]
            # A setting that is newer than the state is none there.
            theirs_of = settings[1].get
            differing += [f"{name} {theirs_of(name)}" for name, own in settings[0].items() if own != theirs_of(name)]
            raise TuningError(
                f"{self.state_file} is of a run with another {', '.join(differing)}: give the same again, or another folder"
            )
        self._load_trained(state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rule = StopRule(**state["rule"])
        self.best, self.curve = state["best"], state["curve"]
        self.before, self.seconds = state["before"], state["seconds"]

    def _finish(self, after: Measured) -> dict:
        self._write_learned(after)
        result = self._result(after)
        with written(self.result_file) as partial:
            partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        self.state_file.unlink(missing_ok=True)
        return result

    def _write_learned(self, after: Measured) -> None:
        path, settings = self.out / self.method.file, self.settings
        if isinstance(self.method, PromptTuning):
            notes = {
                "method": settings.method,
                "shots": str(settings.shots or "all"),
                "ap": f"{after['test']['AP']:.4f}",
            }
            hidden, embedded = self.method.text()
            write_learned_prompt(path, self.prompt, hidden, embedded, self.model_fingerprint, notes)
        else:
            model, sides = self.method.model, (settings.short_side, settings.long_side)
            model.recommended = model.recommended.trained_on(sides, settings.shared_target)
            save_checkpoint(model, path)

    def _result(self, after: Measured) -> dict:
        splits = vars(self.splits).items()
        return {
            "method": self.settings.method,
            "shots": self.settings.shots or "all",
            "seed": self.settings.seed,
            "before": _rounded(self.before),
            "after": _rounded(after),
            "best_epoch": self.rule.best_epoch,
            "epochs": self.rule.epoch,
            "trained_parameters": sum(parameter.numel() for _, parameter in self.method.trained()),
            "seconds": round(self.seconds, 1),
            "images": {name: len(data.images) for name, data in splits},
            "boxes": {name: data.box_count for name, data in splits},
            "categories": list(self.splits.train.categories),
            "prompt": self.prompt.text,
            "model": self.model_fingerprint,
            "settings": asdict(self.settings),
            "curve": [_rounded(epoch) for epoch in self.curve],
        }


def _rounded(numbers: dict) -> dict:
    """Five digits are more than the measurements are good for."""
    return {
        name: _rounded(value) if isinstance(value, dict) else round(value, 5) if math.isfinite(value) else None
        for name, value in numbers.items()
    }
