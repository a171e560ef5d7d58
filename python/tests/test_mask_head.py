"""Masks of boxes: from whole images to crops and back, and what a head makes of them."""

import numpy as np
import pytest
import torch

from glip_torch.average_precision import coco_areas, mean_precision
from glip_torch.mask_head import LEVELS, SIDE, MaskHead, mask_loss, mask_targets, paste, widen

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
    overlap = (back & masks).sum((1, 2)) / (back | masks).sum((1, 2))
    assert (overlap > 0.9).all()
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
