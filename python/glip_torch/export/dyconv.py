"""DyConv as a graph: one node, for which glip-rs has an operator on CPUs, and which is a function of ONNX's operators.

The deformable convolutions are nearly all of the time. What surrounds them (GroupNorm, the weight of
each branch, the mean over branches, DyReLU) is per channel an affine map of what they give, with
coefficients that depend on means only: so the statistics are taken first, all coefficients are worked
out on vectors, of all branches of all levels at once, and every map is passed over once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..dyconv import OFFSETS, TAPS, DyConv, DyReLU
from .deform_conv import write_deform_conv
from .pyramid import Pyramid, maps_of
from .writer import GraphWriter


def write_dyconv(w: GraphWriter, module: DyConv, pyramid: Pyramid) -> Pyramid:
    positions = w.function(
        "Int8DyConv" if w.int8 else "DyConv",
        pyramid.positions,
        pyramid.sizes,
        body=lambda w, positions, sizes: _layer(w, module, positions, sizes, len(pyramid)),
        epsilon=module.own.norm.eps,
    )
    # ONNX Runtime does not know how many axes an operator's output has.
    return pyramid.with_positions(w.reshape(positions, 0, -1, module.own.conv.out_channels))


def _layer(w: GraphWriter, module: DyConv, positions: str, sizes: str, count: int) -> str:
    """`positions [batch, all, channels]` of so many levels of `sizes [levels, 2]`, convolved."""
    levels = maps_of(w, positions, [w.reshape(sides, 2) for sides in w.split(sizes, [1] * count, axis=0)])
    branches = []
    for index in range(count):
        with w.scope(f"level_{index}"):
            branches += _branches(w, module, levels, index)
    with w.scope("coefficients"), w.in_float() as rounded:
        slopes, lines = _coefficients(w, module, branches, count)
        slopes = [rounded(slope) for slope in slopes]
        lines = [[(rounded(slope), rounded(offset)) for slope, offset in pair] for pair in lines]
    outputs = []
    for index in range(count):
        with w.scope(f"level_{index}"):
            of_level = [(branch, slope) for branch, slope in zip(branches, slopes) if branch.level == index]
            weighted = [w.op("Mul", branch.values, slope) for branch, slope in of_level]
            total = w.op("Sum", *weighted) if len(weighted) > 1 else weighted[0]
            first, second = (w.op("Add", w.op("Mul", total, slope), offset) for slope, offset in lines[index])
            outputs.append(w.op("Max", first, second))
    return w.positions(outputs)[0]


#: A level's convolutions: of itself, of the finer and of the coarser one.
KINDS = ("own", "finer", "coarser")


@dataclass(frozen=True)
class _Branch:
    """One deformable convolution's output, before its GroupNorm, as seen from the level it is for."""

    level: int
    kind: str
    values: str  #: `[batch, channels, h, w]` of the level
    mean: str  #: of what was convolved, `[batch, channels, 1, 1]`
    square: str  #: the same of its square
    pooled: str  #: mean of `values`: another one than `mean` if they were enlarged


def _branches(w: GraphWriter, module: DyConv, levels: list[str], index: int) -> list[_Branch]:
    own = levels[index]
    offset, mask = w.split(w.conv(own, module.offset), (OFFSETS, TAPS), axis=1)
    mask = w.op("Sigmoid", mask)
    branches = [_branch(w, module, "own", index, own, offset, mask)]
    if index > 0:
        branches.append(_branch(w, module, "finer", index, levels[index - 1], offset, mask))
    if index + 1 < len(levels):
        coarser = levels[index + 1]
        offset, mask = _reread(w, offset, OFFSETS, coarser), _reread(w, mask, TAPS, coarser)
        branches.append(_branch(w, module, "coarser", index, coarser, offset, mask, enlarge_to=own))
    return branches


def _reread(w: GraphWriter, field: str, channels: int, coarser: str) -> str:
    """The first values of a level's field in the coarser level's shape: see `glip_torch.dyconv.reread`."""
    height, width = w.size(coarser, 2), w.size(coarser, 3)
    count = w.product(w.ints(channels), height, width)
    values = w.op("Slice", w.reshape(field, 0, -1), w.ints(0), count, w.ints(1))
    return w.reshape(values, 0, channels, height, width)


def _branch(
    w: GraphWriter,
    module: DyConv,
    kind: str,
    level: int,
    source: str,
    offset: str,
    mask: str,
    enlarge_to: str | None = None,
) -> _Branch:
    values = write_deform_conv(w, getattr(module, kind), source, offset, mask)
    # Statistics and coefficients are float32 in a graph of any precision: half has no room for squares.
    exact = w.as_float(values)
    mean, square = _mean(w, exact), _mean(w, w.op("Mul", exact, exact))
    pooled = mean
    if enlarge_to is not None:
        size = w.op("Shape", enlarge_to)
        values = w.op("Resize", values, "", "", size, mode="linear", coordinate_transformation_mode="align_corners")
        pooled = _mean(w, w.as_float(values))
    return _Branch(level, kind, values, mean, square, pooled)


def _mean(w: GraphWriter, values: str) -> str:
    return w.op("ReduceMean", values, w.ints(2, 3), keepdims=1)


def _coefficients(
    w: GraphWriter, module: DyConv, branches: list[_Branch], levels: int
) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Each branch's slope, and the slope and offset of each of a level's two lines; all `[batch, channels, 1, 1]`.

    Every vector below is `[batch, branches, channels]` or `[batch, levels, ...]`.
    """
    channels = module.own.conv.out_channels

    def stacked(vectors: list[str]) -> str:
        return w.op("Concat", *(w.reshape(vector, 0, 1, channels) for vector in vectors), axis=1)

    slope, offset = _group_norm(
        w,
        module,
        [branch.kind for branch in branches],
        stacked([branch.mean for branch in branches]),
        stacked([branch.square for branch in branches]),
    )
    pooled = w.op("Add", w.op("Mul", stacked([branch.pooled for branch in branches]), slope), offset)

    # The weight of each branch, and with it the mean over a level's branches.
    attention = w.linear(pooled, module.branch_weight.weight.flatten(1), module.branch_weight.bias)
    attention = w.op("HardSigmoid", w.op("Relu", attention), **HARD_SIGMOID)
    membership = torch.tensor([[float(branch.level == level) for branch in branches] for level in range(levels)])
    share = membership / membership.sum(1, keepdim=True)
    attention = w.op("Mul", attention, w.table(share.sum(0)[:, None]))
    slope, offset, pooled = (w.op("Mul", vector, attention) for vector in (slope, offset, pooled))
    sum_over_branches = w.table(membership)
    offset, pooled = (w.op("MatMul", sum_over_branches, vector) for vector in (offset, pooled))

    first, second = _dyrelu(w, module.activation, offset, pooled)

    def one_by_one(vectors: str, count: int) -> list[str]:
        maps = w.reshape(vectors, 0, count, channels, 1, 1)
        return [w.op("Gather", maps, w.index(number), axis=1) for number in range(count)]

    lines = [zip(one_by_one(slope, levels), one_by_one(offset, levels)) for slope, offset in (first, second)]
    return one_by_one(slope, len(branches)), [list(pair) for pair in zip(*lines)]


#: As torch's.
HARD_SIGMOID = {"alpha": 1 / 6, "beta": 0.5}


def _dyrelu(w: GraphWriter, module: DyReLU, offset: str, pooled: str) -> list[tuple[str, str]]:
    """Slope and offset of two lines, whose maximum it is; `offset` is what its input lacks yet."""
    channels = module.fc1.in_features
    inner = w.op("Relu", w.linear(pooled, module.fc1.weight, module.fc1.bias))
    lines = w.linear(inner, module.fc2.weight, module.fc2.bias)
    lines = w.op("HardSigmoid", lines, **HARD_SIGMOID)
    slope1, offset1, slope2, offset2 = w.split(lines, (channels,) * 4, axis=2)
    half, one = w.scalar(0.5), w.scalar(1.0)
    slope1, slope2 = w.op("Add", slope1, slope1), w.op("Sub", w.op("Add", slope2, slope2), one)
    return [
        (slope, w.op("Add", w.op("Mul", offset, slope), w.op("Sub", line_offset, half)))
        for slope, line_offset in ((slope1, offset1), (slope2, offset2))
    ]


def _group_norm(w: GraphWriter, module: DyConv, kinds: list[str], mean: str, square: str) -> tuple[str, str]:
    """Slopes and offsets that normalise, from the channels' means and mean squares `[batch, branches, channels]`."""
    norms = [getattr(module, kind).norm for kind in KINDS]
    groups, channels = norms[0].num_groups, norms[0].num_channels
    depth, branches = channels // groups, len(kinds)

    def of_groups(vector: str) -> str:
        by_group = w.reshape(vector, 0, branches, groups, depth)
        return w.op("ReduceMean", by_group, w.ints(3), keepdims=1)

    def of_branches(name: str, vectors: list[torch.Tensor]) -> str:
        vectors = w.weight(name, torch.stack(vectors).view(-1, groups, depth))
        return w.op("Gather", vectors, w.ints(*map(KINDS.index, kinds)), axis=0)

    mean, square = of_groups(mean), of_groups(square)
    variance = w.op("Sub", square, w.op("Mul", mean, mean))
    deviation = w.op("Sqrt", w.op("Add", variance, w.scalar(norms[0].eps)))
    slope = w.op("Div", of_branches("norm_weight", [norm.weight for norm in norms]), deviation)
    offset = w.op("Sub", of_branches("norm_bias", [norm.bias for norm in norms]), w.op("Mul", mean, slope))
    return w.reshape(slope, 0, branches, channels), w.reshape(offset, 0, branches, channels)
