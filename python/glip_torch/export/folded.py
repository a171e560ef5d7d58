"""Weights of attention as graphs have them: bi-attention's projections all on the words' side, and a window's scale and biases
where they cost nothing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..fusion import BiAttention
from ..image_encoder import WindowAttention


@dataclass(frozen=True)
class FoldedWeights:
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
    def of(module: BiAttention) -> FoldedWeights:
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
        return FoldedWeights(
            key=(query.transpose(1, 2) @ key).flatten(0, 1),
            key_bias=(query.transpose(1, 2) @ key_bias).flatten(),
            score=(query_bias.transpose(1, 2) @ key)[:, 0],
            score_bias=(query_bias.transpose(1, 2) @ key_bias).flatten(),
            value=(gamma_v[:, None] * (to_image @ text_value)).flatten(0, 1),
            value_bias=value_bias.flatten(),
            to_text=gamma_l[:, None] * (to_text @ image_value).transpose(0, 1).flatten(1),
            to_text_bias=gamma_l * to_text_bias,
        )


@dataclass(frozen=True)
class FoldedWindowWeights:
    """Of a window's attention: the scale of scores is in the queries, and of the biases only those that count are left."""

    query: Tensor
    query_bias: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    output_bias: Tensor

    @staticmethod
    def of(module: WindowAttention) -> FoldedWindowWeights:
        query, key, value = (part.double() for part in module.qkv.weight.chunk(3))
        # A key's bias adds the same to all of a query's scores: softmax does not see it.
        query_bias, _, value_bias = (part.double() for part in module.qkv.bias.chunk(3))
        scale = (module.proj.in_features // module.heads) ** -0.5
        output = module.proj.weight.double()
        # Weights sum to one, so a value's bias comes out as it went in, and goes into the output's.
        output_bias = module.proj.bias.double() + output @ value_bias
        return FoldedWindowWeights(query * scale, query_bias * scale, key, value, output, output_bias)
