"""One graph to ONNX: opset 22, free batch, height, width and token count, native DeformConv."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import onnx
import torch
from onnxscript import opset22

from ..preprocess import SIZE_DIVISOR
from .graphs import Graph, InputSize, Port

OPSET = 22
#: The size that graphs are traced at. Any will do, as long as no two dimensions are equal by chance.
TRACED = InputSize(batch=3, height=160, width=224, tokens=9)


def to_onnx(graph: Graph) -> onnx.ModelProto:
    """The graph with named, free dimensions, checked by onnx."""
    module = graph.module.eval()
    dynamic = tuple(
        {axis: _free(dimension) for axis, dimension in enumerate(port.shape) if isinstance(dimension, str)}
        for port in graph.inputs
    )
    with _quiet(), torch.no_grad():
        program = torch.export.export(
            module,
            graph.example(TRACED),
            dynamic_shapes=dynamic,
            strict=False,
            # That two levels' sizes fit together is checked when the graph runs, not proved now.
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        exported = torch.onnx.export(
            program,
            opset_version=OPSET,
            dynamo=True,
            input_names=[port.name for port in graph.inputs],
            output_names=[port.name for port in graph.outputs],
            custom_translation_table={torch.ops.torchvision.deform_conv2d.default: deform_conv},
        )
    model = exported.model_proto
    _name_dimensions(model.graph.input, graph.inputs)
    _name_dimensions(model.graph.output, graph.outputs)
    _strip_traces(model)
    model.doc_string = f"{graph.name} of GLIP"
    onnx.checker.check_model(model)
    return model


def _free(dimension: str):
    # Image sides are named as multiples, which spares the tracer minutes of proving divisibility.
    if dimension in ("height", "width"):
        return SIZE_DIVISOR * torch.export.Dim(f"{dimension}_blocks", min=1)
    return torch.export.Dim.DYNAMIC


def deform_conv(
    x, weight, offset, mask, bias,
    stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups, offset_groups, use_mask,
):  # fmt: skip
    """torchvision's operator as ONNX's."""
    return opset22.DeformConv(
        x, weight, offset, bias, mask if use_mask else None,
        strides=[stride_h, stride_w],
        pads=[pad_h, pad_w, pad_h, pad_w],
        dilations=[dilation_h, dilation_w],
        group=groups,
        offset_group=offset_groups,
        kernel_shape=[3, 3],
    )  # fmt: skip


def _strip_traces(model: onnx.ModelProto) -> None:
    """Drops what the tracer noted: stack traces with paths of this machine, and formulas of inner shapes.

    That is half of a small model, of no use to a reader, and ONNX Runtime infers its own shapes.
    """
    graph = model.graph
    del graph.value_info[:]
    for noted in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del noted.metadata_props[:]
        noted.doc_string = ""


def _name_dimensions(values, ports: list[Port]) -> None:
    for value, port in zip(values, ports, strict=True):
        assert value.name == port.name, f"{value.name} where {port.name} was asked for"
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for dimension in port.shape:
            entry = shape.dim.add()
            if isinstance(dimension, str):
                entry.dim_param = dimension
            else:
                entry.dim_value = dimension


@contextlib.contextmanager
def _quiet():
    """The exporter's progress lines and deprecation warnings, about which a user can do nothing."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.getLogger("torch.onnx").setLevel(level)
