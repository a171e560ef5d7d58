"""Files of named tensors, as `torch.save` and safetensors write them: read without running anything that is in them."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

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
    zipped = zipfile.is_zipfile(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        others = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else []
        with torch.serialization.safe_globals([(_Ignored, name) for name in others]):
            # Mapped, so that what is not used of a large checkpoint is not read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        raise CheckpointError(_unreadable(path, zipped, error)) from error


def _unreadable(path: Path, zipped: bool, error: Exception) -> str:
    """Why a file cannot be read, as far as that can be told: it is something else, cut off, or holds more than tensors."""
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError as unreadable:
        return f"checkpoint {path} cannot be read: {unreadable.strerror}"
    if begin.startswith(b"version https://git-lfs"):
        return f"checkpoint {path} is a pointer of Git LFS, not the file itself: run `git lfs pull`"
    if path.suffix == ".safetensors":
        return f"checkpoint {path} cannot be read as safetensors ({error}); is the download complete?"
    # PyTorch says much of what one could do, and in one line what is wrong.
    reason = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
    found = re.search(r"(?:GLOBAL|global|class) ([\w.]+\.\w+)", reason)
    # A zip file whose end is there is whole. Older files of PyTorch are pickles, whose unpickler tells what it refused.
    if (zipped and isinstance(error, pickle.UnpicklingError)) or (begin[:1] == b"\x80" and found):
        what = f", such as {found[1]}" if found else ""
        return f"checkpoint {path} holds more than tensors and plain values{what}: {_only_tensors(path)}"
    if begin[:1] != b"\x80" and begin[:2] != b"PK":
        return f"checkpoint {path} is no file of PyTorch's (it begins with {begin[:16]!r}); is the download complete?"
    return f"checkpoint {path} cannot be read as tensors only ({reason.splitlines()[0]}); is the download complete?"


def _only_tensors(path: str | os.PathLike, entry: str = "c['model']", safely: bool = False) -> str:
    """How to make a file of the tensors alone."""
    load = f"c = torch.load({os.fspath(path)!r}, map_location='cpu', weights_only={safely})"
    trust = "" if safely else ", which runs what is in the file, so only where you trust it"
    return (
        f"keep the tensors alone{trust}: "
        f"""python -c "import torch; {load}; torch.save({{'model': {entry}}}, 'tensors.pth')\""""
    )


def named_tensors(content: object, path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of a checkpoint: those of its entry for them, or all that it holds."""
    if isinstance(content, _Ignored):
        raise CheckpointError(
            f"checkpoint {path} holds a whole object, not named tensors: {_only_tensors(path, 'c.state_dict()')}"
        )
    entries = state = content if isinstance(content, dict) else {}
    while inner := [state[name] for name in ENTRIES if isinstance(state.get(name), dict)]:
        state = inner[0]
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if state is entries and (others or not state):
        raise CheckpointError(
            f"checkpoint {path} holds no named tensors: no 'model' entry, no 'state_dict' entry, and no tensors alone; "
            + _found_instead(content, path)
        )
    if others:
        raise CheckpointError(
            f"checkpoint {path} has {others[0]!r} among its tensors, which is none: make one of it (torch.as_tensor), or "
            "leave it out"
        )
    return state


def _found_instead(content: object, path: str | os.PathLike) -> str:
    """What a file holds instead of tensors, and how to wrap what may be them."""
    if not isinstance(content, dict):
        return f"it is a {type(content).__name__}"
    entry = next((name for name, value in content.items() if _may_be_weights(name, value)), None)
    if entry is None:
        return f"its entries are {', '.join(map(repr, list(content)[:8])) or 'none'}"
    if isinstance(content[entry], _Ignored):
        return f"its entry {entry!r} is a whole object: {_only_tensors(path, f'c[{entry!r}].state_dict()')}"
    return f"if they are its entry {entry!r}, {_only_tensors(path, f'c[{entry!r}]', safely=True)}"


def _may_be_weights(name: object, value: object) -> bool:
    if isinstance(value, dict) and value:
        return all(isinstance(tensor, Tensor) for tensor in value.values())
    return isinstance(value, _Ignored) and "model" in str(name).lower()


def check_finite(model: nn.Module, state: dict[str, Tensor], path: str | os.PathLike) -> None:
    """Raises `CheckpointError` if the model has weights that are NaN or infinite; `state` has their names in the file."""
    if all(map(_is_finite, model.state_dict().values())):
        return
    names = [name for name, tensor in state.items() if not _is_finite(tensor)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise CheckpointError(
        f"checkpoint {path} has weights that are NaN or infinite, in {', '.join(names[:3])}{more}: "
        "nothing can be made of it; take one that was saved before they became so"
    )


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


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
