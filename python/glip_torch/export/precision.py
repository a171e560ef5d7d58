"""The precisions of a bundle. `python/README.md` has what each costs and gains.

- `fp32`: weights and arithmetic in float32.
- `fp16`: both in half, as GPUs like it. On a CPU, ONNX Runtime computes in float32 where it has no
  half kernel, and the conversions between cost more than they save.
- `fp16-weights`: weights stored in half, arithmetic in float32. Half the size of `fp32` and, once
  loaded, its speed and its detections.
- `int8`: what is multiplied with weights, and the weights, in 8 bits: linear layers and deformable
  convolutions. Weights have a scale for each output; the other side gets one when the graph runs.
  What stays float is stored in half. Fast on CPUs that multiply bytes (VNNI).

Not here, because they gain nothing with ONNX Runtime 1.32 on such a CPU: scales fixed by calibration
(finding them takes about a tenth of an 8-bit product's time) and bfloat16 (there is no kernel for it).
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from .graphs import Graph, Written

PRECISIONS = ("fp32", "fp16", "fp16-weights", "int8")
#: Tensors smaller than this are constants rather than weights, and stay as they are; so do vectors, among them
#: the scales of 8-bit weights, for which half has too few small numbers.
SMALLEST_WEIGHT = 256


def natural_device(precision: str) -> str:
    """What bundles of this precision are for."""
    return "gpu" if precision == "fp16" else "cpu"


def number_type(precision: str) -> torch.dtype:
    """What graphs of this precision compute in."""
    return torch.float16 if precision == "fp16" else torch.float32


def write_graph(graph: Graph, precision: str, device: str | None = None) -> Written:
    """The graph in one of `PRECISIONS`, laid out for a `cpu` or a `gpu`."""
    # The head is next to nothing of the time, and its outputs are what people threshold.
    int8 = precision == "int8" and graph.name != "head"
    in_pieces = (device or natural_device(precision)) == "cpu"
    written = graph.to_onnx(number_type(precision), int8, in_pieces)
    if precision in ("fp16-weights", "int8"):
        store_weights_in_half(written.model)
    return written


def store_weights_in_half(model: onnx.ModelProto) -> None:
    """Rounds the weights to half; a Cast brings each back, once, when ONNX Runtime loads the graph."""
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.ndim < 2 or values.size < SMALLEST_WEIGHT:
            continue
        stored = numpy_helper.from_array(values.astype(np.float16), weight.name + ".half")
        casts.append(
            helper.make_node("Cast", [stored.name], [weight.name], f"{weight.name}.cast", to=TensorProto.FLOAT)
        )
        weight.CopyFrom(stored)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
