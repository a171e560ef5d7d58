"""Official GLIP checkpoints: `{'model': {name: tensor}}`, read strictly, written alike; safetensors, Lightning's and bare ones too.

What official GLIP does not have (YOLOX's image encoder and tower, boundaries of phrases) has names of ours beside its.

The architecture is not stored in a checkpoint; it is read off the tensors' names and shapes. What the model is best run with
(`config.Recommended`) is in a second entry, `recommended`, which official checkpoints lack and their readers do not mind.
"""

from __future__ import annotations

import hashlib
import math
import os
import re

import torch
from torch import Tensor

from .atomic import written
from .config import STRIDES, CSPDarknetConfig, FusionConfig, GLIPConfig, Recommended, SwinConfig, TextConfig
from .dyhead import DyHead
from .model import GLIP
from .tensor_files import CheckpointError, check_finite, count, named_tensors, read_content, shape, unwrapped

#: Heads of the bi-attention in every released model; no tensor's shape tells it.
FUSION_HEADS = 8
#: Width of the heads of gated bi-attention.
GATED_HEAD_WIDTH = 32
#: Width of one BERT head in every published BERT.
BERT_HEAD_WIDTH = 64

# Ours on the left, official on the right. `{}` stands for an index that is the same on both sides.
_NAMES = [
    ("image_encoder.swin.patch_embed.", "backbone.body.patch_embed."),
    ("image_encoder.swin.stages.", "backbone.body.layers."),
    ("image_encoder.fpn.p6.", "backbone.fpn.top_blocks.p6."),
    ("image_encoder.fpn.p7.", "backbone.fpn.top_blocks.p7."),
    ("image_encoder.darknet.", "backbone.body."),
    ("image_encoder.pan.", "backbone.fpn."),
    ("image_encoder.stems.", "backbone.stems."),
    ("text_encoder.bert.", "language_backbone.body.model."),
    ("text_encoder.boundaries", "language_backbone.boundaries"),
    ("tower.output.", "rpn.head.dyhead_output."),
    ("head.", "rpn.head."),
]
_SWIN_NORM = "backbone.body.norm{}."
_TOWER = "rpn.head.dyhead_tower.{}."
_DYCONV = [
    ("dyconv.coarser.conv.", "DyConv.0.conv."),
    ("dyconv.coarser.norm.", "DyConv.0.bn."),
    ("dyconv.own.conv.", "DyConv.1.conv."),
    ("dyconv.own.norm.", "DyConv.1.bn."),
    ("dyconv.finer.conv.", "DyConv.2.conv."),
    ("dyconv.finer.norm.", "DyConv.2.bn."),
    ("dyconv.branch_weight.", "AttnConv.1."),
    ("dyconv.activation.fc1.", "relu.fc.0."),
    ("dyconv.activation.fc2.", "relu.fc.2."),
    ("dyconv.offset.", "offset."),
]
_FUSION = [
    (f"fusion.{name}", f"b_attn.attn.{name}")
    for name in ("v_proj", "l_proj", "values_v_proj", "values_l_proj", "out_v_proj", "out_l_proj")
] + [("fusion.", "b_attn.")]

#: Tensors that official checkpoints hold and GLIP's forward pass does not use: the closed-set
#: classifier, the pre-training heads, and buffers that are derived from the configuration.
_UNUSED = re.compile(
    r"rpn\.head\.(cls_logits|token_logits|mlm_head)\."
    r"|rpn\.anchor_generator\.cell_anchors\.\d+$"
    r"|\.relative_position_index$"
    r"|\.position_ids$"
)


def load_checkpoint(path: str | os.PathLike, text_heads: int | None = None) -> GLIP:
    """The model in an official checkpoint, in eval mode.

    `text_heads` is BERT's head count, the one size that no tensor shows (default: hidden size / 64).
    Raises `CheckpointError` with the name of every missing, unexpected or misshapen tensor.
    """
    return words_known(load_detector(path, text_heads), path)


def words_known(model: GLIP | DyHead, path: str | os.PathLike) -> GLIP:
    """The model, unless it is a closed-set detector."""
    if isinstance(model, DyHead):
        raise CheckpointError(f"{path} is of a closed-set detector, which knows no words: give a GLIP's checkpoint")
    return model


def load_detector(path: str | os.PathLike, text_heads: int | None = None) -> GLIP | DyHead:
    """As `load_checkpoint`, of closed-set detectors too: those have no text encoder."""
    state, recommended = read_checkpoint(path)
    model = build_detector(state, recommended, text_heads)
    check_finite(model, state, path)
    return model


def build_detector(state: dict[str, Tensor], recommended: Recommended, text_heads: int | None) -> GLIP | DyHead:
    """The detector with these tensors, under their official names."""
    config = infer_config(state, text_heads)
    model = DyHead(config) if is_closed_set(state) else GLIP(config)
    expected = {official_name(name, config): tensor for name, tensor in model.state_dict().items()}
    state = {name: tensor for name, tensor in state.items() if name in expected or not _UNUSED.search(name)}
    _check(expected, state)
    model.load_state_dict({name: state[official_name(name, config)] for name in model.state_dict()})
    model.recommended = recommended
    return model.eval()


def save_checkpoint(model: GLIP | DyHead, path: str | os.PathLike) -> None:
    """Writes the model in the official format, so that every reader of official checkpoints takes it."""
    state = {official_name(name, model.config): tensor.cpu() for name, tensor in model.state_dict().items()}
    for level, (stride, size) in enumerate(zip(model.config.strides, model.config.anchor_sizes)):
        corner = torch.tensor([stride - size, stride - size, stride + size - 2, stride + size - 2]) / 2
        state[f"rpn.anchor_generator.cell_anchors.{level}"] = corner[None]
    recommended = {name: value for name, value in vars(model.recommended).items() if value is not None}
    state = {f"module.{name}": tensor for name, tensor in state.items()}
    with written(path) as partial:
        torch.save({"model": state, "recommended": recommended}, partial)


def fingerprint(model: GLIP) -> str:
    """What identifies a model's weights, whatever file they are in: a SHA-256 in hexadecimal.

    Over all tensors by name: the name, the shape, and the values as float32. A learned prompt names its model by it, and so
    does a bundle, which may store the weights in another precision.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def read_checkpoint(path: str | os.PathLike) -> tuple[dict[str, Tensor], Recommended]:
    """The checkpoint's tensors under their official names, without prefixes, and what is recommended."""
    content = read_content(path)
    return unwrapped(named_tensors(content, path)), recommended_by(content, path)


def recommended_by(content: object, path: str | os.PathLike) -> Recommended:
    """What a checkpoint says of itself. An entry that says nothing of our names is somebody else's, and tells nothing."""
    entry = content.get("recommended") if isinstance(content, dict) else None
    kinds = {"short_side": int, "long_side": int, "score_threshold": float, "shared_target": bool}
    known = {name: entry[name] for name in kinds if name in entry} if isinstance(entry, dict) else {}
    wrong = [name for name, value in known.items() if type(value) is not kinds[name]]
    if wrong:
        name, value = wrong[0], known[wrong[0]]
        raise CheckpointError(
            f"checkpoint {path} recommends {name} {value!r}, which is no {kinds[name].__name__}: correct or remove the entry"
        )
    return Recommended(**known)


def is_glip(state: dict[str, Tensor]) -> bool:
    """Whether these are tensors of a GLIP, or of its closed-set counterpart."""
    return any(name.startswith("rpn.head.dyhead_tower.") for name in state)


def is_closed_set(state: dict[str, Tensor]) -> bool:
    """Whether it is of a `DyHead`: classes instead of a text encoder."""
    return "rpn.head.cls_logits.weight" in state and not any(name.startswith("language_backbone.") for name in state)


def infer_config(state: dict[str, Tensor], text_heads: int | None = None) -> GLIPConfig:
    """The architecture that a checkpoint's tensors belong to."""
    closed = is_closed_set(state)
    decoupled = "backbone.stems.0.conv.weight" in state
    first_of_layer = r"classes\.0\.spatial\.conv\.weight" if decoupled else r"offset\.weight"
    tower = [re.match(rf"rpn\.head\.dyhead_tower\.(\d+)\.{first_of_layer}$", name) for name in state]
    layers = sorted(int(match[1]) for match in tower if match)
    if not layers:
        wanted = (
            "convolutions (rpn.head.dyhead_tower.*.classes)"
            if decoupled
            else "DyConv layers (rpn.head.dyhead_tower.*.offset)"
        )
        raise CheckpointError(f"not a GLIP checkpoint: no {wanted}")
    return GLIPConfig(
        backbone=_infer_darknet(state) if decoupled else _infer_swin(state),
        text=TextConfig(shape(state, "rpn.head.cls_logits.weight")[0]) if closed else _infer_text(state, text_heads),
        channels=_infer_channels(state, layers[0]),
        tower_layers=len(layers),
        fusion=_infer_fusion(state, layers[-1]),
        anchor_sizes=_anchor_sizes(state),
    )


def _infer_swin(state: dict[str, Tensor]) -> SwinConfig:
    block = "backbone.body.layers.{}.blocks.{}.attn."
    stages = count(state, "backbone.body.layers.{}.blocks.0.attn.qkv.weight")
    tables = [shape(state, block.format(stage, 0) + "relative_position_bias_table") for stage in range(stages)]
    if not tables:
        raise CheckpointError("not a GLIP checkpoint: no Swin stages (backbone.body.layers.*)")
    return SwinConfig(
        embed_dim=shape(state, "backbone.body.patch_embed.proj.weight")[0],
        depths=tuple(count(state, f"backbone.body.layers.{n}.blocks.{{}}.attn.qkv.weight") for n in range(stages)),
        heads=tuple(heads for _, heads in tables),
        window=(math.isqrt(tables[0][0]) + 1) // 2,
    )


def _infer_darknet(state: dict[str, Tensor]) -> CSPDarknetConfig:
    stage = "backbone.body.stages.{}."
    stages = count(state, stage + "downsample.spatial.conv.weight")
    depths = (count(state, f"{stage.format(n)}csp.blocks.{{}}.reduce.conv.weight") for n in range(stages))
    return CSPDarknetConfig(stem=shape(state, "backbone.body.stem.conv.weight")[0], depths=tuple(depths))


def _infer_channels(state: dict[str, Tensor], first_layer: int) -> int:
    stem = "backbone.stems.0.conv.weight"
    return shape(state, stem)[0] if stem in state else shape(state, _TOWER.format(first_layer) + "offset.weight")[1]


def _infer_text(state: dict[str, Tensor], heads: int | None) -> TextConfig:
    bert = "language_backbone.body.model."
    vocab_size, hidden_size = shape(state, bert + "embeddings.word_embeddings.weight")
    if heads is None:
        heads = hidden_size // BERT_HEAD_WIDTH
    if heads < 1 or hidden_size % heads:
        raise CheckpointError(f"{heads} text heads do not divide BERT's hidden size {hidden_size}: give the head count")
    return TextConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        layers=count(state, bert + "encoder.layer.{}.output.dense.weight"),
        heads=heads,
        intermediate_size=shape(state, bert + "encoder.layer.0.intermediate.dense.weight")[0],
        max_positions=shape(state, bert + "embeddings.position_embeddings.weight")[0],
        boundaries=tuple(state.get("language_backbone.boundaries", torch.empty(0)).long().tolist()),
    )


def _infer_fusion(state: dict[str, Tensor], last_convolution: int) -> FusionConfig | None:
    if _TOWER.format(0) + "b_attn.gamma_v" not in state:
        return None
    gated = not any(re.match(r"rpn\.head\.dyhead_tower\.\d+\.output\.dense\.weight$", name) for name in state)
    embed_dim = shape(state, _TOWER.format(0) + "b_attn.attn.v_proj.weight")[0]
    return FusionConfig(
        embed_dim=embed_dim,
        heads=embed_dim // GATED_HEAD_WIDTH if gated else FUSION_HEADS,
        fused_text=gated or _TOWER.format(last_convolution - 1) + "output.dense.weight" in state,
        gated=gated,
    )


def _anchor_sizes(state: dict[str, Tensor]) -> tuple[int, ...]:
    levels = count(state, "rpn.head.scales.{}.scale") or len(STRIDES)
    names = [f"rpn.anchor_generator.cell_anchors.{level}" for level in range(levels)]
    if any(name not in state for name in names):
        return GLIPConfig.anchor_sizes[:levels]
    return tuple(round(float(state[name][0, 2] - state[name][0, 0])) + 1 for name in names)


def official_name(name: str, config: GLIPConfig) -> str:
    """The official name of one of our tensors."""
    if match := re.match(r"image_encoder\.swin\.norms\.(\d+)\.(.*)", name):
        return _SWIN_NORM.format(int(match[1]) + 1) + match[2]
    if match := re.match(r"image_encoder\.fpn\.(lateral|output)\.(\d+)\.(.*)", name):
        kind = {"lateral": "fpn_inner", "output": "fpn_layer"}[match[1]]
        return f"backbone.fpn.{kind}{int(match[2]) + 2}.{match[3]}"
    if match := re.match(r"head\.scales\.(\d+)$", name):
        return f"rpn.head.scales.{match[1]}.scale"
    if match := re.match(r"tower\.layers\.(\d+)\.(.*)", name):
        return _official_tower_name(int(match[1]), match[2], fused=config.fusion is not None)
    for ours, official in _NAMES:
        if name.startswith(ours):
            return official + name.removeprefix(ours)
    raise KeyError(f"{name} has no official name")


def _official_tower_name(layer: int, name: str, fused: bool) -> str:
    """Official keeps a fused layer's three parts as three entries of one flat list."""
    first = 3 * layer if fused else layer
    if name.startswith("text_layer.bert_layer."):
        return _TOWER.format(first + 1) + name.removeprefix("text_layer.bert_layer.")
    convolution = first + 2 if fused else first
    if name.startswith("decoupled."):
        return _TOWER.format(convolution) + name.removeprefix("decoupled.")
    table, entry = (_FUSION, first) if name.startswith("fusion.") else (_DYCONV, convolution)
    for ours, official in table:
        if name.startswith(ours):
            return _TOWER.format(entry) + official + name.removeprefix(ours)
    raise KeyError(f"tower layer tensor {name} has no official name")


def _check(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    problems = [f"missing: {name} {tuple(expected[name].shape)}" for name in expected if name not in found]
    problems += [f"unexpected: {name} {tuple(found[name].shape)}" for name in found if name not in expected]
    problems += [
        f"misshapen: {name} is {tuple(found[name].shape)}, the architecture needs {tuple(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    if problems:
        raise CheckpointError("checkpoint does not fit the architecture read off it:\n  " + "\n  ".join(problems))
