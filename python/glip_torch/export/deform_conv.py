"""Deformable convolutions, before their GroupNorm."""

from __future__ import annotations

import functools

import torch

from ..dyconv import TAPS, DeformableBranch
from .writer import MICROSOFT, GraphWriter


def write_deform_conv(w: GraphWriter, module: DeformableBranch, source: str, offset: str, mask: str) -> str:
    convolve = _int8_deform_conv if w.int8 else _deform_conv
    return convolve(w, module, source, offset, mask)


def _deform_conv(w: GraphWriter, module: DeformableBranch, source: str, offset: str, mask: str) -> str:
    weight, bias = w.weight("weight", module.conv.weight), w.weight("bias", module.conv.bias)
    return w.op("DeformConv", source, weight, offset, bias, mask, **_geometry(module))


def _int8_deform_conv(w: GraphWriter, module: DeformableBranch, source: str, offset: str, mask: str) -> str:
    """In two steps, as ONNX has no such operator in 8 bits: one whose weights pick single samples, and the product."""
    channels, outer = module.conv.in_channels, module.conv.out_channels
    picks = w.table(_picks(channels))
    samples = w.op("DeformConv", source, picks, offset, "", mask, group=channels, **_geometry(module))
    weight, scale = w.int8_weight(module.conv.weight)
    levels, levels_scale, zero = w.ops("DynamicQuantizeLinear", w.reshape(samples, 0, 0, -1), outputs=3)
    levels = w.transpose(levels, 0, 2, 1)  # bytes are moved sooner than floats
    bias = w.weight("bias", module.conv.bias)
    product = w.op("MatMulIntegerToFloat", levels, weight, levels_scale, scale, zero, "", bias, domain=MICROSOFT)
    shape = w.shape(0, outer, w.op("Shape", offset, start=2))
    return w.op("Reshape", w.transpose(product, 0, 2, 1), shape)


def _geometry(module: DeformableBranch) -> dict[str, list[int]]:
    return {"kernel_shape": [3, 3], "strides": [module.stride, module.stride], "pads": [1, 1, 1, 1]}


@functools.cache
def _picks(channels: int) -> torch.Tensor:
    """Weights of a grouped convolution whose outputs are the nine samples of each channel."""
    return torch.eye(TAPS).reshape(TAPS, 1, 3, 3).repeat(channels, 1, 1, 1)
