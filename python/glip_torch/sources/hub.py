"""Models of the Hugging Face hub, by name: downloaded into its cache, or found there."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import constants, snapshot_download

from ..tensor_files import CheckpointError

#: All but the weights that an export needs, and the weights in the format that is preferred.
_FILES = [
    "*config.json",
    "tokenizer.json",
    "vocab.txt",
    "README.md",
    "model*.safetensors",
    "model.safetensors.index.json",
]
_OLD_WEIGHTS = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
_NAME = re.compile(r"(?P<model>\w[\w.-]*/\w[\w.-]*)(?:/(?P<file>\w.*))?")
_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


def is_name(source: str) -> bool:
    """Whether this may be a model of the hub, OWNER/NAME, or a file of one, OWNER/NAME/FILE; no path that exists is one."""
    match = _NAME.fullmatch(source)
    # What is in a folder that exists is a path, if a mistaken one.
    return match is not None and not match["model"].endswith(_SUFFIXES) and not Path(source.split("/")[0]).is_dir()


def download(name: str) -> tuple[Path, str]:
    """The folder or file of this name in the cache, and the name with the revision that it is.

    Progress is shown by the hub's own bars. `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` count as everywhere.
    """
    match = _NAME.fullmatch(name)
    if match["file"]:
        folder = _snapshot(match["model"], [match["file"], "vocab.txt", "README.md"])
        if not (folder / match["file"]).exists():
            raise CheckpointError(f"{match['model']} on the hub has no file {match['file']}: look at its list of files")
        return folder / match["file"], f"{name}@{folder.name[:12]}"
    folder = _snapshot(match["model"], _FILES)
    if not any(folder.glob("model*.safetensors")):
        folder = _snapshot(match["model"], _OLD_WEIGHTS + _FILES)
    if not (folder / "config.json").exists():
        raise CheckpointError(
            f"{name} on the hub has no config.json: if it holds a checkpoint, give its file too, {name}/FILE.pth"
        )
    return folder, f"{name}@{folder.name[:12]}"


def _snapshot(model: str, patterns: list[str]) -> Path:
    try:
        return Path(snapshot_download(model, allow_patterns=patterns))
    except Exception as error:
        # The hub's library wraps what went wrong into advice of its own.
        cause = error.__cause__ or error
        reason = f"{type(cause).__name__}: {str(cause).splitlines()[0]}"
        raise CheckpointError(
            f"{model} is no file or folder here, and {constants.ENDPOINT} did not give it ({reason}). Is the name right? "
            "Without a connection, download it on another machine (hf download) and give the folder's path; HF_ENDPOINT "
            "names a mirror, HF_TOKEN opens what is private"
        ) from error
