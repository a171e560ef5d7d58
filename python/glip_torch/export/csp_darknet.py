"""YOLOX's image encoder as a graph."""

from __future__ import annotations

from functools import reduce

from ..csp_darknet import (
    POOLING,
    Bottleneck,
    ConvUnit,
    CSPDarknet,
    CSPDarknetEncoder,
    CSPLayer,
    DarknetStage,
    PathAggregationNetwork,
    PyramidPooling,
    SeparableConv,
)
from .writer import GraphWriter


def write_csp_darknet_encoder(w: GraphWriter, module: CSPDarknetEncoder, pixels: str) -> list[str]:
    """`pixels [batch, 3, height, width]` to the three levels, `[batch, channels, h, w]`."""
    with w.scope("darknet"):
        stages = _darknet(w, module.darknet, pixels)
    with w.scope("pan"):
        levels = _path_aggregation(w, module.pan, *stages)
    with w.scope("stems"):
        return [write_conv_unit(w, stem, level) for stem, level in zip(module.stems, levels)]


def write_conv_unit(w: GraphWriter, module: ConvUnit, value: str) -> str:
    return w.silu(w.conv(value, module.conv))


def write_separable(w: GraphWriter, module: SeparableConv, value: str) -> str:
    return write_conv_unit(w, module.mixing, write_conv_unit(w, module.spatial, value))


def _darknet(w: GraphWriter, module: CSPDarknet, pixels: str) -> list[str]:
    x, outputs = w.op("Add", pixels, w.weight("dark", module.dark)), []
    with w.scope("stem"):
        x = write_conv_unit(w, module.stem, x)
    for index, stage in enumerate(module.stages):
        with w.scope(f"stage_{index + 1}"):
            x = _stage(w, stage, x)
        outputs.append(x)
    return outputs[1:]


def _stage(w: GraphWriter, module: DarknetStage, x: str) -> str:
    x = write_separable(w, module.downsample, x)
    if module.pooling is not None:
        x = _pyramid_pooling(w, module.pooling, x)
    return _csp_layer(w, module.csp, x)


def _csp_layer(w: GraphWriter, module: CSPLayer, x: str) -> str:
    through = reduce(lambda y, block: _bottleneck(w, block, y), module.blocks, write_conv_unit(w, module.through, x))
    beside = write_conv_unit(w, module.beside, x)
    return write_conv_unit(w, module.merge, w.op("Concat", through, beside, axis=1))


def _bottleneck(w: GraphWriter, module: Bottleneck, x: str) -> str:
    y = write_separable(w, module.separable, write_conv_unit(w, module.reduce, x))
    return w.op("Add", x, y) if module.shortcut else y


def _pyramid_pooling(w: GraphWriter, module: PyramidPooling, x: str) -> str:
    """Each window's maximum from that of the next smaller one, which takes a window of five each time."""
    pooled = [write_conv_unit(w, module.reduce, x)]
    for larger, smaller in zip(POOLING, (1, *POOLING)):
        window = larger - smaller + 1
        sides = {"kernel_shape": [window] * 2, "strides": [1, 1], "pads": [window // 2] * 4}
        pooled.append(w.op("MaxPool", pooled[-1], **sides))
    return write_conv_unit(w, module.merge, w.op("Concat", *pooled, axis=1))


def _path_aggregation(w: GraphWriter, module: PathAggregationNetwork, fine: str, middle: str, coarse: str) -> list[str]:
    def merged(layer: CSPLayer, *parts: str) -> str:
        return _csp_layer(w, layer, w.op("Concat", *parts, axis=1))

    coarse = write_conv_unit(w, module.reduce_coarse, coarse)
    middle = merged(module.down_middle, w.enlarged(coarse), middle)
    middle = write_conv_unit(w, module.reduce_middle, middle)
    fine = merged(module.down_fine, w.enlarged(middle), fine)
    middle = merged(module.up_middle, write_separable(w, module.shrink_fine, fine), middle)
    coarse = merged(module.up_coarse, write_separable(w, module.shrink_middle, middle), coarse)
    return [fine, middle, coarse]
