"""DyConv for a GPU.

As on a CPU, the maps' coefficients are worked out on vectors first. Here the statistics of a map are one node, and the
lines of DyReLU of all levels go together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...dyconv import OFFSETS, TAPS, DeformableBranch, DyConv, DyReLU
from ..deform_conv import write_deform_conv
from ..writer import GraphWriter
from .pyramid import Pyramid, joined

#: For the variance between channels, which is added to what has the norm's own.
NO_EPSILON = 1e-12


@dataclass(frozen=True)
class _Branch:
    """One deformable convolution's output, before its GroupNorm, as seen from the level it is for."""

    level: int
    module: DeformableBranch
    values: str  #: `[batch, channels, h, w]` of the level
    mean: str  #: of what was convolved, `[batch, channels, 1, 1]` in float32
    inverse: str  #: of its standard deviation, the same
    pooled: str  #: mean of `values`: another one than `mean` if they were enlarged


def write_dyconv(w: GraphWriter, module: DyConv, pyramid: Pyramid) -> Pyramid:
    branches = _branches(w, module, pyramid)
    levels = len(pyramid.maps)
    with w.scope("coefficients"), w.in_float() as rounded:
        slopes, lines = _coefficients(w, module, branches, levels)
        slopes, lines = rounded(slopes), rounded(lines)
        slopes = w.ops("Split", slopes, outputs=len(branches), axis=1, num_outputs=len(branches))
        lines = w.transpose(lines, 0, 2, 1)
    totals = []
    for index in range(levels):
        with w.scope(f"level_{index}"):
            of_level = [(branch, slope) for branch, slope in zip(branches, slopes) if branch.level == index]
            weighted = [w.op("Mul", branch.values, slope) for branch, slope in of_level]
            totals.append(w.op("Sum", *weighted) if len(weighted) > 1 else weighted[0])
    with w.scope("lines"):
        total = joined(w, totals)
        # For every position its level's, in the order in which `_dyrelu` has them.
        slopes, offsets = (
            [w.op("Gather", lines, pyramid.sizes.numbers(4, first), axis=2) for first in pair]
            for pair in ((0, 1), (2, 3))
        )
        ends = [w.op("Add", w.op("Mul", total, slope), offset) for slope, offset in zip(slopes, offsets)]
        channels = module.own.conv.out_channels
        return Pyramid(w, pyramid.sizes, positions=w.op("Max", *ends), channels=channels)


def _branches(w: GraphWriter, module: DyConv, pyramid: Pyramid) -> list[_Branch]:
    maps, sizes = pyramid.maps, pyramid.sizes
    with w.scope("fields"):
        own, reread = _fields(w, module, pyramid)

    def branch(of: DeformableBranch, level: int, source: int, field: tuple[str, str]) -> _Branch:
        values = write_deform_conv(w, of, maps[source], *field)
        at = max(level, source)  # a convolution of a finer map strides to the level
        mean, inverse = _statistics(w, values, sizes.ones(at), of.norm.eps)
        pooled = mean
        if source > level:
            corners = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
            values = w.op("Resize", values, "", "", sizes.shape(level, of.conv.out_channels), **corners)
            pooled, _ = _statistics(w, values, sizes.ones(level), of.norm.eps)
        return _Branch(level, of, values, mean, inverse, pooled)

    branches = []
    for level in range(len(maps)):
        with w.scope(f"level_{level}"):
            branches.append(branch(module.own, level, level, own[level]))
            if level > 0:
                branches.append(branch(module.finer, level, level - 1, own[level]))
            if level + 1 < len(maps):
                branches.append(branch(module.coarser, level, level + 1, reread[level]))
    return branches


def _fields(w: GraphWriter, module: DyConv, pyramid: Pyramid) -> tuple[list, list]:
    """Offset and mask of each level, and those of all but the coarsest as reread: see `glip_torch.dyconv.reread`."""
    sizes, own, reread = pyramid.sizes, [], []

    def in_shape_of(level: int, field: str, channels: int) -> str:
        """The first values of a field of the level before."""
        values = w.op("Slice", w.reshape(field, 0, -1), w.ints(0), sizes.count(level, channels), w.ints(1))
        return w.op("Reshape", values, sizes.shape(level, channels))

    for level, values in enumerate(pyramid.maps):
        offset, mask = w.split(w.conv(values, module.offset), (OFFSETS, TAPS), axis=1)
        own.append((offset, w.op("Sigmoid", mask)))
        if level + 1 < len(pyramid.maps):
            offset, mask = own[-1]
            reread.append((in_shape_of(level + 1, offset, OFFSETS), in_shape_of(level + 1, mask, TAPS)))
    return own, reread


def _statistics(w: GraphWriter, values: str, ones: str, epsilon: float) -> tuple[str, str]:
    """Mean and inverse standard deviation of each channel, in float32 whatever the values are.

    The normalised values are the price of having them in one node; nobody reads these.
    """
    _, mean, inverse = w.ops("LayerNormalization", values, ones, outputs=3, axis=2, epsilon=epsilon)
    return mean, inverse


def _coefficients(w: GraphWriter, module: DyConv, branches: list[_Branch], levels: int) -> tuple[str, str]:
    """Slopes of all branches, `[batch, branches * channels, 1, 1]`, and DyReLU's lines as `_dyrelu` has them.

    Every vector below is `[batch, branches, ...]` or `[batch, levels, ...]`.
    """
    channels, count = module.own.conv.out_channels, len(branches)
    slope, offset, pooled = _group_norm(w, branches)

    # The weight of each branch, and with it the mean over a level's branches. It is at least a half: HardSigmoid of ReLU.
    weight = module.branch_weight
    attention = w.linear(pooled, weight.weight.flatten(1) / 6, weight.bias / 6 + 0.5)
    attention = w.op("Clip", attention, w.scalar(0.5), w.scalar(1.0))
    membership = torch.tensor([[float(branch.level == level) for branch in branches] for level in range(levels)])
    share = (membership / membership.sum(1, keepdim=True)).sum(0)
    attention = w.op("Mul", attention, w.weight("share", share[:, None]))
    slopes = w.reshape(w.op("Mul", slope, attention), 0, count * channels, 1, 1)
    means = w.op("Mul", w.reshape(attention, 0, 1, count), w.weight("membership", membership))
    offset, pooled = (w.op("MatMul", means, vector) for vector in (offset, pooled))
    return slopes, _dyrelu(w, module.activation, offset, pooled, levels)


def _group_norm(w: GraphWriter, branches: list[_Branch]) -> tuple[str, str, str]:
    """Slopes and offsets that normalise, and the pooled means normalised, each `[batch, branches, channels]`."""
    norms = [branch.module.norm for branch in branches]
    count, groups, channels = len(norms), norms[0].num_groups, norms[0].num_channels
    shape = (count, groups, channels // groups)

    def stacked(vectors: list[str]) -> str:
        joined = w.op("Concat", *vectors, axis=1) if count > 1 else vectors[0]
        return w.reshape(joined, 0, *shape)

    means = stacked([branch.mean for branch in branches])
    # A group's variance is the mean of its channels' (which have the norm's epsilon already) and that of their means.
    within = w.op("Pow", stacked([branch.inverse for branch in branches]), w.scalar(-2.0))
    within = w.op("ReduceMean", within, w.ints(3), keepdims=1)
    ones = w.weight("ones", torch.ones(channels // groups))
    _, mean, inverse = w.ops("LayerNormalization", means, ones, outputs=3, axis=3, epsilon=NO_EPSILON)
    variance = w.op("Add", within, w.op("Pow", inverse, w.scalar(-2.0)))
    weight = w.weight("norm_weight", torch.stack([norm.weight for norm in norms]).view(shape))
    bias = w.weight("norm_bias", torch.stack([norm.bias for norm in norms]).view(shape))
    slope = w.op("Mul", w.op("Pow", variance, w.scalar(-0.5)), weight)
    offset = w.op("Sub", bias, w.op("Mul", mean, slope))
    pooled = w.op("Add", w.op("Mul", stacked([branch.pooled for branch in branches]), slope), offset)
    slope, offset, pooled = (w.reshape(vector, 0, count, channels) for vector in (slope, offset, pooled))
    return slope, offset, pooled


def _dyrelu(w: GraphWriter, module: DyReLU, offset: str, pooled: str, levels: int) -> str:
    """The two lines whose maximum it is: both slopes, then both offsets, of each level, `[batch, levels * 4, channels]`.

    `offset [batch, levels, channels]` is what its input lacks yet.
    """
    channels = module.fc1.in_features
    # Slopes are 2 h and 2 h - 1, offsets h - 1/2 of a HardSigmoid h: rows that are cut at limits of their own.
    order, scale = [0, 2, 1, 3], torch.tensor([1 / 3, 1 / 3, 1 / 6, 1 / 6])
    first = torch.tensor([1.0, 0.0, 0.0, 0.0])
    low, high = torch.tensor([0.0, -1.0, -0.5, -0.5]), torch.tensor([2.0, 1.0, 0.5, 0.5])
    weight = module.fc2.weight.unflatten(0, (4, channels))[order] * scale[:, None, None]
    bias = module.fc2.bias.unflatten(0, (4, channels))[order] * scale[:, None] + first[:, None]
    inner = w.op("Relu", w.linear(pooled, module.fc1.weight, module.fc1.bias))
    lines = w.linear(inner, weight.flatten(0, 1), bias.flatten())
    low, high = (limit.repeat_interleave(channels) for limit in (low, high))
    lines = w.op("Max", w.op("Min", lines, w.weight("high", high)), w.weight("low", low))
    slopes, offsets = w.split(w.reshape(lines, 0, levels, 4, channels), (2, 2), axis=2)
    offsets = w.op("Add", w.op("Mul", slopes, w.op("Unsqueeze", offset, w.ints(2))), offsets)
    return w.reshape(w.op("Concat", slopes, offsets, axis=2), 0, levels * 4, channels)
