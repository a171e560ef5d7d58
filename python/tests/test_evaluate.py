import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle

from glip_torch import evaluate
from glip_torch.average_precision import coco_areas, coco_precision, mean_precision
from glip_torch.config import UNKNOWN, Recommended
from glip_torch.data.scenes import Scene, SceneObject
from glip_torch.evaluate import CATEGORIES, Evaluator, absent_combinations
from glip_torch.postprocess import Detections

SEEN = SceneObject("circle", "red", "solid", "small", (10, 10, 39, 39))
UNSEEN = SceneObject("cross", "red", "solid", "small", (60, 60, 99, 99))


def evaluator(*found):
    """An evaluator that has seen one scene with a seen and a held-out object, and these (object, box, score)."""
    self = Evaluator.__new__(Evaluator)
    self.truth = [Scene(np.zeros((128, 128, 3), np.uint8), (SEEN, UNSEEN))]
    boxes, scores, labels = zip(*((box, score, CATEGORIES.index((t.colour, t.shape))) for t, box, score in found))
    self.found = [Detections(torch.tensor(boxes, dtype=torch.float32), torch.tensor(scores), torch.tensor(labels))]
    self.absent = {"random": [0.1, 0.2, 0.3, 0.9], "near": [0.1, 0.8, 0.8, 0.9]}
    return self


def test_perfect_detections_have_an_average_precision_of_one():
    numbers = evaluator((SEEN, SEEN.box, 0.9), (UNSEEN, UNSEEN.box, 0.8)).average_precision()
    assert numbers == pytest.approx({"seen_AP": 1, "seen_AP50": 1, "unseen_AP": 1, "unseen_AP50": 1})


def test_no_detections_have_an_average_precision_of_zero():
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 5, "name": "cell"}, {"id": 6, "name": "absent"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}],
    }
    assert mean_precision(coco_precision(truth, [])) == {"AP": 0, "AP50": 0}
    exact = {"image_id": 1, "category_id": 5, "bbox": [0, 0, 9, 9], "score": 0.5}
    assert mean_precision(coco_precision(truth, [exact])) == pytest.approx({"AP": 1, "AP50": 1})


def test_masks_are_measured_by_their_pixels():
    def segment(columns, rows=40):
        mask = np.zeros((64, 64), np.uint8, order="F")
        mask[:rows, :columns] = 1
        return {"segmentation": rle.encode(mask), "area": float(mask.sum())}

    box = {"image_id": 1, "category_id": 0, "bbox": [0, 0, 40, 40]}
    truth = {
        "images": [{"id": 1, "width": 64, "height": 64}],
        "categories": [{"id": 0, "name": "cell"}],
        "annotations": [box | segment(40) | {"id": 1, "iscrowd": 0}],
    }
    # IoU 0.6, 0.4 and 1 of masks, where the boxes are the same.
    for columns, expected in ((24, 1), (16, 0), (40, 1)):
        precision = coco_areas(truth, [box | segment(columns) | {"score": 0.5}], "segm")
        assert mean_precision(precision[..., 0])["AP50"] == pytest.approx(expected)
    # 1600 pixels are of medium size.
    assert (precision[..., 1] == -1).all() and (precision[..., 3] == -1).all() and (precision[..., 2] > -1).all()


def test_seen_and_held_out_combinations_are_apart():
    elsewhere = (0, 100, 20, 120)
    numbers = evaluator((SEEN, SEEN.box, 0.9), (UNSEEN, elsewhere, 0.8)).average_precision()
    assert numbers == pytest.approx({"seen_AP": 1, "seen_AP50": 1, "unseen_AP": 0, "unseen_AP50": 0})


def test_a_false_detection_with_a_higher_score_halves_the_precision():
    numbers = evaluator((SEEN, SEEN.box, 0.5), (SEEN, (0, 100, 20, 120), 0.9)).average_precision()
    assert numbers["seen_AP50"] == pytest.approx(0.5)


def test_precision_and_recall_count_detections_over_the_threshold():
    self = evaluator((SEEN, SEEN.box, 0.9), (SEEN, (0, 100, 20, 120), 0.6), (UNSEEN, UNSEEN.box, 0.4))
    assert self.precision_recall(0.5) == (0.5, 0.5)
    assert self.precision_recall(0.3) == pytest.approx((2 / 3, 1))


def test_false_alarms_are_the_share_of_absent_prompts_over_the_threshold():
    assert evaluator((SEEN, SEEN.box, 0.9)).false_alarms(0.5) == {"random": 0.25, "near": 0.75}


class Gazer:
    """Notes the sizes of what it is shown."""

    def __init__(self, recommended=UNKNOWN):
        self.recommended, self.seen = recommended, []

    def eval(self):
        return self

    def image_encoder(self, pixels):
        self.seen.append(tuple(pixels.shape[2:]))
        return [pixels]


@pytest.mark.parametrize("sides, seen", [(None, (128, 192)), ((128, 192), (128, 192)), ((64, 64), (64, 64))])
def test_pictures_are_resized_and_boxes_brought_back(monkeypatch, sides, seen):
    def ground(model, tokenizer, pyramid, image_size, prompts):
        height, width = image_size
        # The right lower quarter, last pixels included.
        box = torch.tensor([[width / 2, height / 2, width - 1.0, height - 1.0]])
        return [Detections(box, torch.ones(1), torch.zeros(1))]

    monkeypatch.setattr(evaluate, "ground", ground)
    model = Gazer()
    picture = evaluate.EncodedPicture(model, None, Image.new("RGB", (192, 128)), sides)
    (found,) = picture.ground([["thing"]])
    assert model.seen == [seen]
    assert found.boxes[0].tolist() == pytest.approx([96, 64, 191, 127], abs=1e-4)


@pytest.mark.parametrize(
    "options, sides, seen",
    [
        ([], [128, 160], {(128, 128), (128, 160), (160, 128)}),
        (["--sides", "64", "64"], [64, 64], {(64, 64)}),
    ],
)
def test_a_model_is_measured_at_the_sizes_it_is_recommended_for(monkeypatch, capsys, options, sides, seen):
    model = Gazer(Recommended(128, 160))
    monkeypatch.setattr(evaluate, "load_detector", lambda path, heads: model)
    monkeypatch.setattr(evaluate, "model_tokenizer", lambda model, vocab: None)
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    monkeypatch.setattr(evaluate, "ground", lambda model, tokenizer, pyramid, size, prompts: [nothing] * len(prompts))
    monkeypatch.setattr(sys, "argv", ["evaluate", "model.pth", "--scenes", "4", *options])
    evaluate.main()
    assert json.loads(capsys.readouterr().out)["sides"] == sides
    assert set(model.seen) == seen


def test_absent_combinations_are_absent_and_near_ones_share_an_attribute():
    scene = Scene(np.zeros((128, 128, 3), np.uint8), (SEEN, UNSEEN))
    drawn = absent_combinations(np.random.default_rng(0), scene)
    assert [kind for kind, _ in drawn] == ["random", "random", "near", "near"]
    for kind, (colour, shape) in drawn:
        assert (colour, shape) not in {("red", "circle"), ("red", "cross")}
        assert kind == "random" or colour == "red" or shape in ("circle", "cross")
