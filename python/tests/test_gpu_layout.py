"""The layout for a GPU: as few nodes as it needs, and the same numbers."""

from collections import Counter
from dataclasses import replace
from math import prod

import onnx
import pytest
import torch
from test_checkpoint import TINY

from glip_torch.config import FusionConfig, GLIPConfig, SwinConfig, TextConfig
from glip_torch.export.check import TOLERANCE, worst_error
from glip_torch.export.glip import build_graphs
from glip_torch.export.graphs import InputSize
from glip_torch.export.precision import write_graph
from glip_torch.model import GLIP

#: As deep as GLIP-T, and narrow: nodes do not count channels.
AS_DEEP_AS_GLIP_T = GLIPConfig(
    SwinConfig(8, (2, 2, 6, 2), (1, 2, 2, 4), window=7),
    TextConfig(vocab_size=20, hidden_size=32, layers=12, heads=2, intermediate_size=32, max_positions=32),
    channels=32,
    tower_layers=6,
    fusion=FusionConfig(embed_dim=32, heads=2),
)
#: Of all four graphs in half precision. A node takes the processor about 10 us, which is what a GPU waits for.
MOST_NODES, MOST_CASTS = 1_800, 40


@pytest.fixture(scope="module")
def graphs():
    return {graph.name: graph for graph in build_graphs(GLIP(AS_DEEP_AS_GLIP_T).eval())}


def test_a_gpu_has_few_nodes_to_launch(graphs):
    written = {name: write_graph(graph, "fp16").model.graph.node for name, graph in graphs.items()}
    counts = {name: len(nodes) for name, nodes in written.items()}
    assert sum(counts.values()) <= MOST_NODES, counts
    kinds = Counter(node.op_type for nodes in written.values() for node in nodes)
    assert kinds["Cast"] <= MOST_CASTS
    assert kinds["Identity"] == 0


def test_swins_blocks_compute_no_integers(graphs):
    graph = write_graph(graphs["image_encoder"], "fp16").model.graph
    integers = {value.name for value in graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.INT64}
    integers |= {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT64}
    blocks = [node for node in graph.node if "/block_" in node.name]
    assert len({node.name.split("/attention")[0] for node in blocks if "/attention" in node.name}) == 12
    for node in blocks:
        # What they read as it is: places, and shapes that are constant.
        places = [place for place, value in enumerate(node.input) if value in integers]
        assert not places or (node.op_type in ("Gather", "Reshape") and places == [1]), node.name
        assert node.op_type not in ("Shape", "Range", "Cast"), node.name


#: Inputs that ONNX Runtime's operators for CUDA read on the host.
READ_ON_THE_HOST = {
    "Reshape": (1,),
    "Expand": (1,),
    "Split": (1,),
    "Slice": (1, 2, 3, 4),
    "Resize": (1, 2, 3),
    "Range": (0, 1, 2),
    "ConstantOfShape": (0,),
}


#: ONNX Runtime takes constants of at most so many numbers for small: they are wherever they are wanted.
SMALL = 100


def copied_to_the_device(graph: onnx.GraphProto) -> list[str]:
    """The nodes that read on the device what ONNX Runtime computes on the host.

    On the host are sizes, and what is made of nothing but those and small constants, unless the operator for CUDA itself
    reads a size on the host.
    """
    small = {tensor.name for tensor in graph.initializer if prod(tensor.dims) <= SMALL} | {""}
    on_host, found = set(), []
    for node in graph.node:
        reads_on_host = READ_ON_THE_HOST.get(node.op_type, ())
        places = [place for place, value in enumerate(node.input) if value in on_host]
        others = [value for value in node.input if value not in on_host and value not in small]
        if node.op_type == "Shape" or (places and not others and not set(places) & set(reads_on_host)):
            on_host.update(node.output)
        else:
            found += [node.name for place in places if place not in reads_on_host]
    return found


def test_nothing_is_copied_to_the_device_in_a_run(graphs):
    for name, graph in graphs.items():
        written = write_graph(graph, "fp16").model.graph
        assert not copied_to_the_device(written), name
        # Of pieces of several sizes, the operator for CUDA copies a list.
        splits = [node for node in written.node if node.op_type == "Split"]
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in written.initializer}
        assert all(len(node.input) == 1 or len(set(constants[node.input[1]].tolist())) == 1 for node in splits), name


#: Maps that windows do and do not divide, one cell in the coarsest levels, batches.
SIZES = (InputSize(1, 64, 96, 3), InputSize(2, 96, 160, 9), InputSize(1, 32, 32, 1))


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        replace(TINY, fusion=None),
        replace(TINY, fusion=replace(TINY.fusion, gated=True)),
        # As GLIP-L is to GLIP-T: a longer stage, larger windows, more layers.
        replace(TINY, tower_layers=3, backbone=SwinConfig(16, (2, 2, 4, 2), (1, 2, 2, 4), window=5)),
    ],
    ids=["glip-t", "glip-t-a", "gated", "glip-l"],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_it_computes_what_the_modules_do(config, precision):
    torch.manual_seed(0)
    for graph in build_graphs(GLIP(config).eval()):
        graph.checked = SIZES
        assert worst_error(write_graph(graph, precision, "gpu"), graph) < TOLERANCE[precision], graph.name
