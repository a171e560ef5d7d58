"""The writer's layers and edges, against PyTorch."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from glip_torch.export.writer import GraphWriter


def run(writer, **feeds):
    session = onnxruntime.InferenceSession(writer.model().SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def assert_same(module, write, value):
    """`write(writer, name)` computes what the module does."""
    torch.manual_seed(0)
    writer = GraphWriter("layer")
    with torch.no_grad():
        written = write(writer, writer.input("x", "float32", list(value.shape)))
        writer.output("y", written, "float32", [None] * value.ndim)
        (found,) = run(writer, x=value.numpy())
        torch.testing.assert_close(torch.from_numpy(found), module(value), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"groups": 2},
        {"dilation": 2, "padding": 2},
        {"dilation": (1, 3), "padding": (0, 2), "stride": (2, 1)},
        {"groups": 4, "dilation": 2, "bias": False},
    ],
    ids=str,
)
def test_convolutions_of_every_kind(options):
    module = nn.Conv2d(4, 8, 3, **options)
    assert_same(module, lambda w, x: w.conv(x, module), torch.randn(2, 4, 13, 11))


@pytest.mark.parametrize("bias", [True, False])
def test_layers_with_and_without_a_bias(bias):
    linear, norm = nn.Linear(6, 5, bias=bias), nn.LayerNorm(6, bias=bias)
    nn.init.normal_(norm.weight)
    assert_same(linear, lambda w, x: w.linear(x, linear.weight, linear.bias), torch.randn(2, 3, 6))
    assert_same(norm, lambda w, x: w.layer_norm(x, norm), torch.randn(2, 3, 6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("edge", ["float32", "float16"])
def test_edges_keep_their_type_whatever_is_computed_in(dtype, edge):
    writer = GraphWriter("edges", dtype)
    doubled = writer.op("Mul", writer.input("x", edge, ["n"]), writer.scalar(2.0))
    writer.output("y", doubled, edge, ["n"])
    (found,) = run(writer, x=np.array([1.5, -2.0], edge))
    assert found.dtype == edge and found.tolist() == [3.0, -4.0]


def test_masks_and_ids_pass_as_they_are():
    writer = GraphWriter("edges", torch.float16)
    mask, ids = writer.input("mask", "bool", ["n"]), writer.input("ids", "int64", ["n"])
    writer.output("hidden", writer.op("Not", mask), "bool", ["n"])
    writer.output("next", writer.op("Add", ids, writer.ints(1)), "int64", ["n"])
    hidden, following = run(writer, mask=np.array([True, False]), ids=np.array([7, 1 << 40]))
    assert hidden.tolist() == [False, True] and hidden.dtype == bool
    assert following.tolist() == [8, (1 << 40) + 1] and following.dtype == np.int64


def test_a_type_that_edges_cannot_have_is_named():
    with pytest.raises(
        ValueError, match="x of graph edges is of type 'float64': use one of float32, float16, int64, bool"
    ):
        GraphWriter("edges").input("x", "float64", ["n"])
