"""The grounding head as a graph."""

from __future__ import annotations

import torch

from ..head import LOGIT_LIMIT, GroundingHead
from .writer import GraphWriter


def write_head(w: GraphWriter, module: GroundingHead, levels: list[str], text: str) -> tuple[str, str, str]:
    """`levels`, each `[batch, channels, h, w]`, and `text [batch, tokens, width]` to logits, deltas, centerness."""
    anchors, sizes = w.positions(levels)
    logits = _align(w, module, anchors, text)
    with w.scope("boxes"):
        # Box deltas and centerness are 1 x 1 convolutions: one product with every anchor.
        weight = torch.cat([module.bbox_pred.weight, module.centerness.weight]).flatten(1)
        bias = torch.cat([module.bbox_pred.bias, module.centerness.bias])
        deltas, centerness = w.split(w.linear(anchors, weight, bias), (4, 1), axis=2)
        scales = [
            w.op("Expand", w.weight("scale", scale.view(1, 1)), w.shape(size, 1))
            for scale, size in zip(module.scales, sizes)
        ]
        deltas = w.op("Mul", deltas, w.op("Concat", *scales, axis=0))
    return logits, deltas, w.op("Squeeze", centerness, w.ints(2))


def _align(w: GraphWriter, module: GroundingHead, anchors: str, text: str) -> str:
    """Similarity of every anchor `[batch, anchors, channels]` and every word."""
    with w.scope("align"):
        norm = w.op("Max", w.op("ReduceL2", text, w.ints(-1), keepdims=1), w.scalar(1e-12 if not w.half else 1e-7))
        words = w.op("Div", text, norm)
        projection, scale = module.dot_product_projection_text, module.log_scale.double().exp()
        queries = w.linear(words, projection.weight / (2 * scale), projection.bias / scale)
        bias = w.linear(words, module.bias_lang[None], module.bias0)  # [batch, tokens, 1]
        logits = w.op("MatMul", anchors, w.transpose(queries, 0, 2, 1))
        logits = w.op("Add", logits, w.transpose(bias, 0, 2, 1))
        return w.op("Clip", logits, w.scalar(-LOGIT_LIMIT), w.scalar(LOGIT_LIMIT))
