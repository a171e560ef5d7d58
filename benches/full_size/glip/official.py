"""The baseline: what official GLIP computes, in today's PyTorch.

Two things set it apart from `glip_torch`: every prompt is padded to 256 tokens, and the bi-attention is in its plain
form, which projects all N image tokens to 2048 channels three times. Everything else is the same modules with the same
weights, so that the two must agree (`agreement.py` compares them before anything is timed).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_torch.fusion import SCORE_LIMIT, BiAttention
from glip_torch.model import GLIP

#: Tokens that every prompt is padded to.
PADDED_TOKENS = 256
#: Added to the scores of padding before the softmax over the words.
PADDING_SCORE = -9e15


def make_official(model: GLIP) -> None:
    """Puts plain bi-attention in the place of ours, with the same weights."""
    for layer in model.tower.layers:
        layer.fusion = PlainBiAttention(layer.fusion)


def pad_text(input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both padded with zeros, which is BERT's padding token and the mask of padding."""
    padding = (0, PADDED_TOKENS - input_ids.shape[1])
    return F.pad(input_ids, padding), F.pad(attention_mask, padding)


class PlainBiAttention(nn.Module):
    """Bi-attention with queries and values of every image token, and scores `[batch * heads, N, words]`."""

    def __init__(self, ours: BiAttention):
        super().__init__()
        self.weights = ours

    def forward(self, levels: list[Tensor], hidden: Tensor, attention_mask: Tensor) -> tuple[list[Tensor], Tensor]:
        image = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        image = self.weights.layer_norm_v(image)
        text = self.weights.layer_norm_l(hidden)
        image_update, text_update = self.attend(image, text, attention_mask)
        image = image + self.weights.gamma_v * image_update
        text = text + self.weights.gamma_l * text_update
        sizes = [level.shape[2] * level.shape[3] for level in levels]
        pieces = image.transpose(1, 2).split(sizes, dim=2)
        return [piece.reshape(level.shape) for piece, level in zip(pieces, levels)], text

    def attend(self, image: Tensor, text: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.weights
        head_width = weights.v_proj.out_features // weights.heads
        queries = self._heads(weights.v_proj(image) * head_width**-0.5)
        keys = self._heads(weights.l_proj(text))
        image_values = self._heads(weights.values_v_proj(image))
        text_values = self._heads(weights.values_l_proj(text))

        scores = (queries @ keys.transpose(1, 2)).clamp(-SCORE_LIMIT, SCORE_LIMIT)
        over_image = scores.transpose(1, 2)
        over_image = over_image - over_image.amax(dim=-1, keepdim=True)
        over_image = over_image.clamp(-SCORE_LIMIT, SCORE_LIMIT).softmax(-1)
        padding = torch.zeros_like(attention_mask, dtype=scores.dtype).masked_fill(attention_mask == 0, PADDING_SCORE)
        over_words = (scores + padding.repeat_interleave(weights.heads, dim=0)[:, None]).softmax(-1)

        batch = image.shape[0]
        return (
            weights.out_v_proj(self._joined(over_words @ text_values, batch)),
            weights.out_l_proj(self._joined(over_image @ image_values, batch)),
        )

    def _heads(self, x: Tensor) -> Tensor:
        """`[batch, positions, embed]` to `[batch * heads, positions, embed / heads]`."""
        return x.unflatten(-1, (self.weights.heads, -1)).transpose(1, 2).flatten(0, 1).contiguous()

    def _joined(self, x: Tensor, batch: int) -> Tensor:
        return x.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)
