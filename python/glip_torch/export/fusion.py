"""The tower as a graph: bi-attention with all projections on the words' side, text layers, convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..fusion import SCORE_LIMIT, BiAttention, Tower
from .decoupled import write_decoupled_output
from .modules import write_module
from .text_encoder import write_bert_layer, write_mask_of_layers, write_padding_mask
from .writer import GraphWriter


def write_tower(
    w: GraphWriter, tower: Tower, levels: list[str], hidden: str | None = None, attention_mask: str | None = None
) -> tuple[list[str], str | None]:
    """`levels`, each `[batch, channels, h, w]`, and `hidden [batch, tokens, width]`, both fused."""
    mask = write_padding_mask(w, attention_mask) if attention_mask is not None else None
    mask_of_layers = None
    if any(layer.text_layer is not None for layer in tower.layers):
        mask_of_layers = write_mask_of_layers(w, mask)
    for index, layer in enumerate(tower.layers):
        with w.scope(f"layer_{index + 1}"):
            if layer.fusion is not None:
                with w.scope("bi_attention"):
                    image, sizes = w.positions(levels)
                    image, hidden = write_bi_attention(w, layer.fusion, image, hidden, mask)
                    levels = w.levels(image, sizes, levels)
            if layer.text_layer is not None:
                with w.scope("text_layer"):
                    hidden = write_bert_layer(w, layer.text_layer.bert_layer, hidden, mask_of_layers)
            with w.scope("decoupled" if layer.dyconv is None else "dyconv"):
                levels = write_module(w, layer.convolution, levels)
    if tower.output is not None:
        with w.scope("output"):
            levels = write_decoupled_output(w, tower.output, levels)
    return levels, hidden


@dataclass(frozen=True)
class _FoldedWeights:
    """The projections of both sides of a product, multiplied in advance.

    With q = W_q v and k = W_k l, q.k = v.(W_q' W_k l): one matrix per head takes words straight to
    the width of the image. All are `[out, in]` and applied to words but for `to_text`.
    """

    key: Tensor  #: `[heads * image width, text width]`
    key_bias: Tensor
    score: Tensor  #: What a query's bias adds to each word's scores: `[heads, text width]`
    score_bias: Tensor
    value: Tensor  #: `[heads * image width, text width]`, the residual's factor included
    value_bias: Tensor
    to_text: Tensor  #: `[text width, heads * image width]`, the residual's factor included
    to_text_bias: Tensor

    @staticmethod
    def of(module: BiAttention) -> _FoldedWeights:
        heads = module.heads

        def rows(linear: nn.Linear) -> tuple[Tensor, Tensor]:
            """Of each head: `[heads, depth, in]` and `[heads, depth, 1]`."""
            weight = linear.weight.detach().double()
            return weight.unflatten(0, (heads, -1)), linear.bias.detach().double().reshape(heads, -1, 1)

        def columns(linear: nn.Linear) -> Tensor:
            """Of each head: `[heads, out, depth]`."""
            return linear.weight.detach().double().unflatten(1, (heads, -1)).transpose(0, 1)

        query, query_bias = rows(module.v_proj)
        key, key_bias = rows(module.l_proj)
        key, key_bias = key * key.shape[1] ** -0.5, key_bias * key.shape[1] ** -0.5
        text_value, text_value_bias = rows(module.values_l_proj)
        image_value, image_value_bias = rows(module.values_v_proj)
        to_image, to_text = columns(module.out_v_proj), columns(module.out_l_proj)
        gamma_v, gamma_l = module.gamma_v.detach().double(), module.gamma_l.detach().double()
        # A head's weights sum to one, so the output's bias may as well be in every word's value.
        image_bias = gamma_v * module.out_v_proj.bias.detach().double() / heads
        value_bias = gamma_v * (to_image @ text_value_bias)[..., 0] + image_bias
        to_text_bias = (to_text @ image_value_bias).sum(0)[:, 0] + module.out_l_proj.bias.detach().double()
        return _FoldedWeights(
            key=(query.transpose(1, 2) @ key).flatten(0, 1),
            key_bias=(query.transpose(1, 2) @ key_bias).flatten(),
            score=(query_bias.transpose(1, 2) @ key)[:, 0],
            score_bias=(query_bias.transpose(1, 2) @ key_bias).flatten(),
            value=(gamma_v[:, None] * (to_image @ text_value)).flatten(0, 1),
            value_bias=value_bias.flatten(),
            to_text=gamma_l[:, None] * (to_text @ image_value).transpose(0, 1).flatten(1),
            to_text_bias=gamma_l * to_text_bias,
        )


def write_bi_attention(
    w: GraphWriter, module: BiAttention, image: str, hidden: str, mask: str, image_mask: str | None = None
) -> tuple[str, str]:
    """`image [batch, positions, width]` and `hidden [batch, tokens, width]`, each told of the other.

    `image_mask [1, 1, positions]` is added to the scores of what words see, if not all positions are of an image.
    """
    weights, heads = _FoldedWeights.of(module), module.heads
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
