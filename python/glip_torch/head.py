"""Heads: how well each anchor matches what is asked for, and where its box is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOGIT_LIMIT = 50000.0
#: Probability that an untrained head gives to every pair of anchor and word.
PRIOR = 0.01
PRIOR_LOGIT = -math.log((1 - PRIOR) / PRIOR)


@dataclass
class HeadOutput:
    """Raw outputs; anchors are all levels in order, row by row."""

    logits: Tensor  #: `[batch, anchors, tokens]`, before the sigmoid
    deltas: Tensor  #: `[batch, anchors, 4]`, box coder's dx, dy, dw, dh
    centerness: Tensor  #: `[batch, anchors]`, before the sigmoid


class Head(nn.Module):
    """Boxes and centerness, which do not depend on what is asked for; scores are what `align` of a subclass says."""

    def add_box_layers(self, channels: int, levels: int) -> None:
        self.bbox_pred = nn.Conv2d(channels, 4, 1)
        self.centerness = nn.Conv2d(channels, 1, 1)
        self.scales = nn.ParameterList(torch.ones(1) for _ in range(levels))
        for conv in (self.bbox_pred, self.centerness):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)

    def forward(self, levels: list[Tensor], asked: Tensor) -> HeadOutput:
        """`levels`, each `[batch, channels, h, w]`; `asked [batch, tokens, ...]`."""
        anchors = torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2)
        return HeadOutput(
            logits=self.align(anchors, asked),
            deltas=torch.cat(
                [
                    (self.bbox_pred(level) * scale).flatten(2).transpose(1, 2)
                    for level, scale in zip(levels, self.scales)
                ],
                dim=1,
            ),
            centerness=torch.cat([self.centerness(level).flatten(1) for level in levels], dim=1),
        )


class GroundingHead(Head):
    """Asked for with text states `[batch, tokens, text width]`."""

    def __init__(self, channels: int, text_width: int, levels: int):
        super().__init__()
        self.dot_product_projection_text = nn.Linear(text_width, channels)
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.bias_lang = nn.Parameter(torch.zeros(text_width))
        self.bias0 = nn.Parameter(torch.full((1,), PRIOR_LOGIT))
        self.add_box_layers(channels, levels)

    def align(self, anchors: Tensor, text: Tensor) -> Tensor:
        """Similarity of every anchor `[batch, anchors, channels]` and every word."""
        queries, bias = self.queries(text)
        return (anchors @ queries.transpose(1, 2) + bias[:, None, :]).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)

    def queries(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """What every word looks for, `[batch, tokens, channels]`, and its bias `[batch, tokens]`."""
        words = F.normalize(text, dim=-1, eps=1e-12)
        # Scaling the few words instead of the many logits.
        queries = self.dot_product_projection_text(words / 2) / self.log_scale.exp()
        return queries, words @ self.bias_lang + self.bias0
