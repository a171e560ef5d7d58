"""The image encoder as a graph: Swin on rows of tokens, and the feature pyramid.

Tokens stay one list, row by row of the image, `[batch * tokens, channels]`. Cutting it into windows,
padding and cyclic shift included, is one Gather with computed indices, and so is the way back. Blocks
work on a few windows (or tokens) at a time: a whole stage's scores and hidden layers are many times a
CPU's cache. Each block is a function, so that glip-rs can take an operator of its own instead; ONNX Runtime
computes what several have in common, such as indices, once. On a GPU Swin is written otherwise: `gpu/swin.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..image_encoder import (
    SHIFT_MASK_VALUE,
    FeaturePyramidNetwork,
    ImageEncoder,
    PatchEmbed,
    PatchMerging,
    Swin,
    SwinBlock,
    SwinStage,
    WindowAttention,
)
from .folded import FoldedWindowWeights
from .gpu.swin import Windowed
from .gpu.swin import write_swin as write_swin_for_gpu
from .writer import MICROSOFT, GraphWriter

#: Numbers in the tokens of the windows that are worked on at a time: 0.6 MB, a part of what a core's cache holds.
PIECE = 32 * 49 * 96


@dataclass(frozen=True)
class Grid:
    """The sizes of one stage's feature map, as values of the graph."""

    batch: str
    height: str
    width: str
    tokens: str  #: height * width
    all_tokens: str  #: batch * tokens

    @staticmethod
    def of(w: GraphWriter, batch: str, height: str, width: str) -> Grid:
        tokens = w.product(height, width)
        return Grid(batch, height, width, tokens, w.product(batch, tokens))

    def halved(self, w: GraphWriter) -> Grid:
        two = w.ints(2)
        return Grid.of(w, self.batch, w.ratio(self.height, two), w.ratio(self.width, two))

    def first_tokens(self, w: GraphWriter) -> str:
        """Where each image of the batch begins in the list of tokens, `[batch]`."""
        return w.op("Mul", w.range(self.batch), w.placed(self.tokens))


@dataclass(frozen=True)
class Rows:
    """What a stage gives: its tokens row by row, and their grid."""

    tokens: str
    grid: Grid

    def as_map(self, w: GraphWriter) -> str:
        """`[batch, channels, h, w]`."""
        grid = self.grid
        return w.transpose(w.reshape(self.tokens, grid.batch, grid.height, grid.width, -1), 0, 3, 1, 2)

    def projected(self, w: GraphWriter, module: torch.nn.Conv2d) -> str:
        """What the 1 x 1 convolution gives, on tokens, whose channels only then come first."""
        grid = self.grid
        rows = w.linear(self.tokens, module.weight.flatten(1), module.bias)
        rows = w.transpose(w.reshape(rows, grid.batch, -1, module.out_channels), 0, 2, 1)
        return w.reshape(rows, grid.batch, module.out_channels, grid.height, grid.width)


def write_image_encoder(w: GraphWriter, module: ImageEncoder, pixels: str) -> list[str]:
    """`pixels [batch, 3, height, width]` to the five levels, `[batch, channels, h, w]`."""
    with w.scope("swin"):
        stages = write_swin(w, module.swin, pixels, even=True)
    with w.scope("fpn"):
        return _feature_pyramid(w, module.fpn, stages)


def write_swin(w: GraphWriter, swin: Swin, pixels: str, even: bool) -> list[Rows] | list[Windowed]:
    """What comes out of the stages in `swin.outputs`.

    `even` promises sides that are halved without a rest at every merging; it spares copies of the tokens.
    """
    if not w.in_pieces:
        return write_swin_for_gpu(w, swin, pixels, even)
    with w.scope("patch_embed"):
        tokens, grid = _patch_embed(w, swin.patch_embed, pixels)
    outputs = []
    for index, stage in enumerate(swin.stages):
        with w.scope(f"stage_{index + 1}"):
            tokens = _blocks(w, stage, tokens, grid, halvings=len(swin.stages) - 1 - index if even else 0)
            if index in swin.outputs:
                outputs.append(Rows(w.layer_norm(tokens, swin.norms[swin.outputs.index(index)]), grid))
            if stage.downsample is not None:
                with w.scope("merging"):
                    tokens, grid = _patch_merging(w, stage.downsample, tokens, grid, even)
    return outputs


def _patch_embed(w: GraphWriter, module: PatchEmbed, pixels: str) -> tuple[str, Grid]:
    # Three rows and columns more make the last patch whole; where it is, they are left out.
    patches = w.conv(pixels, module.proj, more_padding=3)
    grid = Grid.of(w, w.size(patches, 0), w.size(patches, 2), w.size(patches, 3))
    rows = w.transpose(w.reshape(patches, 0, 0, -1), 0, 2, 1)
    return w.layer_norm(w.reshape(rows, -1, module.proj.out_channels), module.norm), grid


@dataclass(frozen=True)
class Windows:
    """How the tokens of a grid go into windows and come back.

    In windows, tokens lie position by position: first the first token of every window, then the
    second of every window. ONNX Runtime's matrix product reads heads and windows in that order as
    they are, which spares three transposes.
    """

    into: str  #: for each place in a window, its token; what pads reads the row of zeros behind. `[pieces, area * windows]`
    back: str  #: for each token, its place in the windows, window by window. `[all_tokens]`
    mask: str | None  #: for attention scores, `[pieces, windows, 1, area, area]`; none without a shift


def _windows(w: GraphWriter, grid: Grid, size: int, shift: int, channels: str) -> Windows:
    """`shift` is that of the cyclic shift towards the top left."""
    counts = [w.op("Div", w.op("Add", length, w.ints(size - 1)), w.ints(size)) for length in (grid.height, grid.width)]
    into, back = _into_windows(w, grid, counts, size, shift), _back_from_windows(w, grid, counts, size, shift)
    mask = _shift_mask(w, grid.batch, counts, size, shift) if shift else None

    # As few pieces as can be, of one length: windows of nothing but padding are added for that.
    area = size * size
    windows = w.product(grid.batch, *counts)
    at_a_time = w.op("Max", w.op("Div", w.ints(PIECE // area), channels), w.ints(1))
    pieces = w.ratio(windows, at_a_time)
    length = w.ratio(windows, pieces)
    missing = w.op("Sub", w.op("Mul", pieces, length), windows)
    padding = w.op("Expand", grid.all_tokens, w.shape(area, missing))
    into = w.reshape(w.op("Concat", into, padding, axis=1), area, pieces, length)
    into = w.reshape(w.transpose(into, 1, 0, 2), pieces, -1)
    if mask is not None:
        padding = w.op("Expand", w.scalar(0.0), w.shape(missing, 1, area, area))
        mask = w.reshape(w.op("Concat", mask, padding, axis=0), pieces, length, 1, area, area)
    return Windows(into, back, mask)


def _into_windows(w: GraphWriter, grid: Grid, counts: list[str], size: int, shift: int) -> str:
    """For each place in a window and each of the `counts` windows, its token, `[area, windows]`."""
    tokens, all_tokens = w.placed(grid.tokens), w.placed(grid.all_tokens)
    rows, columns = counts
    # Along each axis: where each place of the padded, shifted image comes from, or past all tokens if it is padding.
    sources = []
    for length, count, step in ((grid.height, rows, w.placed(grid.width)), (grid.width, columns, w.ints(1))):
        padded = w.op("Mul", count, w.ints(size))
        source = w.op("Mod", w.op("Add", w.range(padded), w.ints(shift)), w.placed(padded))
        real = w.op("Less", source, w.placed(length))
        source = w.op("Where", real, w.op("Mul", source, step), tokens)
        sources.append(w.transpose(w.reshape(source, -1, size), 1, 0))
    places = w.op("Add", w.reshape(sources[0], size, 1, 1, rows, 1), w.reshape(sources[1], 1, size, 1, 1, columns))
    first = w.reshape(grid.first_tokens(w), 1, 1, -1, 1, 1)
    into = w.op("Where", w.op("Less", places, tokens), w.op("Add", places, first), all_tokens)
    return w.reshape(into, size * size, -1)


def _back_from_windows(w: GraphWriter, grid: Grid, counts: list[str], size: int, shift: int) -> str:
    """For each token its place, window by window, `[all_tokens]`."""
    area, side = w.ints(size * size), w.ints(size)
    rows, columns = counts
    # Along each axis: the sum of the beginning of a token's window and its place there.
    targets = []
    for length, count, window_step, place_step in (
        (grid.height, rows, w.placed(w.op("Mul", columns, area)), side),
        (grid.width, columns, area, w.ints(1)),
    ):
        padded = w.op("Mul", count, side)
        shifted = w.op("Add", w.range(length), w.placed(w.op("Sub", padded, w.ints(shift))))
        place = w.op("Mod", shifted, w.placed(padded))
        window = w.op("Mul", w.op("Div", place, side), window_step)
        targets.append(w.op("Add", window, w.op("Mul", w.op("Mod", place, side), place_step)))
    first = w.op("Mul", w.range(grid.batch), w.placed(w.op("Mul", w.product(rows, columns), area)))
    back = w.op(
        "Add",
        w.op("Add", w.reshape(targets[0], 1, -1, 1), w.reshape(targets[1], 1, 1, -1)),
        w.reshape(first, -1, 1, 1),
    )
    return w.reshape(back, -1)


def _shift_mask(w: GraphWriter, batch: str, counts: list[str], size: int, shift: int) -> str:
    """Keeps apart tokens from opposite ends of the image that the shift made neighbours."""
    regions = []
    for count in counts:
        padded = w.op("Mul", count, w.ints(size))
        place = w.range(padded)
        last = w.op("GreaterOrEqual", place, w.placed(w.op("Sub", padded, w.ints(size))))
        wrapped = w.op("GreaterOrEqual", place, w.placed(w.op("Sub", padded, w.ints(shift))))
        region = w.op("Add", w.cast(last, torch.int64), w.cast(wrapped, torch.int64))
        regions.append(region)
    rows, columns = counts
    region = w.op(
        "Add",
        w.reshape(w.op("Mul", regions[0], w.ints(3)), rows, 1, size, 1),
        w.reshape(regions[1], 1, columns, 1, size),
    )
    ones, other = w.reshape(region, 1, -1, 1, size * size, 1), w.reshape(region, 1, -1, 1, 1, size * size)
    mask = w.op("Where", w.op("Equal", ones, other), w.scalar(0.0), w.scalar(SHIFT_MASK_VALUE))
    mask = w.op("Expand", mask, w.shape(batch, 1, 1, 1, 1))
    return w.reshape(mask, -1, 1, size * size, size * size)


def _blocks(w: GraphWriter, stage: SwinStage, tokens: str, grid: Grid, halvings: int) -> str:
    """`halvings` is how many times the sides will be halved yet."""
    channels = stage.blocks[0].mlp.fc1.in_features
    size = w.shape(grid.batch, grid.height, grid.width)
    pieces = _pieces_of_tokens(w, grid, channels, halvings)
    for index, block in enumerate(stage.blocks):
        with w.scope(f"block_{index + 1}"):
            # ONNX Runtime does not know the shape of what an operator gives.
            tokens = w.reshape(write_block(w, block, tokens, size, pieces), -1, channels)
    return tokens


def write_block(w: GraphWriter, block: SwinBlock, tokens: str, size: str, pieces: str) -> str:
    """A function, for which glip-rs has an operator that takes a few windows through all of the block at a time.

    Those with a shift and those without are functions of two names, as the latter mask nothing.
    """
    body = SwinBlockFunction(block)
    name = f"{'Int8' if w.int8 else ''}{'Shifted' if block.shift else ''}SwinBlock"
    attributes = {"shift": block.shift, "epsilon": block.norm1.eps}
    return w.function(name, tokens, size, pieces, body=body.write, **attributes)


@dataclass(frozen=True)
class SwinBlockFunction:
    """A block by ONNX Runtime's operators: the same for blocks of any stage, whose sizes it takes from their weights."""

    block: SwinBlock

    def write(self, w: GraphWriter, tokens: str, size: str, pieces: str) -> str:
        """`size` is of batch, height and width, `pieces` into how many the MLP cuts the tokens."""
        block = self.block
        grid = Grid.of(w, *w.split(size, (1, 1, 1), axis=0))
        normed = w.layer_norm(tokens, block.norm1)
        channels = w.size(w.weight("weight", block.norm1.weight), 0)
        with w.scope("windows"):
            windows = _windows(w, grid, block.window, block.shift, channels)
        with w.scope("attention"):
            tokens = w.op("Add", tokens, _attention(w, block.attn, normed, windows, channels))
        with w.scope("mlp"):
            return _mlp(w, block, tokens, pieces, channels)


def _pieces_of_tokens(w: GraphWriter, grid: Grid, channels: int, halvings: int) -> str:
    """Into how many pieces the tokens go: a power of 4, since sides that can be halved make it one that divides them."""
    pieces = w.ints(1)
    for halving in range(halvings):
        large = w.op("Greater", grid.all_tokens, w.ints(4**halving * PIECE // channels))
        pieces = w.op("Where", large, w.ints(4 ** (halving + 1)), pieces)
    return pieces


def _mlp(w: GraphWriter, block: SwinBlock, tokens: str, pieces: str, channels: str) -> str:
    def body(piece: str) -> str:
        inner = w.layer_norm(piece, block.norm2)
        inner = w.gelu(w.linear(inner, block.mlp.fc1.weight, block.mlp.fc1.bias))
        return w.op("Add", piece, w.linear(inner, block.mlp.fc2.weight, block.mlp.fc2.bias))

    cut = w.reshape(tokens, pieces, -1, channels)
    return w.reshape(w.over_pieces(body, (cut, w.dtype)), -1, channels)


def _attention(w: GraphWriter, module: WindowAttention, tokens: str, windows: Windows, channels: str) -> str:
    area = module.window**2
    weights = FoldedWindowWeights.of(module)
    position_bias = module.relative_position_bias()
    # A row of zeros for padding to read.
    padding = w.op("Expand", w.scalar(0.0), w.shape(1, channels))
    tokens = w.op("Concat", tokens, padding, axis=0)

    def body(into: str, mask: str | None = None) -> str:
        places = w.op("Gather", tokens, into, axis=0)
        projected = [
            w.linear(places, weights.query, weights.query_bias),
            w.linear(places, weights.key),
            w.linear(places, weights.value),
        ]
        bias = w.weight("position_bias", position_bias)
        heads = w.size(bias, 0)
        in_heads = w.shape(area, -1, heads, w.op("Div", channels, heads))
        query, key, value = (w.op("Reshape", value, in_heads) for value in projected)
        scores = w.op("FusedMatMul", query, key, domain=MICROSOFT, transB=1, transBatchA=1, transBatchB=1)
        scores = w.op("Add", scores, bias)
        if mask is not None:
            scores = w.op("Add", scores, mask)
        shares = w.op("Softmax", scores, axis=-1)
        attended = w.op("FusedMatMul", shares, value, domain=MICROSOFT, transBatchB=1)
        attended = w.reshape(w.transpose(attended, 0, 2, 1, 3), -1, channels)
        return w.linear(attended, weights.output, weights.output_bias)

    sequences = [(windows.into, torch.int64)] + ([(windows.mask, w.dtype)] if windows.mask is not None else [])
    attended = w.reshape(w.over_pieces(body, *sequences), -1, channels)
    return w.op("Gather", attended, windows.back, axis=0)


def _patch_merging(w: GraphWriter, module: PatchMerging, tokens: str, grid: Grid, even: bool) -> tuple[str, Grid]:
    merged = grid.halved(w)
    channels = module.reduction.in_features
    all_tokens, first = w.placed(grid.all_tokens), w.reshape(grid.first_tokens(w), -1, 1, 1, 1, 1)
    places, is_real = _blocks_of_four(w, grid, merged, even)
    order = w.op("Add", places, first)
    if not even:
        # A row of zeros for padding to read.
        order = w.op("Where", is_real, order, all_tokens)
        tokens = w.op("Concat", tokens, w.weight("padding", torch.zeros(1, channels // 4)), axis=0)
    blocks = w.reshape(w.op("Gather", tokens, w.reshape(order, -1), axis=0), -1, channels)
    return w.linear(w.layer_norm(blocks, module.norm), module.reduction.weight), merged


def _blocks_of_four(w: GraphWriter, grid: Grid, merged: Grid, even: bool) -> tuple[str, str | None]:
    """The places of an image's tokens, `[1, h, w, 2, 2]`, those of each block of 2 x 2 column by column, which is the
    checkpoints' order; and which of them are there, unless all are."""
    two = w.ints(2)
    rows, columns = w.range(w.op("Mul", merged.height, two)), w.range(w.op("Mul", merged.width, two))

    def crossed(operator: str, of_rows: str, of_columns: str) -> str:
        return w.op(operator, w.reshape(of_rows, 1, -1, 1, 1, 2), w.reshape(of_columns, 1, 1, -1, 2, 1))

    places = crossed("Add", w.op("Mul", rows, w.placed(grid.width)), columns)
    if even:
        return places, None
    inside = [w.op("Less", along, w.placed(end)) for along, end in ((rows, grid.height), (columns, grid.width))]
    return places, crossed("And", *inside)


def _feature_pyramid(w: GraphWriter, module: FeaturePyramidNetwork, stages: list[Rows] | list[Windowed]) -> list[str]:
    levels: list[str] = []
    top = None
    for stage, lateral, output in reversed(list(zip(stages, module.lateral, module.output))):
        side = stage.projected(w, lateral)
        if top is not None:
            side = w.op("Add", side, w.enlarged(top))
        top = side
        levels.insert(0, w.conv(top, output))
    p6 = w.conv(levels[-1], module.p6)
    return [*levels, p6, w.conv(w.op("Relu", p6), module.p7)]
