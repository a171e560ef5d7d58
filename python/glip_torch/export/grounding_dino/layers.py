"""What the layers of enhancer and decoder are made of; above all attention to a few places of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..attention import write_attention
from ..writer import GraphWriter


def write_attention_layer(
    w: GraphWriter, module: nn.Module, asking: str, asked: str, values: str, mask: str | None
) -> str:
    """Attention between all of one side and all of another, and its output layer."""
    attended = write_attention(w, module, asking, asked, values, mask)
    return w.linear(attended, module.out_proj.weight, module.out_proj.bias)


def write_feed_forward(w: GraphWriter, layer: nn.Module, states: str, norm: nn.LayerNorm) -> str:
    """The layer's two linear layers, added to the states."""
    with w.scope("mlp"):
        inner = w.op("Relu", w.linear(states, layer.fc1.weight, layer.fc1.bias))
        return w.layer_norm(w.op("Add", states, w.linear(inner, layer.fc2.weight, layer.fc2.bias)), norm)


@dataclass(frozen=True)
class ImageGrid:
    """The levels of an image's features, as values of the graph."""

    heights: list[str]
    widths: list[str]
    cells: list[str]  #: height * width
    sizes: str | None  #: Heights and widths as `[levels, 2]`, which a GPU has no use for.

    @staticmethod
    def of(w: GraphWriter, levels: list[str]) -> ImageGrid:
        heights, widths = [w.size(level, 2) for level in levels], [w.size(level, 3) for level in levels]
        sizes = None
        if w.in_pieces:
            sides = [side for both in zip(heights, widths) for side in both]
            sizes = w.reshape(w.op("Concat", *sides, axis=0), -1, 2)
        return ImageGrid(heights, widths, [w.product(*sides) for sides in zip(heights, widths)], sizes)

    def centres(self, w: GraphWriter) -> str:
        """x and y of all cells, relative to the image: `[1, cells, 2]` in float32."""
        levels = []
        for height, width in zip(self.heights, self.widths):
            y = w.reshape(_centres_along(w, height), -1, 1, 1)
            x = w.reshape(_centres_along(w, width), 1, -1, 1)
            whole = w.shape(height, width, 1)
            pairs = w.op("Concat", w.op("Expand", x, whole), w.op("Expand", y, whole), axis=2)
            levels.append(w.reshape(pairs, 1, -1, 2))
        return w.op("Concat", *levels, axis=1)


def _centres_along(w: GraphWriter, length: str) -> str:
    with w.in_float():
        places = w.op("Add", w.cast(w.range(length), torch.float32), w.scalar(0.5))
        return w.op("Div", places, w.cast(w.placed(length), torch.float32))


@dataclass(frozen=True)
class SamplingFrame:
    """Where queries look if their offsets are zero, and how far an offset of one goes; float32, in GridSample's measure,
    in which an image goes from -1 to 1. Both fit `[batch, queries, heads, levels, points, 2]`, and for a GPU
    `[batch, heads * points, queries, 2]`."""

    centre: str
    #: One for each level, or one for all.
    reach: list[str]

    @staticmethod
    def placed(w: GraphWriter, queries: str) -> str:
        """`[batch, queries, n]` in a form that fits."""
        return w.op("Unsqueeze", queries, w.ints(2, 3, 4) if w.in_pieces else w.ints(1))

    @staticmethod
    def of_levels(w: GraphWriter, centre: str, reach: list[str]) -> SamplingFrame:
        """With a reach `[2]` for each level."""
        if w.in_pieces:
            reach = [w.reshape(w.op("Concat", *reach, axis=0), -1, 1, 2)]
        return SamplingFrame(centre, reach)


def write_values(w: GraphWriter, module: nn.Module, image: str, grid: ImageGrid, rest: str | None = None) -> list[str]:
    """What there is to see in `image [batch, cells, width]`, as attention takes it.

    For a CPU that is `[batch, cells, width]`, and the sizes of the levels. For a GPU it is `[batch * heads, width / heads, h,
    w]` of each level, and float32 already, which GridSample wants: one Cast for all levels.
    `rest` is how many rows follow that are no cells.
    """
    with w.scope("value"):
        if w.in_pieces:
            values = w.linear(image, module.value_proj.weight, module.value_proj.bias)
            return [w.as_float(values), grid.sizes]
        # As [batch, width, cells], which is how GridSample reads it, without a transpose.
        values = w.as_float(w.linear_to_channels(image, module.value_proj))
        values = w.split(values, grid.cells if rest is None else [*grid.cells, rest], axis=2)
        width = module.d_model // module.n_heads
        return [w.reshape(value, -1, width, *sides) for value, *sides in zip(values, grid.heights, grid.widths)]


def write_deformable_attention(
    w: GraphWriter, module: nn.Module, asking: str, values: list[str], frame: SamplingFrame, piece: int | None = None
) -> str:
    """`asking [batch, queries, width]` looks at a few places of every level.

    `piece` is for CPUs without an operator for it: how many queries at most look at a time, in pieces of one length.
    """
    seen = (
        _seen_at_once(w, module, asking, values, frame, piece)
        if w.in_pieces
        else _seen_by_level(w, module, asking, values, frame)
    )
    return w.linear(seen, module.output_proj.weight, module.output_proj.bias)


def _seen_at_once(
    w: GraphWriter, module: nn.Module, asking: str, values: list[str], frame: SamplingFrame, piece: int | None
) -> str:
    """By one node, in float32; all is in the order of the checkpoints."""
    heads, levels, points = module.n_heads, module.n_levels, module.n_points
    with w.scope("weights"):
        shares = w.linear(asking, module.attention_weights.weight, module.attention_weights.bias)
        shares = w.op("Softmax", w.reshape(shares, 0, 0, heads, levels * points), axis=-1)
        shares = w.as_float(w.reshape(shares, 0, 0, heads, levels, points))
    with w.scope("offsets"):
        offsets = w.linear(asking, module.sampling_offsets.weight, module.sampling_offsets.bias)
        offsets = w.as_float(w.reshape(offsets, 0, 0, heads, levels, points, 2))
        places = w.op("Add", w.op("Mul", offsets, frame.reach[0]), frame.centre)
    body = DeformableAttention(heads, levels, points, module.d_model, piece)
    with w.in_float():
        seen = w.function("DeformableAttention", *values, places, shares, body=body.write)
    seen = w.reshape(seen, 0, -1, module.d_model)  # ONNX Runtime does not know how many axes an operator's output has.
    return w.cast(seen, w.dtype) if w.half else seen


@dataclass(frozen=True)
class DeformableAttention:
    """Attention by operators of ONNX's: what the function of this name consists of.

    Queries lie last wherever there is room for it: with points last, as the modules of others have it, ONNX Runtime takes
    twice as long.
    """

    heads: int
    levels: int
    points: int
    width: int
    #: How many queries at most look at a time, if not all.
    piece: int | None

    def write(self, w: GraphWriter, values: str, sizes: str, places: str, shares: str) -> str:
        """`values [batch, rows, width]` on levels of `sizes [levels, 2]`, at `places [batch, queries, heads, levels, points,
        2]`, each of which counts for its `shares [batch, queries, heads, levels, points]`: `[batch, queries, width]`."""
        by_level = self._by_level(w, values, sizes)
        if self.piece is None:
            return self._seen(w, by_level, places, shares)
        count = w.ratio(w.size(places, 1), w.ints(self.piece))
        of_query = (self.heads, self.levels, self.points)
        cut = w.transpose(w.reshape(places, 0, count, -1, *of_query, 2), 1, 0, 2, 3, 4, 5, 6)
        cut_shares = w.transpose(w.reshape(shares, 0, count, -1, *of_query), 1, 0, 2, 3, 4, 5)
        sequences = (cut, torch.float32), (cut_shares, torch.float32)
        pieces = w.over_pieces(lambda places, shares: self._seen(w, by_level, places, shares), *sequences)
        return w.reshape(w.transpose(pieces, 1, 0, 2, 3), 0, w.size(places, 1), self.width)

    def _by_level(self, w: GraphWriter, values: str, sizes: str) -> list[str]:
        """Each level as an image, `[batch * heads, width / heads, h, w]`."""
        channels = w.transpose(values, 0, 2, 1)
        depth, end, images = self.width // self.heads, w.ints(0), []
        for sides in w.split(sizes, [1] * self.levels, axis=0):
            sides = w.reshape(sides, 2)
            start, end = end, w.op("Add", end, w.op("ReduceProd", sides, keepdims=1))
            level = w.op("Slice", channels, start, end, w.ints(2))
            images.append(w.reshape(level, -1, depth, sides))
        return images

    def _seen(self, w: GraphWriter, by_level: list[str], places: str, shares: str) -> str:
        queries = w.size(places, 1)
        places = w.split(w.transpose(places, 3, 0, 2, 4, 1, 5), [1] * self.levels, axis=0)
        shares = w.split(w.transpose(shares, 3, 0, 2, 4, 1), [1] * self.levels, axis=0)
        total = None
        for level, image in enumerate(by_level):
            grid = w.reshape(places[level], -1, self.points, queries, 2)
            seen = w.op("GridSample", image, grid, mode="linear", padding_mode="zeros", align_corners=0)
            seen = w.op("Mul", seen, w.reshape(shares[level], -1, 1, self.points, queries))
            seen = w.op("ReduceSum", seen, w.ints(2), keepdims=0)
            total = seen if total is None else w.op("Add", total, seen)
        # The heads of an image are as one again.
        return w.transpose(w.op("Reshape", total, w.shape(-1, self.width, queries)), 0, 2, 1)


def _seen_by_level(w: GraphWriter, module: nn.Module, asking: str, values: list[str], frame: SamplingFrame) -> str:
    """By nodes for each level. Queries lie last wherever there is room for it, as in `DeformableAttention`."""
    heads, levels, points = module.n_heads, module.n_levels, module.n_points
    width = module.d_model // heads

    with w.scope("weights"):
        shares = w.linear(asking, module.attention_weights.weight, module.attention_weights.bias)
        shares = w.op("Softmax", w.reshape(shares, 0, 0, heads, levels * points), axis=-1)
        shares = w.split(w.transpose(shares, 0, 2, 3, 1), [points] * levels, axis=2)
    with w.scope("offsets"):
        offsets = _offsets_by_level(w, module, asking)

    total = None
    for level in range(levels):
        with w.scope(f"level_{level}"):
            reach = frame.reach[level if len(frame.reach) > 1 else 0]
            places = w.op("Add", w.op("Mul", offsets[level], reach), frame.centre)
            places = w.reshape(places, -1, points, w.size(asking, 1), 2)
            seen = w.op("GridSample", values[level], places, mode="linear", padding_mode="zeros", align_corners=0)
            if w.half:
                seen = w.cast(seen, w.dtype)
            seen = w.op("Mul", seen, w.reshape(shares[level], -1, 1, points, w.size(asking, 1)))
            seen = w.op("ReduceSum", seen, w.ints(2), keepdims=0)
            total = seen if total is None else w.op("Add", total, seen)
    return w.transpose(w.reshape(total, w.size(asking, 0), heads * width, -1), 0, 2, 1)


def _offsets_by_level(w: GraphWriter, module: nn.Module, asking: str) -> list[str]:
    """Of each level, `[batch, heads * points, queries, 2]` in float32."""
    heads, levels, points = module.n_heads, module.n_levels, module.n_points
    # The checkpoints' order is heads, levels, points.
    weight = module.sampling_offsets.weight.detach().unflatten(0, (heads, levels, points * 2))
    bias = module.sampling_offsets.bias.detach().view(heads, levels, points * 2)
    offsets = w.linear(asking, weight.transpose(0, 1).flatten(0, 2), bias.transpose(0, 1).flatten())
    offsets = w.as_float(w.reshape(offsets, 0, 0, levels * heads * points, 2))
    return w.split(w.transpose(offsets, 0, 2, 1, 3), [heads * points] * levels, axis=1)


def write_sine(w: GraphWriter, positions: str, width: int, temperature: float) -> str:
    """Sines and cosines of positions `[..., 1]`, which count full turns, by turns: `[..., width]`. All is float32."""
    with w.in_float():
        frequencies = temperature ** (2 * torch.arange(width // 2, dtype=torch.float32) / width)
        angles = w.op("Mul", positions, w.scalar(2 * torch.pi))
        angles = w.op("Unsqueeze", w.op("Div", angles, w.weight("frequencies", frequencies)), w.ints(-1))
        pairs = w.op("Concat", w.op("Sin", angles), w.op("Cos", angles), axis=-1)
        shape = w.op("Concat", w.op("Shape", positions, start=0, end=-1), w.ints(width), axis=0)
        return w.op("Reshape", pairs, shape)
