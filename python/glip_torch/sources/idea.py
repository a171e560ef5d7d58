"""Grounding DINO's original checkpoints, `{'model': ...}`: groundingdino_swint_ogc.pth, groundingdino_swinb_cogcoor.pth."""

from __future__ import annotations

import re

from torch import Tensor, nn

from . import grounding_dino
from .grounding_dino import (
    BERT,
    DECODER_LAYER,
    FUSION_LAYER,
    FUSION_NAMES,
    IMAGE_LAYER,
    SWIN,
    SWIN_BLOCK,
    TEXT_LAYER,
)

#: The denoising queries' labels, for training.
_UNUSED = re.compile(r"label_enc\.")

_BLOCK = r"backbone\.0\.layers\.(\d+)\.blocks\.(\d+)\."
_IMAGE = r"transformer\.encoder\.layers\.(\d+)\."
_TEXT = r"transformer\.encoder\.text_layers\.(\d+)\."
_FUSED = r"transformer\.encoder\.fusion_layers\.(\d+)\."
_DECODER = r"transformer\.decoder\.layers\.(\d+)\."

_NAMES = [
    (r"backbone\.0\.patch_embed\.proj\.", SWIN + "embeddings.patch_embeddings.projection."),
    (r"backbone\.0\.patch_embed\.norm\.", SWIN + "embeddings.norm."),
    (_BLOCK + r"norm1\.", SWIN_BLOCK + "layernorm_before."),
    (_BLOCK + r"norm2\.", SWIN_BLOCK + "layernorm_after."),
    (_BLOCK + r"attn\.proj\.", SWIN_BLOCK + "attention.output.dense."),
    (_BLOCK + r"attn\.", SWIN_BLOCK + "attention.self."),
    (_BLOCK + r"mlp\.fc1\.", SWIN_BLOCK + "intermediate.dense."),
    (_BLOCK + r"mlp\.fc2\.", SWIN_BLOCK + "output.dense."),
    (r"backbone\.0\.layers\.(\d+)\.downsample\.", SWIN + r"encoder.layers.\1.downsample."),
    (r"backbone\.0\.norm(\d+)\.", lambda match: f"{SWIN}hidden_states_norms.stage{int(match[1]) + 1}."),
    (r"bert\.", BERT),
    (r"feat_map\.", "model.text_projection."),
    (r"input_proj\.", "model.input_proj_vision."),
    (_IMAGE + r"norm1\.", IMAGE_LAYER + "self_attn_layer_norm."),
    (_IMAGE + r"norm2\.", IMAGE_LAYER + "final_layer_norm."),
    (_IMAGE + r"linear(\d)\.", IMAGE_LAYER + r"fc\2."),
    (_IMAGE, IMAGE_LAYER),
    (_TEXT + r"norm1\.", TEXT_LAYER + "layer_norm_before."),
    (_TEXT + r"norm2\.", TEXT_LAYER + "layer_norm_after."),
    (_TEXT + r"linear(\d)\.", TEXT_LAYER + r"fc\2."),
    (_TEXT, TEXT_LAYER),
    *((_FUSED + theirs, FUSION_LAYER + ours) for theirs, ours in FUSION_NAMES),
    (_DECODER + r"cross_attn\.", DECODER_LAYER + "encoder_attn."),
    (_DECODER + r"norm1\.", DECODER_LAYER + "encoder_attn_layer_norm."),
    (_DECODER + r"ca_text\.", DECODER_LAYER + "encoder_attn_text."),
    (_DECODER + r"catext_norm\.", DECODER_LAYER + "encoder_attn_text_layer_norm."),
    (_DECODER + r"norm2\.", DECODER_LAYER + "self_attn_layer_norm."),
    (_DECODER + r"norm3\.", DECODER_LAYER + "final_layer_norm."),
    (_DECODER + r"linear(\d)\.", DECODER_LAYER + r"fc\2."),
    (r"transformer\.decoder\.norm\.", "model.decoder.layer_norm."),
    (r"transformer\.decoder\.ref_point_head\.", "model.decoder.reference_points_head."),
    (r"transformer\.tgt_embed\.", "model.query_position_embeddings."),
    (r"transformer\.enc_out_bbox_embed\.", "model.encoder_output_bbox_embed."),
    # The rest of the decoder's layers, its boxes, the levels and the encoder's output.
    (r"transformer\.", "model."),
]


def fits(state: dict[str, Tensor]) -> bool:
    """Whether these are tensors of the original Grounding DINO."""
    return "transformer.tgt_embed.weight" in state and "feat_map.weight" in state


def build(state: dict[str, Tensor], text_heads: int | None) -> nn.Module:
    """The model with these tensors, under their original names."""
    kept = {name: tensor for name, tensor in state.items() if not _UNUSED.match(name)}
    converted = grounding_dino.renamed(kept, _NAMES)
    return grounding_dino.build(grounding_dino.infer_config("grounding-dino", converted, text_heads), converted)
