"""The self-check: every exported graph against PyTorch, at sizes that no part of it was made for.

Masks, window counts and token counts that were baked in at export show here, not at the user's.
"""

from __future__ import annotations

import numpy as np
import torch

from ..onnx_graph import OnnxGraph
from .graphs import Graph, InputSize, Written

#: Largest error allowed, relative to the tensor's largest magnitude. In 8 bits a tiny model of random weights comes to 0.21
#: where the processor's products of bytes saturate, as those without VNNI do.
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-2, "fp16-weights": 2e-2, "int8": 2.5e-1}


class CheckError(RuntimeError):
    """An exported graph and PyTorch disagree."""


def worst_error(exported: Written, reference: Graph) -> float:
    """The largest error over all outputs and checked sizes, relative to each output's largest magnitude."""
    graph = opened(exported)
    torch.manual_seed(0)
    return max(_error_at(size, graph, reference) for size in reference.checked)


def opened(written: Written) -> OnnxGraph:
    return OnnxGraph(written.model.SerializeToString(), written.grid and written.grid.SerializeToString())


def _error_at(size: InputSize, graph: OnnxGraph, reference: Graph) -> float:
    values = reference.example(size)
    with torch.no_grad():
        expected = reference.module(*values)
    found = graph.run({port.name: value.numpy() for port, value in zip(reference.inputs, values, strict=True)})
    errors = []
    for port, theirs in zip(reference.outputs, expected, strict=True):
        ours = found[port.name].astype(np.float32, copy=False)
        if ours.shape != tuple(theirs.shape):
            raise CheckError(
                f"graph {reference.name}, output {port.name} at {size}: shape {ours.shape}, PyTorch's is {tuple(theirs.shape)}"
            )
        errors.append(relative_error(ours, theirs.numpy()))
    # A NaN must not hide behind the comparisons of max().
    return float(np.max(errors)) if np.isfinite(errors).all() else float("inf")


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
