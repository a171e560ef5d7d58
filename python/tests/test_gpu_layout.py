"""The layout for a GPU: as few nodes as it needs, and the same numbers."""

from collections import Counter
from dataclasses import replace

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
MOST_NODES, MOST_CASTS = 1_700, 30


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


def copied_to_the_device(graph: onnx.GraphProto) -> list[str]:
    """The nodes that read on the device what ONNX Runtime computes on the host: all that is made of sizes alone."""
    constants = {tensor.name for tensor in graph.initializer} | {""}
    on_host, found = set(), []
    for node in graph.node:
        values = [value for value in node.input if value not in constants]
        if node.op_type == "Shape" or (
            values and all(value in on_host for value in values) and node.op_type != "Range"
        ):
            on_host.update(node.output)
            continue
        read_there = READ_ON_THE_HOST.get(node.op_type, ())
        found += [node.name for place, value in enumerate(node.input) if value in on_host and place not in read_there]
    return found


def test_nothing_is_copied_to_the_device_in_a_run(graphs):
    for name, graph in graphs.items():
        assert not copied_to_the_device(write_graph(graph, "fp16").model.graph), name


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
