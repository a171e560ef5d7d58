"""A layer of BERT for a GPU: seven nodes, ONNX Runtime's own."""

from __future__ import annotations

import torch
from transformers.models.bert.modeling_bert import BertLayer

from ..writer import GraphWriter


def write_mask_rows(w: GraphWriter, padding_mask: str, rows: str) -> str:
    """The mask `[batch, 1, 1, tokens]` for each of so many that ask, `[batch, 1, rows, tokens]`."""
    return w.op("Expand", padding_mask, w.shape(1, 1, rows, 1))


def write_square_mask(w: GraphWriter, padding_mask: str) -> str:
    """The mask for every token."""
    return write_mask_rows(w, padding_mask, w.size(padding_mask, 3))


def write_bert_layer(w: GraphWriter, module: BertLayer, hidden: str, mask: str) -> str:
    """One layer over `hidden [batch, tokens, width]`; `mask [batch, 1, tokens, tokens]` is added to scores."""
    attention, output, heads = module.attention, module.output, module.attention.self.num_attention_heads
    parts = attention.self.query, attention.self.key, attention.self.value
    weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
    with w.scope("attention"):
        attended = w.linear(w.attention(hidden, weight, bias, heads, mask), attention.output.dense.weight)
        hidden = w.skip_layer_norm(attended, hidden, attention.output.LayerNorm, attention.output.dense.bias)
    with w.scope("mlp"):
        inner = w.bias_gelu(w.linear(hidden, module.intermediate.dense.weight), module.intermediate.dense.bias)
        return w.skip_layer_norm(w.linear(inner, output.dense.weight), hidden, output.LayerNorm, output.dense.bias)
