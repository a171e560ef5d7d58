"""Stops a run whose numbers stopped being numbers, before they reach the weights, and says which records did it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ..data.batches import Batch
from . import TrainingError
from .network import Trained


class FiniteGuard:
    def __init__(self, accelerator: Accelerator, out: Path):
        self.accelerator, self.out = accelerator, out

    def check(self, norm: Tensor, losses: dict[str, Tensor], trained: Trained, batches: list[Batch], step: int) -> None:
        """Raises `TrainingError` if the gradients' `norm`, which all processes share, is not finite."""
        if math.isfinite(norm):
            return
        values = {name: float(loss) for name, loss in losses.items()}
        broken = not all(map(math.isfinite, values.values()))
        # All processes come here together, as the norm is the same in all of them.
        anywhere = self.accelerator.reduce(torch.tensor(float(broken), device=self.accelerator.device))
        if self.accelerator.scaler is not None and not anywhere:
            # Gradients that overflow half precision are for the scaler to deal with: it leaves the step out.
            return
        report = self.out / f"not_finite.{self.accelerator.process_index}.json"
        records = [name for batch in batches for name in batch.names]
        content = {"step": step + 1, "losses": values, "records": records, "suspects": self._suspects(trained, batches)}
        report.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        self.accelerator.wait_for_everyone()
        parts = ", ".join(f"{name} {value}" for name, value in values.items())
        raise TrainingError(
            f"step {step + 1} is not finite (gradients {float(norm)}, losses here: {parts}), with {_some(records)}"
            f"{'; suspects: ' + _some(content['suspects']) if content['suspects'] else ''}. The weights are those before the "
            f"step, and saved. {report} lists the records: look at them, or train with a lower learning rate"
        )

    @torch.no_grad()
    def _suspects(self, trained: Trained, batches: list[Batch]) -> list[str]:
        """The records whose own outputs or targets are not finite."""
        suspects = []
        for batch in batches:
            output = trained.model(batch.pixels, batch.input_ids, batch.attention_mask)
            parts = (batch.pixels, batch.targets.boxes, output.logits, output.deltas, output.centerness)
            finite = torch.stack([part.isfinite().flatten(1).all(1) for part in parts]).all(0)
            suspects += [name for name, good in zip(batch.names, finite) if not good]
        return suspects


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{', '.join(names[:4])}{more}"
