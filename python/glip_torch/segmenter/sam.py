"""SAM as two graphs, of the official project's modules, whose shape MobileSAM's have too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .prompts import PromptEmbedding

#: On the scale of 0 to 255, red, green and blue: official's `pixel_mean` and `pixel_std`.
IMAGE_MEAN = [123.675, 116.28, 103.53]
IMAGE_STD = [58.395, 57.12, 57.375]


class OfficialEncoder(nn.Module):
    """`pixels [1, 3, side, side]`, normalised and padded, to `image_embeddings [1, channels, side / 16, side / 16]`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.image_encoder = model.image_encoder

    def forward(self, pixels: Tensor) -> Tensor:
        return self.image_encoder(pixels)


class OfficialDecoder(nn.Module):
    """All masks that the model makes of a prompt, the first of which is the one for boxes."""

    def __init__(self, model: nn.Module):
        super().__init__()
        prompt = model.prompt_encoder
        self.mask_decoder = model.mask_decoder
        self.tokens = PromptEmbedding(
            prompt.pe_layer.positional_encoding_gaussian_matrix,
            torch.cat([embedding.weight for embedding in prompt.point_embeddings]).detach(),
            prompt.not_a_point_embed.weight.detach(),
            model.image_encoder.img_size,
        )
        self.register_buffer("positions", prompt.get_dense_pe().detach())
        self.register_buffer("no_mask", prompt.no_mask_embed.weight.detach().reshape(1, -1, 1, 1))

    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.mask_decoder.predict_masks(
            image_embeddings=image_embeddings,
            image_pe=self.positions,
            sparse_prompt_embeddings=self.tokens(point_coords, point_labels),
            dense_prompt_embeddings=self.no_mask.expand_as(image_embeddings),
        )
