"""When to learn more slowly and when to stop: official's AUTOSTEP and its automatic termination."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

#: Less than this share more than the best is no improvement for the learning rate.
THRESHOLD = 1e-4


@dataclass
class StopRule:
    """Fed with the validation AP of every epoch.

    The learning rate falls when more than `step_patience` epochs in a row brought no improvement; tuning ends when
    `stop_patience` in a row were worse than the best. An epoch as good as the best is a new best. As in official, an AP of
    zero tells the learning rate nothing.
    """

    step_patience: int
    stop_patience: int
    best: float = 0.0
    best_epoch: int = 0
    epoch: int = 0
    #: How often the learning rate has fallen.
    reductions: int = 0
    stopped: bool = False
    _plateau_best: float = -math.inf
    _plateau: int = 0
    _worse: int = 0

    def update(self, ap: float) -> bool:
        """Takes an epoch's AP; returns whether the epoch is the best so far."""
        self.epoch += 1
        self._watch_plateau(ap)
        if ap < self.best:
            self._worse += 1
            self.stopped = self._worse >= self.stop_patience
            return False
        self.best, self.best_epoch, self._worse = ap, self.epoch, 0
        return True

    def _watch_plateau(self, ap: float) -> None:
        if ap == 0:
            return
        if ap > self._plateau_best * (1 + THRESHOLD):
            self._plateau_best, self._plateau = ap, 0
        else:
            self._plateau += 1
        if self._plateau > self.step_patience:
            self.reductions += 1
            self._plateau = 0

    def state(self) -> dict:
        return asdict(self)
