import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glip_torch.checkpoint import load_checkpoint
from glip_torch.config import STRIDES, level_sizes
from glip_torch.head import HeadOutput
from glip_torch.losses import (
    Positives,
    Targets,
    assign_anchors,
    centerness_targets,
    generalized_iou_loss,
    grounding_losses,
    joint_focal_loss,
    token_focal_loss,
)
from glip_torch.postprocess import anchors_for, inclusive_iou
from glip_torch.tokenizer import build_tokenizer, phrase_tokens

GOLDEN = Path(__file__).parent / "golden" / "glip_t_small"


def truth(boxes):
    boxes = torch.tensor([boxes], dtype=torch.float32)
    return boxes, torch.ones(boxes.shape[:2], dtype=torch.bool)


def assign(boxes, height=64, width=64):
    sizes = level_sizes(height, width, STRIDES)
    anchors = anchors_for(sizes, STRIDES, [8 * stride for stride in STRIDES])
    return assign_anchors(anchors, [h * w for h, w in sizes], *truth(boxes))[0]


def test_losses_are_the_official_ones():
    golden = json.loads((GOLDEN / "losses.json").read_text())
    arrays = np.load(GOLDEN / f"{golden['case']}.npz")
    model = load_checkpoint(GOLDEN / "model.pth", text_heads=4)
    encoding = build_tokenizer(GOLDEN.parent / "vocab.txt").encode(golden["caption"])
    assert encoding.ids == arrays["input_ids"].tolist()

    original = np.array(Image.open(GOLDEN / f"{golden['case']}.png")).shape
    resized = arrays["image_size"]
    ratios = torch.tensor([resized[1] / original[1], resized[0] / original[0]] * 2, dtype=torch.float32)
    boxes = torch.tensor(golden["boxes_xyxy_original_pixels"], dtype=torch.float32) * ratios
    tokens = torch.zeros(len(boxes), len(encoding.ids), dtype=torch.bool)
    for box, phrase in enumerate(golden["box_phrase"]):
        span = phrase_tokens(encoding, *golden["phrase_spans"][phrase])
        tokens[box, span.start : span.stop] = True

    pixels = torch.from_numpy(arrays["pixels"])[None]
    mask = torch.ones(1, len(encoding.ids), dtype=torch.int64)
    with torch.no_grad():
        output = model(pixels, torch.tensor([encoding.ids]), mask)
    sizes = level_sizes(*pixels.shape[2:], STRIDES)
    anchors = anchors_for(sizes, STRIDES, model.config.anchor_sizes)
    targets = Targets(boxes[None], torch.ones(1, len(boxes), dtype=torch.bool), tokens[None])
    losses = grounding_losses(output, mask, anchors, [h * w for h, w in sizes], targets)

    assert float(losses.token) == pytest.approx(golden["losses"]["loss_dot_product_token"], rel=1e-4)
    assert float(losses.box) == pytest.approx(golden["losses"]["loss_reg"], rel=1e-4)
    assert float(losses.centerness) == pytest.approx(golden["losses"]["loss_centerness"], rel=1e-4)


def test_an_anchor_sized_box_gets_the_anchors_around_its_centre():
    # A 64-pixel box centred on the P3 cell (row 4, column 4), whose anchors are 64 pixels large. Its candidates' IoUs are
    # 1 in the middle and less by a sixteenth to an eighth of its side beside it; P4's, four times as large, fall below.
    assigned = assign([[4.0, 4.0, 67.0, 67.0]], 128, 128)
    cells = [divmod(int(index), 16) for index in (assigned == 0).nonzero()]
    assert (4, 4) in cells
    assert set(cells) <= {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}


def test_positive_anchors_have_their_centres_inside_the_box():
    # 10 x 10 pixels: only the P3 centres 3.5 + 8 k at 19.5 lie inside, though nine candidates reach the threshold.
    assigned = assign([[15.0, 15.0, 24.0, 24.0]])
    assert (assigned == 0).nonzero().flatten().tolist() == [2 * 8 + 2]


def test_a_contested_anchor_goes_to_the_box_it_overlaps_more():
    small, large = [11.0, 11.0, 36.0, 36.0], [3.0, 3.0, 60.0, 60.0]
    assigned = assign([small, large])
    alone = assign([small])
    # The small box alone takes anchors that the large one, whose IoU with them is higher, wins in company.
    contested = (alone == 0) & (assign([large]) == 0)
    assert contested.any()
    assert (assigned[contested] == 1).all()


def test_padding_and_empty_images_get_no_anchors():
    sizes = level_sizes(64, 64, STRIDES)
    anchors = anchors_for(sizes, STRIDES, [8 * stride for stride in STRIDES])
    boxes, valid = truth([[10.0, 10.0, 40.0, 40.0], [20.0, 20.0, 50.0, 50.0]])
    valid[0, 1] = False
    assigned = assign_anchors(anchors, [h * w for h, w in sizes], boxes, valid)
    assert 0 in assigned and 1 not in assigned
    valid[:] = False
    assert (assign_anchors(anchors, [h * w for h, w in sizes], boxes, valid) == -1).all()


def test_centerness_is_one_in_the_middle_and_falls_to_the_edges():
    anchors = torch.tensor([[20.0, 20.0, 20.0, 20.0], [12.0, 20.0, 12.0, 20.0]])
    box = torch.tensor([[10.0, 10.0, 30.0, 30.0]]).expand(2, 4)
    # Left and right distances 2 and 18: the square root of 2/18 times 10/10.
    assert centerness_targets(anchors, box).tolist() == pytest.approx([1.0, (2 / 18) ** 0.5])


def test_generalized_iou_penalises_the_gap_between_disjoint_boxes():
    predicted = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.0]])
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [30.0, 0.0, 40.0, 10.0]])
    # Disjoint: IoU 0, enclosing 400, union 200, so 1 - (0 - 200/400).
    assert generalized_iou_loss(predicted, boxes).tolist() == pytest.approx([0.0, 1.5], abs=1e-6)


def test_the_joint_loss_is_the_focal_loss_of_the_product():
    # Where targets are 0 or 1; in between, it weighs by the distance from the target, of which official has no need.
    torch.manual_seed(0)
    logits, centerness = 3 * torch.randn(2, 50, 4), 3 * torch.randn(2, 50)
    targets = (torch.rand(2, 50, 4) < 0.1).float()
    counted = torch.rand(2, 50, 4) < 0.8
    counted |= targets > 0  # positives always count
    product = (logits.sigmoid() * centerness.sigmoid()[..., None]).double()
    expected = token_focal_loss(torch.logit(product), targets.double(), counted)
    assert float(joint_focal_loss(logits, centerness, targets, counted)) == pytest.approx(float(expected), rel=1e-5)


def test_joint_scores_are_trained_towards_the_overlap():
    # One location whose box covers half of what it answers for: the loss is least where the product is that half.
    anchors = anchors_for([(1, 1)], [8], [64])
    boxes = anchors + torch.tensor([0.0, 0.0, 64.0, 0.0])
    targets = Targets(boxes[None], torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 1, 1, dtype=torch.bool))

    def loss(score):
        logits = torch.logit(torch.tensor(score**0.5))
        output = HeadOutput(logits.view(1, 1, 1), torch.zeros(1, 1, 4), logits.view(1, 1))
        mask = torch.ones(1, 1, dtype=torch.int64)
        positives = Positives(*(torch.zeros(1, dtype=torch.int64) for _ in range(3)), torch.ones(1))
        return float(grounding_losses(output, mask, anchors, [1], targets, False, positives, None, True).token)

    scores = [n / 20 for n in range(1, 20)]
    assert min(scores, key=loss) == 0.5


def test_overlap_of_pairs():
    a = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 9.0]])
    b = torch.tensor([[0.0, 0.0, 9.0, 9.0], [5.0, 0.0, 14.0, 9.0], [20.0, 20.0, 29.0, 29.0]])
    torch.testing.assert_close(inclusive_iou(a, b), torch.tensor([1.0, 1 / 3, 0.0]))
