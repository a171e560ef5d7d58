"""The closed-set detector: GLIP's parts, official's numbers, and one more model for the same training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_golden import assert_close
from test_train import average_precision, log_of, run_command, squares
from two_processes import TINY

from glip_torch import train
from glip_torch.checkpoint import CheckpointError, load_checkpoint, load_detector, save_checkpoint
from glip_torch.config import STRIDES, level_sizes
from glip_torch.data.__main__ import main as data_command
from glip_torch.data.files import GroundingWriter, open_files
from glip_torch.data.grounding import Header, Phrase, Record
from glip_torch.data.grounding_batches import ImageOptions
from glip_torch.data.grounding_prompts import EVERY_CATEGORY
from glip_torch.dyhead import DyHead
from glip_torch.evaluate import ground
from glip_torch.head import LOGIT_LIMIT
from glip_torch.losses import Targets, grounding_losses
from glip_torch.postprocess import anchors_for
from glip_torch.tokenizer import class_tokenizer, model_tokenizer, phrase_tokens
from glip_torch.training import TrainingError
from glip_torch.training.initialise import initialise
from glip_torch.training.loop import Trainer
from glip_torch.training.network import Trained
from glip_torch.training.settings import NANO as NANO_SETTINGS
from glip_torch.training.sources import GroundingFiles

GOLDEN = Path(__file__).parent / "golden" / "glip_a_small"
CLOSED = replace(TINY, text=replace(TINY.text, vocab_size=3), fusion=None)


@pytest.fixture
def single_thread(one_thread):
    from accelerate.state import AcceleratorState, PartialState

    yield
    AcceleratorState._reset_state()
    PartialState._reset_state()


@pytest.fixture
def official(tmp_path):
    """A checkpoint of GLIP-T (A) without its words: what is left is official's DyHead, classifier included."""
    state = torch.load(GOLDEN / "model.pth", weights_only=True)["model"]
    words = ("language_backbone", "dot_product_projection_text", "log_scale", "bias_lang", "bias0")
    state = {name: tensor for name, tensor in state.items() if not any(word in name for word in words)}
    torch.save({"model": state}, tmp_path / "dyhead.pth")
    return tmp_path / "dyhead.pth", state


@pytest.mark.parametrize("name", ["classes", "caption"])
def test_boxes_are_the_official_ones_and_scores_a_convolution(official, name):
    path, state = official
    golden = np.load(GOLDEN / f"{name}.npz")
    model = load_detector(path)
    assert isinstance(model, DyHead) and model.config.text.vocab_size == 80
    classes = torch.arange(80)[None]
    with torch.no_grad():
        output = model(torch.from_numpy(golden["pixels"])[None], classes, torch.ones_like(classes))
    first = 0
    weight, bias = (state[f"module.rpn.head.cls_logits.{part}"] for part in ("weight", "bias"))
    for level, (height, width) in enumerate(level_sizes(*golden["pixels"].shape[1:], STRIDES)):
        part = slice(first, first + height * width)
        assert_close(f"deltas_{level}", output.deltas[0, part].T.numpy(), golden)
        assert_close(f"centerness_{level}", output.centerness[0, part].numpy(), golden)
        scores = F.conv2d(torch.from_numpy(golden[f"fused_{level}"])[None], weight, bias)
        assert torch.allclose(output.logits[0, part], scores.flatten(2)[0].T, atol=1e-4)
        first += height * width


def test_scores_are_those_of_the_classes_that_are_asked():
    torch.manual_seed(0)
    model, pixels = DyHead(CLOSED).eval(), torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        every = model(pixels, torch.tensor([[0, 1, 2]] * 2), torch.ones(2, 3))
        some = model(pixels, torch.tensor([[2, 0], [1, 3]]), torch.ones(2, 2))
    assert every.logits.shape == (2, sum(h * w for h, w in level_sizes(64, 96, STRIDES)), 3)
    assert torch.equal(some.logits[0], every.logits[0][:, [2, 0]])
    assert torch.equal(some.logits[1, :, 0], every.logits[1, :, 1])
    # What comes after the last class is none, and never found.
    assert (some.logits[1, :, 1] == -LOGIT_LIMIT).all()
    assert torch.equal(some.deltas, every.deltas)


def test_every_parameter_learns():
    torch.manual_seed(0)
    model = DyHead(CLOSED)
    initialise(model)
    # 64 pixels, as the anchors of P4, and 26, for finer ones.
    boxes = torch.tensor([[[0.0, 0.0, 63.0, 63.0], [36.0, 4.0, 61.0, 29.0]]])
    tokens = torch.eye(3, dtype=torch.bool)[None, :2]
    classes, sizes = torch.arange(3)[None], level_sizes(64, 64, STRIDES)
    anchors = anchors_for(sizes, STRIDES, CLOSED.anchor_sizes)
    output = model(torch.randn(1, 3, 64, 64), classes, torch.ones_like(classes))
    targets = Targets(boxes, torch.ones(1, 2, dtype=torch.bool), tokens)
    grounding_losses(output, torch.ones_like(classes), anchors, [h * w for h, w in sizes], targets).total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # Levels without a box have no say in where boxes are.
    assert all(name.startswith("head.scales.") for name in without)
    assert {"head.cls_logits.weight", "head.bbox_pred.weight"} <= {name for name, _ in model.named_parameters()}


def test_a_name_is_a_token():
    tokenizer = class_tokenizer(["traffic light", "red car", "cat"])
    text = "cat. traffic light. dog"
    encoding = tokenizer.encode(text)
    assert encoding.ids == [2, 0, 3]
    assert list(phrase_tokens(encoding, 5, 18)) == [1]
    assert tokenizer.encode("cat").ids == [2]
    with pytest.raises(Exception, match="WordLevel"):
        class_tokenizer(["cat"], strict=True).encode("cat. dog")
    with pytest.raises(ValueError, match="the class 'cat. dog' holds '. '"):
        class_tokenizer(["cat. dog"])


def test_checkpoints_are_read_as_what_they_are(tmp_path):
    torch.manual_seed(0)
    model = DyHead(CLOSED).eval()
    save_checkpoint(model, tmp_path / "model.pth")
    loaded = load_detector(tmp_path / "model.pth")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert loaded.config.anchor_sizes == CLOSED.anchor_sizes
    with pytest.raises(CheckpointError, match="closed-set detector, which knows no words"):
        load_checkpoint(tmp_path / "model.pth")


def test_other_names_are_never_found():
    torch.manual_seed(0)
    model = DyHead(CLOSED).eval()
    torch.nn.init.constant_(model.head.cls_logits.bias, 1.0)
    pyramid = model.image_encoder(torch.randn(1, 3, 64, 64))
    tokenizer = model_tokenizer(model, ["a", "b", "c"])
    (found,) = ground(model, tokenizer, pyramid, (64, 64), [["b", "something else", "a"]])
    assert set(found.labels.tolist()) == {0, 2}


# --- training -------------------------------------------------------------------------------------------------------


def test_the_command_trains_one_on_detection_records(tmp_path, single_thread):
    data_command(["scenes", str(tmp_path), "--count", "4", "--side", "64"])
    path = tmp_path / "detection.jsonl"
    lines = path.read_text().splitlines()
    # A caption, which a closed set cannot read.
    caption = json.loads(lines[1]) | {"text": "a red circle", "phrases": []}
    del caption["categories"]
    path.write_text("\n".join([*lines, json.dumps(caption)]) + "\n")
    options = ["--closed-set", "--data", path, "--steps", 2, "--batch", 5, "--short-sides", 64, "--long-side", 64]
    run_command(tmp_path / "run", *options, "--log-every", 1, "--cpu")
    assert log_of(tmp_path / "run")[-1]["skipped"] == 1
    reason = json.loads((tmp_path / "run" / "skipped.0.jsonl").read_text())["reason"]
    assert reason == "'a red circle' is no list of the closed set's categories: leave the record out"
    names = (tmp_path / "run" / "vocab.txt").read_text().splitlines()
    assert tuple(names) == open_files([path])[0].header.categories
    assert load_detector(tmp_path / "run" / "model.pth").config.text.vocab_size == len(names)


def test_a_closed_set_needs_categories(tmp_path):
    with GroundingWriter(tmp_path / "captions.jsonl", Header()) as writer:
        writer.write(Record("1.png", 8, 8, text="a dog", phrases=(Phrase(((0, 5),)),)))
    parse = lambda *options: train.parse_arguments([str(tmp_path), "--steps", "1", "--closed-set", *options])
    with pytest.raises(TrainingError, match="no header of --data lists categories"):
        train.prepare(parse("--data", str(tmp_path / "captions.jsonl")))
    with pytest.raises(TrainingError, match="--closed-set is for a model from scratch on files"):
        train.check_arguments(parse())


def test_four_pictures_are_learned_by_heart(tmp_path, single_thread):
    data = squares(tmp_path)
    names = open_files([data])[0].header.categories
    settings = replace(NANO_SETTINGS, batch=4, steps=200, learning_rate=3e-3, warm_up=10, log_every=50, save_minutes=60)
    torch.manual_seed(1)
    model = DyHead(replace(CLOSED, text=replace(CLOSED.text, vocab_size=len(names))))
    initialise(model)
    images = ImageOptions(short_sides=(64,), long_side=128, flip=0.0)
    source = GroundingFiles([data], class_tokenizer(names, strict=True), EVERY_CATEGORY, images)
    (tmp_path / "run").mkdir()
    run = Trainer(Trained(model), source, settings, tmp_path / "run", cpu=True)
    run.run()
    average = run.state.average.model
    assert average_precision(average, data, model_tokenizer(average, names)) == pytest.approx(1.0)
