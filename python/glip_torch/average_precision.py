"""COCO's average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .postprocess import Detections


def coco_precision(truth: dict, detections: list[dict]) -> np.ndarray:
    """Precision `[IoU threshold, recall, category]` of boxes of all areas, 100 detections; -1 where a category never occurs.

    `truth` is a COCO data set; a detection has `image_id`, `category_id`, `bbox` (x, y, width, height) and `score`.
    """
    return coco_areas(truth, detections)[..., 0]


def coco_areas(truth: dict, detections: list[dict], kind: str = "bbox") -> np.ndarray:
    """Precision `[IoU threshold, recall, category, area]`, where the areas are all, and COCO's small, medium and large ones.

    As `coco_precision`; or of masks, if the `kind` is "segm": then annotations and detections have a `segmentation` and an `area`.
    """
    found = [
        {"area": detection["bbox"][2] * detection["bbox"][3], **detection, "id": number, "iscrowd": 0}
        for number, detection in enumerate(detections, 1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(truth), _coco({**truth, "annotations": found}), kind)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., 2]


def _coco(dataset: dict) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def coco_truth(images: Sequence[Iterable[tuple[int, Sequence[float]]]], categories: Sequence[str]) -> dict:
    """A COCO data set of each image's objects, as their category and their box x1 y1 x2 y2; image ids count from 1."""
    annotations = [
        {"image_id": number, "category_id": category, "bbox": xywh(box), "iscrowd": 0}
        for number, objects in enumerate(images, 1)
        for category, box in objects
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation |= {"id": number, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    return {
        "images": [{"id": number} for number in range(1, len(images) + 1)],
        "categories": [{"id": index, "name": name} for index, name in enumerate(categories)],
        "annotations": annotations,
    }


def coco_detections(found: Sequence[Detections]) -> list[dict]:
    """Detections of those images, whose labels are the categories."""
    return [
        {"image_id": number, "category_id": label, "bbox": xywh(box), "score": score}
        for number, detections in enumerate(found, 1)
        for box, score, label in zip(detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist())
    ]


def mean_precision(precision: np.ndarray) -> dict[str, float]:
    """AP (mean over IoU 0.50 to 0.95) and AP50, over the categories that occur."""
    occurs = precision > -1
    return {"AP": float(precision[occurs].mean()), "AP50": float(precision[0][occurs[0]].mean())}


def xywh(box) -> list[float]:
    """COCO's box of a box x1 y1 x2 y2 that includes its last row and column."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
