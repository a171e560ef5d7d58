"""Where segmenters to export come from: checkpoints of SAM and MobileSAM, Hugging Face folders, models of its hub."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import Sam2Model, SamModel

from ..sources import hub
from ..sources.hugging_face import licence
from ..tensor_files import CheckpointError, check_finite, named_tensors, read_content, unwrapped

#: What a folder's config.json calls its model, and the class that exports it. Those of SAM 2 are of its video model.
_CLASSES: dict[str, type] = {"sam": SamModel, "sam2": Sam2Model, "sam2_video": Sam2Model}
#: The width of the image encoder, and what official's registry calls a model with it.
_VARIANTS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_INSTALL = {
    "segment_anything": "pip install segment-anything",
    "mobile_sam": "pip install git+https://github.com/ChaoningZhang/MobileSAM.git timm",
}


@dataclass(frozen=True)
class SegmenterSource:
    """A model to export, and what was found beside it."""

    model: nn.Module
    #: Where the weights came from, for the manifest.
    weights: str
    licence: str | None


def open_source(source: str) -> SegmenterSource:
    """The model that `source` is: a checkpoint, a folder, or OWNER/NAME on the hub.

    Raises `CheckpointError`, which says what was found instead.
    """
    path, weights = Path(source), Path(source).resolve().name
    if not path.exists():
        if not hub.is_name(source):
            raise CheckpointError(f"{source} does not exist, and is no name of a model on the hub (OWNER/NAME)")
        path, weights = hub.download(source)
    if path.is_dir():
        return SegmenterSource(_from_folder(path), weights, licence(path))
    return SegmenterSource(_from_checkpoint(path), weights, licence(path.parent))


def _from_folder(folder: Path) -> nn.Module:
    config = folder / "config.json"
    if not config.exists():
        raise CheckpointError(f"{folder} is no Hugging Face folder (no config.json): for a checkpoint, give its file")
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{config} cannot be read ({error}); is the download complete?") from error
    if kind not in _CLASSES:
        raise CheckpointError(f"{folder} holds a model of type {kind!r}: there are exporters for {', '.join(_CLASSES)}")
    try:
        return _CLASSES[kind].from_pretrained(folder).float().eval()
    except Exception as error:  # transformers raises nearly anything
        raise CheckpointError(f"{folder} cannot be loaded ({str(error).splitlines()[0]})") from error


def _from_checkpoint(path: Path) -> nn.Module:
    state = unwrapped(named_tensors(read_content(path), path))
    module, variant = _registered(state, path)
    try:
        registry = importlib.import_module(module).sam_model_registry
    except ImportError as error:
        raise CheckpointError(
            f"{path} is of {module}, whose code is needed and is not installed ({error}): {_INSTALL[module]}"
        ) from error
    model = registry[variant]()
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing or unexpected:
        names = ", ".join([*missing, *unexpected][:3])
        raise CheckpointError(f"{path} does not fit {module}'s {variant}: tensors such as {names}")
    check_finite(model, state, path)
    return model.eval()


def _registered(state: dict, path: Path) -> tuple[str, str]:
    """The module with the code, and what its registry calls the model."""
    if any(name.startswith("image_encoder.layers.") for name in state):
        return "mobile_sam", "vit_t"
    positions = state.get("image_encoder.pos_embed")
    if positions is not None and positions.shape[-1] in _VARIANTS and "mask_decoder.hf_token.weight" not in state:
        return "segment_anything", _VARIANTS[positions.shape[-1]]
    raise CheckpointError(
        f"{path} is of no architecture known here (its tensors are {', '.join(sorted(state)[:3])}, ...): give a checkpoint of SAM "
        "(vit_b, vit_l, vit_h) or MobileSAM, a Hugging Face folder, or a pair of ONNX files with --encoder and --decoder"
    )
