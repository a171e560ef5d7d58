"""From raw outputs to boxes, as the official evaluation does it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from .head import HeadOutput

#: Of the offsets dx, dy and the log scales dw, dh.
CENTRE_WEIGHT, SCALE_WEIGHT = 10.0, 5.0
MAX_LOG_SCALE = math.log(1000 / 16)


@dataclass(frozen=True)
class PostprocessOptions:
    #: Least phrase score of a candidate, before centerness.
    candidate_threshold: float = 0.05
    candidates_per_level: int = 1000
    nms_iou_threshold: float = 0.6
    max_detections: int = 100


@dataclass
class Detections:
    """Detections of one image by descending score."""

    boxes: Tensor  #: `[n, 4]`, x1 y1 x2 y2
    scores: Tensor  #: `[n]`
    labels: Tensor  #: `[n]`, index of the phrase

    def scaled(self, x: float, y: float) -> Detections:
        return Detections(self.boxes * torch.tensor([x, y, x, y]), self.scores, self.labels)


def detect(
    output: HeadOutput,
    index: int,
    phrases: Sequence[Sequence[int]],
    level_sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    anchor_sizes: Sequence[int],
    image_size: tuple[int, int],
    options: PostprocessOptions = PostprocessOptions(),
) -> Detections:
    """Detections of image `index`, in pixels of the network's input.

    `phrases` are each phrase's tokens, `image_size` (height, width) is the image's before padding.
    """
    probabilities = output.logits[index].sigmoid()
    scores = torch.stack([probabilities[:, list(tokens)].mean(1) for tokens in phrases], dim=1)
    centerness = output.centerness[index].sigmoid()
    boxes = decode_boxes(output.deltas[index], anchors_for(level_sizes, strides, anchor_sizes))

    candidates, first = [], 0
    for height, width in level_sizes:
        level = slice(first, first + height * width)
        candidates.append(_candidates(scores[level], centerness[level], options) + torch.tensor([first, 0]))
        first += height * width
    anchor, label = torch.cat(candidates).unbind(1)
    score = (scores[anchor, label] * centerness[anchor]).sqrt()
    height, width = image_size
    box = boxes[anchor].clamp(min=torch.zeros(4), max=torch.tensor([width - 1.0, height - 1.0] * 2))

    kept = nms_per_class(box, score, label, options.nms_iou_threshold)
    if len(kept) > options.max_detections:
        # Detections as good as the last one that fits stay too.
        kept = kept[score[kept] >= score[kept[options.max_detections - 1]]]
    return Detections(box[kept], score[kept], label[kept])


def _candidates(scores: Tensor, centerness: Tensor, options: PostprocessOptions) -> Tensor:
    """The best (anchor, phrase) pairs of one level, `[n, 2]`."""
    pairs = (scores > options.candidate_threshold).nonzero()
    ranking = scores[pairs[:, 0], pairs[:, 1]] * centerness[pairs[:, 0]]
    return pairs[ranking.topk(min(options.candidates_per_level, len(pairs))).indices]


def anchors_for(level_sizes: Sequence[tuple[int, int]], strides: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """One square anchor per location, all levels in order, row by row: `[anchors, 4]`."""
    levels = []
    for (height, width), stride, size in zip(level_sizes, strides, sizes, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centre = (stride - 1) / 2 + stride * torch.stack([x, y], dim=-1).flatten(0, 1)
        half = (size - 1) / 2
        levels.append(torch.cat([centre - half, centre + half], dim=1))
    return torch.cat(levels)


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Boxes `[..., 4]` from the box coder's `[..., 4]`, with GLIP's pixel-inclusive widths."""
    size = anchors[..., 2:] - anchors[..., :2] + 1
    centre = (anchors[..., 2:] + anchors[..., :2]) / 2
    centre = centre + deltas[..., :2] / CENTRE_WEIGHT * size
    half = (size * (deltas[..., 2:] / SCALE_WEIGHT).clamp(max=MAX_LOG_SCALE).exp() - 1) / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def to_edges(boxes: Tensor) -> Tensor:
    """The edges of boxes `[..., 4]`, in pixels of the original image, that are given by their first and last pixels.

    GLIP's are: it was trained on boxes that were inclusive in the original images, before these were resized.
    """
    return boxes + boxes.new_tensor([0, 0, 1, 1])


def to_inclusive(boxes: Tensor) -> Tensor:
    """The first and last pixels of boxes `[..., 4]`, in pixels of the original image, that are given by their edges.

    A box is a pixel wide and high at least: less has no logarithm.
    """
    first, last = boxes[..., :2], boxes[..., 2:] - 1
    return torch.cat([first, torch.maximum(first, last)], dim=-1)


def nms_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Indices that survive, by descending score. Areas are pixel-inclusive, unlike torchvision's."""
    # Moving the last row and column out by one makes torchvision's areas inclusive ones.
    boxes = boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
    kept = [torch.zeros(0, dtype=torch.int64)]
    for label in labels.unique():
        index = (labels == label).nonzero()[:, 0]
        kept.append(index[nms(boxes[index].double(), scores[index].double(), iou_threshold)])
    kept = torch.cat(kept)
    return kept[scores[kept].argsort(descending=True, stable=True)]


def inclusive_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes `[..., 4]` and `[..., 4]`, one with many or pair by pair; a box includes its last row and column."""
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2]) + 1).clamp(min=0)
    intersection = sides.prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2] + 1).prod(-1) for boxes in (a, b)]
    return intersection / (areas[0] + areas[1] - intersection)
