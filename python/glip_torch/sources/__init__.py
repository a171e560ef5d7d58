"""Where models to export come from: checkpoints and folders of all the forms that people have them in.

`open_source("iSEE-Laboratory/llmdet_tiny")`, for instance, has the model, its tokenizer, and a line that describes them.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..checkpoint import build_detector, is_glip, recommended_by, words_known
from ..grounding_dino import variant as variant_of
from ..tensor_files import CheckpointError, check_finite, named_tensors, read_content, unwrapped
from ..tokenizer import tokenizer_in
from . import hub, hugging_face, idea, mmdetection, sisters
from .source import Source

__all__ = ["CheckpointError", "Source", "open_source"]


def open_source(source: str | os.PathLike, text_heads: int | None = None) -> Source:
    """The model that `source` is, and what lies beside it.

    Either a file: a checkpoint of GLIP, of Grounding DINO's original project, or of mmdetection (MM-Grounding-DINO, LLMDet),
    written by PyTorch or as safetensors. Or a folder of Hugging Face's, or a model's name on its hub, which is
    downloaded. `text_heads` is the head count of a checkpoint's BERT, where it is not its hidden size / 64.

    Raises `CheckpointError`, which says what was found instead, or every tensor that does not fit.
    """
    source = os.fspath(source)
    path = Path(source)
    if path.is_dir():
        return _open_folder(path, text_heads)
    if path.exists():
        return _open_file(path, text_heads, path.name)
    if not hub.is_name(source):
        raise CheckpointError(f"{source} does not exist, and is no name of a model on the hub (OWNER/NAME)")
    found, weights = hub.download(source)
    if found.is_dir():
        return hugging_face.open_folder(found, text_heads, weights, "a model of the Hugging Face hub")
    return _open_file(found, text_heads, weights)


def _open_folder(folder: Path, text_heads: int | None) -> Source:
    checkpoints = sorted(folder.glob("*.pth"))
    if checkpoints and not (folder / "config.json").exists():
        raise CheckpointError(
            f"{folder} is no Hugging Face folder (no config.json): give a file of it, {checkpoints[0]}"
        )
    return hugging_face.open_folder(folder, text_heads, folder.resolve().name)


def _open_file(path: Path, text_heads: int | None, weights: str) -> Source:
    if path.name in hugging_face.WEIGHTS and (path.parent / "config.json").exists():
        return _open_folder(path.parent, text_heads)
    content = read_content(path)
    state = unwrapped(named_tensors(content, path))
    if is_glip(state):
        model = words_known(build_detector(state, recommended_by(content, path), text_heads), path)
        variant, form = model.config.variant, "a GLIP checkpoint"
    elif idea.fits(state):
        model = idea.build(state, text_heads)
        variant, form = variant_of(model), "an original checkpoint"
    elif mmdetection.fits(state):
        model = mmdetection.build(state, text_heads)
        variant, form = variant_of(model, mmdetection.family(state)), "an mmdetection checkpoint"
    else:
        raise CheckpointError(f"{path} {_what_else(state)}: give one of {sisters.KNOWN}")
    check_finite(model, state, path)
    return Source(model, variant, form, weights, tokenizer_in(path.parent), hugging_face.licence(path.parent))


def _what_else(state: dict) -> str:
    if any(name.startswith("backbone.conv_encoder.") for name in state):
        return "holds tensors of a Hugging Face model, which needs its config.json beside it"
    title = sisters.of_tensors(state)
    if title is not None:
        return f"is of {title}, another architecture"
    known = f"is of no architecture known here (its tensors are {', '.join(sorted(state)[:3])}, ...)"
    first = {name.partition(".")[0] for name in state}
    if len(first) == 1:
        known += (
            f"; all their names begin with {first.pop() + '.'!r}: if a wrapper put it there, save them without it, and"
        )
    return known
