"""Attention of everything on one side to everything on another, in heads: BERT's, and that of Grounding DINO's text and queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .writer import MICROSOFT, GraphWriter


def write_attention(w: GraphWriter, module: nn.Module, asking: str, asked: str, values: str, mask: str | None) -> str:
    """What `asking [batch, n, width]`, looking at `asked`, takes from `values [batch, m, width]`, before the output layer.

    `mask`, `[batch, 1, 1 or n, m]`, is added to scores. On a GPU it has all n rows.
    """
    if not w.in_pieces:
        return _for_gpu(w, module, asking, asked, values, mask)
    heads, depth = module.num_attention_heads, module.attention_head_size
    scale = depth**-0.5

    def in_heads(states: str, weight: Tensor, bias: Tensor, *order: int) -> str:
        return w.transpose(w.reshape(w.linear(states, weight, bias), 0, 0, heads, depth), *order)

    query = in_heads(asking, module.query.weight * scale, module.query.bias * scale, 0, 2, 1, 3)
    key = in_heads(asked, module.key.weight, module.key.bias, 0, 2, 3, 1)
    value = in_heads(values, module.value.weight, module.value.bias, 0, 2, 1, 3)
    scores = w.op("MatMul", query, key)
    if mask is not None:
        scores = w.op("Add", scores, mask)
    attended = w.transpose(w.op("MatMul", w.op("Softmax", scores, axis=-1), value), 0, 2, 1, 3)
    return w.reshape(attended, 0, 0, heads * depth)


def _for_gpu(w: GraphWriter, module: nn.Module, asking: str, asked: str, values: str, mask: str | None) -> str:
    """By ONNX Runtime's operator, which takes the three biases in one."""
    parts = (asking, module.query), (asked, module.key), (values, module.value)
    projected = [w.linear(states, part.weight) for states, part in parts]
    bias = torch.cat([part.bias for _, part in parts])
    optional = [] if mask is None else ["", mask]
    return w.op(
        "MultiHeadAttention",
        *projected,
        w.weight("bias", bias),
        *optional,
        domain=MICROSOFT,
        num_heads=module.num_attention_heads,
    )
