"""Deformable convolutions, before their GroupNorm."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from ..dyconv import TAPS, DeformableBranch
from .writer import MICROSOFT, Attribute, GraphWriter


def write_deform_conv(w: GraphWriter, module: DeformableBranch, source: str, offset: str, mask: str) -> str:
    convolve = _int8_deform_conv if w.int8 else _deform_conv
    return convolve(w, module, source, offset, mask)


def _deform_conv(w: GraphWriter, module: DeformableBranch, source: str, offset: str, mask: str) -> str:
    weight, bias = w.weight("weight", module.conv.weight), w.weight("bias", module.conv.bias)
    return w.op("DeformConv", source, weight, offset, bias, mask, **_geometry(_strides(module)))


def _strides(module: DeformableBranch) -> list[int]:
    return [module.stride, module.stride]


def _geometry(strides: list[int] | Attribute) -> dict[str, list[int] | Attribute]:
    return {"kernel_shape": [3, 3], "strides": strides, "pads": [1, 1, 1, 1]}


def _int8_deform_conv(w: GraphWriter, module: DeformableBranch, source: str, offset: str, mask: str) -> str:
    """ONNX has no such operator in 8 bits: it is a function."""
    weight, scale = w.int8_weight(module.conv.weight)
    inputs = source, weight, scale, offset, w.weight("bias", module.conv.bias), mask
    body = Int8DeformConv(module.conv.in_channels)
    return w.function("Int8DeformConv", *inputs, body=body.write, strides=_strides(module))


@dataclass(frozen=True)
class Int8DeformConv:
    """A deformable convolution in 8 bits by ONNX Runtime's operators: one whose weights pick single samples, and the product.

    Who has an operator of this name need not pick `9 * channels` numbers a place: glip-rs has one for CPUs with VNNI.
    """

    channels: int

    def write(self, w: GraphWriter, source: str, weight: str, scale: str, offset: str, bias: str, mask: str) -> str:
        picks = w.table(_picks(self.channels))
        geometry = _geometry(Attribute("strides"))
        samples = w.op("DeformConv", source, picks, offset, "", mask, group=self.channels, **geometry)
        levels, levels_scale, zero = w.ops("DynamicQuantizeLinear", w.reshape(samples, 0, 0, -1), outputs=3)
        product = w.op(
            "MatMulIntegerToFloat",
            *(w.transpose(levels, 0, 2, 1), weight, levels_scale, scale, zero, "", bias),
            domain=MICROSOFT,
        )
        shape = w.shape(0, w.size(bias, 0), w.op("Shape", offset, start=2))
        return w.op("Reshape", w.transpose(product, 0, 2, 1), shape)


@functools.cache
def _picks(channels: int) -> torch.Tensor:
    """Weights of a grouped convolution whose outputs are the nine samples of each channel."""
    return torch.eye(TAPS).reshape(TAPS, 1, 3, 3).repeat(channels, 1, 1, 1)
