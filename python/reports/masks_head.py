"""The mask head of masks.md: which pixels of a box are the thing that the words mean.

It reads a frozen GLIP's fused levels, and the picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

#: Rows and columns of a mask, over its box and a margin around it: a share of the box's sides, on every side.
SIDE, MARGIN = 28, 1 / 8
#: Levels that are read, from the finest on.
LEVELS = 3
#: Channels at stride 2, at stride 4 and in a crop, and in a crop's middle.
FINE_WIDTH, WIDTH, INNER_WIDTH = 16, 32, 48
#: Points that a cell of a crop is the mean of, in each direction.
SAMPLES = 2


class MaskHead(nn.Module):
    """`channels` of the fused levels.

    What words mean is in the fused levels, whose finest cell is 8 pixels wide; where things end is in the picture, of which
    two convolutions are made. Both are cropped to each box, and a small hourglass makes a mask of the crop.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.fine = _unit(3, FINE_WIDTH, stride=2)
        self.coarse = _unit(FINE_WIDTH, WIDTH, stride=2)
        self.laterals = nn.ModuleList(nn.Conv2d(channels, WIDTH, 1) for _ in range(LEVELS))
        self.mix = _unit(WIDTH, WIDTH)
        # Two more: where in the crop a cell is.
        self.enter = _unit(FINE_WIDTH + WIDTH + 2, WIDTH)
        self.inner = nn.Sequential(
            _unit(WIDTH, INNER_WIDTH, stride=2),
            _unit(INNER_WIDTH, INNER_WIDTH),
            _unit(INNER_WIDTH, INNER_WIDTH),
            nn.Conv2d(INNER_WIDTH, WIDTH, 1),
        )
        self.leave = nn.Sequential(_unit(WIDTH, WIDTH), nn.Conv2d(WIDTH, 1, 1))

    def forward(self, pixels: Tensor, levels: list[Tensor], crops: Tensor) -> Tensor:
        """Logits `[n, SIDE, SIDE]`.

        `pixels [batch, 3, height, width]` as the image encoder's; `levels` as the tower's; `crops [n, 5]` are each the number of
        an image of the batch and what `widen` makes of a box's edges, in pixels of the network's input.
        """
        fine = self.fine(pixels)
        coarse = self.coarse(fine)
        for lateral, level in zip(self.laterals, levels):
            coarse = coarse + F.interpolate(lateral(level), coarse.shape[2:], mode="bilinear")
        maps = [crop(fine, crops, 2), crop(self.mix(coarse), crops, 4), _places(crops)]
        outer = self.enter(torch.cat(maps, dim=1))
        inner = F.interpolate(self.inner(outer), scale_factor=2.0, mode="bilinear")
        return self.leave(outer + inner)[:, 0]


def _unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _places(crops: Tensor) -> Tensor:
    """Each cell's x and y in the crop, from -1 to 1, `[n, 2, SIDE, SIDE]`."""
    along = torch.linspace(-1, 1, SIDE, device=crops.device)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y]).expand(len(crops), -1, -1, -1)


def crop(maps: Tensor, crops: Tensor, stride: int) -> Tensor:
    """`[n, channels, SIDE, SIDE]` of maps of an image, whose cells are `stride` pixels wide."""
    return roi_align(maps, crops, SIDE, 1 / stride, sampling_ratio=SAMPLES, aligned=True)


def widen(edges: Tensor) -> Tensor:
    """Boxes `[..., 4]` with the margin that masks have around them."""
    margin = (edges[..., 2:] - edges[..., :2]) * MARGIN
    return torch.cat([edges[..., :2] - margin, edges[..., 2:] + margin], dim=-1)


def mask_targets(masks: Tensor, widened: Tensor) -> Tensor:
    """The truth `[n, SIDE, SIDE]` of each mask of a whole image, bool `[n, height, width]`, in its crop `[n, 4]`: 0 or 1."""
    numbers = torch.arange(len(masks), device=masks.device)[:, None].to(widened.dtype)
    return (crop(masks[:, None].float(), torch.cat([numbers, widened], dim=1), 1)[:, 0] >= 0.5).float()


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of pixels and the Dice coefficient of masks, the mean over masks."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((1, 2))
    found = logits.sigmoid()
    shared = (found * targets).sum((1, 2))
    dice = 1 - (2 * shared + 1) / (found.square().sum((1, 2)) + targets.square().sum((1, 2)) + 1)
    return (cross_entropy + dice).mean()


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """IoU `[n]` of masks, bool `[n, height, width]`, pair by pair."""
    return (a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp(min=1)


def paste(logits: Tensor, widened: Tensor, height: int, width: int) -> Tensor:
    """Masks of the whole image, bool `[n, height, width]`, of logits `[n, SIDE, SIDE]` over crops `[n, 4]`."""
    low, size = widened[:, :2], widened[:, 2:] - widened[:, :2]
    x = (torch.arange(width) + 0.5 - low[:, :1]) / size[:, :1] * 2 - 1
    y = (torch.arange(height) + 0.5 - low[:, 1:]) / size[:, 1:] * 2 - 1
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
    placed = F.grid_sample(logits[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
    inside = (grid.abs() <= 1).all(-1)
    return (placed > 0) & inside
