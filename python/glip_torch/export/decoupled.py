"""The convolutions of YOLOX's decoupled head as a graph."""

from __future__ import annotations

from ..decoupled import DecoupledConv, DecoupledOutput
from .csp_darknet import write_separable
from .gpu.pyramid import Pyramid as PyramidForGpu
from .pyramid import Pyramid
from .writer import GraphWriter


def write_decoupled(w: GraphWriter, module: DecoupledConv, pyramid: Pyramid | PyramidForGpu) -> Pyramid | PyramidForGpu:
    return pyramid.with_maps([_level(w, module, index, level) for index, level in enumerate(pyramid.maps)])


def _level(w: GraphWriter, module: DecoupledConv, index: int, level: str) -> str:
    classes, boxes = module.classes[index], module.boxes[index]
    channels = classes.spatial.conv.in_channels
    of_classes, of_boxes = (level, level) if module.first else w.split(level, (channels, channels), axis=1)
    halves = write_separable(w, classes, of_classes), write_separable(w, boxes, of_boxes)
    return w.op("Concat", *halves, axis=1)


def write_decoupled_output(w: GraphWriter, module: DecoupledOutput, levels: list[str]) -> list[str]:
    return [w.conv(level, convolution) for convolution, level in zip(module.levels, levels)]
