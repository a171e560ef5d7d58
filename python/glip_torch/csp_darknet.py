"""YOLOX's image encoder: CSPDarknet and a path aggregation network, in the depthwise form of YOLOX-nano.

Batch norms are folded into the convolutions, as in an exported YOLOX: weights that are trained further start from those.
(YOLOX: https://arxiv.org/abs/2107.08430, section 2; the code that the weights are of is Megvii's, Apache-2.0.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import CSPDarknetConfig
from .preprocess import PIXEL_MEAN, PIXEL_STD

#: Sides of the windows of the pyramid pooling.
POOLING = (5, 9, 13)


class CSPDarknetEncoder(nn.Module):
    """`pixels [batch, 3, height, width]` (multiples of 32) to three levels `[batch, channels, h, w]`, strides 8, 16 and 32."""

    def __init__(self, config: CSPDarknetConfig, channels: int):
        super().__init__()
        self.darknet = CSPDarknet(config)
        self.pan = PathAggregationNetwork(config.widths[2:])
        self.stems = nn.ModuleList(ConvUnit(width, channels, 1) for width in config.widths[2:])

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self.top(self.bottom(pixels))

    def bottom_modules(self) -> list[nn.Module]:
        """What tuning leaves as it is."""
        return [self.darknet.stem, self.darknet.stages[0]]

    def bottom(self, pixels: Tensor) -> Tensor:
        """What those make of the pixels."""
        return self.darknet.bottom(pixels)

    def top(self, x: Tensor) -> list[Tensor]:
        """The levels, from what `bottom` gives."""
        return [stem(level) for stem, level in zip(self.stems, self.pan(self.darknet.later_stages(x)))]


class ConvUnit(nn.Module):
    """Convolution and SiLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, padding: int | None = None
    ):
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.conv(x))


class SeparableConv(nn.Module):
    """A 3 x 3 convolution of each channel for itself, then one that mixes them."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.spatial = ConvUnit(inputs, inputs, 3, stride, groups=inputs)
        self.mixing = ConvUnit(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mixing(self.spatial(x))


class Bottleneck(nn.Module):
    def __init__(self, width: int, shortcut: bool):
        super().__init__()
        self.shortcut = shortcut
        self.reduce = ConvUnit(width, width, 1)
        self.separable = SeparableConv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.separable(self.reduce(x))
        return x + y if self.shortcut else y


class CSPLayer(nn.Module):
    """Cross stage partial layer: half of the channels pass through bottlenecks, the other half beside them."""

    def __init__(self, inputs: int, outputs: int, depth: int, shortcut: bool):
        super().__init__()
        half = outputs // 2
        self.through = ConvUnit(inputs, half, 1)
        self.beside = ConvUnit(inputs, half, 1)
        self.blocks = nn.ModuleList(Bottleneck(half, shortcut) for _ in range(depth))
        self.merge = ConvUnit(2 * half, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.through(x)
        for block in self.blocks:
            y = block(y)
        return self.merge(torch.cat([y, self.beside(x)], dim=1))


class PyramidPooling(nn.Module):
    """What is best in windows of several sizes about each place, beside the place itself."""

    def __init__(self, width: int):
        super().__init__()
        self.reduce = ConvUnit(width, width // 2, 1)
        self.merge = ConvUnit(width // 2 * (1 + len(POOLING)), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        pooled = [F.max_pool2d(x, window, stride=1, padding=window // 2) for window in POOLING]
        return self.merge(torch.cat([x, *pooled], dim=1))


class DarknetStage(nn.Module):
    """Halves the resolution; the last stage also pools."""

    def __init__(self, inputs: int, outputs: int, depth: int, last: bool):
        super().__init__()
        self.downsample = SeparableConv(inputs, outputs, stride=2)
        self.pooling = PyramidPooling(outputs) if last else None
        self.csp = CSPLayer(outputs, outputs, depth, shortcut=not last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x)
        return self.csp(x if self.pooling is None else self.pooling(x))


class CSPDarknet(nn.Module):
    """Outputs of stages 2..4, strides 8, 16 and 32.

    YOLOX takes pixels as they are, 0 to 255 and black beyond the border; this network takes GLIP's normalised ones. The
    stem's weights are those for normalised pixels, and `dark` brings black back to zero, so that the padding of the
    convolution stays black. Where GLIP pads a picture with zeros, YOLOX then sees the mean colour, which is about the grey
    that it was trained with.
    """

    def __init__(self, config: CSPDarknetConfig):
        super().__init__()
        dark = torch.tensor(PIXEL_MEAN) / torch.tensor(PIXEL_STD)
        self.register_buffer("dark", dark[:, None, None], persistent=False)
        widths = config.widths
        # YOLOX rearranges blocks of 2 x 2 pixels and convolves them 3 x 3: a 6 x 6 convolution.
        self.stem = ConvUnit(3, widths[0], 6, stride=2, padding=2)
        last = len(config.depths) - 1
        self.stages = nn.ModuleList(
            DarknetStage(inputs, outputs, depth, last=index == last)
            for index, (inputs, outputs, depth) in enumerate(zip(widths, widths[1:], config.depths))
        )

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self.later_stages(self.bottom(pixels))

    def bottom(self, pixels: Tensor) -> Tensor:
        """What the stem and the first stage hand on."""
        return self.stages[0](self.stem(pixels + self.dark))

    def later_stages(self, x: Tensor) -> list[Tensor]:
        """The outputs, from what stage 1 hands on."""
        outputs = []
        for stage in self.stages[1:]:
            x = stage(x)
            outputs.append(x)
        return outputs


class PathAggregationNetwork(nn.Module):
    """From the coarsest level down to the finest and back up; `widths` are those of the levels, in and out."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        fine, middle, coarse = widths
        self.reduce_coarse = ConvUnit(coarse, middle, 1)
        self.down_middle = CSPLayer(2 * middle, middle, 1, shortcut=False)
        self.reduce_middle = ConvUnit(middle, fine, 1)
        self.down_fine = CSPLayer(2 * fine, fine, 1, shortcut=False)
        self.shrink_fine = SeparableConv(fine, fine, stride=2)
        self.up_middle = CSPLayer(2 * fine, middle, 1, shortcut=False)
        self.shrink_middle = SeparableConv(middle, middle, stride=2)
        self.up_coarse = CSPLayer(2 * middle, coarse, 1, shortcut=False)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = levels
        coarse = self.reduce_coarse(coarse)
        middle = self.reduce_middle(self.down_middle(torch.cat([_enlarged(coarse), middle], dim=1)))
        fine = self.down_fine(torch.cat([_enlarged(middle), fine], dim=1))
        middle = self.up_middle(torch.cat([self.shrink_fine(fine), middle], dim=1))
        coarse = self.up_coarse(torch.cat([self.shrink_middle(middle), coarse], dim=1))
        return [fine, middle, coarse]


def _enlarged(level: Tensor) -> Tensor:
    return F.interpolate(level, scale_factor=2.0, mode="nearest")
