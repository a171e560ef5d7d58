"""The self-check: every exported graph against PyTorch, at sizes that no part of it was made for.

Masks, window counts and token counts that were baked in at export show here, not at the user's.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch

from .graphs import Graph, InputSize

#: Largest error allowed, relative to the tensor's largest magnitude. In 8 bits a tiny model of random weights comes to 0.21
#: where the processor's products of bytes saturate, as those without VNNI do.
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-2, "fp16-weights": 2e-2, "int8": 2.5e-1}


class CheckError(RuntimeError):
    """An exported graph and PyTorch disagree."""


def worst_error(exported: onnx.ModelProto, reference: Graph) -> float:
    """The largest error over all outputs and checked sizes, relative to each output's largest magnitude."""
    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    torch.manual_seed(0)
    return max(_error_at(size, session, reference) for size in reference.checked)


def _error_at(size: InputSize, session: onnxruntime.InferenceSession, reference: Graph) -> float:
    values = reference.example(size)
    with torch.no_grad():
        expected = reference.module(*values)
    feeds = {port.name: value.numpy() for port, value in zip(reference.inputs, values, strict=True)}
    found = session.run([port.name for port in reference.outputs], feeds)
    errors = []
    for port, ours, theirs in zip(reference.outputs, found, expected, strict=True):
        if ours.shape != tuple(theirs.shape):
            raise CheckError(
                f"graph {reference.name}, output {port.name} at {size}: shape {ours.shape}, PyTorch's is {tuple(theirs.shape)}"
            )
        errors.append(relative_error(ours, theirs.numpy()))
    # A NaN must not hide behind the comparisons of max().
    return float(np.max(errors)) if np.isfinite(errors).all() else float("inf")


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
