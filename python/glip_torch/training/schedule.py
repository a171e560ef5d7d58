"""Learning rates over a run."""

from __future__ import annotations

import math

from .settings import Settings

#: Shares of the run at which the step schedule divides the rates.
MILESTONES = (0.67, 0.89)
STEP_FACTOR = 0.1


def rate_at(settings: Settings, base: float, step: int, progress: float) -> float:
    """The rate of a step whose group's rate is `base`, at this share of the run; warm-up is linear."""
    if settings.schedule == "cosine":
        final = base * settings.final_share
        rate = final + (base - final) * (1 + math.cos(math.pi * progress)) / 2
    else:
        rate = base * STEP_FACTOR ** sum(progress >= milestone for milestone in MILESTONES)
    return rate * min(1.0, (step + 1) / max(settings.warm_up, 1))
