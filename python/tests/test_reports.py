import importlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glip_torch.checkpoint import load_checkpoint
from glip_torch.data.grounding_batches import Example, collate
from glip_torch.data.scenes import Scene, SceneObject
from glip_torch.losses import grounding_losses
from glip_torch.postprocess import Detections
from glip_torch.preprocess import normalise
from glip_torch.tokenizer import build_tokenizer

REPORTS = Path(__file__).parents[1] / "reports"


def load(name, monkeypatch):
    """A script of the reports' folder, which imports others from there."""
    monkeypatch.syspath_prepend(str(REPORTS))
    return importlib.import_module(name)


@pytest.mark.parametrize("name", ["teaching_report", "photos_report"])
def test_the_tables_of_the_teaching_report_are_those_of_its_results(monkeypatch, name):
    report = load(name, monkeypatch)
    text = report.REPORT.read_text(encoding="utf-8")
    assert report.fill(text, json.loads(report.RESULTS.read_text(encoding="utf-8"))) == text


@pytest.mark.parametrize("name", ["PHOTOGRAPHS", "DRAWN"])
def test_the_tables_of_a_tuning_report_are_those_of_its_results(monkeypatch, name):
    module = load("tuning_report", monkeypatch)
    report = getattr(module, name)
    text = report.file.read_text(encoding="utf-8")
    assert module.fill(report, text, json.loads(report.results.read_text(encoding="utf-8"))) == text


def test_cells_say_how_many_runs_are_missing(monkeypatch):
    cell = load("tuning_report", monkeypatch).cell
    assert cell([1.0, 2.0, 3.0]) == "2.0 ± 1.0"
    assert cell([1.0, 3.0]) == "2.0 ± 1.4 (of 2)"
    assert cell([1.0]) == "1.0 (of 1)"
    assert cell([]) == "not run"


def test_what_the_data_sets_of_the_teaching_report_say(monkeypatch, tmp_path):
    world = load("teaching_world", monkeypatch)
    said = {kind: list(world.records(kind, 7, 60, tmp_path)) for kind in world.KINDS}
    assert {c.name for record in said["detection"] for c in record.categories} == set(world.DETECTED)
    texts = {kind: [record.text for record in said[kind]] for kind in ("grounding", "captions")}
    words = {kind: {w for text in found for w in text.replace(",", "").split()} for kind, found in texts.items()}
    assert not words["grounding"] & set(world.UNBOXED)
    assert set(world.CAPTIONED) <= words["grounding"] and set(world.SHAPES) <= words["captions"]
    assert words["grounding"] | words["captions"] <= set(world.vocabulary())
    assert not any(f"{c} {s}" in text for found in texts.values() for text in found for c, s in world.UNSAID)
    assert not any(phrase.boxes for record in said["captions"] for phrase in record.phrases)
    phrases = [(record, phrase) for record in said["grounding"] for phrase in record.phrases]
    for record, phrase in phrases:
        query = world.query_of(record.text[slice(*phrase.spans[0])])
        scene = world.draw_scene(7, int(record.image.split("/")[1].split(".")[0]))
        meant = {thing.edges for thing in scene.objects if query.matches(thing)}
        assert set(phrase.boxes) == meant and (query.shape or query.colour)
    # Some mention what is not there.
    assert 0 < sum(not phrase.boxes for _, phrase in phrases) < len(phrases) / 2


def test_words_are_trained_with_the_loss_of_the_whole_model(monkeypatch):
    runs = load("photos_runs", monkeypatch)
    folder = REPORTS.parent / "checkpoints" / "glip-nano"
    model = load_checkpoint(folder / "model.pth").eval()
    encoding = build_tokenizer(folder / "vocab.txt").encode("dog. traffic light")
    picture, content = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), io.BytesIO()
    picture.save(content, "png")
    tokens = torch.zeros(2, len(encoding.ids), dtype=torch.bool)
    tokens[0, 1] = tokens[1, 3] = True
    boxes, doubtful = torch.tensor([[4.0, 4, 40, 36], [20, 30, 60, 60]]), (torch.zeros(0, 4), torch.zeros(0, 0) > 0)
    example = Example(normalise(np.asarray(picture)), encoding, boxes, tokens, doubtful, "picture")
    batch, eyes = collate([example, example]), runs.Eyes(model, 64)

    output = model(batch.pixels, batch.input_ids, batch.attention_mask)
    whole = grounding_losses(
        output, batch.attention_mask, eyes.anchors, eyes.counts, batch.targets, shared_target=False, joint_score=True
    )
    seen = eyes.see("picture", content.getvalue()).float().expand(2, -1, -1)
    assert runs.words_loss(model, eyes, seen, batch).item() == pytest.approx(whole.token.item(), rel=1e-3)
    assert whole.token.item() > 0.1


def test_photographs_teach_nothing_until_something_changes(monkeypatch):
    worlds = load("worlds_runs", monkeypatch)
    folder = REPORTS.parent / "checkpoints" / "glip-nano"
    start, model = (load_checkpoint(folder / "model.pth").eval() for _ in range(2))
    ids = torch.tensor([build_tokenizer(folder / "vocab.txt").encode("dog. traffic light").ids])
    pixels, asked = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), ids.expand(2, -1)

    def kept():
        output, (anchors, _) = model(pixels, asked, torch.ones_like(asked)), worlds.anchors_of(model, pixels)
        return worlds.kept_loss(output, worlds.start_says(start, pixels, ids), anchors)

    assert kept().item() == pytest.approx(0, abs=1e-4)
    changed = (model.head.bias0, model.head.bbox_pred.bias, model.head.centerness.bias)
    for parameter in changed:
        with torch.no_grad():
            parameter.add_(0.5)
        assert kept().item() > 1e-3
        with torch.no_grad():
            parameter.sub_(0.5)


def test_masks_that_boxes_could_have(monkeypatch):
    runs = load("masks_runs", monkeypatch)
    owner = np.zeros((32, 32), np.int16)
    owner[4:12, 4:8], owner[4:12, 8:12] = 1, 2
    boxes = ((4, 4, 9, 11), (8, 4, 11, 11))
    things = tuple(SceneObject("square", "red", "solid", "small", box) for box in boxes)
    scene, found = (
        Scene(np.zeros((32, 32, 3), np.uint8), things, owner),
        torch.tensor([[8.0, 4, 11, 11], [20, 20, 23, 27]]),
    )
    whole = runs.filled(found, 32, 32)
    assert (whole[0].numpy() == (owner == 2)).all() and whole[1].sum() == 32
    best = runs.perfect(scene, torch.tensor([[4.0, 4, 8, 11], [20, 20, 23, 27]]), whole)
    assert (best[0].numpy() == (owner == 1)).all() and (best[1] == whole[1]).all()

    answers = runs.Answers(runs.Shapes(), threshold=0.5)
    label = runs.Shapes.names.index("red square")
    detections = Detections(
        torch.tensor(boxes, dtype=torch.float32), torch.tensor([0.9, 0.4]), torch.tensor([label] * 2)
    )
    answers.add(scene, detections, runs.filled(detections.boxes, 32, 32))
    numbers = answers.numbers()
    assert numbers["seen"]["perfect"]["all"] == numbers["seen"]["boxes"]["all"] == {"AP": 1.0, "AP50": 1.0}
    # The first box is half again as wide as what one sees of its object; the other is under the threshold.
    assert numbers["IoU"]["all"] == [0.667, 1]
    assert numbers["seen"]["head"] == numbers["seen"]["whole box"] and numbers["seen"]["head"]["all"]["AP"] < 0.8
