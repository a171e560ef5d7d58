"""Training losses: which anchors answer for which box (ATSS), and how wrong the head is about words, boxes and centres."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .head import HeadOutput
from .postprocess import decode_boxes, inclusive_iou

#: ATSS: candidates per level and box.
CANDIDATES = 9
#: ATSS: an anchor's centre lies inside its box by more than this many pixels.
MIN_INSIDE = 0.01
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
BOX_LOSS_WEIGHT = 2.0
#: Keeps the areas that GIoU divides by above zero.
EPSILON = 1e-7


@dataclass
class Targets:
    """A batch's truth, padded to the largest number of boxes in an image.

    `boxes [batch, boxes, 4]` x1 y1 x2 y2 (inclusive) in pixels of the network input; `valid [batch, boxes]`, False for
    padding; `tokens [batch, boxes, tokens]`, True where a token belongs to a phrase that means the box.

    Where boxes are doubtful (`[batch, doubtful, 4]`), the tokens that may mean them (`[batch, doubtful, tokens]`, all False for
    padding) are neither right nor wrong at the anchors whose centre is inside.
    """

    boxes: Tensor
    valid: Tensor
    tokens: Tensor
    doubtful_boxes: Tensor | None = None
    doubtful_tokens: Tensor | None = None


@dataclass
class Losses:
    token: Tensor
    box: Tensor
    centerness: Tensor

    @property
    def total(self) -> Tensor:
        return self.token + self.box + self.centerness


@dataclass
class Positives:
    """The anchors of a batch that answer for a box: n of them, as indices of image, anchor and box, `[n]` each.

    `weights [n]` are their centerness targets.
    """

    image: Tensor
    anchor: Tensor
    box: Tensor
    weights: Tensor

    @property
    def sums(self) -> Tensor:
        """`[2]`: their number, and the sum of their weights."""
        return torch.stack([self.weights.new_tensor(len(self.weights)), self.weights.sum()])


@torch.no_grad()
def find_positives(anchors: Tensor, level_counts: list[int], targets: Targets) -> Positives:
    """The positive anchors of a batch; `anchors [anchors, 4]` and the number of anchors of each level."""
    assigned = assign_anchors(anchors, level_counts, targets.boxes, targets.valid)
    image, anchor = (assigned >= 0).nonzero(as_tuple=True)
    box = assigned[image, anchor]
    return Positives(image, anchor, box, centerness_targets(anchors[anchor], targets.boxes[image, box]))


def loss_normaliser(sums: Tensor, processes: int = 1) -> Tensor:
    """What the losses are divided by `[2]`, of the `Positives.sums` of all batches of a step, in all processes together.

    As gradients are averaged over processes, each divides by its share.
    """
    # Where the sum of weights is zero nothing is divided by it.
    return torch.stack([sums[0].clamp(min=1), sums[1]]) / processes


def grounding_losses(
    output: HeadOutput,
    attention_mask: Tensor,
    anchors: Tensor,
    level_counts: list[int],
    targets: Targets,
    shared_target: bool = True,
    positives: Positives | None = None,
    normaliser: Tensor | None = None,
    joint_score: bool = False,
) -> Losses:
    """The three losses of a batch; `anchors [anchors, 4]` and the number of anchors of each level.

    Official GLIP shares a target of 1 evenly among a box's tokens, so that the score of a phrase of n tokens is trained
    towards 1/n (`shared_target`). Without, every token is trained towards 1, and the scores of short and long phrases compare.

    Official's centerness says how central an anchor is in its box, and nothing of anchors that have none: those are for the words
    to turn down. A head that was YOLOX's has objectness in its place, which does turn them down, and words that never had to.
    With `joint_score` it stays so: what is trained is the product of the two, which is what detections are ranked by, towards
    the IoU of the predicted box.

    A batch that is one of several of a step, in this process or in others, is given the step's `normaliser`
    (`loss_normaliser`), so that the step is that of one large batch. Default: the batch's own.
    """
    positives = positives or find_positives(anchors, level_counts, targets)
    image, anchor, box, weights = positives.image, positives.anchor, positives.box, positives.weights
    count, weight_sum = loss_normaliser(positives.sums) if normaliser is None else normaliser

    box_tokens = targets.tokens.to(output.logits.dtype)
    if shared_target:
        box_tokens = box_tokens / box_tokens.sum(-1, keepdim=True).clamp(min=1)
    predicted = decode_boxes(output.deltas[image, anchor], anchors[anchor])
    token_targets = torch.zeros_like(output.logits)
    token_targets[image, anchor] = box_tokens[image, box]
    counted = (attention_mask[:, None, :] > 0) & ~doubted(anchors, targets, token_targets)
    if joint_score:
        token_targets[image, anchor] *= inclusive_iou(predicted.detach(), targets.boxes[image, box])[:, None]
        token_loss = joint_focal_loss(output.logits, output.centerness, token_targets, counted) / count
    else:
        token_loss = token_focal_loss(output.logits, token_targets, counted) / count
    if len(weights) == 0:
        # Zero, but still a function of the outputs, so that every parameter has a gradient.
        return Losses(token_loss, output.deltas.sum() * 0, output.centerness.sum() * 0)

    box_loss = (generalized_iou_loss(predicted, targets.boxes[image, box]) * weights).sum() / weight_sum
    centerness = output.centerness[image, anchor]
    if joint_score:
        return Losses(token_loss, BOX_LOSS_WEIGHT * box_loss, centerness.sum() * 0)
    centerness_loss = F.binary_cross_entropy_with_logits(centerness, weights, reduction="sum") / count
    return Losses(token_loss, BOX_LOSS_WEIGHT * box_loss, centerness_loss)


@torch.no_grad()
def assign_anchors(anchors: Tensor, level_counts: list[int], boxes: Tensor, valid: Tensor) -> Tensor:
    """Adaptive training sample selection (ATSS, CVPR 2020): each anchor's box, -1 for none; int64 [batch, anchors].

    A box's candidates are the anchors nearest to its centre on every level. Those whose IoU reaches the candidates' mean
    plus standard deviation, and whose centre is inside the box, are its positives; an anchor goes to the box with the
    higher IoU. `boxes [batch, boxes, 4]`; those that are not `valid [batch, boxes]` are padding.
    """
    if boxes.shape[1] == 0:
        return torch.full((len(boxes), len(anchors)), -1, device=boxes.device)
    overlap = pairwise_iou(boxes, anchors)
    anchor_centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    box_centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    distance = (box_centres[:, :, None] - anchor_centres).square().sum(-1).sqrt()

    candidates, first = [], 0
    for level in distance.split(level_counts, dim=2):
        candidates.append(level.topk(min(CANDIDATES, level.shape[2]), dim=2, largest=False).indices + first)
        first += level.shape[2]
    candidates = torch.cat(candidates, dim=2)

    candidate_overlap = overlap.gather(2, candidates)
    threshold = candidate_overlap.mean(2, keepdim=True) + candidate_overlap.std(2, keepdim=True)
    centres = anchor_centres[candidates]
    inside = torch.cat((centres - boxes[:, :, None, :2], boxes[:, :, None, 2:] - centres), dim=-1).amin(-1) > MIN_INSIDE
    chosen = (candidate_overlap >= threshold) & inside & valid[:, :, None]

    claim = torch.full_like(overlap, -1.0).scatter_(2, candidates, torch.where(chosen, candidate_overlap, -1.0))
    best, box = claim.max(dim=1)
    return torch.where(best >= 0, box, -1)


def pairwise_iou(boxes: Tensor, anchors: Tensor) -> Tensor:
    """IoU of `boxes [batch, boxes, 4]` with `anchors [anchors, 4]`, "+1" widths; [batch, boxes, anchors]."""
    boxes = boxes[:, :, None]
    size = (torch.minimum(boxes[..., 2:], anchors[:, 2:]) - torch.maximum(boxes[..., :2], anchors[:, :2]) + 1).clamp(
        min=0
    )
    shared = size.prod(-1)
    return shared / (
        (boxes[..., 2:] - boxes[..., :2] + 1).prod(-1) + (anchors[:, 2:] - anchors[:, :2] + 1).prod(-1) - shared
    )


def joint_focal_loss(logits: Tensor, centerness: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    """As `token_focal_loss`, of the product of both probabilities; least where that is the target, whatever the target is."""
    product = (logits.sigmoid() * centerness.sigmoid()[..., None]).clamp(EPSILON, 1 - EPSILON)
    # Nearly all pairs are negative, for which the loss is short.
    negative = (targets == 0) & counted
    loss = ((1 - FOCAL_ALPHA) * product**FOCAL_GAMMA * -torch.log1p(-product) * negative).sum()
    place = (targets > 0).nonzero(as_tuple=True)
    target, product = targets[place], product[place]
    cross_entropy = -target * product.log() - (1 - target) * torch.log1p(-product)
    alpha = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    return loss + (alpha * (target - product).abs() ** FOCAL_GAMMA * cross_entropy).sum()


@torch.no_grad()
def doubted(anchors: Tensor, targets: Targets, token_targets: Tensor) -> Tensor:
    """Where nothing is known: `[batch, anchors, tokens]`, or what is broadcast to that. What is a positive is known."""
    if targets.doubtful_boxes is None or not targets.doubtful_tokens.any():
        return torch.zeros(1, 1, 1, dtype=torch.bool, device=anchors.device)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    boxes = targets.doubtful_boxes[:, None]  # [batch, 1, doubtful, 4]
    inside = ((centres[:, None] >= boxes[..., :2]) & (centres[:, None] <= boxes[..., 2:])).all(-1)
    tokens = inside.to(token_targets.dtype) @ targets.doubtful_tokens.to(token_targets.dtype)
    return (tokens > 0) & (token_targets == 0)


def token_focal_loss(logits: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    """Focal loss summed over all pairs of anchor and token that are `counted`; targets lie in 0..1."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    wrong = probability * (1 - targets) + (1 - probability) * targets
    alpha = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    loss = alpha * wrong**FOCAL_GAMMA * cross_entropy
    return (loss * counted).sum()


def centerness_targets(anchors: Tensor, boxes: Tensor) -> Tensor:
    """How central each anchor's centre is in its box: 1 in the middle, 0 at an edge."""
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    before, after = centres - boxes[:, :2], boxes[:, 2:] - centres
    return (torch.minimum(before, after) / torch.maximum(before, after)).prod(-1).sqrt()


def generalized_iou_loss(predicted: Tensor, boxes: Tensor) -> Tensor:
    """1 - GIoU of each pair; corners are points here, so there is no "+1"."""
    low, high = predicted[:, :2], torch.maximum(predicted[:, :2], predicted[:, 2:])
    shared = (torch.minimum(high, boxes[:, 2:]) - torch.maximum(low, boxes[:, :2])).clamp(min=0).prod(-1)
    union = (high - low).prod(-1) + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - shared + EPSILON
    enclosing = (torch.maximum(high, boxes[:, 2:]) - torch.minimum(low, boxes[:, :2])).prod(-1) + EPSILON
    return 1 - shared / union + (enclosing - union) / enclosing
