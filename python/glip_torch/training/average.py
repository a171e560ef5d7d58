"""An exponential moving average of the weights: what is evaluated and exported."""

from __future__ import annotations

import torch

from ..model import GLIP


class EMA:
    def __init__(self, model: GLIP, decay: float):
        self.decay = decay
        self.model = GLIP(model.config).to(next(model.parameters()).device).eval().requires_grad_(False)
        self.model.load_state_dict(model.state_dict())

    @torch.no_grad()
    def update(self, model: GLIP, step: int) -> None:
        # A shorter memory at first, or the initial weights would linger.
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
