"""Deep fusion: the tower in which image and words look at each other before every convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import FusionConfig, GLIPConfig
from .decoupled import DecoupledConv, DecoupledOutput
from .dyconv import DyConv
from .text_encoder import TextLayer

#: Attention scores are clamped to this, as the released models were trained with.
SCORE_LIMIT = 50000.0


class Tower(nn.Module):
    """`levels`, each `[batch, channels, h, w]`, and text states `[batch, tokens, width]`, both fused.

    Without fusion the text passes through untouched.
    """

    def __init__(self, config: GLIPConfig):
        super().__init__()
        last = config.tower_layers - 1
        self.layers = nn.ModuleList(
            TowerLayer(
                config, index, text_layer=index < last or (config.fusion is not None and config.fusion.fused_text)
            )
            for index in range(config.tower_layers)
        )
        self.output = DecoupledOutput(config.fused_channels, len(config.strides)) if config.decoupled else None

    def forward(
        self, levels: list[Tensor], hidden: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor | None]:
        for layer in self.layers:
            levels, hidden = layer(levels, hidden, attention_mask)
        return levels if self.output is None else self.output(levels), hidden


class TowerLayer(nn.Module):
    """Fusion, if there is any, and one convolution block: DyConv, or a layer of YOLOX's decoupled head."""

    def __init__(self, config: GLIPConfig, index: int, text_layer: bool):
        super().__init__()
        fusion, first = config.fusion, index == 0
        channels = config.channels if first else config.fused_channels
        gain = 0.0 if fusion is not None and fusion.gated else 1 / config.tower_layers
        self.fusion = None if fusion is None else BiAttention(channels, config.text.hidden_size, fusion, gain)
        has_text_layer = fusion is not None and not fusion.gated and text_layer
        self.text_layer = TextLayer(config.text) if has_text_layer else None
        self.dyconv = None if config.decoupled else DyConv(config.channels)
        self.decoupled = DecoupledConv(config.channels, len(config.strides), first) if config.decoupled else None

    def forward(
        self, levels: list[Tensor], hidden: Tensor | None, attention_mask: Tensor | None
    ) -> tuple[list[Tensor], Tensor | None]:
        if self.fusion is not None:
            levels, hidden = self.fusion(levels, hidden, attention_mask)
        if self.text_layer is not None:
            hidden = self.text_layer(hidden, attention_mask)
        return self.convolution(levels), hidden

    @property
    def convolution(self) -> DyConv | DecoupledConv:
        return self.dyconv if self.decoupled is None else self.decoupled


class BiAttention(nn.Module):
    """Bi-directional multi-head attention between all image tokens and all words (paper, section 3.2).

    The usual form projects every one of the N image tokens to 2048 channels, three times. Here the
    products are regrouped so that only the T words are ever projected: with q = W_q v and k = W_k l,
    q.k = v.(W_q' k), and a weighted sum of projected values is the projection of the weighted sum.
    The result is the same up to rounding, and no N x 2048 tensor exists. Where a head is narrower than the image's states, as
    in glip-nano, the usual form is less work, and training uses it.
    """

    def __init__(self, image_width: int, text_width: int, config: FusionConfig, gain: float):
        super().__init__()
        self.heads, self.gated = config.heads, config.gated
        self.layer_norm_v = nn.LayerNorm(image_width)
        self.layer_norm_l = nn.LayerNorm(text_width)
        self.v_proj = nn.Linear(image_width, config.embed_dim)
        self.l_proj = nn.Linear(text_width, config.embed_dim)
        self.values_v_proj = nn.Linear(image_width, config.embed_dim)
        self.values_l_proj = nn.Linear(text_width, config.embed_dim)
        self.out_v_proj = nn.Linear(config.embed_dim, image_width)
        self.out_l_proj = nn.Linear(config.embed_dim, text_width)
        self.gamma_v = nn.Parameter(torch.full((image_width,), gain))
        self.gamma_l = nn.Parameter(torch.full((text_width,), gain))
        for linear in (m for m in self.modules() if isinstance(m, nn.Linear)):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, levels: list[Tensor], hidden: Tensor, attention_mask: Tensor) -> tuple[list[Tensor], Tensor]:
        states = torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2)
        image, text = self.layer_norm_v(states), self.layer_norm_l(hidden)
        heads_are_narrow = self.v_proj.out_features // self.heads < self.v_proj.in_features
        updates = self.usual_updates if self.training and heads_are_narrow else self.regrouped_updates
        image_update, text_update = updates(image, text, attention_mask)
        # Updates are added to the *normalised* states, unless they are gated: so the released models were trained.
        states, hidden = (states, hidden) if self.gated else (image, text)
        image_out, text_out = states + self.gamma_v * image_update, hidden + self.gamma_l * text_update
        sizes = [level.shape[2] * level.shape[3] for level in levels]
        pieces = image_out.transpose(1, 2).split(sizes, dim=2)
        return [piece.reshape(level.shape) for piece, level in zip(pieces, levels)], text_out

    def usual_updates(self, image: Tensor, text: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attention between projected states, in both directions. Scores are not clamped."""
        queries, keys = self._heads(self.v_proj(image)), self._heads(self.l_proj(text))
        words, seen = self._heads(self.values_l_proj(text)), self._heads(self.values_v_proj(image))
        mask = attention_mask[:, None, None, :] > 0
        image_update = F.scaled_dot_product_attention(queries, keys, words, mask).transpose(1, 2).flatten(2)
        text_update = F.scaled_dot_product_attention(keys, queries, seen).transpose(1, 2).flatten(2)
        return self.out_v_proj(image_update), self.out_l_proj(text_update)

    def regrouped_updates(self, image: Tensor, text: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.scores(image, text)
        return self.image_update(scores, text, attention_mask), self.text_update(scores, image)

    def scores(self, image: Tensor, text: Tensor) -> Tensor:
        """Attention scores before any softmax, `[batch, image tokens, heads * words]`, head by head.

        Heads and words side by side make every product with the image one large matrix product.
        """
        keys = self._heads(self.l_proj(text)) * (self.l_proj.out_features // self.heads) ** -0.5
        query_weight = self.v_proj.weight.view(self.heads, -1, self.v_proj.in_features)
        query_bias = self.v_proj.bias.view(self.heads, -1, 1)
        bias = (keys @ query_bias).flatten(1)
        scores = image @ (keys @ query_weight).flatten(1, 2).transpose(1, 2) + bias[:, None]
        return scores.clamp(-SCORE_LIMIT, SCORE_LIMIT)

    def image_update(self, scores: Tensor, text: Tensor, attention_mask: Tensor) -> Tensor:
        """What the words say to each image token, `[batch, image tokens, image width]`."""
        padding = attention_mask[:, None, None, :] == 0
        scores = scores.unflatten(2, (self.heads, -1))
        weights = scores.masked_fill(padding, torch.finfo(scores.dtype).min).softmax(-1)
        values = self._heads(self.values_l_proj(text))
        out_weight = self.out_v_proj.weight.view(-1, self.heads, values.shape[-1]).permute(1, 2, 0)
        return weights.flatten(2) @ (values @ out_weight).flatten(1, 2) + self.out_v_proj.bias

    def text_update(self, scores: Tensor, image: Tensor) -> Tensor:
        """What the image says to each word, `[batch, words, text width]`. Padding is not masked here."""
        weights = scores.softmax(1).transpose(1, 2)
        value_weight = self.values_v_proj.weight.view(self.heads, -1, self.values_v_proj.in_features)
        value_bias = self.values_v_proj.bias.view(self.heads, 1, -1)
        seen = (weights @ image).unflatten(1, (self.heads, -1))
        values = seen @ value_weight.transpose(1, 2) + value_bias
        return self.out_l_proj(values.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """`[batch, words, embed]` to `[batch, heads, words, embed / heads]`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
