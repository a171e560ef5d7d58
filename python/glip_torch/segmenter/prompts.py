"""Prompts as the tokens that decoders of SAM's kind read."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PromptEmbedding(nn.Module):
    """Points and corners of boxes as tokens, as official's `PromptEncoder` makes them; which ones, their labels tell.

    -1 is padding, 0 beside the thing, 1 on it, 2 and 3 the corners of its box.
    """

    def __init__(self, gaussian: Tensor, labels: Tensor, padding: Tensor, image_size: int):
        super().__init__()
        self.register_buffer("gaussian", gaussian)  # [2, channels / 2]
        self.register_buffer("labels", labels)  # [4, channels]
        self.register_buffer("padding", padding)  # [1, channels]
        self.image_size = image_size

    def forward(self, coords: Tensor, labels: Tensor) -> Tensor:
        """`[prompts, points, 2]` in pixels of the network input, and `[prompts, points]`, to `[prompts, points, channels]`."""
        labels = labels.unsqueeze(-1)
        embedding = self.positions((coords + 0.5) / self.image_size)
        embedding = torch.where(labels == -1, self.padding, embedding)
        for index, vector in enumerate(self.labels):
            embedding = embedding + (labels == index) * vector
        return embedding

    def positions(self, shares: Tensor) -> Tensor:
        angles = 2 * torch.pi * ((2 * shares - 1) @ self.gaussian)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
