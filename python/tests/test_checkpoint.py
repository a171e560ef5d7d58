import hashlib
import json
import struct
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from glip_torch.atomic import written
from glip_torch.checkpoint import (
    CheckpointError,
    fingerprint,
    infer_config,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from glip_torch.config import GLIP_L, GLIP_T, GLIP_T_A, FusionConfig, GLIPConfig, Recommended, SwinConfig, TextConfig
from glip_torch.model import GLIP
from glip_torch.sources import open_source

GOLDEN = Path(__file__).parent / "golden" / "glip_t_small" / "model.pth"
TINY = GLIPConfig(
    backbone=SwinConfig(16, (1, 2, 1, 1), (1, 2, 2, 4), window=3),
    text=TextConfig(vocab_size=20, hidden_size=64, layers=1, heads=1, intermediate_size=64, max_positions=32),
    channels=32,
    tower_layers=2,
    fusion=FusionConfig(embed_dim=64, heads=8),
    anchor_sizes=(32, 64, 128, 256, 512),
)


@pytest.fixture
def edited(tmp_path):
    """A golden checkpoint after an edit of its tensors."""

    def save(edit):
        checkpoint = torch.load(GOLDEN, weights_only=True)
        edit(checkpoint["model"])
        torch.save(checkpoint, tmp_path / "edited.pth")
        return tmp_path / "edited.pth"

    return save


def test_written_checkpoints_read_the_same(tmp_path):
    model = GLIP(TINY).eval()
    save_checkpoint(model, tmp_path / "tiny.pth")
    loaded = load_checkpoint(tmp_path / "tiny.pth")
    assert loaded.config == TINY
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.pth"]


def test_a_fingerprint_is_the_hash_of_names_shapes_and_values_by_name():
    model = GLIP(TINY)
    digest = hashlib.sha256()
    for name in sorted(model.state_dict()):
        values = model.state_dict()[name].flatten().tolist()
        shape = ", ".join(str(side) for side in model.state_dict()[name].shape)
        shape = f"({shape},)" if model.state_dict()[name].ndim == 1 else f"({shape})"
        digest.update(f"{name}{shape}".encode() + struct.pack(f"<{len(values)}f", *values))
    assert fingerprint(model) == digest.hexdigest()


def test_a_fingerprint_tells_apart_weights_that_differ_in_one_value():
    model = GLIP(TINY)
    before = fingerprint(model)
    with torch.no_grad():
        model.head.bias_lang[3] += 1e-6
    assert fingerprint(model) != before


@pytest.mark.parametrize("recommended", [Recommended(), Recommended(192, 320), Recommended(192, 320, 0.4, False)])
def test_what_is_recommended_travels_in_the_checkpoint(tmp_path, recommended):
    model = GLIP(TINY)
    model.recommended = recommended
    save_checkpoint(model, tmp_path / "tiny.pth")
    loaded = load_checkpoint(tmp_path / "tiny.pth")
    assert loaded.recommended == recommended
    assert fingerprint(loaded) == fingerprint(model)


def test_an_official_checkpoint_recommends_nothing():
    assert "recommended" not in torch.load(GOLDEN, weights_only=True)
    assert load_checkpoint(GOLDEN, text_heads=4).recommended == Recommended()


@pytest.mark.parametrize("entry", [None, "800", {"of somebody else": 1}])
def test_an_entry_that_is_not_ours_recommends_nothing(tmp_path, entry):
    torch.save(torch.load(GOLDEN, weights_only=True) | {"recommended": entry}, tmp_path / "other.pth")
    assert load_checkpoint(tmp_path / "other.pth", text_heads=4).recommended == Recommended()


def test_a_recommendation_of_the_wrong_kind_is_named(tmp_path):
    torch.save(torch.load(GOLDEN, weights_only=True) | {"recommended": {"short_side": "800"}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="recommends short_side '800', which is no int: correct or remove"):
        load_checkpoint(tmp_path / "other.pth", text_heads=4)


@pytest.mark.parametrize("config", [GLIP_T_A, GLIP_T, GLIP_L], ids=lambda config: config.variant)
def test_released_architectures_are_read_off_their_tensors(config):
    from glip_torch.checkpoint import official_name

    with torch.device("meta"):
        model = GLIP(config)
    state = {official_name(name, config): tensor for name, tensor in model.state_dict().items()}
    assert infer_config(state) == config


def test_a_tower_without_a_last_text_layer_is_recognised(tmp_path):
    config = GLIPConfig(**{**vars(TINY), "fusion": FusionConfig(embed_dim=64, heads=8, fused_text=False)})
    save_checkpoint(GLIP(config), tmp_path / "tiny.pth")
    assert load_checkpoint(tmp_path / "tiny.pth").config == config


def test_prefix_and_unused_tensors_do_not_matter(edited):
    def edit(state):
        for name in list(state):
            state[name.removeprefix("module.")] = state.pop(name)
        state["rpn.head.mlm_head.bias"] = torch.zeros(3)
        state["language_backbone.body.model.embeddings.position_ids"] = torch.arange(512)

    load_checkpoint(edited(edit), text_heads=4)


def test_missing_unexpected_and_misshapen_tensors_are_all_named(edited):
    def edit(state):
        del state["module.rpn.head.bias0"]
        state["module.rpn.head.tunable_linear.weight"] = torch.zeros(1000, 48)
        state["module.backbone.body.norm1.bias"] = torch.zeros(5)

    with pytest.raises(CheckpointError) as error:
        load_checkpoint(edited(edit), text_heads=4)
    for problem in (
        "missing: rpn.head.bias0 (1,)",
        "unexpected: rpn.head.tunable_linear.weight (1000, 48)",
        "misshapen: backbone.body.norm1.bias is (5,), the architecture needs (32,)",
    ):
        assert problem in str(error.value)


def test_head_count_that_cannot_be_is_refused():
    with pytest.raises(CheckpointError, match="5 text heads do not divide"):
        load_checkpoint(GOLDEN, text_heads=5)
    # 48 wide, below one head of 64: the count has to be given.
    with pytest.raises(CheckpointError, match="give the head count"):
        load_checkpoint(GOLDEN)


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="is the download complete"):
        read_checkpoint(tmp_path / "text.pth")
    torch.save({"weights": {}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="no 'model' entry"):
        read_checkpoint(tmp_path / "other.pth")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not a GLIP checkpoint"):
        load_checkpoint(tmp_path / "other.pth")


class Settings(dict):
    pass


def state():
    return torch.load(GOLDEN, weights_only=True)["model"]


@pytest.mark.parametrize(
    "content, old_format",
    [
        (lambda: state(), False),
        (lambda: {"state_dict": {"model." + name.removeprefix("module."): t for name, t in state().items()}}, False),
        (lambda: {"model": state(), "epoch": np.float64(3), "args": Namespace(lr=1e-3), "random": np.zeros(3)}, False),
        (lambda: {"model": state(), "epoch": 3}, True),
        (lambda: {"model": {"state_dict": state(), "epoch": 3}}, False),
    ],
)
def test_tensors_are_read_from_whatever_is_around_them(tmp_path, content, old_format):
    torch.save(content(), tmp_path / "model.pth", _use_new_zipfile_serialization=not old_format)
    read, _ = read_checkpoint(tmp_path / "model.pth")
    expected, _ = read_checkpoint(GOLDEN)
    assert read.keys() == expected.keys() and all(torch.equal(read[name], expected[name]) for name in read)


@pytest.mark.parametrize(
    "content, old_format, message",
    [
        (
            lambda: {"model": state(), "args": Namespace(lr=1e-3)},
            True,
            r"more than tensors .* such as argparse.Namespace",
        ),
        (lambda: {"model": state(), "epoch": np.float64(3)}, True, r"more than tensors .* such as numpy"),
        (lambda: {"model": state(), "settings": Settings(a=1)}, False, "more than tensors and plain values"),
        (lambda: torch.nn.Linear(2, 2), False, r"a whole object.*\{'model': c.state_dict\(\)\}"),
        (lambda: {"model": torch.nn.Linear(2, 2)}, False, r"\{'model': c\['model'\].state_dict\(\)\}"),
        (lambda: {"net": state(), "epoch": 3}, False, r"weights_only=True\); torch.save\(\{'model': c\['net'\]\}"),
        (lambda: {"epoch": 3}, False, "its entries are 'epoch'"),
    ],
)
def test_what_is_more_than_tensors_says_how_to_keep_them(tmp_path, content, old_format, message):
    torch.save(content(), tmp_path / "model.pth", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(CheckpointError, match=message) as error:
        read_checkpoint(tmp_path / "model.pth")
    assert "download" not in str(error.value)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("x.pth", b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        ("x.pth", b"<html>404</html>", "begins with b'<html>404</html>'.*is the download complete"),
        ("x.safetensors", GOLDEN.read_bytes()[:100], "as safetensors .*is the download complete"),
        ("x.pth", GOLDEN.read_bytes()[:9000], "is the download complete"),
    ],
)
def test_files_that_are_damaged_or_something_else(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named(edited, value):
    def edit(state):
        state["module.rpn.head.bias0"] = torch.full_like(state["module.rpn.head.bias0"], value)

    with pytest.raises(CheckpointError, match=r"edited.pth has weights that are NaN or infinite, in rpn.head.bias0:"):
        load_checkpoint(edited(edit), text_heads=4)
    with pytest.raises(CheckpointError, match=r"edited.pth has weights that are NaN or infinite, in rpn.head.bias0:"):
        open_source(edited(edit), text_heads=4)


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_pickled_code_is_not_run(tmp_path, capsys):
    torch.save({"model": {"a": Evil()}}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="'a' among its tensors, which is none"):
        read_checkpoint(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["glip-nano", "glip-drawn"])
def test_the_checkpoints_here_are_those_of_the_bundles(name):
    root = Path(__file__).parents[2]
    heads = {"glip-drawn": 4}.get(name)
    model = load_checkpoint(root / "python" / "checkpoints" / name / "model.pth", heads)
    manifest = json.loads((root / "models" / name / "glip.json").read_text())
    assert manifest["source"]["fingerprint"] == fingerprint(model)
    sizes, threshold = manifest["image"]["resize"], manifest["postprocess"]["score_threshold"]
    sizes = sizes["short_side"], sizes["long_side"]
    assert model.recommended == Recommended(*sizes, score_threshold=threshold, shared_target=False)


def test_nothing_half_written_stays(tmp_path):
    path = tmp_path / "result.json"
    with written(path) as partial:
        partial.write_text("old")
        assert not path.exists()
    with pytest.raises(ValueError), written(path) as partial:
        partial.write_text("half")
        raise ValueError
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]
