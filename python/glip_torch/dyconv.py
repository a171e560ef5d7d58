"""DyConv: the dynamic-head block over all pyramid levels (DyHead, CVPR 2021, as GLIP builds it)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

try:
    from .deform_conv_cpu import deform_conv2d as trainable_deform_conv2d
except ModuleNotFoundError:  # numba is optional: the same numbers, several times slower to train
    trainable_deform_conv2d = deform_conv2d

GROUPS = 16
TAPS = 9
OFFSETS = 2 * TAPS


class DyConv(nn.Module):
    """Each level becomes the mean of modulated deformable convolutions of itself and its neighbours."""

    def __init__(self, channels: int):
        super().__init__()
        self.offset = nn.Conv2d(channels, OFFSETS + TAPS, 3, padding=1)
        self.coarser = DeformableBranch(channels)
        self.own = DeformableBranch(channels)
        self.finer = DeformableBranch(channels, stride=2)
        self.branch_weight = nn.Conv2d(channels, 1, 1)
        self.activation = DyReLU(channels)
        nn.init.normal_(self.offset.weight, std=0.01)
        nn.init.zeros_(self.offset.bias)
        nn.init.normal_(self.branch_weight.weight, std=0.01)
        nn.init.zeros_(self.branch_weight.bias)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        return [self.activation(self.level(levels, index)) for index in range(len(levels))]

    def level(self, levels: list[Tensor], index: int) -> Tensor:
        own = levels[index]
        offset, mask = self.offset(own).split((OFFSETS, TAPS), dim=1)
        mask = mask.sigmoid()
        branches = [self.own(own, offset, mask)]
        if index > 0:
            branches.append(self.finer(levels[index - 1], offset, mask))
        if index + 1 < len(levels):
            coarser = levels[index + 1]
            branch = self.coarser(coarser, reread(offset, coarser), reread(mask, coarser))
            branches.append(F.interpolate(branch, own.shape[2:], mode="bilinear", align_corners=True))
        weighted = [branch * self.weigh(branch) for branch in branches]
        return sum(weighted[1:], weighted[0]) / len(weighted)

    def weigh(self, branch: Tensor) -> Tensor:
        """One weight per image, `[batch, 1, 1, 1]`."""
        pooled = branch.mean((2, 3), keepdim=True)
        return F.hardsigmoid(F.relu(self.branch_weight(pooled)))


def reread(field: Tensor, coarser: Tensor) -> Tensor:
    """The memory of a level's offsets (or mask), read as if it had the coarser level's shape.

    Interpolating the field would be the sensible thing. But the official CUDA operator is handed the
    own level's tensor together with the coarser level's sizes and reads the first values it finds;
    the released weights were trained around that, so it is part of the model.
    """
    batch, channels = field.shape[:2]
    height, width = coarser.shape[2:]
    return field.flatten(1)[:, : channels * height * width].reshape(batch, channels, height, width)


class DeformableBranch(nn.Module):
    """Modulated deformable 3 x 3 convolution and GroupNorm."""

    def __init__(self, channels: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(GROUPS, channels)
        nn.init.normal_(self.conv.weight, std=0.01)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        # `self.conv` only holds the parameters: where it samples is given by `offset`.
        convolve = trainable_deform_conv2d if self.training and x.device.type == "cpu" else deform_conv2d
        device = x.device.type
        # The meta device, on which operations are counted, has no autocast.
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            # Positions need all their digits, as in official's mixed precision.
            x, offset, mask = x.float(), offset.float(), mask.float()
            with torch.autocast(device, enabled=False):
                return self.norm(self.sample(convolve, x, offset, mask))
        return self.norm(self.sample(convolve, x, offset, mask))

    def sample(self, convolve: Callable, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return convolve(x, offset, self.conv.weight, self.conv.bias, stride=self.stride, padding=1, mask=mask)


class DyReLU(nn.Module):
    """Maximum of two lines per channel, their slopes and offsets computed from the whole map."""

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // reduction)
        self.fc2 = nn.Linear(channels // reduction, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3))
        coefficients = F.hardsigmoid(self.fc2(F.relu(self.fc1(pooled))))[..., None, None]
        slope1, offset1, slope2, offset2 = coefficients.chunk(4, dim=1)
        first = x * (2 * (slope1 - 0.5) + 1) + (offset1 - 0.5)
        second = x * (2 * (slope2 - 0.5)) + (offset2 - 0.5)
        return torch.maximum(first, second)
