"""The exporter as a whole, on a GLIP small enough to export in seconds."""

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from dyconv_function import CHANNELS, FILES, dyconv, dyconv_function
from swin_block_function import FIXTURES, swin_block_function
from test_checkpoint import TINY

from glip_torch.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from glip_torch.config import GLIPConfig, Recommended
from glip_torch.export import __main__ as command
from glip_torch.export import check, exporters, image_encoder, modules
from glip_torch.export.bundle import BundleOptions
from glip_torch.export.glip import build_graphs, export_glip
from glip_torch.export.writer import GraphWriter, element_name
from glip_torch.model import GLIP
from glip_torch.onnx_model import OnnxGLIP
from glip_torch.postprocess import PostprocessOptions
from glip_torch.tokenizer import SPECIAL_TOKENS, build_tokenizer


@pytest.fixture
def files(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "a", "red", "circle", "."]) + "\n")
    save_checkpoint(GLIP(TINY), tmp_path / "tiny.pth")
    return tmp_path


def run(files, *options):
    return command.main(
        [
            str(files / "tiny.pth"),
            str(files / "bundle"),
            "--vocab",
            str(files / "vocab.txt"),
            "--max-tokens",
            "32",
            *options,
        ]
    )


def test_a_bundle_is_complete_and_says_what_it_is(files):
    assert run(files, "--licence", "MIT", "--score-threshold", "0.4", "--short-side", "64", "--long-side", "96") == 0
    bundle = files / "bundle"
    manifest = json.loads((bundle / "glip.json").read_text())
    assert sorted(manifest["files"]) == sorted(path.name for path in bundle.iterdir() if path.name != "glip.json")
    for name, entry in manifest["files"].items():
        content = (bundle / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rule = {"kind": "short_side", "short_side": 64, "long_side": 96, "rounding": "rounded"}
    assert (manifest["family"], manifest["image"]["resize"]) == ("glip", rule)
    assert manifest["postprocess"]["score_threshold"] == 0.4
    assert manifest["head"]["sizes"] == list(TINY.anchor_sizes)
    weights = fingerprint(load_checkpoint(files / "tiny.pth"))
    assert manifest["source"] == {"weights": "tiny.pth", "licence": "MIT", "fingerprint": weights}
    for entry in manifest["graphs"].values():
        model = onnx.load(bundle / entry["file"])
        assert [opset.version for opset in model.opset_import if opset.domain == ""] == [22]
        assert [value.name for value in model.graph.input] == [port["name"] for port in entry["inputs"]]
        assert [value.name for value in model.graph.output] == [port["name"] for port in entry["outputs"]]
        assert str(Path(command.__file__).parent).encode() not in model.SerializeToString()
        assert not [node.name for node in model.graph.node if node.metadata_props]
    fusion = onnx.load(bundle / "fusion.onnx")
    assert sum(node.op_type == "DyConv" for node in fusion.graph.node) == TINY.tower_layers


def test_the_vocabulary_beside_the_checkpoint_is_the_default(files):
    assert command.main([str(files / "tiny.pth"), str(files / "bundle"), "--max-tokens", "32"]) == 0
    vocabulary = json.loads((files / "bundle" / "tokenizer.json").read_text())["model"]["vocab"]
    assert sorted(vocabulary, key=vocabulary.get) == (files / "vocab.txt").read_text().split()


def recommending(files, recommended):
    model = load_checkpoint(files / "tiny.pth")
    model.recommended = recommended
    save_checkpoint(model, files / "tiny.pth")


def recommended_by(bundle):
    manifest = json.loads((bundle / "glip.json").read_text())
    resize = manifest["image"]["resize"]
    return resize["short_side"], resize["long_side"], manifest["postprocess"]["score_threshold"]


def test_without_a_vocabulary_and_a_connection_it_says_where_one_is_from(files, capsys, monkeypatch):
    def refused(name, **_):
        raise OSError(f"We couldn't connect to the hub for {name}.\nCheck your connection.")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", refused)
    (files / "vocab.txt").unlink()
    assert command.main([str(files / "tiny.pth"), str(files / "bundle")]) == 1
    error = capsys.readouterr().err
    assert "OSError: We couldn't connect to the hub for bert-base-uncased." in error and "Check" not in error
    assert "Give --vocab vocab.txt" in error and command.VOCABULARY_ADDRESS in error
    assert not (files / "bundle").exists()


def test_weights_that_are_not_finite_are_named_before_the_export(files, capsys, monkeypatch):
    checkpoint = torch.load(files / "tiny.pth", weights_only=True)
    checkpoint["model"]["module.rpn.head.bias_lang"][1] = float("nan")
    torch.save(checkpoint, files / "tiny.pth")
    monkeypatch.setattr(command, "export_model", None)
    assert command.main([str(files / "tiny.pth"), str(files / "bundle"), "--max-tokens", "32"]) == 1
    assert "tiny.pth has weights that are NaN or infinite, in rpn.head.bias_lang" in capsys.readouterr().err


def test_the_checkpoints_sizes_and_threshold_are_the_bundles(files, capsys):
    recommending(files, Recommended(192, 320, 0.4, shared_target=False))
    assert run(files) == 0
    assert recommended_by(files / "bundle") == (192, 320, 0.4)
    assert "--short-side        192  the source's" in capsys.readouterr().out


def test_options_go_before_the_checkpoint_and_what_nobody_says_is_assumed(files, capsys):
    recommending(files, Recommended(192, 320))
    assert run(files, "--long-side", "256") == 0
    assert recommended_by(files / "bundle") == (192, 256, 0.5)
    printed = capsys.readouterr().out
    assert "--short-side        192  the source's" in printed
    assert "--long-side         256  as given" in printed
    assert "--score-threshold   0.5  assumed: its publisher's" in printed


def test_sizes_that_nobody_says_are_officials(files, capsys):
    assert run(files) == 0
    assert recommended_by(files / "bundle") == (800, 1333, 0.5)
    printed = capsys.readouterr().out
    assert printed.count("assumed: its publisher's, as the source does not say") == 3
    assert f"wrote {files / 'bundle'}: GLIP-T" in printed


def test_the_candidate_threshold_is_the_manifests(files):
    assert run(files, "--candidate-threshold", "0.01") == 0
    manifest = json.loads((files / "bundle" / "glip.json").read_text())
    assert manifest["postprocess"]["candidate_threshold"] == 0.01
    assert OnnxGLIP(files / "bundle").postprocess == PostprocessOptions(candidate_threshold=0.01)


@pytest.mark.parametrize("precision", ["fp16", "fp16-weights"])
def test_half_precisions_store_halves(files, precision):
    assert run(files, "--precision", precision) == 0
    manifest = json.loads((files / "bundle" / "glip.json").read_text())
    # Pixels and maps, which are large, go from graph to graph as they are computed.
    features = "float16" if precision == "fp16" else "float32"
    assert manifest["features"]["type"] == features
    for name in ("image_encoder", "text_encoder", "fusion", "head"):
        graph = onnx.load(files / "bundle" / f"{name}.onnx").graph
        for edge in [*graph.input, *graph.output]:
            expected = features if len(edge.type.tensor_type.shape.dim) == 4 else "float32"
            if edge.name.startswith("grid_"):
                expected = features
            assert element_name(edge.type.tensor_type.elem_type) in (expected, "int64"), edge.name
        weights = [tensor for tensor in graph.initializer if len(tensor.dims) >= 2 and prod(tensor.dims) >= 256]
        # DyConv's coefficients are worked out in float32 always.
        singles = [tensor.name for tensor in weights if tensor.data_type == onnx.TensorProto.FLOAT]
        assert all("/coefficients/" in name for name in singles)
        assert [tensor.name for tensor in weights if tensor.data_type == onnx.TensorProto.FLOAT16]


@pytest.mark.parametrize(
    "options, pieces", [((), True), (("--device", "gpu"), False), (("--precision", "fp16"), False)]
)
def test_only_cpus_get_maps_in_pieces(files, options, pieces):
    assert run(files, *options) == 0
    model = onnx.load(files / "bundle" / "image_encoder.onnx")
    nodes = [node for function in model.functions for node in function.node]
    assert any(node.op_type == "Scan" for node in nodes) == pieces


#: Inputs that CUDA's kernels read on the host.
HOST_INPUTS = {
    "Range": {0, 1, 2},
    "Reshape": {1},
    "Expand": {1},
    "Split": {1},
    "Slice": {1, 2, 3, 4},
    "Resize": {1, 2, 3},
    "Squeeze": {1},
    "Unsqueeze": {1},
}


def test_what_depends_on_the_size_alone_is_a_graph_of_its_own(files):
    assert run(files) == 0
    assert "grid" not in json.loads((files / "bundle" / "glip.json").read_text())["graphs"]
    assert run(files, "--precision", "fp16", "--overwrite") == 0
    graphs = json.loads((files / "bundle" / "glip.json").read_text())["graphs"]
    assert graphs["grid"]["inputs"] == [{"name": "size", "shape": [3], "type": "int64"}]
    assert all(port["name"].startswith("grid_") for port in graphs["grid"]["outputs"])
    pixels, *inputs = graphs["image_encoder"]["inputs"]
    assert pixels["name"] == "pixels" and inputs == graphs["grid"]["outputs"]


def test_no_size_is_copied_to_a_gpu(files):
    """ONNX Runtime works out sizes on the host. Where one met a tensor, it would copy it, and refuse CUDA graphs."""
    assert run(files, "--precision", "fp16") == 0
    for name in ("image_encoder", "text_encoder", "fusion", "head"):
        graph = onnx.load(files / "bundle" / f"{name}.onnx").graph
        constants = {"", *(tensor.name for tensor in graph.initializer)}
        sizes = set()
        for node in graph.node:
            if constants.issuperset(node.input):
                constants.update(node.output)
                continue
            known = HOST_INPUTS.get(node.op_type, set())
            inputs = [value for place, value in enumerate(node.input) if place not in known and value not in constants]
            if node.op_type == "Shape" or (inputs and sizes.issuperset(inputs)):
                sizes.update(node.output)
            else:
                assert not sizes.intersection(inputs), f"{name}: {node.name} takes a size"
        assert sizes or name == "image_encoder"


@pytest.mark.parametrize("piece", [1, 5000])
def test_many_small_pieces_give_the_same(monkeypatch, piece):
    graph = next(graph for graph in build_graphs(GLIP(TINY).eval()) if graph.name == "image_encoder")
    whole = graph.to_onnx().model.SerializeToString()
    monkeypatch.setattr(image_encoder, "PIECE", piece)
    exported = graph.to_onnx()
    assert exported.model.SerializeToString() != whole
    assert check.worst_error(exported, graph) < check.TOLERANCE["fp32"]


def test_int8_stores_bytes_with_a_scale_for_each_output(files):
    assert run(files, "--precision", "int8") == 0
    for name in ("image_encoder", "text_encoder", "fusion"):
        graph = onnx.load(files / "bundle" / f"{name}.onnx").graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        # What is multiplied in 8 bits has its scales behind it, whichever the operator.
        pairs = [
            (tensors[weight], tensors[scale])
            for node in graph.node
            for weight, scale in pairwise(node.input)
            if weight in tensors
            and tensors[weight].data_type == onnx.TensorProto.INT8
            and len(tensors[weight].dims) == 2
        ]
        assert pairs
        for weight, scale in pairs:
            assert scale.data_type == onnx.TensorProto.FLOAT
            assert list(scale.dims) == [weight.dims[1]]
    assert json.loads((files / "bundle" / "glip.json").read_text())["precision"] == "int8"


@pytest.mark.parametrize(
    ("precision", "name"), [("fp32", "DyConv"), ("fp16-weights", "DyConv"), ("int8", "Int8DyConv")]
)
def test_a_layer_of_convolutions_is_one_node(files, precision, name):
    assert run(files, "--precision", precision) == 0
    fusion = onnx.load(files / "bundle" / "fusion.onnx")
    (function,) = fusion.functions
    assert (function.domain, function.name) == ("glip", name)
    assert [node.op_type for node in fusion.graph.node].count(name) == TINY.tower_layers
    assert not any(node.op_type == "DeformConv" for node in fusion.graph.node)


@pytest.mark.parametrize(("name", "int8"), FILES.items())
def test_the_function_of_convolutions_is_the_fixture(name, int8):
    """With which the operator of glip-rs is compared."""
    fixture = Path(__file__).parents[2] / "tests" / "fixtures" / f"{name}.onnx"
    assert fixture.read_bytes() == dyconv_function(int8)


@pytest.mark.parametrize(("int8", "tolerance"), [(False, 1e-5), (True, 0.02)])
def test_the_function_of_convolutions_is_the_layer(int8, tolerance):
    torch.manual_seed(0)
    levels = [2 * torch.rand(2, CHANNELS, *size) - 1 for size in ((16, 11), (8, 6), (4, 3))]
    session = onnxruntime.InferenceSession(dyconv_function(int8), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {f"level_{level}": values.numpy() for level, values in enumerate(levels)})
    with torch.no_grad():
        expected = torch.cat([values.flatten(2) for values in dyconv()(levels)], 2).transpose(1, 2)
    assert (torch.from_numpy(out) - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize("name, int8", FIXTURES.items())
def test_the_functions_of_swin_blocks_are_the_fixtures(name, int8):
    """With which the operators of glip-rs are compared."""
    fixture = Path(__file__).parents[2] / "tests" / "fixtures" / f"{name}.onnx"
    assert fixture.read_bytes() == swin_block_function(int8)


def test_blocks_of_all_stages_are_nodes_of_the_same_functions(files):
    assert run(files) == 0
    model = onnx.load(files / "bundle" / "image_encoder.onnx")
    assert {function.name for function in model.functions} == {"SwinBlock", "ShiftedSwinBlock"}
    blocks = [node for node in model.graph.node if node.op_type.endswith("SwinBlock")]
    shifts = [onnx.helper.get_node_attr_value(node, "shift") for node in blocks]
    assert shifts == [0, 0, 1, 0, 0]  # stages of 1, 2, 1 and 1 blocks


def test_blocks_in_half_are_no_nodes_of_functions(files):
    """The operators of their names are for float32."""
    assert run(files, "--precision", "fp16", "--device", "cpu") == 0
    model = onnx.load(files / "bundle" / "image_encoder.onnx")
    assert not model.functions
    assert any(node.op_type == "Scan" for node in model.graph.node)


def test_without_fusion_the_tower_moves_into_the_image_encoder(files):
    save_checkpoint(GLIP(GLIPConfig(**{**vars(TINY), "fusion": None})), files / "tiny.pth")
    assert run(files) == 0
    manifest = json.loads((files / "bundle" / "glip.json").read_text())
    assert manifest["graphs"]["fusion"] is None
    assert not (files / "bundle" / "fusion.onnx").exists()
    graph = onnx.load(files / "bundle" / "image_encoder.onnx").graph
    assert sum(node.op_type == "DyConv" for node in graph.node) == TINY.tower_layers


def test_the_text_encoder_can_be_left_out(files):
    assert run(files, "--without-text-encoder") == 0
    manifest = json.loads((files / "bundle" / "glip.json").read_text())
    assert manifest["graphs"]["text_encoder"] is None
    expected = ["fusion.onnx", "head.onnx", "image_encoder.onnx", "tokenizer.json"]
    assert sorted(manifest["files"]) == expected
    assert sorted(path.name for path in (files / "bundle").iterdir()) == sorted([*expected, "glip.json"])


def test_a_failed_export_leaves_nothing(files, monkeypatch, capsys):
    monkeypatch.setattr(command, "worst_error", lambda exported, reference: 0.5)
    assert run(files) == 1
    assert "differ from PyTorch" in capsys.readouterr().err
    assert sorted(path.name for path in files.iterdir()) == ["tiny.pth", "vocab.txt"]


def test_an_existing_folder_is_kept_unless_told(files, capsys):
    (files / "bundle").mkdir()
    (files / "bundle" / "precious").write_text("mine")
    assert run(files) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (files / "bundle" / "precious").read_text() == "mine"


def test_a_bundle_is_replaced_and_what_lies_beside_it_is_kept(files, capsys):
    bundle = files / "bundle"
    assert run(files) == 0
    (bundle / "README.md").write_text("its card")
    (bundle / "src").mkdir()
    (bundle / "src" / "lib.rs").write_text("its crate")
    capsys.readouterr()
    assert run(files, "--without-text-encoder", "--overwrite") == 0
    manifest = json.loads((bundle / "glip.json").read_text())
    expected = ["README.md", "glip.json", "src", *manifest["files"]]
    assert sorted(path.name for path in bundle.iterdir()) == sorted(expected)
    assert (bundle / "README.md").read_text() == "its card"
    assert (bundle / "src" / "lib.rs").read_text() == "its crate"
    assert sorted(path.name for path in files.iterdir()) == ["bundle", "tiny.pth", "vocab.txt"]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--max-tokens", "99"], "--max-tokens 99 is not in 3..32"),
        (["--short-side", "900", "--long-side", "800"], "do not make a size"),
        (["--score-threshold", "1.5"], "--score-threshold 1.5 is not in"),
        (["--candidate-threshold", "-0.1"], "--candidate-threshold -0.1 is not in"),
        (["--text-heads", "7"], "7 text heads do not divide"),
    ],
)
def test_options_that_cannot_be_are_refused(files, capsys, options, message):
    assert run(files, *options) == 1
    assert message in capsys.readouterr().err
    assert not (files / "bundle").exists()


def test_a_vocabulary_larger_than_the_embedding_is_refused(files, capsys):
    (files / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *(f"word{i}" for i in range(30))]))
    assert run(files) == 1
    assert "the tokenizer knows 35 tokens, the model embeds 20" in capsys.readouterr().err


def test_the_self_check_sees_a_wrong_graph():
    model = GLIP(TINY).eval()
    head = next(graph for graph in build_graphs(model) if graph.name == "head")
    exported = head.to_onnx()
    assert check.worst_error(exported, head) < check.TOLERANCE["fp32"]
    with torch.no_grad():
        model.head.bias0 += 0.1
    assert check.worst_error(exported, head) > check.TOLERANCE["fp32"]


def test_what_no_module_exports_is_named():
    """A family is an entry of one table, and a kind of layer of another."""
    with pytest.raises(TypeError, match=r"no exporter for Linear \(there are those of GLIP, .*\): add it to EXPORTERS"):
        exporters.export_model(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="no writer for Linear .*: add it to WRITERS"):
        modules.write_module(GraphWriter("graph"), torch.nn.Linear(1, 1), [])


def test_another_family_is_one_entry_of_the_table(monkeypatch, files):
    class Other(GLIP):
        pass

    def export_other(model):
        return replace(export_glip(model), variant="Other", entries={"queries": {"count": 3}})

    monkeypatch.setitem(exporters.EXPORTERS, Other, export_other)
    torch.manual_seed(0)
    tokenizer = build_tokenizer(files / "vocab.txt")
    command.export_bundle(Other(TINY).eval(), tokenizer, files / "bundle", BundleOptions(max_tokens=32))
    manifest = json.loads((files / "bundle" / "glip.json").read_text())
    assert manifest["variant"] == "Other" and manifest["queries"] == {"count": 3}
    assert "anchors" not in manifest


@pytest.mark.parametrize("begun", [1, 3])
def test_an_export_that_is_killed_leaves_the_bundle_that_was_there(files, begun):
    """`kill -9`, once so many files are written."""
    assert run(files, "--licence", "old") == 0
    before = {path.name: path.read_bytes() for path in (files / "bundle").iterdir()}
    arguments = [files / "tiny.pth", files / "bundle", "--max-tokens", "32", "--licence", "new", "--overwrite"]
    process = subprocess.Popen(
        [sys.executable, "-m", "glip_torch.export", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len([*files.glob(".bundle.*/*")]) < begun:
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert list(files.glob(".bundle.*/*")), "it was killed too late"
    assert {path.name: path.read_bytes() for path in (files / "bundle").iterdir()} == before
    # What it left is in nobody's way.
    assert run(files, "--licence", "new", "--overwrite") == 0
    assert json.loads((files / "bundle" / "glip.json").read_text())["source"]["licence"] == "new"
