"""Image encoder: a Swin Transformer and a feature pyramid on its last three stages.

Swin is the detection flavour, which takes any input size: the image is padded to whole patches, a merging pads
odd sides, every block pads its feature map to a multiple of the window, and attention masks are computed from the
size at hand, so that an exported graph holds no trace of the size it was exported with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import SwinConfig

#: Added to attention scores between tokens that the cyclic shift made neighbours. Official's is -100; what both leave of a
#: score is far below what float32 adds to 1, but exp(-100) is a subnormal number, and Intel's processors calculate so slowly
#: with these that GLIP-T's image encoder took half as long again.
SHIFT_MASK_VALUE = -70.0


class ImageEncoder(nn.Module):
    """`pixels [batch, 3, height, width]` (multiples of 32, which the pyramid needs) to five levels `[batch, channels, h, w]`."""

    def __init__(self, swin: SwinConfig, channels: int):
        super().__init__()
        self.swin = Swin(swin)
        self.fpn = FeaturePyramidNetwork(swin.widths[1:], channels)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self.top(self.bottom(pixels))

    def bottom_modules(self) -> list[nn.Module]:
        """What tuning leaves as it is."""
        return [self.swin.patch_embed, self.swin.stages[0]]

    def bottom(self, pixels: Tensor) -> Tensor:
        """What those make of the pixels."""
        _, handed_on = self.swin.stages[0](self.swin.patch_embed(pixels))
        return handed_on

    def top(self, x: Tensor) -> list[Tensor]:
        """The levels, from what `bottom` gives."""
        return self.fpn(self.swin.outputs_of(self.swin.stages[1:], x))


class Swin(nn.Module):
    """What the stages in `SwinConfig.outputs` give, each through its own LayerNorm, as `[batch, channels, h, w]`.

    Sides need not be multiples of anything: a stage's are half of its predecessor's, rounded up.
    """

    def __init__(self, config: SwinConfig):
        super().__init__()
        self.patch_embed = PatchEmbed(config.embed_dim)
        last = len(config.depths) - 1
        self.stages = nn.ModuleList(
            SwinStage(width, depth, heads, config.window, downsample=index < last)
            for index, (width, depth, heads) in enumerate(zip(config.widths, config.depths, config.heads))
        )
        self.outputs = config.outputs
        self.norms = nn.ModuleList(nn.LayerNorm(config.widths[stage]) for stage in config.outputs)
        self.apply(_init_transformer)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self.outputs_of(self.stages, self.patch_embed(pixels))

    def outputs_of(self, stages: nn.ModuleList, x: Tensor) -> list[Tensor]:
        """The outputs of the last stages, from what is handed to the first of them."""
        outputs = []
        for index, stage in enumerate(stages, len(self.stages) - len(stages)):
            features, x = stage(x)
            if index in self.outputs:
                norm = self.norms[self.outputs.index(index)]
                outputs.append(norm(features).permute(0, 3, 1, 2))
        return outputs


class PatchEmbed(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=4, stride=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[2:]
        return self.norm(self.proj(F.pad(pixels, (0, -width % 4, 0, -height % 4))).permute(0, 2, 3, 1))


class SwinStage(nn.Module):
    """Blocks that alternate plain and shifted windows, then (but for the last stage) a merging."""

    def __init__(self, width: int, depth: int, heads: int, window: int, downsample: bool):
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, window, shift=window // 2 if index % 2 else 0) for index in range(depth)
        )
        self.downsample = PatchMerging(width) if downsample else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The stage's features and its successor's input, both `[batch, h, w, width]`."""
        mask = shifted_window_mask(x, self.window) if len(self.blocks) > 1 else None
        for block in self.blocks:
            x = block(x, mask)
        return x, x if self.downsample is None else self.downsample(x)


class SwinBlock(nn.Module):
    def __init__(self, width: int, heads: int, window: int, shift: int):
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor, shift_mask: Tensor | None) -> Tensor:
        _, height, width, _ = x.shape
        # Padded after the norm, so that padding is exactly zero, as the trained weights expect.
        rows, columns = windows_along(height, self.window), windows_along(width, self.window)
        y = F.pad(self.norm1(x), (0, 0, 0, columns * self.window - width, 0, rows * self.window - height))
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), dims=(1, 2))
        y = self.attn(y, rows, columns, shift_mask if self.shift else None)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), dims=(1, 2))
        x = x + y[:, :height, :width]
        return x + self.mlp(self.norm2(x))


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned bias per relative position."""

    def __init__(self, width: int, heads: int, window: int):
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)

    def forward(self, x: Tensor, rows: int, columns: int, mask: Tensor | None) -> Tensor:
        """`x [batch, rows * window, columns * window, width]`; `mask [rows * columns, area, area]`."""
        batch, channels = x.shape[0], x.shape[3]
        size, area = self.window, self.window**2

        windows = x.view(batch, rows, size, columns, size, channels).transpose(2, 3)
        qkv = self.qkv(windows.reshape(-1, area, channels))
        q, k, v = qkv.view(-1, area, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)

        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + self.relative_position_bias()
        if mask is not None:
            scores = scores.view(batch, -1, self.heads, area, area) + mask[None, :, None]
            scores = scores.view(-1, self.heads, area, area)
        y = scores.softmax(-1) @ v
        y = self.proj(y.transpose(1, 2).reshape(-1, area, channels))
        y = y.view(batch, rows, columns, size, size, channels).transpose(2, 3)
        return y.reshape(batch, rows * size, columns * size, channels)

    def relative_position_bias(self) -> Tensor:
        """`[heads, area, area]`."""
        area = self.window**2
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        return bias.view(area, area, self.heads).permute(2, 0, 1)


def windows_along(length: int, window: int) -> int:
    """How many windows cover a side, the last one padded."""
    return (length + window - 1) // window


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each pair of positions in a window, `[area, area]`."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    row_step = rows[:, None] - rows[None, :] + window - 1
    column_step = columns[:, None] - columns[None, :] + window - 1
    return row_step * (2 * window - 1) + column_step


def shifted_window_mask(x: Tensor, window: int) -> Tensor:
    """What to add to the attention scores of `x [batch, h, w, width]` in shifted windows, `[windows, area, area]`.

    After the cyclic shift the last window of a row (column) holds tokens from both ends of the
    image; a token attends only to those that come from its own end.
    """

    rows, columns = windows_along(x.shape[1], window), windows_along(x.shape[2], window)

    def region(windows: int) -> Tensor:
        padded = windows * window
        position = torch.arange(padded, device=x.device)
        return (position >= padded - window).long() + (position >= padded - window // 2).long()

    regions = 3 * region(rows)[:, None] + region(columns)[None, :]
    regions = regions.view(rows, window, columns, window)
    regions = regions.transpose(1, 2).reshape(-1, window**2)
    return (regions[:, None, :] != regions[:, :, None]).to(x.dtype) * SHIFT_MASK_VALUE


class Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class PatchMerging(nn.Module):
    """Halves the resolution: each 2 x 2 block of tokens becomes one of twice the width."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        batch, height, width, channels = x.shape
        # The checkpoints' channel order inside a block is column by column.
        blocks = x.view(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(blocks.reshape(batch, height // 2, width // 2, 4 * channels)))


class FeaturePyramidNetwork(nn.Module):
    """Top-down pyramid P3..P5 on three backbone stages, and P6, P7 by strided convolutions of P5."""

    def __init__(self, widths: tuple[int, ...], channels: int):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
        self.p6 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        for conv in [*self.lateral, *self.output, self.p6, self.p7]:
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        top = self.lateral[-1](stages[-1])
        levels = [self.output[-1](top)]
        for stage, lateral, output in zip(stages[-2::-1], self.lateral[-2::-1], self.output[-2::-1]):
            top = lateral(stage) + F.interpolate(top, scale_factor=2.0, mode="nearest")
            levels.insert(0, output(top))
        p6 = self.p6(levels[-1])
        return [*levels, p6, self.p7(F.relu(p6))]


def _init_transformer(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
