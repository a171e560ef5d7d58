"""Every stage and the final boxes against the official implementation's numbers, PyTorch and ONNX alike.

Closeness of a tensor: the largest error is at most 1e-4 of its largest magnitude.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glip_torch.checkpoint import load_checkpoint
from glip_torch.config import level_sizes
from glip_torch.export.check import opened, relative_error
from glip_torch.export.glip import build_graphs
from glip_torch.head import HeadOutput
from glip_torch.postprocess import PostprocessOptions, detect
from glip_torch.preprocess import normalise, pad, resize
from glip_torch.tokenizer import build_tokenizer, phrase_tokens

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-4
CASES = [
    (folder.name, case["name"])
    for folder in sorted(GOLDEN.glob("glip_*"))
    for case in json.loads((folder / "cases.json").read_text())
]


class TorchStages:
    """The model's graphs, run by PyTorch."""

    def __init__(self, graphs):
        self.graphs = {graph.name: graph for graph in graphs}

    def __contains__(self, name):
        return name in self.graphs

    def run(self, name, *values):
        with torch.no_grad():
            outputs = self.graphs[name].module(*(torch.from_numpy(value) for value in values))
        return [output.numpy() for output in outputs]


class OnnxStages(TorchStages):
    """The same graphs, exported and run by ONNX Runtime."""

    in_pieces = True

    def __init__(self, graphs):
        super().__init__(graphs)
        self.opened = {graph.name: opened(graph.to_onnx(in_pieces=self.in_pieces)) for graph in graphs}

    def run(self, name, *values):
        names = [port.name for port in self.graphs[name].inputs]
        return list(self.opened[name].run(dict(zip(names, values, strict=True))).values())


class OnnxStagesForGpu(OnnxStages):
    """In the layout for a GPU, which a CPU runs too."""

    in_pieces = False


@pytest.fixture(scope="module")
def models():
    return {name: load_checkpoint(GOLDEN / name / "model.pth", text_heads=4) for name, _ in CASES}


@pytest.fixture(scope="module", params=[TorchStages, OnnxStages, OnnxStagesForGpu], ids=["torch", "onnx", "gpu"])
def stages(request, models):
    return {name: request.param(build_graphs(model)) for name, model in models.items()}


@pytest.mark.parametrize("variant, name", CASES)
def test_every_stage_and_the_boxes_are_the_official_ones(stages, models, variant, name):
    case = next(c for c in json.loads((GOLDEN / variant / "cases.json").read_text()) if c["name"] == name)
    golden = np.load(GOLDEN / variant / f"{name}.npz")
    run = stages[variant]
    encoding = build_tokenizer(GOLDEN / "vocab.txt").encode(case["caption"])
    assert encoding.ids == golden["input_ids"].tolist()
    phrases = [phrase_tokens(encoding, begin, end) for begin, end in case["phrase_spans"]]
    assert [list(tokens) for tokens in phrases] == list(case["positive_map"].values())

    ids = golden["input_ids"].astype(np.int64)[None]
    mask = np.ones_like(ids)
    hidden, embedded = run.run("text_encoder", ids, mask)
    assert_close("text_hidden", hidden[0], golden)
    assert_close("text_embedded", embedded[0], golden)

    levels, text = run.run("image_encoder", golden["pixels"][None]), embedded
    if "fusion" in run:
        for level, features in enumerate(levels):
            assert_close(f"pyramid_{level}", features[0], golden)
        *levels, text = run.run("fusion", *levels, hidden, mask)
        assert_close("fused_text", text[0], golden)
    for level, features in enumerate(levels):
        assert_close(f"fused_{level}", features[0], golden)

    logits, deltas, centerness = run.run("head", *levels, text)
    config = models[variant].config
    sizes = level_sizes(*golden["pixels"].shape[1:], config.strides)
    first = 0
    for level, (height, width) in enumerate(sizes):
        part = slice(first, first + height * width)
        assert_close(f"logits_{level}", logits[0, part], golden)
        assert_close(f"deltas_{level}", deltas[0, part].T, golden)
        assert_close(f"centerness_{level}", centerness[0, part], golden)
        first += height * width

    output = HeadOutput(*(torch.from_numpy(array) for array in (logits, deltas, centerness)))
    resized = golden["image_size"]
    found = detect(
        output, 0, phrases, sizes, config.strides, config.anchor_sizes, tuple(resized),
        PostprocessOptions(max_detections=case["detections"]),
    )  # fmt: skip
    width, height = Image.open(GOLDEN / variant / case["image"]).size
    assert_same_detections(found.scaled(width / resized[1], height / resized[0]), golden)


@pytest.mark.parametrize("variant, name", CASES)
def test_the_network_input_is_the_official_one(variant, name):
    case = next(c for c in json.loads((GOLDEN / variant / "cases.json").read_text()) if c["name"] == name)
    golden = np.load(GOLDEN / variant / f"{name}.npz")
    resized = np.array(resize(Image.open(GOLDEN / variant / case["image"]), case["min_size"], case["max_size"]))
    # Pillow's own versions may round a level differently.
    assert resized.shape == golden["resized"].shape
    assert np.abs(resized.astype(int) - golden["resized"]).max() <= 1
    assert_close("pixels", pad(normalise(golden["resized"])).numpy(), golden)


@pytest.mark.parametrize("variant, name", [case for case in CASES if case[0] == "glip_a_small"])
def test_the_pyramid_before_a_tower_without_fusion_is_the_official_one(models, variant, name):
    """The exported image encoder of such a model ends after the tower, so this stage shows in PyTorch only."""
    golden = np.load(GOLDEN / variant / f"{name}.npz")
    with torch.no_grad():
        pyramid = models[variant].image_encoder(torch.from_numpy(golden["pixels"])[None])
    for level, features in enumerate(pyramid):
        assert_close(f"pyramid_{level}", features[0].numpy(), golden)


def assert_close(name, found, golden):
    expected = golden[name]
    assert relative_error(found.reshape(expected.shape), expected) < TOLERANCE, name


def assert_same_detections(found, golden):
    """The same set: each official box has a partner of its label, IoU > 0.99, scores within 1e-4."""
    assert len(found.boxes) == len(golden["boxes"])
    free = list(range(len(found.boxes)))
    for box, score, label in zip(golden["boxes"], golden["scores"], golden["labels"]):
        partner = next(
            (
                i
                for i in free
                if found.labels[i] + 1 == label
                and abs(found.scores[i] - score) < 1e-4
                and iou(found.boxes[i].numpy(), box) > 0.99
            ),
            None,
        )
        assert partner is not None, f"no detection like {box} {score} {label}"
        free.remove(partner)


def iou(a, b):
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - sides.prod()
    return sides.prod() / union
