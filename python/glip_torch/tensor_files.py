"""Files of named tensors, as `torch.save` and safetensors write them: read without running anything that is in them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

#: Entries of a checkpoint that hold the tensors: the original projects', and mmdetection's and Lightning's.
ENTRIES = ("model", "state_dict")
#: What modules that wrap a model put before its names: DistributedDataParallel, Lightning, torch.compile.
_WRAPPERS = re.compile(r"^(?:(?:module|model|_orig_mod)\.)+")


class CheckpointError(ValueError):
    """The weights cannot be read, or are not of an architecture that this package knows."""


class _Ignored:
    """Stands for whatever else a pickle names: training logs, optimizers, settings. It does nothing."""

    def __init__(self, *_args: object, **_named: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


def read_content(path: str | os.PathLike) -> object:
    """What the file holds; objects that are neither tensors nor plain values are left out, and their code is not run."""
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"checkpoint {path} does not exist")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        zipped = zipfile.is_zipfile(path)
        others = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else []
        with torch.serialization.safe_globals([(_Ignored, name) for name in others]):
            # Mapped, so that what is not used of a large checkpoint is not read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read as tensors only ({error}); is the download complete?"
        ) from error


def named_tensors(content: object, path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of a checkpoint: those of its entry for them, or all that it holds."""
    entries = content if isinstance(content, dict) else {}
    state = next((entries[name] for name in ENTRIES if isinstance(entries.get(name), dict)), entries)
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if state is entries and (others or not state):
        raise CheckpointError(
            f"checkpoint {path} holds no named tensors: no 'model' entry, no 'state_dict' entry, and no tensors alone"
        )
    if others:
        raise CheckpointError(f"checkpoint {path} cannot be read as tensors only: {others[0]!r} is something else")
    return state


def unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that the model itself gives them."""
    names = {name: _WRAPPERS.sub("", name) for name in state}
    originals: dict[str, str] = {}
    for name, own in names.items():
        if originals.setdefault(own, name) != name:
            raise CheckpointError(f"checkpoint holds {own!r} twice, as {originals[own]!r} and {name!r}: leave one out")
    return {names[name]: tensor for name, tensor in state.items()}


def shape(state: dict[str, Tensor], name: str) -> tuple[int, ...]:
    """Of a tensor that no model of its kind is without."""
    if name not in state:
        raise CheckpointError(f"tensor {name!r} is missing: is the checkpoint complete?")
    return tuple(state[name].shape)


def count(names: Iterable[str], pattern: str) -> int:
    """How many consecutive indices `pattern` exists for, from 0."""
    index = 0
    while pattern.format(index) in names:
        index += 1
    return index
