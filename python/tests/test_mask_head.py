"""Masks of boxes: from whole images to crops and back, and what a head makes of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from glip_torch import train_masks
from glip_torch.average_precision import coco_areas, mean_precision
from glip_torch.checkpoint import load_checkpoint
from glip_torch.data import sprites
from glip_torch.mask_head import LEVELS, SIDE, MaskHead, mask_loss, mask_targets, overlaps, paste, widen
from glip_torch.tokenizer import build_tokenizer
from glip_torch.train_masks import SeenScenes

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
        patch.setattr(train_masks, "SCENES", 2)
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
        train_masks.train(head, source, batches=2, steps=5, out=out)
        return head.state_dict()

    monkeypatch.setattr(train_masks, "SAVE_EVERY", 2)
    whole = trained(scenes, "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(Stopping(), "stopped")
    assert torch.load(tmp_path / "stopped" / "state.pt")["step"] == 2
    for name, value in trained(scenes, "stopped").items():
        torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-5, msg=name)


def test_masks_are_measured_by_their_pixels():
    from pycocotools import mask as rle

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
