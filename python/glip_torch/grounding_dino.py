"""Grounding DINO, MM-Grounding-DINO and LLMDet: transformers' modules, and those parts of them that are GLIP's.

The models themselves are transformers' (`GroundingDinoForObjectDetection`, `MMGroundingDinoForObjectDetection`); nothing of
them is written again here. Their Swin and their bi-attention compute what this package's do, under other names, so that one
writer serves both families.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import GroundingDinoForObjectDetection, MMGroundingDinoForObjectDetection

from .config import FusionConfig, SwinConfig
from .fusion import BiAttention
from .image_encoder import Swin, relative_position_index

GroundingDino = GroundingDinoForObjectDetection | MMGroundingDinoForObjectDetection

FAMILIES = {"grounding-dino": "Grounding DINO", "mm-grounding-dino": "MM-Grounding-DINO"}
#: The size that a published image encoder makes, by its width and depths.
_SIZES = {(96, (2, 2, 6, 2)): "tiny", (128, (2, 2, 18, 2)): "base", (192, (2, 2, 18, 2)): "large"}

#: What a configuration must say, for what can be exported. Every published model does.
_REQUIRED = {
    "two_stage": True,
    "embedding_init_target": True,
    "position_embedding_type": "sine",
    "activation_function": "relu",
    "query_dim": 4,
    "backbone_config.model_type": "swin",
    "backbone_config.patch_size": 4,
    "backbone_config.num_channels": 3,
    "backbone_config.mlp_ratio": 4,
    "backbone_config.qkv_bias": True,
    "backbone_config.hidden_act": "gelu",
    "backbone_config.use_absolute_embeddings": False,
    "text_config.model_type": "bert",
    "text_config.hidden_act": "gelu",
}


def variant(model: GroundingDino, family: str | None = None) -> str:
    """The family (by default the module's) and the size."""
    swin = model.config.backbone_config
    size = _SIZES.get((swin.embed_dim, tuple(swin.depths)), f"of a Swin {swin.embed_dim} wide and {swin.depths} deep")
    return f"{family or FAMILIES[model.config.model_type]} {size}"


class UnsupportedError(ValueError):
    """The model is built in a way that no published one is."""


def check_supported(model: GroundingDino) -> None:
    """Raises `UnsupportedError` with what this model's configuration says and would have to."""
    for name, expected in _REQUIRED.items():
        found = model.config
        for part in name.split("."):
            found = getattr(found, part, None)
        if found != expected:
            raise UnsupportedError(
                f"the configuration's {name} is {found!r}, and only {expected!r} can be exported, which all published "
                "models have"
            )


def swin_of(model: GroundingDino) -> Swin:
    """The model's backbone, without what its stages' outputs are projected by."""
    backbone = model.model.backbone.conv_encoder.model
    given = backbone.config
    stages = [f"stage{number + 1}" for number in range(len(given.depths))]
    outputs = tuple(stages.index(stage) for stage in backbone.out_features)
    config = SwinConfig(given.embed_dim, tuple(given.depths), tuple(given.num_heads), given.window_size, outputs)
    with torch.device("meta"):
        swin = Swin(config)
    swin.load_state_dict(dict(_swin_tensors(backbone.state_dict(), backbone.out_features)), assign=True)
    # A buffer that no checkpoint holds.
    for module in swin.modules():
        if hasattr(module, "relative_position_index"):
            module.relative_position_index = relative_position_index(config.window)
        if isinstance(module, nn.LayerNorm):
            module.eps = given.layer_norm_eps
    return swin.eval()


_SWIN_NAMES = {
    "attention.o_proj.": "attn.proj.",
    "attention.relative_position_bias.": "attn.",
    "layernorm_before.": "norm1.",
    "layernorm_after.": "norm2.",
}


def _swin_tensors(state: dict[str, Tensor], outputs: list[str]) -> Iterator[tuple[str, Tensor]]:
    """Tensors of transformers' `SwinBackbone` under the names that they have in `Swin`."""
    for name, tensor in state.items():
        if name.startswith("swin.embeddings."):
            name = name.replace("patch_embeddings.projection.", "proj.")
            yield name.replace("swin.embeddings.", "patch_embed."), tensor
        elif name.startswith("hidden_states_norms."):
            _, stage, parameter = name.split(".")
            yield f"norms.{outputs.index(stage)}.{parameter}", tensor
        elif name.startswith("swin.encoder.layers."):
            name = name.replace("swin.encoder.layers.", "stages.")
            for theirs, ours in _SWIN_NAMES.items():
                name = name.replace(theirs, ours)
            if "attention.q_proj." in name:
                parts = [state[_original(name, part)] for part in ("q_proj", "k_proj", "v_proj")]
                yield name.replace("attention.q_proj.", "attn.qkv."), torch.cat(parts)
            elif "attention." not in name:
                yield name, tensor


def _original(name: str, part: str) -> str:
    return name.replace("stages.", "swin.encoder.layers.").replace("q_proj", part)


_BI_ATTENTION_NAMES = {
    "v_proj": "vision_proj",
    "l_proj": "text_proj",
    "values_v_proj": "values_vision_proj",
    "values_l_proj": "values_text_proj",
    "out_v_proj": "out_vision_proj",
    "out_l_proj": "out_text_proj",
}


def bi_attention_of(layer: nn.Module) -> BiAttention:
    """One of the feature enhancer's fusion layers."""
    theirs = layer.attn
    config = FusionConfig(embed_dim=theirs.embed_dim, heads=theirs.num_heads)
    with torch.device("meta"):
        ours = BiAttention(theirs.vision_dim, theirs.text_dim, config, gain=0.0)
    for name, their_name in _BI_ATTENTION_NAMES.items():
        setattr(ours, name, getattr(theirs, their_name))
    ours.layer_norm_v, ours.layer_norm_l = layer.layer_norm_vision, layer.layer_norm_text
    ours.gamma_v, ours.gamma_l = layer.vision_param, layer.text_param
    return ours.eval()
