"""Measures a model on photographs: `python -m glip_torch.evaluate_photos RUN/model.pth COCO.json --images DIR` or `... BUNDLE ...`.

All of COCO's 80 classes are asked for in every photograph, in several ways:

- by their names, 80, 16, 4 and 1 in a prompt;
- by their plurals, in capitals, and as "a photo of a ...";
- 25 of them by words that were held out of all that the model was taught (`words.coco_names.HELD_OUT`), beside their names;
- those of `--classes` alone, apart.

AP and AP50 are pycocotools'. False alarms are the share of photographs in which the prompt for one absent thing alone gets a
detection over the threshold: any class that is not there, and things that no class is (`FOREIGN`). The recommended threshold is
chosen on the same photographs, by the rule of `evaluate.choose_threshold`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tokenizers import Tokenizer
from tqdm import tqdm

from .average_precision import coco_precision, mean_precision, xywh
from .data.coco import read_dataset
from .evaluate import (
    Detector,
    EncodedPicture,
    alarm_rates,
    best_score,
    choose_threshold,
    load_model,
    merge,
    model_arguments,
    precision_recall,
    tell,
)
from .postprocess import Detections
from .words.coco_names import CLASSES, HELD_OUT, THINGS

#: Short and long side for a model that recommends none.
SIDES = (512, 512)
#: Things that are none of COCO's, and of which something may be in a photograph or not: the detector does not know them.
FOREIGN = (
    "piano", "castle", "lion", "penguin", "helicopter", "rocket", "crocodile", "tractor", "guitar", "snake", "sword", "lighthouse",
    "violin", "cactus", "submarine", "octopus", "windmill", "camel", "drum", "anchor",
)  # fmt: skip
#: Thresholds that are reported.
REPORTED = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)


@dataclass(frozen=True)
class Asking:
    """A way to ask for the classes: what each is called, and how many share a prompt."""

    words: dict[int, str]
    per_prompt: int

    def prompts(self) -> list[np.ndarray]:
        """Classes of each prompt, in one fixed shuffle."""
        classes = np.random.default_rng(0).permutation(sorted(self.words))
        return [classes[first : first + self.per_prompt] for first in range(0, len(classes), self.per_prompt)]


def _everything(word_of, per_prompt: int = 80) -> Asking:
    return Asking({index: word_of(thing) for index, thing in enumerate(THINGS)}, per_prompt)


def askings() -> dict[str, Asking]:
    held_out = {CLASSES.index(name): word for name, word in HELD_OUT.items()}
    named = {index: CLASSES[index] for index in held_out}
    return {
        "names": _everything(lambda thing: thing.name),
        "16 a prompt": _everything(lambda thing: thing.name, 16),
        "4 a prompt": _everything(lambda thing: thing.name, 4),
        "1 a prompt": _everything(lambda thing: thing.name, 1),
        "plurals": _everything(lambda thing: thing.plural),
        "capitals": _everything(lambda thing: thing.name.upper()),
        "a photo of a ...": _everything(lambda thing: f"a photo of a {thing.name}", 16),
        "held-out words": Asking(held_out, 25),
        "their names": Asking(named, 25),
    }


class PhotoEvaluator:
    def __init__(
        self, model: Detector, tokenizer: Tokenizer, dataset: dict, images: Path, sides: tuple[int, int], ways: dict
    ):
        self.model, self.tokenizer, self.dataset, self.ways = model.eval(), tokenizer, dataset, ways
        self.images, self.sides = images, sides
        self.category_ids = _category_ids(dataset)
        #: For each way to ask, what was found in each photograph; labels are classes.
        self.found: dict[str, list[Detections]] = {way: [] for way in ways}
        #: Best score of each prompt for one absent thing.
        self.absent: dict[str, list[float]] = {"class": [], "foreign": []}
        self.truth = self._truth()
        for image, truth in zip(tqdm(dataset["images"], desc="photographs", mininterval=5), self.truth):
            self._add(image, {label for label, _ in truth})

    def _truth(self) -> list[list[tuple[int, list[float]]]]:
        """Class and box x1 y1 x2 y2 (last pixels) of what is in each photograph, crowds left out."""
        boxes: dict[int, list] = {image["id"]: [] for image in self.dataset["images"]}
        for annotation in self.dataset["annotations"]:
            if not annotation.get("iscrowd"):
                x, y, width, height = annotation["bbox"]
                label = self.category_ids.index(annotation["category_id"])
                boxes[annotation["image_id"]].append((label, [x, y, x + width - 1, y + height - 1]))
        return list(boxes.values())

    def _add(self, image: dict, present: set[int]) -> None:
        picture = Image.open(self.images / image["file_name"]).convert("RGB")
        encoded = EncodedPicture(self.model, self.tokenizer, picture, self.sides)
        for way, asking in self.ways.items():
            prompts = asking.prompts()
            found = [_ask(encoded, [asking.words[index] for index in prompt]) for prompt in prompts]
            self.found[way].append(merge(found, prompts))
            if asking.per_prompt == 1:
                absent = [best_score(f) for f, prompt in zip(found, prompts) if prompt[0] not in present]
                self.absent["class"] += absent
        self.absent["foreign"] += [best_score(_ask(encoded, [word])) for word in FOREIGN]

    def precision(self, way: str) -> np.ndarray:
        """Of the classes that were asked for, in their order."""
        classes = sorted(self.ways[way].words)
        ids = [self.category_ids[index] for index in classes]
        truth = dict(self.dataset)
        truth["annotations"] = [a for a in truth["annotations"] if a["category_id"] in ids]
        truth["categories"] = [category for category in truth["categories"] if category["id"] in ids]
        detections = [
            {"image_id": image["id"], "category_id": self.category_ids[label], "bbox": xywh(box), "score": score}
            for image, found in zip(self.dataset["images"], self.found[way])
            for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist())
        ]
        # pycocotools' columns are in the order of the ids.
        columns = [sorted(ids).index(identity) for identity in ids]
        return coco_precision(truth, detections)[:, :, columns]

    # What `choose_threshold` asks for.

    def precision_recall(self, threshold: float) -> tuple[float, float]:
        """Of detections by name, at IoU 0.5."""
        return precision_recall(self.truth, self.found["names"], threshold)

    def false_alarms(self, threshold: float) -> dict[str, float]:
        return alarm_rates({kind: scores for kind, scores in self.absent.items() if scores}, threshold)


def _ask(picture: EncodedPicture, words: list[str]) -> Detections:
    """One prompt at a time: eighty of them would fill the memory."""
    (found,) = picture.ground([words])
    return found


def _category_ids(dataset: dict) -> list[int]:
    """The data set's ids of COCO's classes, in their order."""
    ids = {category["name"]: category["id"] for category in dataset["categories"]}
    missing = [name for name in CLASSES if name not in ids]
    if missing:
        raise SystemExit(f"the data set has no category {missing[0]!r}: give annotations with COCO's 80 categories")
    return [ids[name] for name in CLASSES]


def report(evaluator: PhotoEvaluator, apart: Sequence[str] = ()) -> dict:
    """All numbers; `apart` are classes whose mean is taken apart from that of the others."""
    numbers: dict = {"photographs": len(evaluator.truth)}
    for way in evaluator.ways:
        numbers[way] = {name: round(value, 4) for name, value in mean_precision(evaluator.precision(way)).items()}
    if apart:
        columns = np.array([name in apart for name in CLASSES])
        for name, chosen in (("apart", columns), ("the others", ~columns)):
            values = mean_precision(evaluator.precision("names")[:, :, chosen])
            numbers[name] = {measure: round(value, 4) for measure, value in values.items()}
    numbers["threshold"] = round(choose_threshold([evaluator]), 2)
    numbers["at"] = {}
    for threshold in sorted({*REPORTED, numbers["threshold"]}):
        precision, recall = evaluator.precision_recall(threshold)
        rates = evaluator.false_alarms(threshold)
        values = {
            "precision": precision,
            "recall": recall,
            **{f"false alarms, {kind}": rate for kind, rate in rates.items()},
        }
        numbers["at"][threshold] = {name: round(value, 4) for name, value in values.items()}
    return numbers


def main() -> None:
    parser = model_arguments(__doc__, sides="the model's, or {} {}".format(*SIDES))
    parser.add_argument("annotations", type=Path, help="COCO's format, with its 80 categories")
    parser.add_argument("--images", type=Path, help="folder of the images (default: that of the annotations)")
    parser.add_argument("--most", type=int, help="photographs, at most (default: all)")
    parser.add_argument("--ways", nargs="+", choices=sorted(askings()), help="ways to ask (default: all)")
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="classes whose mean is taken apart")
    arguments = parser.parse_args()
    model, tokenizer, sides = load_model(arguments)
    dataset = read_dataset(arguments.annotations).content()
    dataset["images"] = dataset["images"][: arguments.most]
    kept = {image["id"] for image in dataset["images"]}
    dataset["annotations"] = [annotation for annotation in dataset["annotations"] if annotation["image_id"] in kept]
    ways = {way: asking for way, asking in askings().items() if way in (arguments.ways or askings()) or way == "names"}
    images = arguments.images or arguments.annotations.parent
    numbers = report(PhotoEvaluator(model, tokenizer, dataset, images, sides or SIDES, ways), arguments.classes)
    tell(numbers, arguments.json)


if __name__ == "__main__":
    main()
