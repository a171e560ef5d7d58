"""The bundle: a folder with the graphs, the tokenizer and the manifest that says what they need.

The manifest's fields are documented where they are read, in the crate's `src/bundle/format.rs`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx
from torch import nn

from ..checkpoint import fingerprint
from ..config import UNKNOWN, Recommended
from .graphs import FEATURES, Export
from .precision import number_type
from .writer import element_name, name_of

FORMAT_VERSION = 2
#: What manifests are called: a detector's, and a segmenter's.
MANIFESTS = ("glip.json", "segmenter.json")
#: The graphs that every family has; an entry is null where a bundle has none of that name.
STAGES = ("image_encoder", "text_encoder", "fusion", "head")


@dataclass(frozen=True)
class BundleOptions:
    """What a checkpoint does not tell."""

    name: str = "glip"
    precision: str = "fp32"
    #: What the graphs are laid out for, `cpu` or `gpu`; they run on both. Of itself, what the precision is for.
    device: str | None = None
    #: Sizes and score threshold, where they are not to be the checkpoint's, or the family's if it says none.
    recommended: Recommended = UNKNOWN
    #: Least phrase score of a candidate, before centerness, if it is not to be the family's.
    candidate_threshold: float | None = None
    max_tokens: int = 256
    #: What the model is called in its family, if its form does not tell: LLMDet is built as MM-Grounding-DINO is.
    variant: str | None = None
    weights: str = "unknown"
    licence: str = "unknown"
    #: Without it, the bundle takes learned prompts only.
    text_encoder: bool = True

    def completed(self, model: nn.Module, export: Export) -> BundleOptions:
        """With everything known: from the model where it tells, else as its family's are."""
        threshold = self.candidate_threshold
        return replace(
            self,
            recommended=self.recommended.filled(recommended_of(model)).filled(export.recommended),
            candidate_threshold=export.postprocess.candidate_threshold if threshold is None else threshold,
            variant=self.variant or export.variant,
        )


def recommended_of(model: nn.Module) -> Recommended:
    """What the model itself says that it is best run with, which only models that were read from a file do."""
    return getattr(model, "recommended", UNKNOWN)


def manifest(model: nn.Module, export: Export, options: BundleOptions, graphs: dict[str, dict], folder: Path) -> dict:
    """The manifest of the files in `folder`, `graphs` being the entries of the graphs; the options are completed."""
    recommended = options.recommended
    postprocess = replace(export.postprocess, candidate_threshold=options.candidate_threshold)
    image = dict(export.image)
    type = name_of(number_type(options.precision))
    family = {
        name: {key: type if value == FEATURES else value for key, value in entry.items()}
        for name, entry in export.entries.items()
    }
    return {
        "format_version": FORMAT_VERSION,
        "family": export.family,
        "name": options.name,
        "variant": options.variant,
        "precision": options.precision,
        "image": {
            "resize": {
                "kind": "short_side",
                "short_side": recommended.short_side,
                "long_side": recommended.long_side,
                "rounding": image.pop("rounding"),
            },
            **image,
        },
        "text": {
            "tokenizer": "tokenizer.json",
            "max_tokens": options.max_tokens,
            "hidden_size": export.hidden_size,
        },
        **family,
        "postprocess": asdict(postprocess) | {"score_threshold": recommended.score_threshold},
        "graphs": {name: graphs.get(name) for name in STAGES}
        | {name: graphs[name] for name in ("grid",) if name in graphs},
        "files": {path.name: file_entry(path) for path in sorted(folder.iterdir())},
        "source": {"weights": options.weights, "licence": options.licence, "fingerprint": fingerprint(model)},
    }


def graph_entry(model: onnx.ModelProto) -> dict:
    """The manifest's entry of a graph: its file, and its edges as they are."""
    graph = model.graph
    return {
        "file": f"{graph.name}.onnx",
        "inputs": [_edge_entry(edge) for edge in graph.input],
        "outputs": [_edge_entry(edge) for edge in graph.output],
    }


def _edge_entry(edge: onnx.ValueInfoProto) -> dict:
    tensor = edge.type.tensor_type
    shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return {"name": edge.name, "shape": shape, "type": element_name(tensor.elem_type)}


def file_entry(path: Path) -> dict:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def write_manifest(folder: Path, content: dict) -> None:
    (folder / "glip.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def bundle_files(folder: Path) -> set[str]:
    """The names of the bundle's own files: the manifest, a detector's or a segmenter's, and those that it lists."""
    own = set(MANIFESTS)
    for name in MANIFESTS:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            own.update(json.loads((folder / name).read_text(encoding="utf-8"))["files"])
    return own


@contextlib.contextmanager
def atomic_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write in that becomes `target` when the block ends well, and is removed otherwise.

    A process that is killed leaves it: `.NAME.*` beside the target, which nobody takes for a bundle and anybody may remove.
    Of a folder that it replaces, what is not the bundle's stays: a card, a licence, the crate that holds the bundle.
    """
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists: choose another folder, or give --overwrite")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        partial.chmod(0o755)  # mkdtemp's folders are private
        yield partial
        old = None
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent)) / target.name
            target.rename(old)
        partial.rename(target)
        if old is not None:
            if old.is_dir() and not old.is_symlink():
                _move_others(old, target)
            shutil.rmtree(old.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_others(old: Path, new: Path) -> None:
    """Moves what is not the old bundle's, unless the new one has a file of that name."""
    own = bundle_files(old)
    for path in old.iterdir():
        if path.name not in own and not (new / path.name).exists():
            path.rename(new / path.name)
