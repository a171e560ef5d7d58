"""Writes tests/fixtures/int8_deform_conv.onnx: the function of that name, from 7 channels to 21, by strides of 1 and of 2.

python python/tests/deform_conv_function.py tests/fixtures/int8_deform_conv.onnx
"""

import sys
from math import prod
from pathlib import Path

import torch

from glip_torch.export.deform_conv import Int8DeformConv
from glip_torch.export.writer import GraphWriter


def _numbers(*shape: int) -> torch.Tensor:
    """From -1 to 1, and the same on every machine."""
    return ((torch.arange(prod(shape)) * 7919 + 13) % 2011 / 1005 - 1).view(shape)


CHANNELS, OUTPUTS = 7, 21
WEIGHT, BIAS = _numbers(OUTPUTS, CHANNELS, 3, 3), _numbers(OUTPUTS)


def deform_conv_function() -> bytes:
    w = GraphWriter("int8_deform_conv")
    pixels = w.input("pixels", "float32", ["batch", CHANNELS, "height", "width"])
    weight, scale = w.int8_weight(WEIGHT)
    bias = w.weight("bias", BIAS)
    for stride in (1, 2):
        sides = [f"height_{stride}", f"width_{stride}"]
        offsets = w.input(f"offsets_{stride}", "float32", ["batch", 18, *sides])
        mask = w.input(f"mask_{stride}", "float32", ["batch", 9, *sides])
        inputs = pixels, weight, scale, offsets, bias, mask
        out = w.function("Int8DeformConv", *inputs, body=Int8DeformConv(CHANNELS).write, strides=[stride, stride])
        w.output(f"out_{stride}", out, "float32", ["batch", OUTPUTS, *sides])
    return w.model().SerializeToString()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(deform_conv_function())
