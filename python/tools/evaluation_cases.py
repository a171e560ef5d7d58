"""Writes the cases that glip_tools' evaluation is tested with: `python tools/evaluation_cases.py OUT_FOLDER`.

    pip install pycocotools==2.0.11 && pip install --no-deps lvis==0.5.3

Every case is a small data set, detections in it, and what the reference makes of them: pycocotools for COCO, the package lvis for
LVIS and for fixed AP (after the cut that official GLIP's `lvis_eval.py` makes), and for Flickr30K's recall the rules of official's
`flickr_eval.py`, written anew below. Cases are drawn to be awkward: crowds, areas on the limits of small and medium, equal scores,
boxes of equal overlap, images with nothing in them, categories without objects or without detections, more detections than count,
LVIS' absent and not exhaustively annotated categories. Masks are polygons of one and of several parts, some beyond their images or
across themselves, and run lengths of both forms.

Three files of one JSON document a line, compressed: `detection.jsonl.gz`, `recall.jsonl.gz` and `masks.jsonl.gz`.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import logging
import sys
import types
from collections import defaultdict
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# What lvis needs for drawing alone, and a name that NumPy no longer has.
for module in ("cv2", "matplotlib", "matplotlib.pyplot", "matplotlib.patches"):
    sys.modules.setdefault(module, types.ModuleType(module))
sys.modules["matplotlib.patches"].Polygon = None
np.float = float

from lvis import LVIS, LVISEval, LVISResults

#: Sides whose products lie on, just below and just above the limits 32 x 32 and 96 x 96.
SIDES = (4, 8, 16, 31, 32, 33, 48, 64, 95, 96, 97, 144)
CANVAS = 400
RECALL_AT = (1, 5, 10, -1)
PHRASE_TYPES = ("people", "clothing", "bodyparts", "animals", "vehicles", "instruments", "scene", "other")


# --- detection --------------------------------------------------------------------------------------------------------


def draw_case(rng: np.random.Generator, crowded: bool) -> dict:
    """A data set and detections. A crowded one has more detections than COCO or LVIS count."""
    images = [int(i) for i in rng.choice(50, int(rng.integers(1, 4)), replace=False)]
    categories = sorted(int(c) for c in rng.choice(30, int(rng.integers(1, 4)), replace=False))
    truth = [
        draw_object(rng, image, int(rng.choice(categories))) for image in images for _ in range(int(rng.integers(0, 7)))
    ]
    found = []
    for image in images:
        count = int(rng.integers(280, 340)) if crowded else int(rng.integers(0, 12))
        mine = [thing for thing in truth if thing["image_id"] == image]
        found += [draw_detection(rng, image, categories, mine) for _ in range(count)]
    return {"images": draw_images(rng, images, categories), "categories": categories, "truth": truth, "found": found}


def draw_images(rng: np.random.Generator, images: list[int], categories: list[int]) -> list[dict]:
    """LVIS' lists; a category of neither list that is not in the image is not counted there."""
    drawn = []
    for image in images:
        absent = [category for category in categories if rng.random() < 0.5]
        partial = [category for category in categories if rng.random() < 0.2]
        drawn.append({"id": image, "neg_category_ids": absent, "not_exhaustive_category_ids": partial})
    return drawn


def draw_object(rng: np.random.Generator, image: int, category: int) -> dict:
    width, height = (int(side) for side in rng.choice(SIDES, 2))
    x, y = (int(place) for place in rng.integers(0, CANVAS - 150, 2) // 4 * 4)
    # Masks are smaller than their boxes; half of the objects have none.
    area = width * height if rng.random() < 0.5 else int(rng.choice([1023, 1024, 1025, 9215, 9216, 9217]))
    crowd = int(rng.random() < 0.12)
    return {"image_id": image, "category_id": category, "bbox": [x, y, width, height], "area": area, "iscrowd": crowd}


def draw_detection(rng: np.random.Generator, image: int, categories: list[int], truth: list[dict]) -> dict:
    """Near an object of the image as a rule, mostly of its category, with one of few scores."""
    category = int(rng.choice(categories))
    if truth and rng.random() < 0.75:
        near = truth[int(rng.integers(len(truth)))]
        x, y, width, height = near["bbox"]
        if rng.random() < 0.8:
            category = near["category_id"]
        if rng.random() < 0.7:
            # Shifts of quarters of the box make overlaps that are equal, and equal to thresholds.
            x, y = x + width * float(rng.choice([0, 0.25, -0.25, 0.5])), y + height * float(rng.choice([0, 0, 0.25]))
            width, height = width * float(rng.choice([1, 1, 0.75, 1.25])), height * float(rng.choice([1, 1, 0.75]))
    else:
        width, height = (float(side) for side in rng.choice(SIDES, 2))
        x, y = (float(place) for place in rng.integers(0, CANVAS - 150, 2))
    score = float(rng.integers(1, 20)) / 20 if rng.random() < 0.7 else round(float(rng.random()), 3)
    return {"image_id": image, "category_id": category, "bbox": [x, y, width, height], "score": score}


def coco_numbers(case: dict, kind: str = "bbox") -> tuple[list[float], list[list[float]]]:
    """The twelve numbers, and AP, AP50 and AR@100 of every category; `kind` is pycocotools' `iouType`."""
    truth = COCO()
    truth.dataset = dataset(case)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        # loadRes takes no empty list.
        if case["found"]:
            found = truth.loadRes([dict(detection) for detection in case["found"]])
        else:
            found = COCO()
            found.dataset = {**dataset(case), "annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision, recall = evaluation.eval["precision"][:, :, :, 0, 2], evaluation.eval["recall"][:, :, 0, 2]
    classes = [
        [mean(precision[:, :, k]), mean(precision[0, :, k]), mean(recall[:, k])] for k in range(len(case["categories"]))
    ]
    return [float(value) for value in evaluation.stats], classes


def lvis_numbers(case: dict, max_dets: int) -> tuple[list[float], list[float]]:
    """AP, AP50, AP75, of small, medium, large, rare, common, frequent, AR and of small, medium, large; every category's AP."""
    truth = LVIS.__new__(LVIS)
    truth.logger = types.SimpleNamespace(info=lambda *_: None, warn=lambda *_: None)
    truth.dataset = dataset(case)
    truth._create_index()
    found = LVISResults(truth, [dict(detection) for detection in case["found"]], max_dets=max_dets)
    evaluation = LVISEval(truth, found, "bbox")
    evaluation.run()
    numbers = [float(value) for value in evaluation.get_results().values()]
    precision = evaluation.eval["precision"][:, :, :, 0]
    return numbers, [mean(precision[:, :, k]) for k in range(len(case["categories"]))]


def best_of_each_category(found: list[dict], limit: int) -> list[dict]:
    """What fixed AP keeps: the best of each category over all images."""
    by_category = defaultdict(list)
    for detection in found:
        by_category[detection["category_id"]].append(detection)
    kept = []
    for detections in by_category.values():
        kept += sorted(detections, key=lambda detection: detection["score"], reverse=True)[:limit]
    return kept


def dataset(case: dict) -> dict:
    frequencies = "rcf"
    return {
        "images": [dict(image) for image in case["images"]],
        "categories": [{"id": c, "name": str(c), "frequency": frequencies[c % 3]} for c in case["categories"]],
        "annotations": [{**thing, "id": number} for number, thing in enumerate(case["truth"], 1)],
    }


def mean(values: np.ndarray) -> float:
    values = values[values > -1]
    return float(values.mean()) if len(values) else -1.0


def detection_line(rng: np.random.Generator, crowded: bool) -> dict:
    case = draw_case(rng, crowded)
    coco, coco_classes = coco_numbers(case)
    line = {
        "images": [[i["id"], i["neg_category_ids"], i["not_exhaustive_category_ids"]] for i in case["images"]],
        "categories": case["categories"],
        "truth": [[t["image_id"], t["category_id"], *t["bbox"], t["area"], t["iscrowd"]] for t in case["truth"]],
        "found": [[d["image_id"], d["category_id"], *d["bbox"], d["score"]] for d in case["found"]],
        "coco": coco,
        "coco_classes": coco_classes,
    }
    # lvis stops at a set without detections.
    if case["found"]:
        line["lvis"], line["lvis_classes"] = lvis_numbers(case, 300)
        limit = int(rng.integers(1, 12))
        fixed, _ = lvis_numbers({**case, "found": best_of_each_category(case["found"], limit)}, -1)
        line["fixed"] = {"limit": limit, "numbers": fixed}
    return line


# --- recall of phrases ------------------------------------------------------------------------------------------------


def draw_box(rng: np.random.Generator) -> list[float]:
    x1, y1 = rng.integers(0, 60, 2)
    width, height = rng.choice([8, 16, 24, 40], 2)
    return [float(x1), float(y1), float(x1 + width), float(y1 + height)]


def draw_phrase(rng: np.random.Generator) -> dict:
    truth = [draw_box(rng) for _ in range(int(rng.integers(1, 4)))]
    found = []
    for _ in range(int(rng.integers(0, 15))):
        x1, y1, x2, y2 = truth[int(rng.integers(len(truth)))] if rng.random() < 0.5 else draw_box(rng)
        shift = float(rng.choice([0, 0, 2, 4, 8]))
        found.append([x1 + shift, y1, x2 + shift, y2, float(rng.integers(1, 12)) / 12])
    types_of_phrase = sorted({str(t) for t in rng.choice(PHRASE_TYPES, int(rng.integers(1, 3)))})
    return {"types": types_of_phrase, "truth": truth, "found": found}


def iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def recall(phrases: list[dict], merged: bool) -> dict[str, list[float]]:
    """The share of phrases, of each type and of all, with a hit among the best 1, 5, 10 and all boxes."""
    hits, totals = defaultdict(lambda: [0] * len(RECALL_AT)), defaultdict(int)
    for phrase in phrases:
        truth = phrase["truth"]
        if merged:
            columns = list(zip(*truth))
            truth = [[min(columns[0]), min(columns[1]), max(columns[2]), max(columns[3])]]
        # Stable, as Python's sort is; official appends one box without extent, so that there is always one.
        boxes = sorted(phrase["found"], key=lambda box: -box[4]) + [[0.0, 0.0, 0.0, 0.0, 0.0]]
        best = [max(iou(box, thing) for thing in truth) for box in boxes]
        for name in ["all", *phrase["types"]]:
            totals[name] += 1
            for place, k in enumerate(RECALL_AT):
                hits[name][place] += max(best if k == -1 else best[:k]) >= 0.5
    return {name: [count / totals[name] for count in hits[name]] for name in sorted(totals)}


def recall_line(rng: np.random.Generator) -> dict:
    phrases = [draw_phrase(rng) for _ in range(int(rng.integers(1, 12)))]
    line = {"phrases": [[p["types"], p["truth"], p["found"]] for p in phrases]}
    return {**line, "separate": recall(phrases, False), "merged": recall(phrases, True)}


# --- masks ------------------------------------------------------------------------------------------------------------

MASK_SIDES = (3, 8, 16, 31, 32, 33, 48, 95, 96, 97, 130)


def draw_polygon(rng: np.random.Generator, width: int, height: int) -> list[float]:
    """A box, a star around a place, or any corners; some of it may lie beyond the image."""
    x, y = rng.uniform(-10, width), rng.uniform(-10, height)
    across, down = (float(side) for side in rng.choice(MASK_SIDES, 2))
    match rng.integers(4):
        case 0:
            x, y = float(int(x)), float(int(y))
            corners = [[x, y], [x + across, y], [x + across, y + down], [x, y + down]]
        case 1:
            corners = rng.uniform([x, y], [x + across, y + down], (int(rng.integers(3, 9)), 2)).tolist()
        case _:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 24))))
            radii = rng.uniform(0.4, 1, len(angles))
            corners = [
                [x + across * (1 + r * np.cos(a)) / 2, y + down * (1 + r * np.sin(a)) / 2]
                for a, r in zip(angles, radii)
            ]
    # Annotations have two digits, or halves, where ties are.
    digits = float(rng.choice([100, 100, 2, 1]))
    return [round(float(value) * digits) / digits for corner in corners for value in corner]


def draw_bitmap(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A few boxes, without some pixels; now and then nothing."""
    bitmap = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        across, down = rng.choice(MASK_SIDES, 2)
        x, y = rng.integers(0, width), rng.integers(0, height)
        bitmap[y : y + down, x : x + across] = 1
    if rng.random() < 0.1:
        bitmap &= rng.random(bitmap.shape) < 0.99
    return bitmap


def compressed(bitmap: np.ndarray) -> dict:
    encoded = coco_mask.encode(np.asfortranarray(bitmap, np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode()}


def uncompressed(bitmap: np.ndarray) -> dict:
    """As COCO has its crowds: how many pixels are none of it, how many are, and so on, down the columns."""
    flat = bitmap.flatten(order="F")
    ends = [*(np.flatnonzero(np.diff(flat)) + 1), flat.size]
    counts = [int(count) for count in np.diff([0, *ends])]
    return {"size": list(bitmap.shape), "counts": [0, *counts] if flat[0] else counts}


def draw_masked_object(rng: np.random.Generator, image: dict, category: int) -> dict:
    size = image["width"], image["height"]
    crowd = int(rng.random() < 0.15)
    match rng.integers(4) if not crowd else 3:
        case 0 | 1:
            segmentation = [draw_polygon(rng, *size)]
        case 2:
            segmentation = [draw_polygon(rng, *size) for _ in range(int(rng.integers(2, 5)))]
        case _:
            form = uncompressed if crowd or rng.random() < 0.5 else compressed
            segmentation = form(draw_bitmap(rng, *size))
    # Areas of annotations need not be those of their pixels.
    area = int(rng.choice([1023, 1024, 1025, 9215, 9216, 9217]))
    thing = {"image_id": image["id"], "category_id": category, "segmentation": segmentation, "iscrowd": crowd}
    own = float(coco_mask.area(run_lengths(thing, image)))
    return {**thing, "bbox": [0, 0, *size], "area": own if rng.random() < 0.7 else area}


def run_lengths(thing: dict, image: dict) -> dict:
    """An object's mask, as pycocotools' `annToRLE` makes it."""
    dataset = COCO()
    dataset.imgs = {image["id"]: image}
    return dataset.annToRLE(thing)


def draw_masked_detection(rng: np.random.Generator, image: dict, categories: list[int], truth: list[dict]) -> dict:
    """An object's mask, moved, cut or with more to it, or any other one."""
    category = int(rng.choice(categories))
    if truth and rng.random() < 0.8:
        near = truth[int(rng.integers(len(truth)))]
        if rng.random() < 0.85:
            category = near["category_id"]
        bitmap = coco_mask.decode(run_lengths(near, image))
        rows = np.flatnonzero(bitmap.any(axis=1))
        match rng.integers(4):
            case 0:
                bitmap = np.roll(bitmap, int(rng.choice([1, 2, 4, 8])), axis=int(rng.integers(2)))
            case 1 if len(rows):
                # Quarters of a box make overlaps that are equal to thresholds.
                bitmap[: rows.min() + (np.ptp(rows) + 1) // 4] = 0
            case 2:
                bitmap = bitmap | draw_bitmap(rng, image["width"], image["height"])
    else:
        bitmap = draw_bitmap(rng, image["width"], image["height"])
    score = float(rng.integers(1, 20)) / 20 if rng.random() < 0.7 else round(float(rng.random()), 3)
    return {"image_id": image["id"], "category_id": category, "segmentation": compressed(bitmap), "score": score}


def masks_line(rng: np.random.Generator) -> dict:
    """A set of masks; the detections of one in four have boxes too, whose areas pycocotools then takes."""
    categories = sorted(int(c) for c in rng.choice(30, int(rng.integers(1, 4)), replace=False))
    images = [
        {"id": number, "width": int(rng.integers(20, 180)), "height": int(rng.integers(20, 180))}
        for number in range(int(rng.integers(1, 4)))
    ]
    truth, found = [], []
    for image in images:
        mine = [draw_masked_object(rng, image, int(rng.choice(categories))) for _ in range(int(rng.integers(0, 6)))]
        count = int(rng.integers(0, 10))
        found += [draw_masked_detection(rng, image, categories, mine) for _ in range(count)]
        truth += mine
    if rng.random() < 0.25:
        for detection in found:
            detection["bbox"] = [0.0, 0.0, *(float(side) for side in rng.choice(MASK_SIDES, 2))]
    case = {"images": images, "categories": categories, "truth": truth, "found": found}
    numbers, classes = coco_numbers(case, "segm")
    by_id = {image["id"]: image for image in images}
    encoded = [run_lengths(thing, by_id[thing["image_id"]])["counts"] for thing in truth]
    counts = [text if isinstance(text, str) else text.decode() for text in encoded]
    data = dataset(case)
    for image in data["images"]:
        image["file_name"] = f"{image['id']}.jpg"
    return {"truth": data, "found": found, "counts": counts, "coco": numbers, "coco_classes": classes}


# --- writing ----------------------------------------------------------------------------------------------------------


def shortened(value):
    """Numbers with nine digits at most, whole ones without a point."""
    if isinstance(value, float):
        return int(value) if value == int(value) else round(value, 9)
    if isinstance(value, dict):
        return {name: shortened(entry) for name, entry in value.items()}
    return [shortened(entry) for entry in value] if isinstance(value, list) else value


def write(path: Path, lines: list[dict]) -> None:
    text = "".join(json.dumps(shortened(line), separators=(",", ":")) + "\n" for line in lines)
    # No name and no time in it: the same cases are the same file.
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{path}: {len(lines)} cases, {path.stat().st_size} bytes")


def main() -> None:
    logging.disable()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go: glip-tools/tests/fixtures")
    parser.add_argument("--cases", type=int, default=2000, help="cases of detection (default: 2000)")
    parser.add_argument("--crowded", type=int, default=6, help="further ones with hundreds of detections (default: 6)")
    parser.add_argument("--recall-cases", type=int, default=500, help="cases of phrase recall (default: 500)")
    parser.add_argument("--mask-cases", type=int, default=800, help="cases of masks (default: 800)")
    parser.add_argument("--seed", type=int, default=17)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    cases = [False] * arguments.cases + [True] * arguments.crowded
    write(arguments.folder / "detection.jsonl.gz", [detection_line(rng, crowded) for crowded in cases])
    write(arguments.folder / "recall.jsonl.gz", [recall_line(rng) for _ in range(arguments.recall_cases)])
    write(arguments.folder / "masks.jsonl.gz", [masks_line(rng) for _ in range(arguments.mask_cases)])


if __name__ == "__main__":
    main()
