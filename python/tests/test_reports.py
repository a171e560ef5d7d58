import io
import json
from pathlib import Path

import numpy as np
import photos_report
import photos_runs
import pytest
import teaching_report
import teaching_world as world
import torch
import tuning_report
import worlds_runs
from PIL import Image

from glip_torch.checkpoint import load_checkpoint
from glip_torch.data.grounding_batches import Example, collate
from glip_torch.losses import grounding_losses
from glip_torch.preprocess import normalise
from glip_torch.tokenizer import build_tokenizer

CHECKPOINT = Path(__file__).parents[1] / "checkpoints" / "glip-nano"


@pytest.mark.parametrize("report", [teaching_report, photos_report])
def test_the_tables_of_the_teaching_report_are_those_of_its_results(report):
    text = report.REPORT.read_text(encoding="utf-8")
    assert report.fill(text, json.loads(report.RESULTS.read_text(encoding="utf-8"))) == text


@pytest.mark.parametrize("report", [tuning_report.PHOTOGRAPHS, tuning_report.DRAWN])
def test_the_tables_of_a_tuning_report_are_those_of_its_results(report):
    text = report.file.read_text(encoding="utf-8")
    assert tuning_report.fill(report, text, json.loads(report.results.read_text(encoding="utf-8"))) == text


def test_cells_say_how_many_runs_are_missing():
    cell = tuning_report.cell
    assert cell([1.0, 2.0, 3.0]) == "2.0 ± 1.0"
    assert cell([1.0, 3.0]) == "2.0 ± 1.4 (of 2)"
    assert cell([1.0]) == "1.0 (of 1)"
    assert cell([]) == "not run"


def test_what_the_data_sets_of_the_teaching_report_say(tmp_path):
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


def test_words_are_trained_with_the_loss_of_the_whole_model():
    model = load_checkpoint(CHECKPOINT / "model.pth").eval()
    encoding = build_tokenizer(CHECKPOINT / "vocab.txt").encode("dog. traffic light")
    picture, content = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), io.BytesIO()
    picture.save(content, "png")
    tokens = torch.zeros(2, len(encoding.ids), dtype=torch.bool)
    tokens[0, 1] = tokens[1, 3] = True
    boxes, doubtful = torch.tensor([[4.0, 4, 40, 36], [20, 30, 60, 60]]), (torch.zeros(0, 4), torch.zeros(0, 0) > 0)
    example = Example(normalise(np.asarray(picture)), encoding, boxes, tokens, doubtful, "picture")
    batch, eyes = collate([example, example]), photos_runs.Eyes(model, 64)

    output = model(batch.pixels, batch.input_ids, batch.attention_mask)
    whole = grounding_losses(
        output, batch.attention_mask, eyes.anchors, eyes.counts, batch.targets, shared_target=False, joint_score=True
    )
    seen = eyes.see("picture", content.getvalue()).float().expand(2, -1, -1)
    assert photos_runs.words_loss(model, eyes, seen, batch).item() == pytest.approx(whole.token.item(), rel=1e-3)
    assert whole.token.item() > 0.1


def test_photographs_teach_nothing_until_something_changes():
    start, model = (load_checkpoint(CHECKPOINT / "model.pth").eval() for _ in range(2))
    ids = torch.tensor([build_tokenizer(CHECKPOINT / "vocab.txt").encode("dog. traffic light").ids])
    pixels, asked = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), ids.expand(2, -1)

    def kept():
        output, (anchors, _) = model(pixels, asked, torch.ones_like(asked)), worlds_runs.anchors_of(model, pixels)
        return worlds_runs.kept_loss(output, worlds_runs.start_says(start, pixels, ids), anchors)

    assert kept().item() == pytest.approx(0, abs=1e-4)
    changed = (model.head.bias0, model.head.bbox_pred.bias, model.head.centerness.bias)
    for parameter in changed:
        with torch.no_grad():
            parameter.add_(0.5)
        assert kept().item() > 1e-3
        with torch.no_grad():
            parameter.sub_(0.5)
