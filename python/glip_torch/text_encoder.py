"""Text encoder: BERT, and the one further BERT layer that each fused tower layer has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertLayer

from .config import TextConfig


class TextEncoder(nn.Module):
    """`input_ids, attention_mask [batch, tokens]` to `hidden, embedded [batch, tokens, width]`.

    `hidden` is the last layer's output; `embedded` is the same with padding set to zero.
    """

    def __init__(self, config: TextConfig):
        super().__init__()
        self.bert = BertModel(bert_config(config), add_pooling_layer=False)
        if config.boundaries:
            # A buffer, since a checkpoint must tell of it.
            self.register_buffer("boundaries", torch.tensor(config.boundaries))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        if hasattr(self, "boundaries"):
            seen, positions = phrase_blocks(input_ids, self.boundaries)
            # [batch, 1, tokens, tokens], as BERT takes masks that differ from token to token.
            mask = (1 - seen[:, None].to(self.bert.dtype)) * torch.finfo(self.bert.dtype).min
            states = self.bert(input_ids=input_ids, attention_mask=mask, position_ids=positions)
        else:
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask)
        hidden = states.last_hidden_state
        return hidden, mask_padding(hidden, attention_mask)


def phrase_blocks(input_ids: Tensor, boundaries: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens each sees `[batch, tokens, tokens]`, and where each stands in its phrase `[batch, tokens]`.

    A boundary sees itself alone, every other token all of its phrase. Padding is no boundary, and follows the last one.
    """
    is_boundary = torch.isin(input_ids, boundaries)
    phrase = is_boundary.long().cumsum(1)
    same = (phrase[:, :, None] == phrase[:, None, :]) & ~is_boundary[:, :, None] & ~is_boundary[:, None, :]
    positions = same.long().tril(-1).sum(2)
    return same | torch.eye(input_ids.shape[1], dtype=torch.bool, device=input_ids.device), positions


class TextLayer(nn.Module):
    """One BERT layer over text states `[batch, tokens, width]`."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.bert_layer = BertLayer(bert_config(config))

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        padding = 1 - attention_mask[:, None, None, :].to(hidden.dtype)
        states = self.bert_layer(hidden, attention_mask=padding * torch.finfo(hidden.dtype).min)
        return states[0] if isinstance(states, tuple) else states


def mask_padding(states: Tensor, attention_mask: Tensor) -> Tensor:
    return states * attention_mask[..., None].to(states.dtype)


def bert_config(config: TextConfig) -> BertConfig:
    return BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_positions,
        attn_implementation="eager",
    )
