"""Labels that a model made, to training data: what it was sure of is kept.

The teacher's output is in the grounding format already, with scores. As official trains GLIP-L on captions: boxes with a
score over 0.5 are kept as truth, overlapping ones are thinned out only if asked for, and a record needs a box.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torchvision.ops import nms

from ..files import open_files
from ..grounding import Category, DataError, Header, Phrase, Record
from .report import Report


@dataclass(frozen=True)
class Screening:
    """Official's CAPTION_CONF, CAPTION_NMS and CAPTION_MIN_BOX, with the values of its GLIP-L."""

    min_score: float = 0.5
    #: IoU over which the lower of two boxes goes, whatever phrases they belong to; None keeps both.
    nms_iou: float | None = None
    min_boxes: int = 1


class LabelledSource:
    """Records of grounding files, screened; those that cannot be read are left out."""

    def __init__(self, paths: list[Path], relative_to: Path, screening: Screening):
        self.files, self.relative_to, self.screening = open_files(paths), relative_to, screening
        self.header = Header(tuple(dict.fromkeys(name for file in self.files for name in file.header.categories)))
        tar = next((file.path for file in self.files if file.path.suffix == ".tar"), None)
        if tar is not None:
            raise DataError(
                f"{tar} is a shard, whose images cannot be referred to: screen the .jsonl file it was made of"
            )

    def records(self, report: Report) -> Iterator[Record]:
        for file in self.files:
            for row in (row for block in file.blocks for row in file.rows(block)):
                try:
                    record = screen(row.record(), self.screening)
                except DataError as error:
                    report.skip(str(row.place), "unusable record", str(error).removeprefix(f"{row.place}: "))
                    continue
                if record.box_count < self.screening.min_boxes:
                    report.skip(str(row.place), "too few boxes over the score")
                    continue
                image = os.path.relpath(file.path.parent / record.image, self.relative_to)
                yield replace(record, image=image)


def screen(record: Record, screening: Screening) -> Record:
    """The record with the boxes that pass. Boxes without scores are a person's and stay."""
    named = (*record.categories, *record.phrases)
    boxes = torch.tensor([box for entry in named for box in entry.boxes]).reshape(-1, 4)
    scores = torch.tensor([score for entry in named for score in (entry.scores or [1.0] * len(entry.boxes))])
    kept = scores > screening.min_score
    if screening.nms_iou is not None:
        survivors = nms(boxes, torch.where(kept, scores, -1.0), screening.nms_iou)
        kept &= torch.zeros_like(kept).scatter(0, survivors, True)
    keep = iter(kept.tolist())
    named = [_keeping(entry, [next(keep) for _ in entry.boxes]) for entry in named]
    if record.text is None:
        return replace(record, categories=tuple(named))
    return replace(record, phrases=tuple(named))


def _keeping(entry: Category | Phrase, keep: list[bool]) -> Category | Phrase:
    boxes = tuple(box for box, kept in zip(entry.boxes, keep) if kept)
    scores = None if entry.scores is None else tuple(score for score, kept in zip(entry.scores, keep) if kept)
    return replace(entry, boxes=boxes, scores=scores)
