"""YOLOX as a GLIP: the same boxes at the start, phrases that do not see one another, fusion that begins with nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from glip_torch import from_yolox, train
from glip_torch.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from glip_torch.config import NANO_PHOTOS, CSPDarknetConfig, level_sizes
from glip_torch.export.check import TOLERANCE, worst_error
from glip_torch.export.glip import build_graphs
from glip_torch.export.precision import PRECISIONS, write_graph
from glip_torch.losses import Targets, grounding_losses
from glip_torch.model import GLIP
from glip_torch.postprocess import anchors_for, decode_boxes
from glip_torch.preprocess import normalise
from glip_torch.tokenizer import SPECIAL_TOKENS
from glip_torch.yolox import CODE, YoloxError, load_yolox

SHARED = Path(__file__).parents[3] / "shared" / "data"
YOLOX = SHARED / "yolox-nano" / "yolox_nano.onnx"
SMALL = replace(
    NANO_PHOTOS,
    text=replace(NANO_PHOTOS.text, vocab_size=40, hidden_size=64, heads=1, intermediate_size=64, boundaries=(2, 3, 17)),
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GLIP(SMALL).eval()


def opened(model):
    """The model with fusion that has learned something."""
    for layer in model.tower.layers:
        torch.nn.init.normal_(layer.fusion.gamma_v, std=0.3)
        torch.nn.init.normal_(layer.fusion.gamma_l, std=0.3)
    return model


@pytest.mark.skipif(not YOLOX.exists(), reason="yolox_nano.onnx is not at hand")
@pytest.mark.parametrize("name", ["000000000009.webp", "000000000025.webp"])
def test_at_the_start_it_is_yolox(model, name):
    codes = load_yolox(YOLOX, model)
    picture = np.asarray(Image.open(SHARED / "photos" / "images" / name).convert("RGB").resize((416, 416)))
    theirs = onnxruntime.InferenceSession(YOLOX).run(
        None, {"images": picture[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)}
    )
    theirs = torch.from_numpy(theirs[0])[0]
    ids = torch.tensor([[2, 20, 21, 17, 30, 3]])
    with torch.no_grad():
        hidden, _ = model.text_encoder(ids, torch.ones_like(ids))
        levels, text = model.fuse(model.image_encoder(normalise(picture)[None]), hidden, torch.ones_like(ids))
        output = model.head(levels, text)
    assert torch.equal(text, hidden), "closed gates let nothing through"

    features = torch.cat([level.flatten(2) for level in levels], dim=2)[0].T
    scores = (features[:, :CODE] @ codes.weights.T).sigmoid() * output.centerness[0].sigmoid()[:, None]
    expected = theirs[:, 5:] * theirs[:, 4:5]
    assert (scores - expected).abs().max() < 1e-3
    assert expected.max() > 0.5, "there is something to find"

    sizes = level_sizes(416, 416, model.config.strides)
    boxes = decode_boxes(output.deltas[0], anchors_for(sizes, model.config.strides, model.config.anchor_sizes))
    boxes[:, 2:] += 1  # to edges
    assert overlap(boxes, yolox_boxes(theirs, sizes)).min() > 0.99


def yolox_boxes(output, sizes):
    """Edges, decoded as YOLOX's own demo does it."""
    cells = []
    for (height, width), stride in zip(sizes, (8, 16, 32)):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        cells.append(torch.stack([x, y, torch.full_like(x, stride)], dim=-1).reshape(-1, 3))
    cells = torch.cat(cells).float()
    centre = (output[:, :2] + cells[:, :2]) * cells[:, 2:]
    half = output[:, 2:4].exp() * cells[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=1)


def overlap(a, b):
    sides = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    shared = sides.prod(1)
    return shared / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared)


@pytest.mark.parametrize(
    ("convolutions", "message"),
    [([], "0 convolutions"), ([(16, 3, 3, 3)] * 2, "2 convolutions")],
)
def test_a_file_that_is_no_yolox_is_named(model, tmp_path, convolutions, message):
    names = [f"w{index}" for index in range(len(convolutions))]
    weights = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in zip(names, convolutions)]
    biases = [numpy_helper.from_array(np.zeros(shape[0], np.float32), f"{n}b") for n, shape in zip(names, convolutions)]
    nodes = [helper.make_node("Conv", ["x", name, f"{name}b"], [f"{name}y"]) for name in names]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [value], [value], [*weights, *biases])
    onnx.save(helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(YoloxError, match=message):
        load_yolox(tmp_path / "other.onnx", model)
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(YoloxError, match="cannot be read as ONNX"):
        load_yolox(tmp_path / "text.onnx", model)


def test_a_checkpoint_tells_the_architecture(tmp_path):
    config = replace(SMALL, backbone=CSPDarknetConfig(8, (1, 2, 1, 1)), channels=32)
    model = GLIP(config)
    save_checkpoint(model, tmp_path / "model.pth")
    loaded = load_checkpoint(tmp_path / "model.pth")
    assert loaded.config == config
    assert fingerprint(loaded) == fingerprint(model)


def test_a_phrase_means_the_same_wherever_it_stands(model):
    lists = torch.tensor([[2, 20, 21, 17, 30, 17, 25, 3], [2, 30, 17, 25, 17, 20, 21, 3]])
    with torch.no_grad():
        hidden, _ = model.text_encoder(lists, torch.ones_like(lists))
        alone, _ = model.text_encoder(torch.tensor([[2, 20, 21, 3]]), torch.ones(1, 4, dtype=torch.int64))
        reversed_, _ = model.text_encoder(torch.tensor([[2, 21, 20, 3]]), torch.ones(1, 4, dtype=torch.int64))
    torch.testing.assert_close(hidden[0, 1:3], hidden[1, 5:7])
    torch.testing.assert_close(hidden[0, 1:3], alone[0, 1:3])
    assert (alone[0, 1:3] - reversed_[0, [2, 1]]).abs().max() > 0.1, "within a phrase, order counts"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_graphs_compute_what_the_modules_do(precision):
    torch.manual_seed(1)
    graphs = build_graphs(opened(GLIP(SMALL).eval()))
    assert [graph.name for graph in graphs] == ["image_encoder", "text_encoder", "fusion", "head"]
    for graph in graphs:
        assert worst_error(write_graph(graph, precision), graph) < TOLERANCE[precision], graph.name


def test_open_gates_let_words_change_the_image(model):
    model = opened(GLIP(SMALL).eval())
    ids = torch.tensor([[2, 20, 3], [2, 30, 3]])
    with torch.no_grad():
        hidden, _ = model.text_encoder(ids, torch.ones_like(ids))
        pyramid = [level.expand(2, -1, -1, -1) for level in model.image_encoder(torch.randn(1, 3, 64, 64))]
        levels, text = model.fuse(pyramid, hidden, torch.ones_like(ids))
    assert (levels[0][0] - levels[0][1]).abs().max() > 1e-3
    assert (text - hidden).abs().max() > 1e-3


def test_what_is_made_of_yolox_recommends_the_sizes_of_glip_nano():
    made = load_checkpoint(Path(__file__).parents[1] / "checkpoints" / "glip-nano" / "model.pth")
    assert replace(made.recommended, score_threshold=None) == from_yolox.RECOMMENDED


def test_doubtful_boxes_are_neither_right_nor_wrong(model):
    torch.manual_seed(2)
    ids = torch.tensor([[2, 20, 17, 30, 3]])
    mask = torch.ones_like(ids)
    output = model(torch.randn(1, 3, 64, 64), ids, mask)
    output.logits.data += 4  # so that every anchor is wrong
    sizes = level_sizes(64, 64, model.config.strides)
    anchors = anchors_for(sizes, model.config.strides, model.config.anchor_sizes)
    counts = [height * width for height, width in sizes]
    sure = torch.tensor([[[8.0, 8.0, 39.0, 39.0]]])
    of_first = torch.tensor([[[False, True, False, False, False]]])
    of_second = torch.tensor([[[False, False, False, True, False]]])

    def token_loss(*doubtful):
        targets = Targets(sure, torch.ones(1, 1, dtype=torch.bool), of_first, *doubtful)
        return grounding_losses(output, mask, anchors, counts, targets, shared_target=False).token

    everywhere = torch.tensor([[[-100.0, -100.0, 200.0, 200.0]]])
    without_second = token_loss(everywhere, of_second)
    assert without_second < 0.85 * token_loss()
    # What is sure stays so: the anchors of the sure box count, whatever is doubted.
    both = token_loss(everywhere, of_first | of_second)
    assert 0 < both < without_second
    nowhere = token_loss(torch.zeros(1, 1, 4), torch.zeros(1, 1, 5, dtype=torch.bool))
    assert torch.equal(nowhere, token_loss())


def test_the_gated_recipe_trains_fusion_and_leaves_the_eyes_alone(tmp_path):
    """On pictures of coloured squares, one of which is asked for."""
    vocabulary = [*SPECIAL_TOKENS, ".", *"abcdefghijklm", "red", "blue", "square", *(f"w{n}" for n in range(18))]
    assert vocabulary.index(".") == 5
    text = replace(SMALL.text, vocab_size=len(vocabulary), boundaries=(2, 3, 5))
    torch.manual_seed(0)
    before = GLIP(replace(SMALL, text=text))
    save_checkpoint(before, tmp_path / "model.pth")
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    lines = [{"format": "glip-grounding", "format_version": 2, "categories": []}]
    for number, colour in enumerate([(255, 0, 0), (0, 0, 255)]):
        picture = np.full((96, 96, 3), 128, np.uint8)
        picture[16:80, 16:80] = colour
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        names = ["red square", "blue square"]
        categories = [
            {"name": names[number], "boxes": [[16, 16, 80, 80], [0, 0, 10, 10]], "scores": [0.9, 0.2]},
            {"name": names[1 - number], "boxes": []},
        ]
        lines.append({"image": f"{number}.png", "width": 96, "height": 96, "categories": categories})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    train.main(
        [str(tmp_path / "run"), "--init", str(tmp_path / "model.pth"), "--data", str(tmp_path / "train.jsonl"), "--cpu",
         "--steps", "4", "--batch", "2", "--short-sides", "96", "--long-side", "96", "--certain", "0.5", "--mostly-few",
         "--log-every", "1", "--warm-up", "1"]
    )  # fmt: skip
    after = load_checkpoint(tmp_path / "run" / "model.pth").state_dict()
    changed = {name for name, tensor in before.state_dict().items() if not torch.equal(tensor, after[name])}
    assert not any(name.startswith("image_encoder.") for name in changed)
    assert {"tower.layers.0.fusion.gamma_v", "tower.layers.1.fusion.gamma_l", "head.bbox_pred.weight"} <= changed
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(entry["centerness"] == 0 and entry["token"] > 0 for entry in log)
