"""Builds transformers' Grounding DINO and MM-Grounding-DINO (LLMDet is one), strictly, from tensors of whatever origin.

The names here are those of Hugging Face's files. The original projects' files do not hold their architecture; it is read off
the tensors' names and shapes.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict

import torch
from torch import Tensor, nn
from transformers import (
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
)
from transformers.utils import logging

from ..checkpoint import BERT_HEAD_WIDTH
from ..config import UNKNOWN, Recommended
from ..tensor_files import CheckpointError, count, shape

#: Sampled by a head of deformable attention on each level, in every published model; no tensor's shape tells it.
POINTS = 4
#: Buffers that follow from the configuration, and BERT's pooler, which nothing reads.
_UNUSED = re.compile(r"\.(relative_position_index|position_ids)$|^model\.text_backbone\.pooler\.")
#: Beginnings of names, for tables of what they were called originally: `\1` is the layer or stage, `\2` the block.
SWIN = "model.backbone.conv_encoder.model."
SWIN_BLOCK = SWIN + r"encoder.layers.\1.blocks.\2."
BERT = "model.text_backbone."
IMAGE_LAYER = r"model.encoder.layers.\1.deformable_layer."
TEXT_LAYER = r"model.encoder.layers.\1.text_enhancer_layer."
FUSION_LAYER = r"model.encoder.layers.\1.fusion_layer."
DECODER_LAYER = r"model.decoder.layers.\1."
#: What originals call the parts of a fusion layer.
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
_MODULES = {
    "grounding-dino": (GroundingDinoConfig, GroundingDinoForObjectDetection),
    "mm-grounding-dino": (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection),
}


def build(config: dict, state: dict[str, Tensor], recommended: Recommended = UNKNOWN) -> nn.Module:
    """The module of a config.json with these tensors, in eval mode.

    Raises `CheckpointError` with the name of every missing, unexpected or misshapen tensor.
    """
    config_class, module_class = _MODULES[config["model_type"]]
    if "quantization_config" in config:
        raise CheckpointError("the weights are quantised: give those in floating point, --precision makes them small")
    try:
        parsed = config_class.from_dict(_without_code(config))
    except Exception as error:
        raise CheckpointError(f"config.json is none of {module_class.__name__}: {error}") from error
    for part, kind in ((parsed.backbone_config, "swin"), (parsed.text_config, "bert")):
        if part.model_type != kind:
            raise CheckpointError(f"an encoder is {part.model_type!r}, where every published model has {kind!r}")
    # The decoder's heads are the model's, whatever the configuration says of word embeddings, by which transformers goes.
    parsed.tie_word_embeddings = True
    state = {name: tensor for name, tensor in state.items() if not _UNUSED.search(name)}
    _refuse_single_bias(config["model_type"], state)
    model, problems = _load(module_class, parsed, without_copies(state, parsed))
    if problems:
        raise CheckpointError(
            f"the tensors do not fit {module_class.__name__}, which calls them:\n  " + "\n  ".join(problems)
        )
    model.recommended = recommended
    return model.eval()


def _without_code(config: dict) -> dict:
    """A configuration without its entries that name code, which would be downloaded and run."""
    plain = {name: entry for name, entry in config.items() if name != "auto_map" and "attn_implementation" not in name}
    return {name: _without_code(entry) if isinstance(entry, dict) else entry for name, entry in plain.items()}


def _load(module_class: type, config: object, state: dict[str, Tensor]) -> tuple[nn.Module, list[str]]:
    """transformers' own loading, which knows the modules that it renamed since; it reports what it would let pass."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, report = module_class.from_pretrained(
            None,
            config=config,
            state_dict=state,
            dtype=torch.float32,
            # BERT's eager attention would add the mask of phrases, which is of booleans, to its scores.
            attn_implementation={"text_config": "sdpa"},
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    finally:
        logging.set_verbosity(verbosity)
    problems = [f"missing: {name}" for name in sorted(report["missing_keys"])]
    problems += [f"unexpected: {name}" for name in sorted(report["unexpected_keys"])]
    problems += [
        f"misshapen: {name} is {tuple(found)}, the architecture needs {tuple(needed)}"
        for name, found, needed in sorted(report["mismatched_keys"])
    ]
    return model, problems


def _refuse_single_bias(model_type: str, state: dict[str, Tensor]) -> None:
    biased = any(re.match(r"class_embed\.\d+\.bias$", name) for name in state)
    if model_type == "grounding-dino" and biased:
        raise CheckpointError(
            "this is an early conversion of LLMDet (llmdet_swin_*_hf), which lost the biases of all decoder layers but one: "
            "give iSEE-Laboratory/llmdet_tiny, llmdet_base or llmdet_large"
        )


def without_copies(state: dict[str, Tensor], config: object) -> dict[str, Tensor]:
    """The tensors without those that repeat others: older files hold a shared head once for every layer, and all heads twice."""
    kept: dict[str, Tensor] = {}
    first: dict[str, str] = {}
    for name, tensor in state.items():
        own = _shared_name(name, config)
        if not torch.equal(kept.setdefault(own, tensor), tensor):
            raise CheckpointError(
                f"{name} and {first[own]} differ, where config.json says that they are one: correct its decoder_*_embed_share"
            )
        first.setdefault(own, name)
    return kept


def _shared_name(name: str, config: object) -> str:
    name = re.sub(r"^model\.decoder\.(?=(bbox|class)_embed\.)", "", name)
    shared = {"bbox": config.decoder_bbox_embed_share, "class": getattr(config, "decoder_cls_embed_share", False)}
    return re.sub(
        r"^(bbox|class)_embed\.\d+", lambda match: f"{match[1]}_embed.0" if shared[match[1]] else match[0], name
    )


def infer_config(model_type: str, state: dict[str, Tensor], text_heads: int | None = None) -> dict:
    """The config.json that tensors without one belong to."""
    levels, d_model = shape(state, "model.level_embed")
    encoder, decoder = "model.encoder.layers.{}.", "model.decoder.layers.{}."
    attention = encoder.format(0) + "deformable_layer.self_attn.attention_weights.weight"
    config = {
        "model_type": model_type,
        "backbone_config": _infer_swin(state),
        "text_config": _infer_bert(state, text_heads),
        "d_model": d_model,
        "num_feature_levels": levels,
        "num_queries": shape(state, "model.query_position_embeddings.weight")[0],
        "encoder_layers": count(state, encoder + "deformable_layer.fc1.weight"),
        "encoder_ffn_dim": shape(state, encoder.format(0) + "deformable_layer.fc1.weight")[0],
        "encoder_attention_heads": shape(state, attention)[0] // (levels * POINTS),
        "encoder_n_points": POINTS,
        "decoder_layers": count(state, decoder + "fc1.weight"),
        "decoder_ffn_dim": shape(state, decoder.format(0) + "fc1.weight")[0],
        "decoder_attention_heads": shape(state, decoder.format(0) + "encoder_attn.attention_weights.weight")[0]
        // (levels * POINTS),
        "decoder_n_points": POINTS,
        "decoder_bbox_embed_share": _alike(state, "bbox_embed"),
    }
    if model_type == "mm-grounding-dino":
        config["decoder_cls_embed_share"] = _alike(state, "class_embed")
    return config


def _infer_swin(state: dict[str, Tensor]) -> dict:
    stage = SWIN + "encoder.layers.{}."
    first = stage.format(0) + "blocks.0."
    stages = count(state, stage + "blocks.0.attention.self.query.weight")
    tables = [
        shape(state, stage.format(n) + "blocks.0.attention.self.relative_position_bias_table") for n in range(stages)
    ]
    if not tables:
        raise CheckpointError("the image encoder is no Swin, as that of every published model is")
    embed_dim = shape(state, SWIN + "embeddings.patch_embeddings.projection.weight")[0]
    window = (math.isqrt(tables[0][0]) + 1) // 2
    blocks = range(stages)
    return {
        "model_type": "swin",
        "embed_dim": embed_dim,
        "depths": [count(state, stage.format(n) + "blocks.{}.attention.self.query.weight") for n in blocks],
        "num_heads": [heads for _, heads in tables],
        "window_size": window,
        "mlp_ratio": shape(state, first + "intermediate.dense.weight")[0] / embed_dim,
        "qkv_bias": first + "attention.self.query.bias" in state,
        # Of the images that it was trained with first: the last stage had one window of them.
        "image_size": 32 * window,
        "out_features": [f"stage{n + 1}" for n in blocks if f"{SWIN}hidden_states_norms.stage{n + 1}.weight" in state],
    }


def _infer_bert(state: dict[str, Tensor], heads: int | None) -> dict:
    vocab_size, hidden_size = shape(state, BERT + "embeddings.word_embeddings.weight")
    heads = hidden_size // BERT_HEAD_WIDTH if heads is None else heads
    if heads < 1 or hidden_size % heads:
        raise CheckpointError(f"{heads} text heads do not divide BERT's hidden size {hidden_size}: give the head count")
    return {
        "model_type": "bert",
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "num_hidden_layers": count(state, BERT + "encoder.layer.{}.output.dense.weight"),
        "num_attention_heads": heads,
        "intermediate_size": shape(state, BERT + "encoder.layer.0.intermediate.dense.weight")[0],
        "max_position_embeddings": shape(state, BERT + "embeddings.position_embeddings.weight")[0],
        "type_vocab_size": shape(state, BERT + "embeddings.token_type_embeddings.weight")[0],
    }


def _alike(state: dict[str, Tensor], head: str) -> bool:
    """Whether the heads of all decoder layers are one."""
    copies = defaultdict(list)
    for name, tensor in state.items():
        if match := re.match(rf"{head}\.\d+\.(.*)", name):
            copies[match[1]].append(tensor)
    return all(torch.equal(tensors[0], tensor) for tensors in copies.values() for tensor in tensors[1:])


def renamed(state: dict[str, Tensor], names: list[tuple[str, object]]) -> dict[str, Tensor]:
    """The tensors under Hugging Face's names; `names` says what the beginning of a name becomes, the first that fits counts.

    A name that nothing fits stays, to be named as unexpected. Queries, keys and values in one tensor become three.
    """
    table = [(re.compile(pattern), replacement) for pattern, replacement in names]
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        pattern, replacement = next((entry for entry in table if entry[0].match(name)), (None, None))
        new = name if pattern is None else pattern.sub(replacement, name, count=1)
        if match := re.fullmatch(r"(.*\.)(?:qkv\.|in_proj_)(weight|bias)", new):
            parts = zip(("query", "key", "value"), tensor.chunk(3))
            found |= {f"{match[1]}{part}.{match[2]}": piece for part, piece in parts}
        else:
            found[new] = tensor
    return found
