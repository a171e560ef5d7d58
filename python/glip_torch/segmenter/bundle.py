"""The folder of a segmenter: two graphs, and the manifest that says what they need.

The manifest's fields are documented where they are read, in the crate's `src/bundle/segmenter_manifest.rs`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from ..export.bundle import atomic_folder, file_entry
from ..export.check import TOLERANCE, CheckError, relative_error
from ..export.precision import store_weights_in_half
from .graphs import Exported, Part, export_model

FORMAT_VERSION = 1
PRECISIONS = ("fp32", "fp16-weights")


@dataclass(frozen=True)
class SegmenterOptions:
    """What a model does not tell."""

    name: str = "segmenter"
    precision: str = "fp32"
    weights: str = "unknown"
    licence: str = "unknown"


def export_segmenter(
    model: torch.nn.Module, target: Path, options: SegmenterOptions, overwrite: bool = False
) -> dict[str, float]:
    """Writes the folder, or nothing. Returns each graph's worst error against PyTorch in float32."""
    exported = export_model(model)
    errors = {}
    with atomic_folder(target, overwrite) as folder:
        for name, part in (("encoder", exported.encoder), ("decoder", exported.decoder)):
            graph = part.to_onnx()
            if options.precision == "fp16-weights":
                store_weights_in_half(graph)
            errors[name] = worst_error(graph, part)
            (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
        wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE[options.precision]}
        if wrong:
            raise CheckError(f"exported graphs differ from PyTorch: {wrong}")
        write_manifest(folder, entries(exported), options)
    return errors


def entries(exported: Exported) -> dict:
    """What the manifest says of a model that was exported here."""
    return {
        "family": exported.family,
        "image": exported.image,
        "encoder": {"file": "encoder.onnx", "input": "pixels", "layout": "planes"},
        "features": [feature(name, name) for name in exported.features],
        "decoder": {
            "file": "decoder.onnx",
            "inputs": [name for name in exported.decoder.inputs if name not in exported.features],
            "unused_outputs": [],
            "prompts": "many",
            "choose": exported.choose,
        },
    }


def feature(output: str, input: str, type: str = "float32", rank: int = 4) -> dict:
    return {"output": output, "input": input, "type": type, "rank": rank}


def write_manifest(folder: Path, entries: dict, options: SegmenterOptions) -> None:
    """Of all files that are in the folder."""
    content = {
        "format_version": FORMAT_VERSION,
        "family": entries["family"],
        "name": options.name,
        "precision": options.precision,
        **{name: entry for name, entry in entries.items() if name != "family"},
        "files": {path.name: file_entry(path) for path in sorted(folder.iterdir())},
        "source": {"weights": options.weights, "licence": options.licence},
    }
    (folder / "segmenter.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def worst_error(graph: onnx.ModelProto, part: Part) -> float:
    """The largest over outputs and numbers of prompts, relative to each output's largest magnitude."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    errors = []
    for inputs in _examples(part):
        with torch.no_grad():
            expected = part.module(*inputs.values())
        expected = (expected,) if isinstance(expected, torch.Tensor) else expected
        found = session.run(list(part.outputs), {name: value.numpy() for name, value in inputs.items()})
        errors += [relative_error(ours, theirs.numpy()) for ours, theirs in zip(found, expected, strict=True)]
    # A NaN must not hide behind the comparisons of max().
    return float(np.max(errors)) if np.isfinite(errors).all() else float("inf")


def _examples(part: Part) -> list[dict[str, torch.Tensor]]:
    """What it was traced with, and other numbers of prompts and points."""
    if "point_coords" not in part.inputs:
        return [part.inputs]
    coords = part.inputs["point_coords"]
    five = {"point_coords": coords[:1, :2].repeat(5, 1, 1), "point_labels": torch.tensor([[2.0, 3]] * 5)}
    one = {"point_coords": coords[:1, :1], "point_labels": torch.ones(1, 1)}
    return [part.inputs, part.inputs | five, part.inputs | one]
