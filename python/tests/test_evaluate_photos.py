"""Measuring on photographs: what is asked for, and what comes of a model that knows it all, or nothing."""

import numpy as np
import pytest
import torch
from PIL import Image

from glip_torch import evaluate, evaluate_photos
from glip_torch.evaluate_photos import FOREIGN, PhotoEvaluator, askings, report
from glip_torch.postprocess import Detections
from glip_torch.words.coco_names import CLASSES, HELD_OUT

#: Category ids are in no order.
IDS = {name: 7 * index % 80 + 1 for index, name in enumerate(CLASSES)}
BOXES = {"dog": [10.0, 10.0, 50.0, 60.0], "couch": [60.0, 20.0, 30.0, 30.0]}


@pytest.fixture
def dataset(tmp_path):
    Image.fromarray(np.zeros((120, 200, 3), np.uint8)).save(tmp_path / "1.png")
    annotations = [
        {"id": number, "image_id": 1, "category_id": IDS[name], "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for number, (name, box) in enumerate(BOXES.items(), 1)
    ]
    crowd = {"id": 9, "image_id": 1, "category_id": IDS["cat"], "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 1}
    return {
        "images": [{"id": 1, "file_name": "1.png", "width": 200, "height": 120}],
        "categories": [{"id": identity, "name": name} for name, identity in IDS.items()],
        "annotations": [*annotations, crowd],
    }


class Blind:
    """A model whose answers the test gives."""

    def eval(self):
        return self

    def image_encoder(self, pixels):
        assert pixels.shape == (1, 3, 64, 128), "60 x 100, padded"
        return [pixels]


def measured(dataset, folder, monkeypatch, answer):
    """Numbers of a model that gives `answer(word)`, a list of (box x y w h, score), in the photograph."""
    asked = []

    def ground(model, tokenizer, pyramid, image_size, prompts):
        assert image_size == (60, 100)
        asked.append(prompts[0])
        found = [(box, score, label) for label, word in enumerate(prompts[0]) for box, score in answer(word)]
        # In the resized picture, half the size, last pixels included.
        boxes = [[x / 2, y / 2, (x + w) / 2 - 1, (y + h) / 2 - 1] for (x, y, w, h), _, _ in found]
        return [
            Detections(
                torch.tensor(boxes).reshape(-1, 4),
                torch.tensor([score for _, score, _ in found]),
                torch.tensor([label for *_, label in found], dtype=torch.int64),
            )
        ]

    monkeypatch.setattr(evaluate, "ground", ground)
    evaluator = PhotoEvaluator(Blind(), None, dataset, folder, (100, 100), askings())
    return report(evaluator, ["dog"]), asked


def means(word):
    """The class that a word of the evaluation means."""
    forms = {name: name for name in CLASSES} | {word: name for name, word in HELD_OUT.items()}
    forms |= {thing.plural: thing.name for thing in evaluate_photos.THINGS}
    return forms.get(word.lower().removeprefix("a photo of a "))


def test_who_knows_it_all_gets_full_marks(dataset, tmp_path, monkeypatch):
    def answer(word):
        name = means(word)
        return [(BOXES[name], 0.8)] if name in BOXES else []

    numbers, asked = measured(dataset, tmp_path, monkeypatch, answer)
    for way in askings():
        assert numbers[way] == {"AP": 1.0, "AP50": 1.0}, way
    assert numbers["apart"]["AP50"] == numbers["the others"]["AP50"] == 1.0
    at = numbers["at"][0.5]
    assert (at["precision"], at["recall"]) == (1.0, 1.0)
    assert at["false alarms, class"] == at["false alarms, foreign"] == 0.0
    assert {len(words) for words in asked} == {80, 25, 16, 4, 1}
    assert {word for words in asked if len(words) == 1 for word in words} == {*CLASSES, *FOREIGN}


def test_false_alarms_and_misses_show(dataset, tmp_path, monkeypatch):
    def answer(word):
        if word == "piano":
            return [([0.0, 0.0, 20.0, 20.0], 0.7)]
        return [(BOXES["dog"], 0.8)] if word == "cat" else []

    numbers, _ = measured(dataset, tmp_path, monkeypatch, answer)
    assert numbers["names"]["AP50"] == 0.0
    at = numbers["at"][0.5]
    assert at["recall"] == 0.0 and at["precision"] == 0.0
    assert at["false alarms, foreign"] == pytest.approx(1 / len(FOREIGN), abs=1e-4)
    assert at["false alarms, class"] == pytest.approx(1 / 78, abs=1e-4), "one of the classes that are not there"


def test_a_data_set_of_other_categories_is_named(dataset, tmp_path):
    dataset["categories"] = dataset["categories"][1:]
    with pytest.raises(SystemExit, match="no category 'person'"):
        PhotoEvaluator(Blind(), None, dataset, tmp_path, (100, 100), {})
