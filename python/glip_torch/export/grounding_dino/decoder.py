"""From enhanced features to queries: which cells become queries, and what the decoder makes of them."""

from __future__ import annotations

import torch
from torch import nn

from ..gpu.bert import write_mask_rows
from ..text_encoder import write_padding_mask
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

#: A cell whose proposal lies beyond this on any side, or is larger or smaller, is not looked at.
BORDER = 0.01
#: The side of the finest level's proposals, relative to the image; each level doubles it.
PROPOSAL_SIDE = 0.05
#: What places that are certain are held off 0 and 1 by, so that they have a logit.
EPSILON = 1e-5
#: The logit of a proposal that is not looked at: its sigmoid is 1 to the last bit.
CERTAIN = 1e4


def write_decoder(
    w: GraphWriter, model: nn.Module, levels: list[str], text: str, attention_mask: str
) -> tuple[str, str]:
    """Logits `[batch, queries, tokens]` and boxes `[batch, queries, 4]`, which are centres and sizes relative to the image.

    `model` is the whole one: the last box and logits are its, the rest is its `model`'s.
    """
    inner, decoder = model.model, model.model.decoder
    grid = ImageGrid.of(w, levels)
    image, _ = w.positions(levels)
    padding = write_padding_mask(w, attention_mask)
    with w.scope("selection"):
        reference = _select(w, inner, image, text, padding, grid)
    queries = _queries(w, inner, reference)
    if not w.in_pieces:
        padding = write_mask_rows(w, padding, w.size(queries, 1))
    boxes = reference
    for index, layer in enumerate(decoder.layers):
        with w.scope(f"layer_{index + 1}"):
            boxes = reference  # of the last layer: those that entered it
            queries = _layer(w, layer, decoder.reference_points_head, queries, reference, image, text, padding, grid)
            if index + 1 < len(decoder.layers):
                with w.scope("boxes"):
                    reference = _moved(w, decoder.bbox_embed[index], queries, reference)
    with w.scope("output"):
        queries = w.layer_norm(queries, decoder.layer_norm)
        boxes = _moved(w, model.bbox_embed[-1], queries, boxes)
        return _logits(w, model.class_embed[-1], model.config.d_model, queries, text), boxes


def _select(w: GraphWriter, model: nn.Module, image: str, text: str, padding: str, grid: ImageGrid) -> str:
    """Boxes of the cells that fit any word best, best first, `[batch, queries, 4]` in float32.

    Of cells that fit equally well the first come first. All is float32, whatever the graph computes in: a query's place
    among the others decides which learned query it begins as, so that rounding here would change what is found.
    """
    image, text, padding = (w.as_float(value) for value in (image, text, padding))
    with w.in_float():
        proposals, is_inside = _proposals(w, grid)
        seen = w.op("Mul", image, w.cast(is_inside, torch.float32))
        seen = w.layer_norm(w.linear(seen, model.enc_output.weight, model.enc_output.bias), model.enc_output_norm)
        # A head's scale and bias would not change the order.
        fits = w.op("Add", w.dot(seen, text), w.op("Squeeze", padding, w.ints(1)))
        fits = w.op("ReduceMax", fits, w.ints(2), keepdims=0)
        count = w.op("Min", w.ints(model.config.num_queries), w.size(fits, 1))
        _, chosen = w.ops("TopK", fits, count, outputs=2, axis=1)
        seen = w.op("GatherND", seen, w.op("Unsqueeze", chosen, w.ints(2)), batch_dims=1)
        offsets = _perceptron(w, model.encoder_output_bbox_embed, seen)
        return w.op("Sigmoid", w.op("Add", offsets, w.op("Gather", proposals, chosen, axis=0)))


def _proposals(w: GraphWriter, grid: ImageGrid) -> tuple[str, str]:
    """A box at each cell, as logits `[cells, 4]` in float32, and whether it is well inside the image, `[cells, 1]`."""
    with w.in_float():
        sides = []
        for level, cells in enumerate(grid.cells):
            side = w.weight("side", torch.full((1, 2), PROPOSAL_SIDE * 2.0**level))
            sides.append(w.op("Expand", side, w.shape(cells, 2)))
        centres = w.op("Squeeze", grid.centres(w), w.ints(0))
        boxes = w.op("Concat", centres, w.op("Concat", *sides, axis=0), axis=1)
        inside = w.op("And", w.op("Greater", boxes, w.scalar(BORDER)), w.op("Less", boxes, w.scalar(1 - BORDER)))
        inside = w.op("ReduceMin", w.cast(inside, torch.int64), w.ints(1), keepdims=1)
        inside = w.cast(inside, torch.bool)
        # Those outside are 1/2 for a moment, so that no logarithm is infinite.
        boxes = w.op("Where", inside, boxes, w.scalar(0.5))
        return w.op("Where", inside, _log_odds(w, boxes), w.scalar(CERTAIN)), inside


def _queries(w: GraphWriter, model: nn.Module, reference: str) -> str:
    """What the queries begin as: the best cell always gets the first learned one, `[batch, queries, width]`."""
    learned = w.weight("queries", model.query_position_embeddings.weight)
    learned = w.op("Slice", learned, w.ints(0), w.size(reference, 1), w.ints(0))
    return w.op("Expand", learned, w.shape(w.size(reference, 0), 1, 1))


def _layer(
    w: GraphWriter,
    layer: nn.Module,
    places_head: nn.Module,
    queries: str,
    reference: str,
    image: str,
    text: str,
    padding: str,
    grid: ImageGrid,
) -> str:
    with w.scope("positions"):
        positions = _perceptron(w, places_head, _sines_of_boxes(w, reference, queries_width=layer.embed_dim))
    with w.scope("queries"):
        placed = w.op("Add", queries, positions)
        attended = write_attention_layer(w, layer.self_attn, placed, placed, queries, mask=None)
        queries = w.layer_norm(w.op("Add", queries, attended), layer.self_attn_layer_norm)
    with w.scope("text"):
        placed = w.op("Add", queries, positions)
        attended = write_attention_layer(w, layer.encoder_attn_text, placed, text, text, padding)
        queries = w.layer_norm(w.op("Add", queries, attended), layer.encoder_attn_text_layer_norm)
    with w.scope("image"):
        placed = w.op("Add", queries, positions)
        frame = _frame(w, reference, layer.encoder_attn.n_points)
        values = write_values(w, layer.encoder_attn, image, grid)
        attended = write_deformable_attention(w, layer.encoder_attn, placed, values, frame)
        queries = w.layer_norm(w.op("Add", queries, attended), layer.encoder_attn_layer_norm)
    return write_feed_forward(w, layer, queries, layer.final_layer_norm)


def _frame(w: GraphWriter, boxes: str, points: int) -> SamplingFrame:
    """Queries look around the centres of their boxes; offsets are in shares of a box's half sides."""
    with w.in_float():
        centres, sizes = w.split(SamplingFrame.placed(w, boxes), [2, 2], axis=-1)
        centres = w.op("Sub", w.op("Mul", centres, w.scalar(2.0)), w.scalar(1.0))
        return SamplingFrame(centres, [w.op("Div", sizes, w.scalar(float(points)))])


def _sines_of_boxes(w: GraphWriter, boxes: str, queries_width: int) -> str:
    """Those of y, x, width and height, side by side, `[batch, queries, 2 * width]`."""
    with w.in_float() as to_own:
        x, y, width, height = w.split(boxes, [1, 1, 1, 1], axis=2)
        sines = [write_sine(w, part, queries_width // 2, temperature=10000.0) for part in (y, x, width, height)]
        return to_own(w.op("Concat", *sines, axis=2))


def _perceptron(w: GraphWriter, module: nn.Module, states: str) -> str:
    """Linear layers with ReLU between."""
    for index, layer in enumerate(module.layers):
        states = w.linear(states if index == 0 else w.op("Relu", states), layer.weight, layer.bias)
    return states


def _moved(w: GraphWriter, module: nn.Module, queries: str, boxes: str) -> str:
    """Boxes (in float32, relative to the image) moved by what the queries say."""
    offsets = w.as_float(_perceptron(w, module, queries))
    with w.in_float():
        boxes = w.op("Clip", boxes, w.scalar(EPSILON), w.scalar(1 - EPSILON))
        return w.op("Sigmoid", w.op("Add", offsets, _log_odds(w, boxes)))


def _log_odds(w: GraphWriter, shares: str) -> str:
    return w.op("Log", w.op("Div", shares, w.op("Sub", w.scalar(1.0), shares)))


def _logits(w: GraphWriter, module: nn.Module, width: int, queries: str, text: str) -> str:
    """How well each query fits each token. What padding gets is of no use: no phrase has it."""
    bias = getattr(module, "bias", None)
    if bias is None:
        return w.dot(queries, text)
    # MM-Grounding-DINO's: scaled, and with a bias that makes what fits nothing unlikely.
    return w.op("Add", w.dot(queries, text, scale=width**-0.5), w.scalar(bias.item()))
