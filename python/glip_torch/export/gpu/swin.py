"""Swin for a GPU: tokens stay in their windows from block to block, place by place, `[area, windows, channels]`.

What places are where depends on the size of the pixels alone and comes from the companion graph. A shifted block
rearranges the plain windows and brings its result back; the plain blocks have nothing to rearrange. Places of the
plain windows beyond the map hold something that nobody reads: before attention, where they count as zeros, they are
made zeros.

Place by place, ONNX Runtime's matrix product reads heads and windows as they are. Its operator for attention wants
windows first, and on an H200 takes 0.38 ms for the largest map's where this form takes 0.16: fewer nodes, but it
copies queries, keys and values, and reads a bias of scores slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from ...image_encoder import SHIFT_MASK_VALUE, PatchMerging, Swin, SwinBlock, SwinStage, WindowAttention
from ..folded import FoldedWindowWeights
from ..writer import MICROSOFT, GraphWriter, OfSize

#: How shapes call the number of windows.
WINDOWS = "windows"


@dataclass(frozen=True)
class Windowed:
    """What a stage gives: its tokens in windows, and the place there of every cell of the map, `[batch, h, w]`."""

    tokens: str
    channels: int
    cells: str

    def as_map(self, w: GraphWriter) -> str:
        """`[batch, channels, h, w]`."""
        return self._arranged(w, w.reshape(self.tokens, -1, self.channels))

    def projected(self, w: GraphWriter, module: torch.nn.Conv2d) -> str:
        """What the 1 x 1 convolution gives."""
        rows = w.reshape(self.tokens, -1, self.channels)
        return self._arranged(w, w.linear(rows, module.weight.flatten(1), module.bias))

    def _arranged(self, w: GraphWriter, rows: str) -> str:
        return w.transpose(w.op("Gather", rows, self.cells, axis=0), 0, 3, 1, 2)


def write_swin(w: GraphWriter, swin: Swin, pixels: str, even: bool) -> list[Windowed]:
    """As the `write_swin` for CPUs."""
    grid = StageGrid.of_patches(w.of_size, swin.stages[0].window)
    with w.scope("patch_embed"):
        patches = w.transpose(w.conv(pixels, swin.patch_embed.proj, more_padding=3), 0, 2, 3, 1)
        rows = w.reshape(patches, -1, swin.patch_embed.proj.out_channels)
        tokens = w.layer_norm(w.op("Gather", rows, grid.tokens_of_windows, axis=0), swin.patch_embed.norm)
    outputs = []
    for index, stage in enumerate(swin.stages):
        norm = swin.norms[swin.outputs.index(index)] if index in swin.outputs else None
        with w.scope(f"stage_{index + 1}"):
            normed, tokens = _blocks(w, stage, tokens, grid, norm)
            if norm is not None:
                outputs.append(Windowed(normed, norm.normalized_shape[0], grid.cells))
            if stage.downsample is not None:
                with w.scope("merging"):
                    tokens, grid = _patch_merging(w, stage.downsample, tokens, grid, even)
    return outputs


class StageGrid:
    """The map of one stage in its windows, plain and shifted: indices and masks, computed in the companion graph.

    A place is counted row by row in its window, and for each place window by window; a cell of the map by its y and x.
    """

    def __init__(self, of_size: OfSize, height: str, width: str, window: int, stage: int = 1):
        self._of_size, self._window, self._stage = of_size, window, stage
        self._height, self._width = height, width
        g = self._g = of_size.writer
        self._rows, self._columns = (g.ratio(side, g.ints(window)) for side in (height, width))

    @staticmethod
    def of_patches(of_size: OfSize, window: int) -> StageGrid:
        g = of_size.writer
        with g.scope("patches"):
            height, width = (g.ratio(side, g.ints(4)) for side in (of_size.height, of_size.width))
            return StageGrid(of_size, height, width, window)

    def halved(self) -> StageGrid:
        g = self._g
        with g.scope(f"stage_{self._stage + 1}"):
            height, width = (g.ratio(side, g.ints(2)) for side in (self._height, self._width))
            return StageGrid(self._of_size, height, width, self._window, self._stage + 1)

    # Inputs of the graph

    @cached_property
    def tokens_of_windows(self) -> str:
        """For each place the number of its cell, row by row: any, if there is none. `[area, windows]`."""
        g, (y, x) = self._g, self._sides()
        y, x = self._inside(y, self._height), self._inside(x, self._width)
        first = g.op("Mul", g.range(self._of_size.batch), g.product(self._height, self._width))
        numbers = self._crossed("Add", g.op("Mul", y, self._width), x)
        return self._give("tokens", self._by_place(g.op("Add", numbers, self._of_batch(first))))

    @cached_property
    def is_cell(self) -> str:
        """One for each place of a cell, zero for those beyond the map, `[area, windows, 1]`."""
        g, (y, x) = self._g, self._sides()
        inside = self._crossed("And", g.op("Less", y, self._height), g.op("Less", x, self._width))
        inside = g.op("Expand", g.cast(inside, g.dtype), g.shape(self._of_size.batch, 1, 1, 1, 1))
        inside = g.op("Unsqueeze", self._by_place(inside), g.ints(2))
        return self._give("is_cell", inside, (self._window**2, WINDOWS, 1), g.dtype)

    @cached_property
    def cells(self) -> str:
        """The place of each cell, `[batch, h, w]`."""
        g = self._g
        y, x = self._places(g.range(self._height), g.range(self._width))
        first = g.reshape(self._first_places(), -1, 1, 1)
        places = g.op("Add", g.op("Add", g.reshape(y, 1, -1, 1), g.reshape(x, 1, 1, -1)), first)
        shape = (f"batch_{self._stage}", f"height_{self._stage}", f"width_{self._stage}")
        return self._give("cells", places, shape)

    def shifted(self, shift: int) -> str:
        """The plain place of each place that the cyclic shift moves towards the top left by so much, `[area, windows]`.

        With a negative shift, the way back.
        """
        g = self._g
        sides = []
        for side, count in zip(self._sides(), (self._rows, self._columns)):
            padded = g.op("Mul", count, g.ints(self._window))
            sides.append(g.op("Mod", g.op("Add", g.op("Add", side, g.ints(shift)), padded), padded))
        y, x = self._places(*sides)
        places = g.op("Add", self._crossed("Add", y, x), self._of_batch(self._first_places()))
        return self._give("shifted" if shift > 0 else "back", self._by_place(places))

    def shift_mask(self, shift: int) -> str:
        """Keeps apart cells from opposite ends of the image that the shift made neighbours, `[windows, 1, area, area]`."""
        g, area, sides = self._g, self._window**2, []
        for side, count in zip(self._sides(), (self._rows, self._columns)):
            padded = g.op("Mul", count, g.ints(self._window))
            ends = [g.op("GreaterOrEqual", side, g.op("Sub", padded, g.ints(back))) for back in (self._window, shift)]
            sides.append(g.op("Add", *(g.cast(end, torch.int64) for end in ends)))
        region = self._crossed("Add", g.op("Mul", sides[0], g.ints(3)), sides[1])
        region = self._in_windows(g.op("Expand", region, g.shape(self._of_size.batch, 1, 1, 1, 1)))
        same = g.op("Equal", g.op("Unsqueeze", region, g.ints(1, 3)), g.op("Unsqueeze", region, g.ints(1, 2)))
        mask = g.op("Where", same, g.scalar(0.0), g.scalar(SHIFT_MASK_VALUE))
        return self._give("shift_mask", mask, (WINDOWS, 1, area, area), g.dtype)

    def fours_of(self, merged: StageGrid, even: bool) -> tuple[str, str | None]:
        """For each place of the map that is half as large, the places here of the 2 x 2 cells that it is made of.

        `[area, windows, 4]`, column by column, which is the checkpoints' order. And which of them there are, as one and zero,
        `[area, windows, 4, 1]`, unless all are.
        """
        g = self._g
        pairs, insides = [], []
        for side, half, length in zip(merged._sides(), (merged._height, merged._width), (self._height, self._width)):
            first = g.op("Mul", merged._inside(side, half), g.ints(2))
            pair = g.op("Add", g.op("Unsqueeze", first, g.ints(1)), g.ints(0, 1))
            insides.append(g.op("Less", pair, length))
            pairs.append(self._inside(pair, length))
        y, x = self._places(*pairs)
        first = g.op("Unsqueeze", self._of_batch(self._first_places()), g.ints(5, 6))
        places = g.op("Add", merged._crossed_pairs("Add", y, x), first)
        area = self._window**2
        places = g.transpose(g.reshape(places, -1, area, 4), 1, 0, 2)
        places = merged._give("merged", places, (area, WINDOWS, 4))
        if even:
            return places, None
        inside = g.cast(merged._crossed_pairs("And", *insides), g.dtype)
        inside = g.op("Expand", inside, g.shape(self._of_size.batch, 1, 1, 1, 1, 1, 1))
        inside = g.transpose(g.reshape(inside, -1, area, 4, 1), 1, 0, 2, 3)
        return places, merged._give("merged_is_cell", inside, (area, WINDOWS, 4, 1), g.dtype)

    # How they are made

    def _sides(self) -> tuple[str, str]:
        """y and x of the windows' rows and columns, those beyond the map too."""
        y, x = (
            self._g.range(self._g.op("Mul", count, self._g.ints(self._window))) for count in (self._rows, self._columns)
        )
        return y, x

    def _inside(self, along: str, length: str) -> str:
        return self._g.op("Min", along, self._g.op("Sub", length, self._g.ints(1)))

    def _places(self, y: str, x: str) -> tuple[str, str]:
        """What cells of that y and that x have of a place, the sum being the place in the first image."""
        g, size = self._g, self._g.ints(self._window)
        windows = g.product(self._of_size.batch, self._rows, self._columns)
        of_rows, of_columns = (
            g.op("Add", g.op("Mul", g.op("Div", along, size), window), g.op("Mul", g.op("Mod", along, size), place))
            for along, window, place in ((y, self._columns, g.op("Mul", windows, size)), (x, g.ints(1), windows))
        )
        return of_rows, of_columns

    def _first_places(self) -> str:
        """Of each image, `[batch]`."""
        g = self._g
        return g.op("Mul", g.range(self._of_size.batch), g.product(self._rows, self._columns))

    def _of_batch(self, values: str) -> str:
        return self._g.reshape(values, -1, 1, 1, 1, 1)

    def _crossed(self, operator: str, of_rows: str, of_columns: str) -> str:
        """Of y and x together, `[1, rows, columns, window, window]`."""
        g, size = self._g, self._window
        return g.op(operator, g.reshape(of_rows, 1, -1, 1, size, 1), g.reshape(of_columns, 1, 1, -1, 1, size))

    def _crossed_pairs(self, operator: str, of_rows: str, of_columns: str) -> str:
        """The same of pairs, `[1, rows, columns, window, window, 2, 2]`."""
        g, size = self._g, self._window
        return g.op(
            operator, g.reshape(of_rows, 1, -1, 1, size, 1, 1, 2), g.reshape(of_columns, 1, 1, -1, 1, size, 2, 1)
        )

    def _in_windows(self, values: str) -> str:
        return self._g.reshape(values, -1, self._window**2)

    def _by_place(self, values: str) -> str:
        """`[area, windows]`."""
        return self._g.transpose(self._in_windows(values), 1, 0)

    def _give(
        self, name: str, value: str, shape: tuple[int | str, ...] | None = None, type: torch.dtype = torch.int64
    ) -> str:
        """A value, `[area, windows]` if nothing else is said, as an input of the graph."""
        shape = shape or (self._window**2, WINDOWS)
        shape = tuple(f"{WINDOWS}_{self._stage}" if size == WINDOWS else size for size in shape)
        return self._of_size.give(f"stage_{self._stage}_{name}", value, type, shape)


def _blocks(
    w: GraphWriter, stage: SwinStage, tokens: str, grid: StageGrid, norm: torch.nn.LayerNorm | None
) -> tuple[str | None, str]:
    """The tokens normalised, if there is a norm, and the tokens themselves."""
    shift = max(block.shift for block in stage.blocks)
    shifted = Shift(grid.shifted(shift), grid.shifted(-shift), grid.shift_mask(shift)) if shift else None
    blocks = list(stage.blocks)
    with w.scope("block_1"):
        normed = w.layer_norm(tokens, blocks[0].norm1)
    for index, block in enumerate(blocks):
        following = blocks[index + 1].norm1 if index + 1 < len(blocks) else norm
        with w.scope(f"block_{index + 1}"):
            normed, tokens = _block(w, block, normed, tokens, grid, shifted if block.shift else None, following)
    return normed, tokens


@dataclass(frozen=True)
class Shift:
    """Where the shifted windows take their places from, how these come back, and who may not see whom."""

    into: str
    back: str
    mask: str


def _block(
    w: GraphWriter,
    block: SwinBlock,
    normed: str,
    tokens: str,
    grid: StageGrid,
    shift: Shift | None,
    following: torch.nn.LayerNorm | None,
) -> tuple[str | None, str]:
    """From tokens and what `norm1` makes of them to the tokens that come out, and what the norm that follows makes of these."""
    attn, mlp = block.attn, block.mlp
    with w.scope("attention"):
        attended = w.op("Mul", normed, grid.is_cell)
        bias = w.weight("position_bias", attn.relative_position_bias())
        if shift is not None:
            attended = _rearranged(w, attended, shift.into, attn.proj.in_features)
            bias = w.op("Add", bias, shift.mask)
        attended, output_bias = _attention(w, attn, attended, bias)
        attended = w.linear(attended, attn.proj.weight)
        if shift is not None:
            attended = _rearranged(w, attended, shift.back, attn.proj.in_features)
        normed, tokens = w.skip_layer_norm_and_sum(attended, tokens, block.norm2, output_bias)
    with w.scope("mlp"):
        inner = w.bias_gelu(w.linear(normed, mlp.fc1.weight), mlp.fc1.bias)
        inner = w.linear(inner, mlp.fc2.weight)
        if following is None:
            return None, w.op("Add", tokens, w.op("Add", inner, w.weight("bias", mlp.fc2.bias)))
        return w.skip_layer_norm_and_sum(inner, tokens, following, mlp.fc2.bias)


def _attention(w: GraphWriter, module: WindowAttention, tokens: str, score_bias: str) -> tuple[str, torch.Tensor]:
    """Tokens that have seen their window, `[area, windows, channels]`, before the output layer, and that layer's bias."""
    channels, area = module.proj.in_features, module.window**2
    weights = FoldedWindowWeights.of(module)

    def in_heads(projected: str) -> str:
        return w.reshape(projected, area, -1, module.heads, channels // module.heads)

    query = in_heads(w.linear(tokens, weights.query, weights.query_bias))
    key, value = in_heads(w.linear(tokens, weights.key)), in_heads(w.linear(tokens, weights.value))
    scores = w.op("FusedMatMul", query, key, domain=MICROSOFT, transB=1, transBatchA=1, transBatchB=1)
    shares = w.op("Softmax", w.op("Add", scores, score_bias), axis=-1)
    attended = w.op("FusedMatMul", shares, value, domain=MICROSOFT, transBatchB=1)
    return w.reshape(w.transpose(attended, 2, 0, 1, 3), area, -1, channels), weights.output_bias


def _rearranged(w: GraphWriter, tokens: str, places: str, channels: int) -> str:
    return w.op("Gather", w.reshape(tokens, -1, channels), places, axis=0)


def _patch_merging(
    w: GraphWriter, module: PatchMerging, tokens: str, grid: StageGrid, even: bool
) -> tuple[str, StageGrid]:
    merged, channels = grid.halved(), module.reduction.in_features
    places, is_cell = grid.fours_of(merged, even)
    fours = _rearranged(w, tokens, places, channels // 4)
    if is_cell is not None:
        fours = w.op("Mul", fours, is_cell)
    return w.linear(w.layer_norm(w.reshape(fours, 0, 0, channels), module.norm), module.reduction.weight), merged
