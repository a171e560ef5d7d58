"""The optimizer and its groups of parameters."""

from __future__ import annotations

import torch
from torch import nn

from .schedule import rate_at
from .settings import Settings

LANGUAGE, FUSION = "model.text_encoder.", ".fusion."


def build_optimizer(trained: nn.Module, settings: Settings) -> torch.optim.AdamW:
    groups = parameter_groups(trained, settings)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, foreach=True)


def parameter_groups(trained: nn.Module, settings: Settings) -> list[dict]:
    """Groups by rate (the text encoder and new fusion have their own) and by weight decay, which is for matrices only."""
    groups: dict[tuple[float, float], dict] = {}
    for matrices in (True, False):
        for name, parameter in trained.named_parameters():
            if not parameter.requires_grad or (parameter.ndim > 1) != matrices:
                continue
            rate = _rate(name, settings)
            decay = settings.weight_decay if matrices else 0.0
            group = {"params": [], "base_rate": rate, "weight_decay": decay}
            groups.setdefault((rate, decay), group)["params"].append(parameter)
    return list(groups.values())


def _rate(name: str, settings: Settings) -> float:
    if FUSION in name and settings.fusion_rate is not None:
        return settings.fusion_rate
    return settings.language_rate if name.startswith(LANGUAGE) else settings.learning_rate


def set_rates(optimizer: torch.optim.Optimizer, settings: Settings, step: int, progress: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate_at(settings, group["base_rate"], step, progress)
