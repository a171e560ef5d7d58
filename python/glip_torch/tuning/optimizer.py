"""AdamW with official's rates for each kind of parameter."""

from __future__ import annotations

import torch

from .methods import Method
from .settings import Settings

#: Biases learn at this multiple of the rate, and without weight decay.
BIAS_RATE_FACTOR = 2.0


def build_optimizer(method: Method, settings: Settings) -> torch.optim.AdamW:
    """Parameters that share a rate and a decay are one group, which remembers its rate as `initial_lr`."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in method.trained():
        groups.setdefault(rate_and_decay(method.official_name(name), settings), []).append(parameter)
    return torch.optim.AdamW(
        {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    )


def rate_and_decay(name: str, settings: Settings) -> tuple[float, float]:
    """Official goes by parts of its names, so that "bias" also takes in Swin's tables of relative position biases."""
    rate = settings.language_rate if "language_backbone" in name else settings.learning_rate
    return (rate * BIAS_RATE_FACTOR, 0.0) if "bias" in name else (rate, settings.weight_decay)


def set_rates(optimizer: torch.optim.Optimizer, settings: Settings, reductions: int) -> None:
    """The rates after so many reductions."""
    for group in optimizer.param_groups:
        least = min(settings.least_rate, group["initial_lr"])
        group["lr"] = max(group["initial_lr"] * settings.rate_factor**reductions, least)
