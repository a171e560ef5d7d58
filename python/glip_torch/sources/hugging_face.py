"""Folders as `save_pretrained` writes them: config.json, weights, and if they are there the tokenizer's and processor's files."""

from __future__ import annotations

import json
import re
from pathlib import Path

from torch import Tensor

from ..config import UNKNOWN, Recommended
from ..grounding_dino import FAMILIES
from ..grounding_dino import variant as variant_of
from ..tensor_files import CheckpointError, check_finite, named_tensors, read_content
from ..tokenizer import tokenizer_in
from . import grounding_dino, sisters
from .source import Source

#: Files of weights, in the order in which they are preferred; an index lists the shards that the weights are split into.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
IMAGE_MEAN, IMAGE_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def open_folder(folder: Path, text_heads: int | None, weights: str, form: str = "a Hugging Face folder") -> Source:
    """Reads the folder; `weights` is its name for the manifest."""
    config = _json(folder / "config.json")
    model_type = str(config.get("model_type"))
    if model_type not in FAMILIES:
        raise CheckpointError(
            f"{folder} is of {sisters.of_model_type(model_type)}, another architecture: give a model of {sisters.KNOWN}"
        )
    heads = (config.get("text_config") or {}).get("num_attention_heads", 12)
    if text_heads not in (None, heads):
        raise CheckpointError(f"--text-heads {text_heads}: {folder / 'config.json'} says {heads}, leave the option out")
    state = _read_weights(folder)
    model = grounding_dino.build(config, state, _recommended(folder))
    check_finite(model, state, folder)
    # LLMDet's config.json is that of any MM-Grounding-DINO.
    family = "LLMDet" if model_type == "mm-grounding-dino" and "llmdet" in weights.lower() else None
    variant = variant_of(model, family)
    return Source(model, variant, form, weights, tokenizer_in(folder), licence(folder))


def licence(folder: Path) -> str | None:
    """The licence that the model card's header names, if there is a card."""
    card = folder / "README.md"
    header = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), re.DOTALL) if card.exists() else None
    named = re.search(r"^license:\s*(?:-\s*)?[\"']?([\w.+-]+)", header[1], re.MULTILINE) if header else None
    return named[1] if named else None


def _read_weights(folder: Path) -> dict[str, Tensor]:
    file = next((folder / name for name in WEIGHTS if (folder / name).exists()), None)
    if file is None:
        raise CheckpointError(f"{folder} holds no weights: none of {', '.join(WEIGHTS)}")
    files = _shards(file) if file.suffix == ".json" else [file]
    state: dict[str, Tensor] = {}
    for path in files:
        state |= named_tensors(read_content(path), path)
    return state


def _shards(index: Path) -> list[Path]:
    names = sorted(set(_json(index).get("weight_map", {}).values()))
    foreign = [name for name in names if name != Path(name).name]
    if foreign or not names:
        raise CheckpointError(f"{index} lists {foreign or 'no files'}, which are no files of its folder")
    return [index.with_name(name) for name in names]


def _recommended(folder: Path) -> Recommended:
    """The sizes that images are resized to; the rest of the processor has to be what is exported."""
    processor = _processor(folder)
    for name, exported in (("image_mean", IMAGE_MEAN), ("image_std", IMAGE_STD)):
        if processor.get(name, exported) != exported:
            raise CheckpointError(
                f"{folder} prepares images with {name} {processor[name]}: only {exported} is exported"
            )
    size = processor.get("size")
    if isinstance(size, int):  # as older files have it
        size = {"shortest_edge": size, "longest_edge": processor.get("max_size")}
    sides = (size or {}).get("shortest_edge"), (size or {}).get("longest_edge")
    return Recommended(*sides) if all(isinstance(side, int) for side in sides) else UNKNOWN


def _processor(folder: Path) -> dict:
    if (folder / "preprocessor_config.json").exists():
        return _json(folder / "preprocessor_config.json")
    if (folder / "processor_config.json").exists():
        return _json(folder / "processor_config.json").get("image_processor", {})
    return {}


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: {path.parent} is no Hugging Face folder") from None
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read ({error}); is the download complete?") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a table of names and values")
    return content
