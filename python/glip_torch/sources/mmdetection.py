"""mmdetection's checkpoints, `{'state_dict': ...}`, of Grounding DINO, MM-Grounding-DINO and LLMDet."""

from __future__ import annotations

import re

from torch import Tensor, nn

from ..tensor_files import CheckpointError, count
from . import grounding_dino
from .idea import FUSION_NAMES

#: The denoising queries' labels, and the language model that LLMDet is trained with.
_UNUSED = re.compile(r"dn_query_generator\.|lmm\.|(region_)?connector\.|ref_point_head\.|image_seperate\.|img_sep\.")

_BLOCK = r"backbone\.stages\.(\d+)\.blocks\.(\d+)\."
_SWIN = "model.backbone.conv_encoder.model."
_SWIN_BLOCK = _SWIN + r"encoder.layers.\1.blocks.\2."
_IMAGE_LAYER, _DEFORMABLE = r"encoder\.layers\.(\d+)\.", r"model.encoder.layers.\1.deformable_layer."
_TEXT_LAYER, _ENHANCER = r"encoder\.text_layers\.(\d+)\.", r"model.encoder.layers.\1.text_enhancer_layer."
_FUSION_LAYER, _FUSION = r"encoder\.fusion_layers\.(\d+)\.", r"model.encoder.layers.\1.fusion_layer."
_LAYER, _DECODER = r"decoder\.layers\.(\d+)\.", r"model.decoder.layers.\1."

_NAMES = [
    (r"backbone\.patch_embed\.projection\.", _SWIN + "embeddings.patch_embeddings.projection."),
    (r"backbone\.patch_embed\.norm\.", _SWIN + "embeddings.norm."),
    (_BLOCK + r"norm1\.", _SWIN_BLOCK + "layernorm_before."),
    (_BLOCK + r"norm2\.", _SWIN_BLOCK + "layernorm_after."),
    (_BLOCK + r"attn\.w_msa\.proj\.", _SWIN_BLOCK + "attention.output.dense."),
    (_BLOCK + r"attn\.w_msa\.", _SWIN_BLOCK + "attention.self."),
    (_BLOCK + r"ffn\.layers\.0\.0\.", _SWIN_BLOCK + "intermediate.dense."),
    (_BLOCK + r"ffn\.layers\.1\.", _SWIN_BLOCK + "output.dense."),
    (r"backbone\.stages\.(\d+)\.downsample\.", _SWIN + r"encoder.layers.\1.downsample."),
    (r"backbone\.norm(\d+)\.", lambda match: f"{_SWIN}hidden_states_norms.stage{int(match[1]) + 1}."),
    (r"language_model\.language_backbone\.body\.model\.", "model.text_backbone."),
    (r"text_feat_map\.", "model.text_projection."),
    (_IMAGE_LAYER + r"norms\.0\.", _DEFORMABLE + "self_attn_layer_norm."),
    (_IMAGE_LAYER + r"norms\.1\.", _DEFORMABLE + "final_layer_norm."),
    (_IMAGE_LAYER + r"ffn\.layers\.0\.0\.", _DEFORMABLE + "fc1."),
    (_IMAGE_LAYER + r"ffn\.layers\.1\.", _DEFORMABLE + "fc2."),
    (_IMAGE_LAYER, _DEFORMABLE),
    (_TEXT_LAYER + r"self_attn\.attn\.", _ENHANCER + "self_attn."),
    (_TEXT_LAYER + r"norms\.0\.", _ENHANCER + "layer_norm_before."),
    (_TEXT_LAYER + r"norms\.1\.", _ENHANCER + "layer_norm_after."),
    (_TEXT_LAYER + r"ffn\.layers\.0\.0\.", _ENHANCER + "fc1."),
    (_TEXT_LAYER + r"ffn\.layers\.1\.", _ENHANCER + "fc2."),
    *((_FUSION_LAYER + theirs, _FUSION + ours) for theirs, ours in FUSION_NAMES),
    (_LAYER + r"self_attn\.attn\.", _DECODER + "self_attn."),
    (_LAYER + r"cross_attn_text\.attn\.", _DECODER + "encoder_attn_text."),
    (_LAYER + r"cross_attn\.", _DECODER + "encoder_attn."),
    (_LAYER + r"norms\.0\.", _DECODER + "self_attn_layer_norm."),
    (_LAYER + r"norms\.1\.", _DECODER + "encoder_attn_text_layer_norm."),
    (_LAYER + r"norms\.2\.", _DECODER + "encoder_attn_layer_norm."),
    (_LAYER + r"norms\.3\.", _DECODER + "final_layer_norm."),
    (_LAYER + r"ffn\.layers\.0\.0\.", _DECODER + "fc1."),
    (_LAYER + r"ffn\.layers\.1\.", _DECODER + "fc2."),
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
