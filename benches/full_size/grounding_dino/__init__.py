"""Grounding DINO: transformers' module in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig
from transformers.models.grounding_dino.modeling_grounding_dino import (
    SPECIAL_TOKENS,
    generate_masks_with_special_tokens_and_transfer_map,
)

from glip_torch.config import level_sizes
from glip_torch.export.grounding_dino import BLOCK_ENDS, strides
from glip_torch.grounding_dino import bi_attention_of

from ..family import Family, Limits, Prompt, TorchContender, TorchKind
from ..flops import FlopCount
from .contender import TransformersContender

CLS, SEP, DOT = (SPECIAL_TOKENS[place] for place in (0, 1, 2))
#: The first of the ids that stand for words.
FIRST_WORD = 2000
#: A query's place among the others decides what it begins as, and of 900 close ones rounding changes the places of some:
#: this share of them must agree.
QUERIES_ALIKE = 0.95


def _swin(**sizes) -> SwinConfig:
    return SwinConfig(window_size=7, out_features=["stage2", "stage3", "stage4"], **sizes)


TINY = GroundingDinoConfig(backbone_config=_swin(embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24]))
#: To try the benchmark itself.
SMALL = GroundingDinoConfig(
    backbone_config=_swin(embed_dim=24, depths=[1, 1, 2, 1], num_heads=[1, 2, 3, 6]),
    text_config=BertConfig(
        vocab_size=4096, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96
    ),
    d_model=64,
    encoder_layers=2,
    decoder_layers=3,
    encoder_ffn_dim=128,
    decoder_ffn_dim=128,
    num_queries=100,
)


@dataclass(frozen=True)
class TransformersGroundingDino(Family):
    config: GroundingDinoConfig

    torch_kinds: ClassVar = {"transformers": TorchKind("transformers, PyTorch", "transformers in PyTorch")}
    components: ClassVar = {
        "image_encoder": "image encoder",
        "text_encoder": "text encoder",
        "fusion": "feature enhancer",
        "bi_attention": "· bi-attention",
        "text_layers": "· text layers",
        "image_layers": "· image layers",
        "head": "queries and decoder",
    }
    limits: ClassVar = Limits(speedup=2.0, second_prompt=0.7, memory_gb=3.0)
    error_is: ClassVar = f"relative to the tensor, of what queries give that of {100 * QUERIES_ALIKE:.0f} % of them"

    def build(self) -> nn.Module:
        return GroundingDinoForObjectDetection(self.config).eval()

    @torch.no_grad()
    def random(self) -> nn.Module:
        """As initialised, all queries look at the same few places, and image and words hardly at each other."""
        model = self.build()
        for name, parameter in model.named_parameters():
            if name.endswith("sampling_offsets.weight"):
                parameter.normal_(std=0.02)
            elif name.endswith("attention_weights.weight"):
                parameter.normal_(std=0.05)
            elif name.endswith(("vision_param", "text_param")):
                parameter.fill_(0.3)
        return model

    def save(self, model: nn.Module, checkpoint: Path) -> None:
        model.save_pretrained(checkpoint)

    def load(self, checkpoint: Path) -> nn.Module:
        return GroundingDinoForObjectDetection.from_pretrained(checkpoint).eval()

    @property
    def vocabulary_size(self) -> int:
        return self.config.text_config.vocab_size

    @property
    def special_tokens(self) -> dict[int, str]:
        return {index: token for token, index in BLOCK_ENDS.items()}

    def prompt(self, tokens: int) -> Prompt:
        """Phrases of two words, and a shorter one first if that does not come out even."""
        words = np.arange(FIRST_WORD, FIRST_WORD + tokens - 2, dtype=np.int64)
        words[::-1][::3] = DOT
        ids = np.concatenate([[CLS], words, [SEP]])[None]
        blocks, positions = generate_masks_with_special_tokens_and_transfer_map(
            torch.from_numpy(ids), torch.tensor(SPECIAL_TOKENS)
        )
        return {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": positions.numpy(),
            "block_mask": blocks.numpy(),
        }

    def contender(self, kind: str, model: nn.Module, pixels: Tensor) -> TorchContender:
        return TransformersContender(model, pixels)

    def count(self, model: nn.Module, pixels: Tensor, tokens: int, flops: FlopCount) -> None:
        """With bi-attention in this project's form, and boxes of the chosen queries alone: as the graphs have it.

        Deformable attention wants to look into tensors of sizes, so that layers with it are counted by their products.
        """
        inner, width, queries = model.model, self.config.d_model, self.config.num_queries
        sizes = level_sizes(*pixels.shape[2:], strides(model))
        cells = sum(rows * columns for rows, columns in sizes)
        ids = torch.empty(1, tokens, dtype=torch.int64, device="meta")

        stages = flops.run("image_encoder", inner.backbone.conv_encoder.model, pixels).feature_maps
        for source, projection in zip([*stages, stages[-1]], inner.input_proj_vision):
            flops.run("image_encoder", projection, source)
        flops.run("text_encoder", lambda: inner.text_backbone(input_ids=ids))
        flops.linear("text_encoder", tokens, inner.text_projection)

        levels = [torch.empty(1, width, *size, device="meta") for size in sizes]
        words = torch.empty(1, tokens, width, device="meta")
        for layer in inner.encoder.layers:
            flops.run("bi_attention", bi_attention_of(layer.fusion_layer), levels, words, ids)
            flops.linear("text_layers", tokens, layer.text_enhancer_layer)
            _attention_products(flops, "text_layers", width, tokens, tokens)
            flops.linear("image_layers", cells, layer.deformable_layer)

        flops.linear("head", cells, inner.enc_output)
        flops.product("head", cells, tokens, width)
        flops.linear("head", queries, inner.encoder_output_bbox_embed)
        decoder = inner.decoder
        for layer, boxes in zip(decoder.layers, decoder.bbox_embed):
            text, image = layer.encoder_attn_text, layer.encoder_attn
            flops.linear("head", queries, decoder.reference_points_head, layer.self_attn, text.query, text.out_proj)
            flops.linear("head", queries, image.sampling_offsets, image.attention_weights, image.output_proj)
            flops.linear("head", queries, layer.fc1, layer.fc2, boxes)
            flops.linear("head", tokens, text.key, text.value)
            flops.linear("head", cells, image.value_proj)
            _attention_products(flops, "head", width, queries, queries)
            _attention_products(flops, "head", width, queries, tokens)
        flops.product("head", queries, tokens, width)

    def error(self, name: str, found: np.ndarray, expected: np.ndarray) -> float:
        if name not in ("logits", "boxes"):
            return super().error(name, found, expected)
        errors = np.abs(found - expected).max((0, 2)) / np.abs(expected).max()
        return float(np.quantile(errors, QUERIES_ALIKE))


def _attention_products(flops: FlopCount, component: str, width: int, asking: int, asked: int) -> None:
    """Scores, and the weighted sums of values, of all heads together."""
    flops.product(component, asking, asked, width)
    flops.product(component, asking, width, asked)
