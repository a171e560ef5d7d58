"""The precisions of a bundle.

- `fp32`: weights and arithmetic in float32.
- `fp16`: both in half, as GPUs like it. On a CPU, ONNX Runtime computes in float32 where it has no
  half kernel, and the conversions between cost more than they save.
- `fp16-weights`: weights stored in half, arithmetic in float32. Half the size of `fp32` and, once
  loaded, its speed: what to ship for CPUs.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from .graphs import Graph

PRECISIONS = ("fp32", "fp16", "fp16-weights", "int8")
#: Tensors smaller than this are constants rather than weights, and stay as they are.
SMALLEST_WEIGHT = 256


def write_graph(graph: Graph, precision: str) -> onnx.ModelProto:
    """The graph in one of `PRECISIONS`."""
    # The head is next to nothing of the time, and its outputs are what people threshold.
    int8 = precision == "int8" and graph.name != "head"
    model = graph.to_onnx(torch.float16 if precision == "fp16" else torch.float32, int8)
    if precision == "fp16-weights":
        store_weights_in_half(model)
    return model


def store_weights_in_half(model: onnx.ModelProto) -> None:
    """Rounds the weights to half; a Cast brings each back, once, when ONNX Runtime loads the graph."""
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < SMALLEST_WEIGHT:
            continue
        stored = numpy_helper.from_array(values.astype(np.float16), weight.name + ".half")
        casts.append(
            helper.make_node("Cast", [stored.name], [weight.name], f"{weight.name}.cast", to=TensorProto.FLOAT)
        )
        weight.CopyFrom(stored)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
