"""Hugging Face's `SamModel` and `Sam2Model` as two graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .prompts import PromptEmbedding


class SamEncoder(nn.Module):
    """`pixels [1, 3, side, side]`, normalised and padded, to `image_embeddings [1, channels, side / 16, side / 16]`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.vision_encoder = model.vision_encoder

    def forward(self, pixels: Tensor) -> Tensor:
        return self.vision_encoder(pixels).last_hidden_state


class Sam2Encoder(nn.Module):
    """`pixels [1, 3, side, side]`, normalised, to `image_embed` and two finer maps of fewer channels."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        finest, finer, coarse = self.model.get_image_embeddings(pixels)
        return coarse, finest, finer


class Decoder(nn.Module):
    """All masks that the model makes of a prompt, the first of which is the one for boxes.

    transformers' own decoder gives either that one or the others, and knows the corners of boxes apart from points only.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        prompt, decoder = model.prompt_encoder, model.mask_decoder
        self.decoder = decoder
        self.tokens = PromptEmbedding(
            prompt.shared_embedding.positional_embedding.detach(),
            _vectors(prompt.point_embed).detach(),
            prompt.not_a_point_embed.weight.detach(),
            prompt.input_image_size,
        )
        self.register_buffer("positions", model.get_image_wide_positional_embeddings().detach())
        self.register_buffer("no_mask", prompt.no_mask_embed.weight.detach().reshape(1, -1, 1, 1))
        before = [decoder.obj_score_token.weight] if hasattr(decoder, "obj_score_token") else []
        #: The place of the first mask's token.
        self.first_mask = len(before) + 1
        own = torch.cat([*before, decoder.iou_token.weight, decoder.mask_tokens.weight])
        self.register_buffer("own_tokens", own.detach()[None, None])

    def forward(
        self, image_embeddings: Tensor, finer: tuple[Tensor, ...], point_coords: Tensor, point_labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`finer` is empty, or the two maps of SAM 2, finest first."""
        sparse = self.tokens(point_coords, point_labels).unsqueeze(0)
        prompts = sparse.shape[1]
        tokens, image = self.decoder.transformer(
            point_embeddings=torch.cat([self.own_tokens.expand(1, prompts, -1, -1), sparse], dim=2),
            image_embeddings=(image_embeddings + self.no_mask).expand(prompts, -1, -1, -1),
            image_positional_embeddings=self.positions.expand(prompts, -1, -1, -1),
            attention_similarity=None,
            target_embedding=None,
        )[:2]
        image = image.transpose(2, 3).reshape(prompts, *image_embeddings.shape[1:])
        upscaled = self._upscaled(image, finer)
        masks = self.decoder.num_mask_tokens
        products = torch.stack(
            [
                mlp(tokens[0, :, self.first_mask + mask])
                for mask, mlp in enumerate(self.decoder.output_hypernetworks_mlps)
            ],
            dim=1,
        )
        logits = (products @ upscaled.flatten(2)).reshape(prompts, masks, *upscaled.shape[2:])
        return logits, self.decoder.iou_prediction_head(tokens[0, :, self.first_mask - 1])

    def _upscaled(self, image: Tensor, finer: tuple[Tensor, ...]) -> Tensor:
        d = self.decoder
        finest, fine = finer or (0, 0)
        image = d.activation(d.upscale_layer_norm(d.upscale_conv1(image) + fine))
        return d.activation(d.upscale_conv2(image) + finest)


class SamDecoder(Decoder):
    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(image_embeddings, (), point_coords, point_labels)


class Sam2Decoder(Decoder):
    """Adds the point of padding itself, which SAM 2 was trained with whether there is a box or not."""

    def forward(
        self,
        image_embed: Tensor,
        high_res_feats_0: Tensor,
        high_res_feats_1: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
    ) -> tuple[Tensor, Tensor]:
        point_coords = torch.cat([point_coords, torch.zeros_like(point_coords[:, :1])], dim=1)
        point_labels = torch.cat([point_labels, -torch.ones_like(point_labels[:, :1])], dim=1)
        return super().forward(image_embed, (high_res_feats_0, high_res_feats_1), point_coords, point_labels)


def _vectors(embedding: nn.Module) -> Tensor:
    """One for each label: SAM 2 has them in one table."""
    return embedding.weight if isinstance(embedding, nn.Embedding) else torch.cat([one.weight for one in embedding])
