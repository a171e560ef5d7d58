"""Bi-attention for a GPU: all that is made of the words in one product, in the order in which the image's reads it."""

from __future__ import annotations

import torch

from ...fusion import SCORE_LIMIT, BiAttention
from ..folded import FoldedWeights
from ..writer import GraphWriter


def write_bi_attention(w: GraphWriter, module: BiAttention, image: str, hidden: str, mask: str) -> tuple[str, str]:
    """`image [batch, positions, width]` and `hidden [batch, tokens, width]`, each told of the other."""
    weights, heads, width = FoldedWeights.of(module), module.heads, module.v_proj.in_features
    states = image
    image, text = w.layer_norm(image, module.layer_norm_v), w.layer_norm(hidden, module.layer_norm_l)
    # Both residuals start from the normalised states, unless they are gated.
    residuals = (states, hidden) if module.gated else (image, text)

    with w.scope("words"):

        def by_width(rows: torch.Tensor) -> torch.Tensor:
            """Rows `[heads * width, ...]` with the heads inside."""
            return rows.unflatten(0, (heads, width)).transpose(0, 1).flatten(0, 1)

        weight = torch.cat([by_width(weights.key), by_width(weights.value), weights.score])
        bias = torch.cat([by_width(weights.key_bias), by_width(weights.value_bias), weights.score_bias])
        made = w.to_channels(text, weight, bias)
        keys, values, bias = w.split(made, (heads * width, heads * width, heads), axis=1)
        keys, values = (w.reshape(part, 0, width, -1) for part in (keys, values))  # [batch, width, heads * tokens]
        bias = w.op("Add", w.op("Unsqueeze", bias, w.ints(1)), mask)
    with w.scope("scores"):
        scores = w.op("MatMul", image, keys)  # [batch, positions, heads * tokens]
        if w.half:
            # What half overflows to must stay a number; in float32 the limit is out of reach.
            scores = w.op("Clip", scores, w.scalar(-SCORE_LIMIT), w.scalar(SCORE_LIMIT))
    with w.scope("to_image"):
        biased = w.op("Add", w.reshape(scores, 0, 0, heads, -1), bias)
        attention = w.reshape(w.op("Softmax", biased, axis=-1), 0, 0, -1)
        image_out = w.op("Add", residuals[0], w.dot(attention, values))
    with w.scope("to_text"):
        attention = w.op("Softmax", w.transpose(scores, 0, 2, 1), axis=-1)
        seen = w.reshape(w.op("MatMul", attention, image), 0, heads, -1, width)
        seen = w.reshape(w.transpose(seen, 0, 2, 1, 3), 0, 0, heads * width)
        told = w.linear(seen, weights.to_text)
        text_out = w.op("Sum", told, w.weight("bias", weights.to_text_bias), residuals[1])
    return image_out, text_out
