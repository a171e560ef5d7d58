"""DyConv: the dynamic-head block over all pyramid levels (DyHead, CVPR 2021, as GLIP builds it)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

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
        convolve = deform_conv2d_by_sampling if self.training and x.device.type == "cpu" else deform_conv2d
        return self.norm(
            convolve(x, offset, self.conv.weight, self.conv.bias, stride=self.stride, padding=1, mask=mask)
        )


def deform_conv2d_by_sampling(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, mask: Tensor
) -> Tensor:
    """`torchvision.ops.deform_conv2d` for 3 x 3 kernels, by `grid_sample` and one matrix product.

    The same numbers; on a CPU, where torchvision's operator is a scalar loop, several times faster
    to differentiate.
    """
    batch, channels, in_height, in_width = x.shape
    _, _, height, width = offset.shape
    device = x.device
    tap = torch.arange(TAPS, device=device)
    row = torch.arange(height, device=device) * stride - padding
    column = torch.arange(width, device=device) * stride - padding
    dy, dx = offset.view(batch, TAPS, 2, height, width).unbind(2)
    y = dy + (tap // 3)[:, None, None] + row[:, None]
    x_position = dx + (tap % 3)[:, None, None] + column
    # grid_sample's coordinates without aligned corners: pixel p of n sits at (2 p + 1) / n - 1.
    grid = torch.stack(((2 * x_position + 1) / in_width - 1, (2 * y + 1) / in_height - 1), dim=-1)
    grid = grid.view(batch, TAPS * height, width, 2)
    sampled = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    sampled = sampled.view(batch, channels, TAPS, height * width) * mask.view(batch, 1, TAPS, height * width)
    out = weight.flatten(1) @ sampled.flatten(1, 2)
    return out.view(batch, -1, height, width) + bias[:, None, None]


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
