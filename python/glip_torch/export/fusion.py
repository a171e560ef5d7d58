"""The tower as a graph: bi-attention with all projections on the words' side, text layers, convolutions."""

from __future__ import annotations

from ..fusion import SCORE_LIMIT, BiAttention, Tower
from .decoupled import write_decoupled_output
from .folded import FoldedWeights
from .gpu.bi_attention import write_bi_attention as write_bi_attention_for_gpu
from .gpu.tower import write_tower as write_tower_for_gpu
from .modules import write_module
from .pyramid import Pyramid
from .text_encoder import write_bert_layer, write_padding_mask
from .writer import GraphWriter


def write_tower(
    w: GraphWriter, tower: Tower, levels: list[str], hidden: str | None = None, attention_mask: str | None = None
) -> tuple[list[str], str | None]:
    """`levels`, each `[batch, channels, h, w]`, and `hidden [batch, tokens, width]`, both fused."""
    mask = write_padding_mask(w, attention_mask) if attention_mask is not None else None
    if not w.in_pieces:
        return write_tower_for_gpu(w, tower, levels, hidden, mask)
    pyramid = Pyramid.of(w, levels)
    for index, layer in enumerate(tower.layers):
        with w.scope(f"layer_{index + 1}"):
            if layer.fusion is not None:
                with w.scope("bi_attention"):
                    image, hidden = write_bi_attention(w, layer.fusion, pyramid.positions, hidden, mask)
                    pyramid = pyramid.with_positions(image)
            if layer.text_layer is not None:
                with w.scope("text_layer"):
                    hidden = write_bert_layer(w, layer.text_layer.bert_layer, hidden, mask)
            with w.scope("decoupled" if layer.dyconv is None else "dyconv"):
                pyramid = write_module(w, layer.convolution, pyramid)
    if tower.output is None:
        return pyramid.maps, hidden
    with w.scope("output"):
        return write_decoupled_output(w, tower.output, pyramid.maps), hidden


def write_bi_attention(
    w: GraphWriter, module: BiAttention, image: str, hidden: str, mask: str, image_mask: str | None = None
) -> tuple[str, str]:
    """`image [batch, positions, width]` and `hidden [batch, tokens, width]`, each told of the other.

    `image_mask [1, 1, positions]` is added to the scores of what words see, if not all positions are of an image, as on a CPU.
    """
    if not w.in_pieces:
        return write_bi_attention_for_gpu(w, module, image, hidden, mask)
    weights, heads = FoldedWeights.of(module), module.heads
    image_width = module.v_proj.in_features
    states = image
    image, text = w.layer_norm(image, module.layer_norm_v), w.layer_norm(hidden, module.layer_norm_l)
    # Both residuals start from the normalised states, unless they are gated.
    residuals = (states, hidden) if module.gated else (image, text)

    with w.scope("scores"):
        keys = w.reshape(w.linear(text, weights.key, weights.key_bias), 0, 0, heads, image_width)
        keys = w.reshape(w.transpose(keys, 0, 3, 2, 1), 0, image_width, -1)
        scores = w.op("MatMul", image, keys)  # [batch, image tokens, heads * words]
        if w.half:
            # What half overflows to must stay a number; in float32 the limit is out of reach.
            scores = w.op("Clip", scores, w.scalar(-SCORE_LIMIT), w.scalar(SCORE_LIMIT))
    with w.scope("to_image"):
        # The image's queries have a bias, which counts here; over there, where every word's softmax runs over the
        # image, it adds the same to all.
        bias = w.transpose(w.linear(text, weights.score, weights.score_bias), 0, 2, 1)
        bias = w.op("Add", w.op("Unsqueeze", bias, w.ints(1)), mask)
        tokens = w.size(hidden, 1)
        biased = w.op("Add", w.reshape(scores, 0, 0, heads, tokens), bias)
        attention = w.op("Softmax", biased, axis=-1)
        values = w.reshape(w.linear(text, weights.value, weights.value_bias), 0, 0, heads, image_width)
        values = w.reshape(w.transpose(values, 0, 2, 1, 3), 0, -1, image_width)
        update = w.op("MatMul", w.reshape(attention, 0, 0, -1), values)
        image_out = w.op("Add", residuals[0], update)
    with w.scope("to_text"):
        scores = w.transpose(scores, 0, 2, 1)
        if image_mask is not None:
            scores = w.op("Add", scores, image_mask)
        attention = w.op("Softmax", scores, axis=-1)
        seen = w.reshape(w.op("MatMul", attention, image), 0, heads, -1, image_width)
        seen = w.reshape(w.transpose(seen, 0, 2, 1, 3), 0, 0, heads * image_width)
        text_out = w.op("Add", residuals[1], w.linear(seen, weights.to_text, weights.to_text_bias))
    return image_out, text_out
