"""Grounding DINO's original checkpoints, `{'model': ...}`: groundingdino_swint_ogc.pth, groundingdino_swinb_cogcoor.pth, and
what their project's code trains."""

from __future__ import annotations

import re

from torch import Tensor, nn

from . import grounding_dino

#: The denoising queries' labels, for training.
_UNUSED = re.compile(r"label_enc\.")

_BLOCK = r"backbone\.0\.layers\.(\d+)\.blocks\.(\d+)\."
_SWIN = "model.backbone.conv_encoder.model."
_SWIN_BLOCK = _SWIN + r"encoder.layers.\1.blocks.\2."
_IMAGE_LAYER, _DEFORMABLE = r"transformer\.encoder\.layers\.(\d+)\.", r"model.encoder.layers.\1.deformable_layer."
_TEXT_LAYER, _ENHANCER = r"transformer\.encoder\.text_layers\.(\d+)\.", r"model.encoder.layers.\1.text_enhancer_layer."
_FUSION_LAYER, _FUSION = r"transformer\.encoder\.fusion_layers\.(\d+)\.", r"model.encoder.layers.\1.fusion_layer."
_LAYER, _DECODER = r"transformer\.decoder\.layers\.(\d+)\.", r"model.decoder.layers.\1."

#: The bi-attention's names, which mmdetection took over.
FUSION_NAMES = [
    (r"gamma_v$", "vision_param"),
    (r"gamma_l$", "text_param"),
    (r"layer_norm_v\.", "layer_norm_vision."),
    (r"layer_norm_l\.", "layer_norm_text."),
    (r"attn\.v_proj\.", "attn.vision_proj."),
    (r"attn\.l_proj\.", "attn.text_proj."),
    (r"attn\.values_v_proj\.", "attn.values_vision_proj."),
    (r"attn\.values_l_proj\.", "attn.values_text_proj."),
    (r"attn\.out_v_proj\.", "attn.out_vision_proj."),
    (r"attn\.out_l_proj\.", "attn.out_text_proj."),
]

_NAMES = [
    (r"backbone\.0\.patch_embed\.proj\.", _SWIN + "embeddings.patch_embeddings.projection."),
    (r"backbone\.0\.patch_embed\.norm\.", _SWIN + "embeddings.norm."),
    (_BLOCK + r"norm1\.", _SWIN_BLOCK + "layernorm_before."),
    (_BLOCK + r"norm2\.", _SWIN_BLOCK + "layernorm_after."),
    (_BLOCK + r"attn\.proj\.", _SWIN_BLOCK + "attention.output.dense."),
    (_BLOCK + r"attn\.", _SWIN_BLOCK + "attention.self."),
    (_BLOCK + r"mlp\.fc1\.", _SWIN_BLOCK + "intermediate.dense."),
    (_BLOCK + r"mlp\.fc2\.", _SWIN_BLOCK + "output.dense."),
    (r"backbone\.0\.layers\.(\d+)\.downsample\.", _SWIN + r"encoder.layers.\1.downsample."),
    (r"backbone\.0\.norm(\d+)\.", lambda match: f"{_SWIN}hidden_states_norms.stage{int(match[1]) + 1}."),
    (r"bert\.", "model.text_backbone."),
    (r"feat_map\.", "model.text_projection."),
    (r"input_proj\.", "model.input_proj_vision."),
    (_IMAGE_LAYER + r"norm1\.", _DEFORMABLE + "self_attn_layer_norm."),
    (_IMAGE_LAYER + r"norm2\.", _DEFORMABLE + "final_layer_norm."),
    (_IMAGE_LAYER + r"linear(\d)\.", _DEFORMABLE + r"fc\2."),
    (_IMAGE_LAYER, _DEFORMABLE),
    (_TEXT_LAYER + r"norm1\.", _ENHANCER + "layer_norm_before."),
    (_TEXT_LAYER + r"norm2\.", _ENHANCER + "layer_norm_after."),
    (_TEXT_LAYER + r"linear(\d)\.", _ENHANCER + r"fc\2."),
    (_TEXT_LAYER, _ENHANCER),
    *((_FUSION_LAYER + theirs, _FUSION + ours) for theirs, ours in FUSION_NAMES),
    (_LAYER + r"cross_attn\.", _DECODER + "encoder_attn."),
    (_LAYER + r"norm1\.", _DECODER + "encoder_attn_layer_norm."),
    (_LAYER + r"ca_text\.", _DECODER + "encoder_attn_text."),
    (_LAYER + r"catext_norm\.", _DECODER + "encoder_attn_text_layer_norm."),
    (_LAYER + r"norm2\.", _DECODER + "self_attn_layer_norm."),
    (_LAYER + r"norm3\.", _DECODER + "final_layer_norm."),
    (_LAYER + r"linear(\d)\.", _DECODER + r"fc\2."),
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
