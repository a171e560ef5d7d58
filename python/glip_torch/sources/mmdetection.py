"""mmdetection's checkpoints, `{'state_dict': ...}`, of Grounding DINO, MM-Grounding-DINO and LLMDet."""

from __future__ import annotations

import re

from torch import Tensor, nn

from ..tensor_files import CheckpointError, count
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

#: The denoising queries' labels, and the language model that LLMDet is trained with.
_UNUSED = re.compile(r"dn_query_generator\.|lmm\.|(region_)?connector\.|ref_point_head\.|image_seperate\.|img_sep\.")

_BLOCK = r"backbone\.stages\.(\d+)\.blocks\.(\d+)\."
_IMAGE = r"encoder\.layers\.(\d+)\."
_TEXT = r"encoder\.text_layers\.(\d+)\."
_FUSED = r"encoder\.fusion_layers\.(\d+)\."
_DECODER = r"decoder\.layers\.(\d+)\."

_NAMES = [
    (r"backbone\.patch_embed\.projection\.", SWIN + "embeddings.patch_embeddings.projection."),
    (r"backbone\.patch_embed\.norm\.", SWIN + "embeddings.norm."),
    (_BLOCK + r"norm1\.", SWIN_BLOCK + "layernorm_before."),
    (_BLOCK + r"norm2\.", SWIN_BLOCK + "layernorm_after."),
    (_BLOCK + r"attn\.w_msa\.proj\.", SWIN_BLOCK + "attention.output.dense."),
    (_BLOCK + r"attn\.w_msa\.", SWIN_BLOCK + "attention.self."),
    (_BLOCK + r"ffn\.layers\.0\.0\.", SWIN_BLOCK + "intermediate.dense."),
    (_BLOCK + r"ffn\.layers\.1\.", SWIN_BLOCK + "output.dense."),
    (r"backbone\.stages\.(\d+)\.downsample\.", SWIN + r"encoder.layers.\1.downsample."),
    (r"backbone\.norm(\d+)\.", lambda match: f"{SWIN}hidden_states_norms.stage{int(match[1]) + 1}."),
    (r"language_model\.language_backbone\.body\.model\.", BERT),
    (r"text_feat_map\.", "model.text_projection."),
    (_IMAGE + r"norms\.0\.", IMAGE_LAYER + "self_attn_layer_norm."),
    (_IMAGE + r"norms\.1\.", IMAGE_LAYER + "final_layer_norm."),
    (_IMAGE + r"ffn\.layers\.0\.0\.", IMAGE_LAYER + "fc1."),
    (_IMAGE + r"ffn\.layers\.1\.", IMAGE_LAYER + "fc2."),
    (_IMAGE, IMAGE_LAYER),
    (_TEXT + r"self_attn\.attn\.", TEXT_LAYER + "self_attn."),
    (_TEXT + r"norms\.0\.", TEXT_LAYER + "layer_norm_before."),
    (_TEXT + r"norms\.1\.", TEXT_LAYER + "layer_norm_after."),
    (_TEXT + r"ffn\.layers\.0\.0\.", TEXT_LAYER + "fc1."),
    (_TEXT + r"ffn\.layers\.1\.", TEXT_LAYER + "fc2."),
    *((_FUSED + theirs, FUSION_LAYER + ours) for theirs, ours in FUSION_NAMES),
    (_DECODER + r"self_attn\.attn\.", DECODER_LAYER + "self_attn."),
    (_DECODER + r"cross_attn_text\.attn\.", DECODER_LAYER + "encoder_attn_text."),
    (_DECODER + r"cross_attn\.", DECODER_LAYER + "encoder_attn."),
    (_DECODER + r"norms\.0\.", DECODER_LAYER + "self_attn_layer_norm."),
    (_DECODER + r"norms\.1\.", DECODER_LAYER + "encoder_attn_text_layer_norm."),
    (_DECODER + r"norms\.2\.", DECODER_LAYER + "encoder_attn_layer_norm."),
    (_DECODER + r"norms\.3\.", DECODER_LAYER + "final_layer_norm."),
    (_DECODER + r"ffn\.layers\.0\.0\.", DECODER_LAYER + "fc1."),
    (_DECODER + r"ffn\.layers\.1\.", DECODER_LAYER + "fc2."),
    (r"decoder\.norm\.", "model.decoder.layer_norm."),
    (r"decoder\.ref_point_head\.", "model.decoder.reference_points_head."),
    (r"level_embed$", "model.level_embed"),
    (r"query_embedding\.", "model.query_position_embeddings."),
    (r"memory_trans_fc\.", "model.enc_output."),
    (r"memory_trans_norm\.", "model.enc_output_norm."),
]


def fits(state: dict[str, Tensor]) -> bool:
    """Whether these are tensors of one of mmdetection's Grounding DINOs."""
    return "text_feat_map.weight" in state and "query_embedding.weight" in state


def family(state: dict[str, Tensor]) -> str:
    """Which one; LLMDet is known by the language model that it was trained with."""
    if not _biased(state):
        return "Grounding DINO"
    return "LLMDet" if any(name.startswith("lmm.") for name in state) else "MM-Grounding-DINO"


def build(state: dict[str, Tensor], text_heads: int | None) -> nn.Module:
    """The model with these tensors, under mmdetection's names."""
    _refuse_scale(state)
    kept = {name: _as_original(name, tensor) for name, tensor in state.items() if not _UNUSED.match(name)}
    kept = {name: tensor for name, tensor in kept.items() if not name.endswith(".log_scale")}
    converted = grounding_dino.renamed(kept, _names_of_heads(kept) + _NAMES)
    model_type = "mm-grounding-dino" if _biased(state) else "grounding-dino"
    return grounding_dino.build(grounding_dino.infer_config(model_type, converted, text_heads), converted)


def _biased(state: dict[str, Tensor]) -> bool:
    """Whether the scores have a bias, and with it the fixed scale: so all MM-Grounding-DINOs, and no Grounding DINO."""
    return "bbox_head.cls_branches.0.bias" in state


def _refuse_scale(state: dict[str, Tensor]) -> None:
    """A scale that is learned begins as 0, which is none; transformers' modules have no place for another."""
    for name, tensor in state.items():
        if name.endswith(".log_scale") and (tensor.any() or _biased(state)):
            raise CheckpointError(
                f"{name} is {tensor.item():.4g}: scores of a learned scale are not exported, train with log_scale 'auto'"
            )


def _names_of_heads(state: dict[str, Tensor]) -> list[tuple[str, object]]:
    """Levels that the image encoder lacks count on after its own; the last head is the encoder's."""
    own_levels = count(state, "neck.convs.{}.conv.weight")
    layers = count(state, "decoder.layers.{}.ffn.layers.1.weight")
    parts = {"conv": 0, "gn": 1}
    return [
        (
            r"neck\.(extra_)?convs\.(\d+)\.(conv|gn)\.",
            lambda match: (
                f"model.input_proj_vision.{int(match[2]) + (own_levels if match[1] else 0)}.{parts[match[3]]}."
            ),
        ),
        (rf"bbox_head\.cls_branches\.{layers}\.", "model.encoder_output_class_embed."),
        (r"bbox_head\.cls_branches\.", "class_embed."),
        (
            r"bbox_head\.reg_branches\.(\d+)\.(\d+)\.",
            lambda match: (
                ("model.encoder_output_bbox_embed" if int(match[1]) == layers else f"bbox_embed.{match[1]}")
                # Activations stand between the linear layers.
                + f".layers.{int(match[2]) // 2}."
            ),
        ),
    ]


def _as_original(name: str, tensor: Tensor) -> Tensor:
    """A tensor as the other implementations have it."""
    if re.match(r"backbone\.stages\.\d+\.downsample\.(reduction|norm)\.", name):
        return _merged_by_pixel(tensor)
    return tensor.squeeze() if re.match(r"bbox_head\.cls_branches\.\d+\.bias$", name) else tensor


def _merged_by_pixel(tensor: Tensor) -> Tensor:
    """What follows the merging of 2x2 patches: mmdetection has channels x rows x columns, others columns x rows x channels."""
    *outputs, inputs = tensor.shape
    return tensor.reshape(-1, inputs // 4, 2, 2).permute(0, 3, 2, 1).reshape(*outputs, inputs)
