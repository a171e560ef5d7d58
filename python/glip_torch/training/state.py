"""The state of a run on disk: everything to go on from, and the checkpoint that others read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from ..atomic import written
from ..checkpoint import save_checkpoint
from . import TrainingError
from .average import EMA
from .network import Trained


@dataclass
class RunState:
    """What a step changes. `description` is what makes a run this run and no other."""

    trained: Trained
    average: EMA
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    description: dict
    step: int = 0
    seconds: float = 0.0

    def save(self, out: Path, keep: bool) -> None:
        """Writes OUT/state.pt and OUT/model.pth, and if it is to be kept OUT/state-STEP.pt."""
        scaler = self.accelerator.scaler
        state = {
            "run": self.description,
            "trained": self.trained.state_dict(),
            "average": self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        for name in ("state.pt", f"state-{self.step}.pt") if keep else ("state.pt",):
            with written(out / name) as partial:
                torch.save(state, partial)
        save_checkpoint(self.average.model, out / "model.pth")

    def load(self, path: Path) -> None:
        """Goes back to a state; raises `TrainingError` if it is of another run."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise TrainingError(f"state {path} does not exist") from None
        theirs = state.get("run") if isinstance(state, dict) else None
        if theirs is None:
            raise TrainingError(f"{path} is no state of a run of this version: begin anew in another folder")
        differing = [name for name in self.description if theirs.get(name) != self.description[name]]
        if differing:
            values = ", ".join(f"{name} {theirs.get(name)} (now {self.description[name]})" for name in differing)
            raise TrainingError(f"{path} is of a run with {values}: give the same again, or another folder")
        self.trained.load_state_dict(state["trained"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds = state["step"], state["seconds"]
