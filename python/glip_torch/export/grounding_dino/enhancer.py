"""The feature enhancer: image and text look at each other and at themselves, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ...grounding_dino import bi_attention_of
from ..fusion import write_bi_attention
from ..text_encoder import write_block_mask, write_padding_mask
from ..writer import GraphWriter
from .layers import (
    ImageGrid,
    SamplingFrame,
    write_attention_layer,
    write_deformable_attention,
    write_feed_forward,
    write_sine,
    write_values,
)

#: Cells that are worked on at a time. Fewer make small products, which are slower than what the cache saves.
PIECE = 2048


def write_enhancer(
    w: GraphWriter,
    model: nn.Module,
    levels: list[str],
    hidden: str,
    attention_mask: str,
    position_ids: str,
    block_mask: str,
) -> tuple[list[str], str]:
    """Levels `[batch, width, h, w]` and words `[batch, tokens, width]`, both enhanced."""
    grid = ImageGrid.of(w, levels)
    image, cells = w.positions(levels)
    with w.scope("positions"):
        positions, centres = _image_positions(w, model, grid), _as_sampled(w, grid.centres(w))
        reach = [_one_cell(w, grid, level) for level in range(len(levels))]
        word_positions = _word_positions(w, position_ids, model.config.d_model)
    with w.scope("pieces"):
        pieces = Pieces.of(w, image)
        image, positions, centres = (pieces.filled(w, value) for value in (image, positions, centres))
        if not w.in_pieces:
            positions, centres = pieces.cut(w, positions), pieces.cut(w, centres)
    padding = write_padding_mask(w, attention_mask)
    blocks = write_block_mask(w, block_mask)
    for index, layer in enumerate(model.encoder.layers):
        with w.scope(f"layer_{index + 1}"):
            with w.scope("bi_attention"):
                fusion = bi_attention_of(layer.fusion_layer)
                image, hidden = write_bi_attention(w, fusion, image, hidden, padding, pieces.mask)
            with w.scope("text"):
                hidden = _text_layer(w, layer.text_enhancer_layer, hidden, word_positions, blocks)
            with w.scope("image"):
                image = _image_layer(w, layer.deformable_layer, image, positions, centres, reach, grid, pieces)
    counts = cells if pieces.rest is None else [*cells, pieces.rest]
    return w.levels(image, counts, [w.sides(level) for level in levels]), hidden


@dataclass(frozen=True)
class Pieces:
    """How the cells of an image go into pieces of one length, for which some rows of zeros follow them.

    A layer's hidden states and samples are many times a CPU's cache for a whole image, and fit it for a piece. On a GPU all
    is one piece, and everything here is None.
    """

    count: str | None
    length: str | None
    rest: str | None  #: How many rows are no cells.
    mask: str | None  #: What to add to scores so that nobody looks at them, `[1, 1, cells + rest]`.

    @staticmethod
    def of(w: GraphWriter, image: str) -> Pieces:
        if not w.in_pieces:
            return Pieces(None, None, None, None)
        cells = w.size(image, 1)
        count = w.ratio(cells, w.ints(PIECE))
        length = w.ratio(cells, count)
        rows = w.op("Mul", count, length)
        mask = w.op("Where", w.op("Less", w.range(rows), cells), w.scalar(0.0), w.scalar(w.lowest))
        return Pieces(count, length, w.op("Sub", rows, cells), w.reshape(mask, 1, 1, -1))

    def filled(self, w: GraphWriter, value: str) -> str:
        """`[batch, cells, width]` with the rest."""
        if self.rest is None:
            return value
        return w.op("Pad", value, w.op("Concat", w.ints(0, 0, 0, 0), self.rest, w.ints(0), axis=0))

    def cut(self, w: GraphWriter, value: str) -> str:
        """`[batch, rows, width]` to `[pieces, batch, length, width]`."""
        if self.rest is None:
            return w.op("Unsqueeze", value, w.ints(0))
        return w.transpose(w.op("Reshape", value, w.shape(0, self.count, self.length, -1)), 1, 0, 2, 3)

    def joined(self, w: GraphWriter, pieces: str) -> str:
        """The way back."""
        if self.rest is None:
            return w.op("Squeeze", pieces, w.ints(0))
        return w.reshape(w.transpose(pieces, 1, 0, 2, 3), 0, w.op("Mul", self.count, self.length), -1)


def _text_layer(w: GraphWriter, layer: nn.Module, hidden: str, positions: str, blocks: str) -> str:
    with w.scope("attention"):
        placed = w.op("Add", hidden, positions)
        attended = write_attention_layer(w, layer.self_attn, placed, placed, hidden, blocks)
        hidden = w.layer_norm(w.op("Add", hidden, attended), layer.layer_norm_before)
    return write_feed_forward(w, layer, hidden, layer.layer_norm_after)


def _image_layer(
    w: GraphWriter,
    layer: nn.Module,
    image: str,
    positions: str,
    centres: str,
    reach: list[str],
    grid: ImageGrid,
    pieces: Pieces,
) -> str:
    """On a CPU, attention is over all cells at once, and what follows it in pieces; on a GPU, all is over the one piece,
    which `positions` and `centres` are cut to already: all layers have the same."""
    values = write_values(w, layer.self_attn, image, grid, pieces.rest)

    def attention(image: str, positions: str, centres: str) -> str:
        frame = SamplingFrame.of_levels(w, SamplingFrame.placed(w, centres), reach)
        with w.scope("attention"):
            placed = w.op("Add", image, positions)
            return write_deformable_attention(w, layer.self_attn, placed, values, frame, PIECE)

    def rest(image: str, attended: str) -> str:
        with w.scope("attention"):
            image = w.layer_norm(w.op("Add", image, attended), layer.self_attn_layer_norm)
        return write_feed_forward(w, layer, image, layer.final_layer_norm)

    if w.in_pieces:
        attended = pieces.cut(w, attention(image, positions, centres))
        sequences = (pieces.cut(w, image), w.dtype), (attended, w.dtype)
        return pieces.joined(w, w.over_pieces(rest, *sequences))
    sequences = (pieces.cut(w, image), w.dtype), (positions, w.dtype), (centres, torch.float32)
    return pieces.joined(w, w.over_pieces(lambda image, *where: rest(image, attention(image, *where)), *sequences))


def _image_positions(w: GraphWriter, model: nn.Module, grid: ImageGrid) -> str:
    """Where each cell is on its level, and which level that is: `[1, cells, width]`."""
    embedding = model.backbone.position_embedding
    width = embedding.embedding_dim
    levels = []
    for level, (height, length) in enumerate(zip(grid.heights, grid.widths)):
        rows, columns = (_along(w, side, width, embedding.temperature) for side in (height, length))
        whole = w.shape(height, length, width)
        y = w.op("Expand", w.reshape(rows, -1, 1, width), whole)
        x = w.op("Expand", w.reshape(columns, 1, -1, width), whole)
        places = w.reshape(w.op("Concat", y, x, axis=2), 1, -1, 2 * width)
        levels.append(w.op("Add", places, w.weight("level", model.level_embed[level])))
    return w.op("Concat", *levels, axis=1)


def _along(w: GraphWriter, length: str, width: int, temperature: float) -> str:
    """Of each row or column, `[length, width]`; the last stands for a full turn."""
    with w.in_float() as to_own:
        places = w.op("Add", w.cast(w.range(length), torch.float32), w.scalar(1.0))
        end = w.op("Add", w.cast(w.placed(length), torch.float32), w.scalar(1e-6))
        turns = w.op("Unsqueeze", w.op("Div", places, end), w.ints(1))
        return to_own(write_sine(w, turns, width, temperature))


def _word_positions(w: GraphWriter, position_ids: str, width: int) -> str:
    """`[batch, tokens, width]`: here a turn is a token."""
    with w.in_float() as to_own:
        turns = w.op("Unsqueeze", w.cast(position_ids, torch.float32), w.ints(2))
        return to_own(write_sine(w, turns, width, temperature=10000.0))


def _as_sampled(w: GraphWriter, centres: str) -> str:
    """Places relative to the image in GridSample's measure."""
    with w.in_float():
        return w.op("Sub", w.op("Mul", centres, w.scalar(2.0)), w.scalar(1.0))


def _one_cell(w: GraphWriter, grid: ImageGrid, level: int) -> str:
    """The size of a level's cells in GridSample's measure, `[2]`."""
    with w.in_float():
        sides = w.op("Concat", w.placed(grid.widths[level]), w.placed(grid.heights[level]), axis=0)
        return w.op("Div", w.scalar(2.0), w.cast(sides, torch.float32))
