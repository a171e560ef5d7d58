"""BERT as a graph: the text encoder, and the layers of it that the fusion tower has."""

from __future__ import annotations

import torch
from transformers.models.bert.modeling_bert import BertEmbeddings, BertLayer, BertModel

from ..text_encoder import TextEncoder
from .attention import write_attention
from .gpu.bert import write_bert_layer as write_bert_layer_for_gpu
from .gpu.bert import write_square_mask
from .writer import GraphWriter


def write_text_encoder(w: GraphWriter, module: TextEncoder, input_ids: str, attention_mask: str) -> tuple[str, str]:
    """Ids and mask `[batch, tokens]` to `hidden, embedded [batch, tokens, width]`."""
    positions = None
    if hasattr(module, "boundaries"):
        with w.scope("phrases"):
            mask, positions = _phrase_blocks(w, module.boundaries, input_ids)
    else:
        mask = write_padding_mask(w, attention_mask)
        mask = mask if w.in_pieces else write_square_mask(w, mask)
    hidden = write_bert(w, module.bert, input_ids, mask, positions)
    return hidden, write_masked_padding(w, hidden, attention_mask)


def write_bert(w: GraphWriter, module: BertModel, input_ids: str, mask: str, positions: str | None = None) -> str:
    """The last states `[batch, tokens, width]`; `mask [batch, 1, 1 or tokens, tokens]` is added to scores, and
    `positions [batch, tokens]` are given if they do not simply rise."""
    with w.scope("embeddings"):
        hidden = _embed(w, module.embeddings, input_ids, positions)
    for index, layer in enumerate(module.encoder.layer):
        with w.scope(f"layer_{index + 1}"):
            hidden = write_bert_layer(w, layer, hidden, mask)
    return hidden


def write_block_mask(w: GraphWriter, block_mask: str) -> str:
    """What to add to attention scores, `[batch, 1, tokens, tokens]`, for who may see whom, `[batch, tokens, tokens]`."""
    hidden = w.op("Mul", w.cast(w.op("Not", block_mask), w.dtype), w.scalar(w.lowest))
    return w.op("Unsqueeze", hidden, w.ints(1))


def write_padding_mask(w: GraphWriter, attention_mask: str) -> str:
    """What to add to attention scores, `[batch, 1, 1, tokens]`."""
    padding = w.op("Sub", w.scalar(1.0), w.cast(attention_mask, w.dtype))
    return w.op("Unsqueeze", w.op("Mul", padding, w.scalar(w.lowest)), w.ints(1, 2))


def write_masked_padding(w: GraphWriter, states: str, attention_mask: str) -> str:
    """The states, zero where there is padding."""
    return w.op("Mul", states, w.op("Unsqueeze", w.cast(attention_mask, w.dtype), w.ints(2)))


def _phrase_blocks(w: GraphWriter, boundaries: torch.Tensor, input_ids: str) -> tuple[str, str]:
    """What to add to attention scores `[batch, 1, tokens, tokens]`, and positions `[batch, tokens]`: see `phrase_blocks`."""
    ids = w.op("Unsqueeze", input_ids, w.ints(2))
    is_boundary = w.op("Equal", ids, w.ints(*boundaries.tolist()))
    is_boundary = w.op("ReduceMax", w.cast(is_boundary, torch.int64), w.ints(2), keepdims=0)  # [batch, tokens]
    phrase = w.op("CumSum", is_boundary, w.index(1))
    # Boundaries get numbers that no other token has: those of their places, below zero.
    place = w.op("Neg", w.op("Add", w.range(w.size(input_ids, 1)), w.ints(1)))
    block = w.op("Where", w.cast(is_boundary, torch.bool), place, phrase)
    rows, columns = w.op("Unsqueeze", block, w.ints(2)), w.op("Unsqueeze", block, w.ints(1))
    seen = w.op("Equal", rows, columns)
    # Lower triangle without the diagonal: what stands before.
    before = w.op("Trilu", w.cast(seen, torch.int64), w.index(-1), upper=0)
    positions = w.op("ReduceSum", before, w.ints(2), keepdims=0)
    return write_block_mask(w, seen), positions


def _embed(w: GraphWriter, module: BertEmbeddings, input_ids: str, positions: str | None = None) -> str:
    """`positions [batch, tokens]` if they do not simply rise."""
    words = w.op("Gather", w.weight("words", module.word_embeddings.weight), input_ids, axis=0)
    # All tokens are of the first type, whose embedding goes into that of the positions.
    places = module.position_embeddings.weight + module.token_type_embeddings.weight[0]
    if positions is None:
        places = w.op("Slice", w.weight("positions", places), w.ints(0), w.size(input_ids, 1), w.ints(0))
    else:
        places = w.op("Gather", w.weight("positions", places), positions, axis=0)
    return w.layer_norm(w.op("Add", words, places), module.LayerNorm)


def write_bert_layer(w: GraphWriter, module: BertLayer, hidden: str, mask: str) -> str:
    """One layer over `hidden [batch, tokens, width]`; `mask [batch, 1, 1 or tokens, tokens]` is added to scores.

    On a GPU the mask has a row for every token.
    """
    if not w.in_pieces:
        return write_bert_layer_for_gpu(w, module, hidden, mask)
    attention, output = module.attention, module.output
    with w.scope("attention"):
        attended = write_attention(w, attention.self, hidden, hidden, hidden, mask)
        attended = w.linear(attended, attention.output.dense.weight, attention.output.dense.bias)
        hidden = w.layer_norm(w.op("Add", attended, hidden), attention.output.LayerNorm)
    with w.scope("mlp"):
        inner = w.gelu(w.linear(hidden, module.intermediate.dense.weight, module.intermediate.dense.bias))
        inner = w.linear(inner, output.dense.weight, output.dense.bias)
        return w.layer_norm(w.op("Add", inner, hidden), output.LayerNorm)
