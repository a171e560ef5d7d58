"""Modulated deformable 3 x 3 convolution for training on a CPU.

torchvision's CPU operator is right but scalar: differentiating it is most of a training step. Here
the image is kept channels-last, so that every sample is a weighted sum of four contiguous rows, which
numba compiles to vector instructions; the convolution itself is then one matrix product. Same numbers
as `torchvision.ops.deform_conv2d` up to rounding (tests/test_dyconv.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch
from torch import Tensor

TAPS = 9
#: Where compiled functions are kept, unless NUMBA_CACHE_DIR says another place. numba's own choice is beside the sources.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glip_torch"
# numba would compute in float64 if it met a plain Python number.
ZERO, ONE = np.float32(0), np.float32(1)


def deform_conv2d(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, mask: Tensor
) -> Tensor:
    """As `torchvision.ops.deform_conv2d`, for float32 tensors in host memory and 3 x 3 kernels."""
    batch, _, height, width = offset.shape
    columns = _Sample.apply(x.permute(0, 2, 3, 1).contiguous(), offset, mask, stride, padding)
    out = columns.flatten(2) @ weight.permute(2, 3, 1, 0).flatten(0, 2) + bias
    return out.transpose(1, 2).reshape(batch, -1, height, width)


class _Sample(torch.autograd.Function):
    """`x [batch, h, w, channels]` to modulated samples `[batch, locations, 9, channels]`."""

    @staticmethod
    def forward(ctx, x: Tensor, offset: Tensor, mask: Tensor, stride: int, padding: int) -> Tensor:
        offset, mask = offset.contiguous(), mask.contiguous()
        ctx.save_for_backward(x, offset, mask)
        ctx.stride, ctx.padding = stride, padding
        batch, _, height, width = offset.shape
        columns = torch.empty(batch, height * width, TAPS, x.shape[3])
        _forward(x.numpy(), offset.numpy(), mask.numpy(), stride, padding, columns.numpy())
        return columns

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, offset, mask = ctx.saved_tensors
        grads = torch.zeros_like(x), torch.empty_like(offset), torch.empty_like(mask)
        _backward(
            x.numpy(), offset.numpy(), mask.numpy(), ctx.stride, ctx.padding, grad.contiguous().numpy(),
            *(g.numpy() for g in grads),
        )  # fmt: skip
        return *grads, None, None


def _compiled(function: Callable) -> Callable:
    given = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = given or str(CACHE)
    try:
        return numba.njit(parallel=True, fastmath=True, cache=True)(function)
    finally:
        # Other packages' functions go where they would have gone.
        numba.config.CACHE_DIR = given


@numba.njit(inline="always")
def _corners(y, x, height, width):
    """Of the four pixels around (y, x): the first, how far the place is from it, and which rows and columns are in the image."""
    top, left = int(np.floor(y)), int(np.floor(x))
    fy, fx = y - np.float32(top), x - np.float32(left)
    t, b = 0 <= top < height, 0 <= top + 1 < height
    l, r = 0 <= left < width, 0 <= left + 1 < width
    return top, left, fy, fx, t, b, l, r


@_compiled
def _forward(x, offset, mask, stride, padding, columns):
    batch, height, width, channels = x.shape
    rows, cols = offset.shape[2], offset.shape[3]
    for item in numba.prange(batch * rows):
        n, oy = item // rows, item % rows
        for ox in range(cols):
            for tap in range(TAPS):
                y = np.float32(oy * stride - padding + tap // 3) + offset[n, 2 * tap, oy, ox]
                xx = np.float32(ox * stride - padding + tap % 3) + offset[n, 2 * tap + 1, oy, ox]
                top, left, fy, fx, t, b, l, r = _corners(y, xx, height, width)
                m = mask[n, tap, oy, ox]
                w00 = (ONE - fy) * (ONE - fx) * m if t and l else ZERO
                w01 = (ONE - fy) * fx * m if t and r else ZERO
                w10 = fy * (ONE - fx) * m if b and l else ZERO
                w11 = fy * fx * m if b and r else ZERO
                y0, y1 = min(max(top, 0), height - 1), min(max(top + 1, 0), height - 1)
                x0, x1 = min(max(left, 0), width - 1), min(max(left + 1, 0), width - 1)
                p00, p01, p10, p11 = x[n, y0, x0], x[n, y0, x1], x[n, y1, x0], x[n, y1, x1]
                out = columns[n, oy * cols + ox, tap]
                for c in range(channels):
                    out[c] = w00 * p00[c] + w01 * p01[c] + w10 * p10[c] + w11 * p11[c]


@_compiled
def _backward(x, offset, mask, stride, padding, grad, grad_x, grad_offset, grad_mask):
    batch, height, width, channels = x.shape
    rows, cols = offset.shape[2], offset.shape[3]
    # One image per thread: samples of one image add into the same pixels.
    for n in numba.prange(batch):
        for oy in range(rows):
            for ox in range(cols):
                for tap in range(TAPS):
                    y = np.float32(oy * stride - padding + tap // 3) + offset[n, 2 * tap, oy, ox]
                    xx = np.float32(ox * stride - padding + tap % 3) + offset[n, 2 * tap + 1, oy, ox]
                    top, left, fy, fx, t, b, l, r = _corners(y, xx, height, width)
                    m = mask[n, tap, oy, ox]
                    i00 = ONE if t and l else ZERO
                    i01 = ONE if t and r else ZERO
                    i10 = ONE if b and l else ZERO
                    i11 = ONE if b and r else ZERO
                    w00, w01 = (ONE - fy) * (ONE - fx) * i00, (ONE - fy) * fx * i01
                    w10, w11 = fy * (ONE - fx) * i10, fy * fx * i11
                    y0, y1 = min(max(top, 0), height - 1), min(max(top + 1, 0), height - 1)
                    x0, x1 = min(max(left, 0), width - 1), min(max(left + 1, 0), width - 1)
                    p00, p01, p10, p11 = x[n, y0, x0], x[n, y0, x1], x[n, y1, x0], x[n, y1, x1]
                    g = grad[n, oy * cols + ox, tap]
                    d00 = d01 = d10 = d11 = ZERO
                    for c in range(channels):
                        d00 += g[c] * p00[c]
                        d01 += g[c] * p01[c]
                        d10 += g[c] * p10[c]
                        d11 += g[c] * p11[c]
                    # One corner at a time: at the border two corners can be the same pixel.
                    if w00 != 0:
                        _add(grad_x[n, y0, x0], w00 * m, g)
                    if w01 != 0:
                        _add(grad_x[n, y0, x1], w01 * m, g)
                    if w10 != 0:
                        _add(grad_x[n, y1, x0], w10 * m, g)
                    if w11 != 0:
                        _add(grad_x[n, y1, x1], w11 * m, g)
                    d00, d01, d10, d11 = d00 * i00, d01 * i01, d10 * i10, d11 * i11
                    grad_mask[n, tap, oy, ox] = (ONE - fy) * ((ONE - fx) * d00 + fx * d01) + fy * (
                        (ONE - fx) * d10 + fx * d11
                    )
                    grad_offset[n, 2 * tap, oy, ox] = m * ((ONE - fx) * (d10 - d00) + fx * (d11 - d01))
                    grad_offset[n, 2 * tap + 1, oy, ox] = m * ((ONE - fy) * (d01 - d00) + fy * (d11 - d10))


@numba.njit(inline="always", fastmath=True)
def _add(target, scale, source):
    for c in range(source.shape[0]):
        target[c] += scale * source[c]
