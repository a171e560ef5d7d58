"""Times glip_tools' COCO numbers beside pycocotools': `python tools/evaluation_speed.py [--images 5000] [--rounds 3]`.

Draws a data set of 80 categories with 100 detections in every image, and lets both read and measure the same two files in
turns. Prints a table of the ratios of each round; ends with an error if any of the twelve numbers differs by more than 1e-6.
Needs pycocotools and a Rust toolchain.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

REPOSITORY = Path(__file__).parents[2]
CATEGORIES = 80
DETECTIONS = 100
#: Objects of an image, as in COCO's validation set.
OBJECTS = 7.3
WIDTH, HEIGHT = 640, 480
BENCH = ["cargo", "bench", "--quiet", "--package", "glip-tools", "--bench", "average_precision"]


def draw(images: int, seed: int = 1) -> tuple[dict, list[dict]]:
    """Annotations and detections. A third of the detections lie near an object of their category."""
    rng = np.random.default_rng(seed)
    objects, found = [], []
    for image in range(1, images + 1):
        boxes = draw_boxes(rng, rng.poisson(OBJECTS))
        categories = rng.integers(1, CATEGORIES + 1, len(boxes))
        for box, category in zip(boxes.tolist(), categories.tolist()):
            objects.append({"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3]})
        near = rng.integers(len(boxes), size=DETECTIONS // 3) if len(boxes) else np.array([], int)
        moved = boxes[near] + rng.normal(0, 0.1, (len(near), 4)) * boxes[near][:, [2, 3, 2, 3]]
        moved[:, 2:] = moved[:, 2:].clip(min=1)
        others = draw_boxes(rng, DETECTIONS - len(near))
        labels = np.concatenate([categories[near], rng.integers(1, CATEGORIES + 1, len(others))])
        for box, label in zip(np.concatenate([moved, others]).round(2).tolist(), labels.tolist()):
            score = round(float(rng.random()), 5)
            found.append({"image_id": image, "category_id": label, "bbox": box, "score": score})
    for number, item in enumerate(objects, 1):
        item |= {"id": number, "iscrowd": int(rng.random() < 0.01)}
    truth = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(1, images + 1)],
        "annotations": objects,
        "categories": [{"id": n, "name": f"category {n}"} for n in range(1, CATEGORIES + 1)],
    }
    return truth, found


def draw_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """`[count, 4]`: x, y, width, height of any size inside the image."""
    sides = np.exp(rng.uniform(np.log(8), np.log(400), (count, 2)))
    corners = rng.random((count, 2)) * (np.array([WIDTH, HEIGHT]) - sides)
    return np.concatenate([corners, sides], 1).round(2)


def pycocotools(annotations: Path, detections: Path) -> dict:
    with contextlib.redirect_stdout(io.StringIO()):
        begin = time.perf_counter()
        truth = COCO(str(annotations))
        found = truth.loadRes(str(detections))
        read = time.perf_counter() - begin
        begin = time.perf_counter()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        measure = time.perf_counter() - begin
    return {"read": read, "measure": measure, "numbers": evaluation.stats.tolist()}


def glip_tools(annotations: Path, detections: Path, threads: int) -> dict:
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    command = [*BENCH, "--", str(annotations), str(detections)]
    output = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as temporary:
        annotations, detections = Path(temporary, "annotations.json"), Path(temporary, "detections.json")
        truth, found = draw(arguments.images)
        annotations.write_text(json.dumps(truth))
        detections.write_text(json.dumps(found))
        print(
            f"{arguments.images} images, {CATEGORIES} categories, {len(truth['annotations'])} objects, {len(found)} detections"
        )
        print("\n| round | threads | measuring | reading | both |\n| --- | --- | --- | --- | --- |")
        for number in range(1, arguments.rounds + 1):
            reference = pycocotools(annotations, detections)
            for count in sorted({1, threads}):
                ours = glip_tools(annotations, detections, count)
                compare(reference["numbers"], ours["numbers"])
                print(f"| {number} | {count} | {' | '.join(ratios(reference, ours))} |", flush=True)


def compare(reference: list[float], ours: list[float]) -> None:
    difference = max(abs(a - b) for a, b in zip(reference, ours, strict=True))
    if difference > 1e-6:
        sys.exit(f"the numbers differ by {difference}:\n{reference}\n{ours}")


def ratios(reference: dict, ours: dict) -> list[str]:
    """How many times as long the reference takes: to measure, to read, and in all."""
    times = [(reference[part], ours[part]) for part in ("measure", "read")]
    times.append(tuple(map(sum, zip(*times))))
    return [f"{a / b:.1f}" for a, b in times]


if __name__ == "__main__":
    main()
