"""The tower's convolutions in a model with YOLOX's image encoder: its decoupled head (https://arxiv.org/abs/2107.08430, section 2.1).

Half of the channels tell things apart, the other half place boxes. Every level has weights of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .csp_darknet import SeparableConv


class DecoupledConv(nn.Module):
    """One convolution of each half: `channels` of each, or, in the first layer, both halves of the same `channels`."""

    def __init__(self, channels: int, levels: int, first: bool):
        super().__init__()
        self.first = first
        self.classes = nn.ModuleList(SeparableConv(channels, channels) for _ in range(levels))
        self.boxes = nn.ModuleList(SeparableConv(channels, channels) for _ in range(levels))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        return [self.level(index, level) for index, level in enumerate(levels)]

    def level(self, index: int, level: Tensor) -> Tensor:
        of_classes, of_boxes = (level, level) if self.first else level.chunk(2, dim=1)
        return torch.cat([self.classes[index](of_classes), self.boxes[index](of_boxes)], dim=1)


class DecoupledOutput(nn.Module):
    """Brings the levels, which speak of things in terms of their own, to the terms of the one head that reads them all."""

    def __init__(self, channels: int, levels: int):
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(levels))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        return [convolution(level) for convolution, level in zip(self.levels, levels)]
