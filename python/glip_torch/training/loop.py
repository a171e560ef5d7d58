"""The run: steps from wherever it stands to its end, logged and saved."""

from __future__ import annotations

import contextlib
import functools
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast
from torch import Tensor

from ..config import level_sizes
from ..data.batches import Batch
from ..data.grounding_batches import SkipReport
from ..losses import Positives, assign_anchors, find_positives, grounding_losses, loss_normaliser
from ..postprocess import anchors_for
from . import TrainingError
from .average import EMA
from .guard import FiniteGuard
from .logs import RunLog
from .network import Trained
from .optimizer import build_optimizer, set_rates
from .settings import Settings
from .sources import Source
from .state import RunState


class Trainer:
    """One process of a run; all processes do the same on batches of their own.

    OUT/state.pt        everything to go on from
    OUT/model.pth       the averaged (EMA) weights as an official-format checkpoint
    OUT/log.jsonl       one JSON object every few steps
    OUT/skipped.N.jsonl  records that process N could not use, and why
    """

    def __init__(
        self,
        trained: Trained,
        source: Source,
        settings: Settings,
        out: Path,
        cpu: bool = False,
        resume: Path | None = None,
        tensorboard: bool = False,
    ):
        self.settings, self.source, self.out, self.tensorboard = settings, source, out, tensorboard
        # The model's buffers are constants: sending them with every step would only cost time.
        ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True, broadcast_buffers=False)
        # PyTorch 2.15 has a new name for the option, which accelerate does not know yet.
        warnings.filterwarnings("ignore", message=".*broadcast_buffers.*", category=FutureWarning)
        self.accelerator = Accelerator(mixed_precision=settings.precision, cpu=cpu, kwargs_handlers=[ddp])
        self.device, self.rank = self.accelerator.device, self.accelerator.process_index
        trained = trained.to(self.device).train()
        average = EMA(trained.model, settings.ema)
        self.network, self.optimizer = self.accelerator.prepare(trained, build_optimizer(trained, settings))
        examples = settings.batch * settings.accumulate * self.accelerator.num_processes
        description = {**settings.resumable(), **source.describe(), "examples of a step": examples}
        self.state = RunState(trained, average, self.optimizer, self.accelerator, description)
        if resume is not None:
            self.state.load(resume)
        self.guard = FiniteGuard(self.accelerator, out)
        self.skipped = SkipReport(out / f"skipped.{self.rank}.jsonl")

    def run(self) -> None:
        state, settings = self.state, self.settings
        batches = self.source.open(settings, self.rank, self.accelerator.num_processes, state.step)
        log = RunLog(self.out, state.step, settings.steps, self.tensorboard) if self.rank == 0 else None
        started, saved = time.monotonic() - state.seconds, time.monotonic()
        window = [0, state.seconds]
        with self._saved_if_stopped():
            while (progress := self._progress()) < 1:
                step_batches = [batch.to(self.device) for batch in batches.next(progress)]
                self._note_skipped(step_batches)
                losses = self._step(step_batches, progress)
                state.step += 1
                state.seconds = time.monotonic() - started
                window[0] += sum(len(batch.pixels) for batch in step_batches)
                if log is not None:
                    log.step()
                if state.step % settings.log_every == 0:
                    losses = self._averaged(losses)
                    if log is not None:
                        log.write(self._record(progress, losses, step_batches, window))
                    window = [0, state.seconds]
                keep = settings.keep_every > 0 and state.step % settings.keep_every == 0
                if self.rank == 0 and (keep or time.monotonic() - saved > settings.save_minutes * 60):
                    state.save(self.out, keep)
                    saved = time.monotonic()
        if log is not None:
            log.close()

    @contextlib.contextmanager
    def _saved_if_stopped(self) -> Iterator[None]:
        """Saves at the end, and where the guard stopped the run."""
        try:
            yield
        except TrainingError:
            if self.rank == 0:
                self.state.save(self.out, keep=False)
            # All processes come here; the first that ends takes the others with it.
            self.accelerator.wait_for_everyone()
            raise
        if self.rank == 0:
            self.state.save(self.out, keep=False)

    def _progress(self) -> float:
        """Share of the run that is done, the same in all processes."""
        if self.settings.steps is not None:
            return self.state.step / self.settings.steps
        progress = torch.tensor(self.state.seconds / (self.settings.minutes * 60), device=self.device)
        return float(broadcast(progress))

    def _step(self, batches: list[Batch], progress: float) -> dict[str, Tensor]:
        """One step; returns the parts of the loss as this process saw them."""
        # What the network draws (dropout) depends on the step alone, so that a resumed run draws the same.
        seeds = np.random.SeedSequence([self.settings.seed, self.state.step, self.rank])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        anchors = [self._anchors(batch) for batch in batches]
        positives = [find_positives(*anchors_counts, batch.targets) for anchors_counts, batch in zip(anchors, batches)]
        normaliser = self._begin_normaliser(positives)
        parts: dict[str, Tensor] = {}
        self.optimizer.zero_grad()
        for n, batch in enumerate(batches):
            last = n == len(batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.network):
                losses = self._losses(batch, *anchors[n], positives[n], normaliser, progress)
            for name, loss in losses.items():
                parts[name] = parts.get(name, 0) + loss.detach()
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.guard.check(norm, parts, self.state.trained, batches, self.state.step)
        set_rates(self.optimizer, self.settings, self.state.step, progress)
        self.optimizer.step()
        self.state.average.update(self.state.trained.model, self.state.step)
        return parts

    def _losses(
        self,
        batch: Batch,
        anchors: Tensor,
        counts: list[int],
        positives: Positives,
        normaliser: Callable[[], Tensor],
        progress: float,
    ) -> dict[str, Tensor]:
        """The parts of a micro-batch's loss, whose gradients it adds."""
        probed = self.state.trained.probes is not None
        present = assign_anchors(anchors, counts, batch.targets.boxes, batch.present) if probed else None
        output, probes = self.network(batch, present)
        losses = grounding_losses(
            output,
            batch.attention_mask,
            anchors,
            counts,
            batch.targets,
            self.settings.shared_target,
            positives,
            normaliser(),
            self.settings.joint_score,
        )
        total, parts = losses.total, dict(vars(losses))
        if probes is not None:
            parts["probes"] = probes / self.settings.accumulate
            total = total + self.settings.probe_weight * (1 - progress) * parts["probes"]
        self.accelerator.backward(total)
        return parts

    def _anchors(self, batch: Batch) -> tuple[Tensor, list[int]]:
        """The batch's anchors, and how many each level has."""
        config = self.state.trained.model.config
        sizes = level_sizes(*batch.pixels.shape[2:], config.strides)
        anchors = anchors_for(sizes, config.strides, config.anchor_sizes)
        return anchors.to(self.device), [height * width for height, width in sizes]

    def _begin_normaliser(self, positives: list[Positives]) -> Callable[[], Tensor]:
        """Adds up the positives of the step's micro-batches, here and in the other processes, as official does.

        The processes go on computing meanwhile; a call of what this returns waits for the sum.
        """
        sums, processes = torch.stack([found.sums for found in positives]).sum(0), self.accelerator.num_processes
        if processes == 1:
            return lambda: loss_normaliser(sums)
        work = torch.distributed.all_reduce(sums, async_op=True)

        @functools.cache
        def wait() -> Tensor:
            work.wait()
            return loss_normaliser(sums, processes)

        return wait

    def _averaged(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Over the processes: the losses of the whole step."""
        values = self.accelerator.reduce(torch.stack(list(losses.values())), "mean")
        return dict(zip(losses, values.tolist()))

    def _note_skipped(self, batches: list[Batch]) -> None:
        for skipped in (skipped for batch in batches for skipped in batch.skipped):
            self.skipped.add(skipped)

    def _record(self, progress: float, losses: dict[str, float], batches: list[Batch], window: list) -> dict:
        examples, since = window
        speed = examples * self.accelerator.num_processes / max(self.state.seconds - since, 1e-9)
        record = {
            "step": self.state.step,
            "minutes": round(self.state.seconds / 60, 2),
            "progress": round(progress, 4),
            "short_side": min(batches[0].pixels.shape[2:]),
            "learning_rate": round(self.optimizer.param_groups[0]["lr"], 9),
            **{name: round(loss, 4) for name, loss in losses.items()},
            "examples_per_second": round(speed, 2),
        }
        if self.skipped.count:
            record["skipped"] = self.skipped.count
        return record
