"""The scripts of masks.md: from whole images to crops and back, what a head makes of them, and how it is measured."""

from pathlib import Path

import masks_runs
import masks_training
import numpy as np
import pytest
import torch
from masks_head import LEVELS, SIDE, MaskHead, mask_loss, mask_targets, overlaps, paste, widen
from masks_training import SeenScenes

from glip_torch.checkpoint import load_checkpoint
from glip_torch.data import sprites
from glip_torch.data.scenes import Scene, SceneObject
from glip_torch.postprocess import Detections
from glip_torch.tokenizer import build_tokenizer

DRAWN = Path(__file__).parents[1] / "checkpoints" / "glip-drawn"
missing = sprites.available()
needs_pictures = pytest.mark.skipif(missing is not None, reason=str(missing))

#: Edges of two boxes in an image 96 wide and 64 high; the second reaches over its corner.
BOXES = torch.tensor([[10.0, 8, 50, 36], [70, 40, 100, 70]])


def ellipses(boxes, height=64, width=96):
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    u, v = (x - centre[:, :1]) / half[:, :1], (y - centre[:, 1:]) / half[:, 1:]
    return u[:, None, :] ** 2 + v[:, :, None] ** 2 <= 1


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(0)
    head = MaskHead(6)
    # Means and variances that are not those of a new layer.
    head.train()
    head(*inputs(0))
    return head.eval()


def inputs(seed, images=2):
    generator = torch.Generator().manual_seed(seed)
    random = lambda *shape: torch.randn(shape, generator=generator)
    levels = [random(images, 6, 64 // stride, 96 // stride) for stride in (8, 16, 32)[:LEVELS]]
    crops = torch.cat([torch.tensor([[0.0], [images - 1.0]]), widen(BOXES)], dim=1)
    return random(images, 3, 64, 96), levels, crops


def test_a_mask_comes_back_from_its_crop():
    masks, widened = ellipses(BOXES), widen(BOXES)
    assert widened[0].tolist() == [5, 4.5, 55, 39.5]
    targets = mask_targets(masks, widened)
    assert targets.shape == (2, SIDE, SIDE) and set(targets.unique().tolist()) == {0, 1}
    back = paste(targets * 2 - 1, widened, 64, 96)
    assert (overlaps(back, masks) > 0.9).all()
    # Beside the crop there is no mask, whatever its border says.
    everywhere = paste(torch.ones(1, SIDE, SIDE), BOXES[:1], 64, 96)
    assert everywhere.sum() == 40 * 28 and everywhere[0, 8:36, 10:50].all()


def test_the_loss_is_least_for_the_truth():
    targets = mask_targets(ellipses(BOXES), widen(BOXES))
    right, wrong, unsure = (mask_loss(x, targets).item() for x in (targets * 40 - 20, 20 - targets * 40, targets * 0))
    assert right == pytest.approx(0, abs=1e-3) and right < unsure < wrong


def test_a_mask_is_of_its_own_image_and_box_alone(head):
    pixels, levels, crops = inputs(1)
    both = head(pixels, levels, crops)
    assert both.shape == (2, SIDE, SIDE)
    alone = head(pixels[1:], [level[1:] for level in levels], crops[1:] * torch.tensor([0.0, 1, 1, 1, 1]))
    torch.testing.assert_close(alone[0], both[1], rtol=1e-4, atol=1e-5)
    for changed in ("pixels", "levels"):
        other, others = pixels.clone(), [level.clone() for level in levels]
        for tensor in [other] if changed == "pixels" else others:
            tensor[0] += 1
        found = head(other, others, crops)
        assert (found[0] - both[0]).abs().max() > 1e-3
        torch.testing.assert_close(found[1], both[1], rtol=1e-4, atol=1e-5)


def test_a_head_learns_masks(head):
    torch.manual_seed(0)
    head, (pixels, levels, crops) = MaskHead(6), inputs(2)
    targets = mask_targets(ellipses(BOXES), crops[:, 1:])
    optimizer = torch.optim.Adam(head.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        losses.append(mask_loss(head(pixels, levels, crops), targets))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 3


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    model, tokenizer = load_checkpoint(DRAWN / "model.pth", text_heads=4), build_tokenizer(DRAWN / "vocab.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks_training, "SCENES", 2)
        yield SeenScenes(model, tokenizer, tmp_path_factory.mktemp("scenes"))


@needs_pictures
def test_scenes_are_the_same_when_they_are_read(scenes):
    first, again = scenes.load(0), scenes.load(0)
    assert first.pixels.shape == (2, 3, 256, 256)
    assert [level.shape for level in first.levels] == [(2, 64, side, side) for side in (32, 16, 8)]
    assert 0 < len(first.edges) == len(first.numbers) == len(first.masks)
    for name, value in vars(first).items():
        values = zip(value, getattr(again, name))
        assert all((a == b).all() for a, b in values), name
    for (x1, y1, x2, y2), mask in zip(first.edges.int().tolist(), first.masks):
        assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0


@needs_pictures
def test_a_run_that_was_stopped_goes_on(scenes, tmp_path, monkeypatch):
    class Stopping:
        left = 3

        def load(self, batch):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return scenes.load(batch)

    def trained(source, name):
        torch.manual_seed(0)
        head, out = MaskHead(64), tmp_path / name
        out.mkdir(exist_ok=True)
        masks_training.train(head, source, batches=2, steps=5, out=out)
        return head.state_dict()

    monkeypatch.setattr(masks_training, "SAVE_EVERY", 2)
    whole = trained(scenes, "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(Stopping(), "stopped")
    assert torch.load(tmp_path / "stopped" / "state.pt")["step"] == 2
    for name, value in trained(scenes, "stopped").items():
        torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-5, msg=name)


def test_masks_that_boxes_could_have():
    owner = np.zeros((32, 32), np.int16)
    owner[4:12, 4:8], owner[4:12, 8:12] = 1, 2
    boxes = ((4, 4, 9, 11), (8, 4, 11, 11))
    things = tuple(SceneObject("square", "red", "solid", "small", box) for box in boxes)
    scene, found = (
        Scene(np.zeros((32, 32, 3), np.uint8), things, owner),
        torch.tensor([[8.0, 4, 11, 11], [20, 20, 23, 27]]),
    )
    whole = masks_runs.filled(found, 32, 32)
    assert (whole[0].numpy() == (owner == 2)).all() and whole[1].sum() == 32
    best = masks_runs.perfect(scene, torch.tensor([[4.0, 4, 8, 11], [20, 20, 23, 27]]), whole)
    assert (best[0].numpy() == (owner == 1)).all() and (best[1] == whole[1]).all()

    answers = masks_runs.Answers(masks_runs.Shapes(), threshold=0.5)
    label = masks_runs.Shapes.names.index("red square")
    detections = Detections(
        torch.tensor(boxes, dtype=torch.float32), torch.tensor([0.9, 0.4]), torch.tensor([label] * 2)
    )
    answers.add(scene, detections, masks_runs.filled(detections.boxes, 32, 32))
    numbers = answers.numbers()
    assert numbers["seen"]["perfect"]["all"] == numbers["seen"]["boxes"]["all"] == {"AP": 1.0, "AP50": 1.0}
    # The first box is half again as wide as what one sees of its object; the other is under the threshold.
    assert numbers["IoU"]["all"] == [0.667, 1]
    assert numbers["seen"]["head"] == numbers["seen"]["whole box"] and numbers["seen"]["head"]["all"]["AP"] < 0.8
