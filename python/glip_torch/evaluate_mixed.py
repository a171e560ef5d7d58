"""Measures a model of the mixed world: `python -m glip_torch.evaluate_mixed RUN/model.pth` or `... BUNDLE`.

Two sets, each of 500 validation and 500 test scenes: the scenes of shapes that `evaluate` uses, measured as it does, and mixed
scenes with everyday things, of which it measures

- AP and AP50 (pycocotools) over all nouns, each asked for in every scene by one of its trained names in turn, and over the
  held-out wordings, each asked for in every scene likewise. Plurals, the easiest wordings, are averaged apart.
- False alarms: the share of scenes in which the prompt for one absent thing gets a detection over the threshold. The thing is
  any noun that is not in the scene (`known`), one of a sort with something that is (`near`), or a word that training never
  used (`foreign`).

One threshold for both sets is chosen on the validation scenes: the best mean F1 with every false alarm rare. The numbers are
from the test scenes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from .average_precision import coco_precision, mean_precision, xywh
from .checkpoint import load_checkpoint
from .config import NANO
from .data.mixed_scenes import render_mixed_scene
from .data.nouns import ABSENT_HELD_OUT, HELD_OUT_NAMES, KINDS, NOUNS
from .data.scenes import Scene, Thing
from .evaluate import CANVASES, MAX_FALSE_ALARMS, PHRASES_PER_PROMPT, THRESHOLDS, Evaluator, ground
from .model import GLIP
from .onnx_model import OnnxGLIP
from .postprocess import Detections, inclusive_iou
from .preprocess import normalise, pad
from .tokenizer import build_tokenizer

#: Seeds of the mixed sets.
SEEDS = {"validation": 3001, "test": 3002}
SCENES = 500
#: Share of things among the objects of these scenes.
THING_SHARE = 0.8
NAMES = tuple(NOUNS)
#: Held-out wordings, and the nouns they are for.
WORDINGS = tuple(HELD_OUT_NAMES)
WORDING_NOUNS = tuple(noun for noun, _ in HELD_OUT_NAMES.values())


def evaluation_scene(split: str, index: int) -> Scene:
    return render_mixed_scene(SEEDS[split], index, *CANVASES[index % len(CANVASES)], thing_share=THING_SHARE)


class ThingEvaluator:
    """What a model finds in the mixed scenes of a split."""

    def __init__(self, model: GLIP | OnnxGLIP, tokenizer: Tokenizer, split: str, scenes: int):
        self.model, self.tokenizer, self.split = model.eval(), tokenizer, split
        self.truth: list[Scene] = []
        # Labels index NAMES and WORDINGS.
        self.found: list[Detections] = []
        self.found_held_out: list[Detections] = []
        #: Best score of each prompt for one absent thing, by how it was drawn.
        self.absent: dict[str, list[float]] = {"known": [], "near": [], "foreign": []}
        for index in tqdm(range(scenes), desc=f"mixed {split} scenes", mininterval=5):
            self._add(index)

    @torch.no_grad()
    def _add(self, index: int) -> None:
        scene = evaluation_scene(self.split, index)
        pyramid = self.model.image_encoder(pad(normalise(scene.image))[None])
        trained = [noun.names[index % len(noun.names)] for noun in NOUNS.values()]
        absent = absent_things(np.random.default_rng([SEEDS[self.split], 3, index]), scene)
        by_name = chunks(len(trained))
        # No threshold depends on them, so validation does without.
        by_wording = chunks(len(WORDINGS)) if self.split == "test" else []
        prompts = [[trained[k] for k in chunk] for chunk in by_name]
        prompts += [[WORDINGS[k] for k in chunk] for chunk in by_wording]
        prompts += [[words] for words in absent.values()]
        found = ground(self.model, self.tokenizer, pyramid, scene.image.shape[:2], prompts)
        self.truth.append(scene)
        first = len(by_name)
        last = first + len(by_wording)
        self.found.append(merge(found[:first], by_name))
        if by_wording:
            self.found_held_out.append(merge(found[first:last], by_wording))
        for kind, detections in zip(absent, found[last:]):
            self.absent[kind].append(float(detections.scores.max()) if len(detections.scores) else 0.0)

    def average_precision(self) -> dict[str, float]:
        """AP and AP50 over the nouns by their trained names, and over held-out wordings: plurals apart, and by kind."""
        results = _means("things", _precision(self.truth, self.found, NAMES))
        precision = _precision(self.truth, self.found_held_out, WORDING_NOUNS)
        kinds = np.array([kind for _, kind in HELD_OUT_NAMES.values()])
        results |= _means("held_out", precision[..., kinds != "plural"])
        for kind in KINDS:
            results |= _means(f"held_out_{kind}", precision[..., kinds == kind])
        return results

    def by_wording(self) -> dict[str, float]:
        """AP50 of each held-out wording, and of each noun by its trained names; -1 where it never occurs."""
        parts = ((self.found, NAMES, NAMES), (self.found_held_out, WORDINGS, WORDING_NOUNS))
        results = {}
        for found, words, nouns in parts:
            # Mean over the recalls: precision is -1 throughout where there is nothing to find.
            results |= dict(zip(words, _precision(self.truth, found, nouns)[0].mean(0).round(3).tolist()))
        return results

    def false_alarms(self, threshold: float) -> dict[str, float]:
        """Share of scenes whose absent prompt has a detection at or over the threshold, for each way of drawing it."""
        return {kind: float(np.mean(np.array(scores) >= threshold)) for kind, scores in self.absent.items()}

    def precision_recall(self, threshold: float) -> tuple[float, float]:
        """Precision and recall of the nouns' detections over the threshold, at IoU 0.5."""
        right = reported = existing = 0
        for scene, found in zip(self.truth, self.found):
            keep = found.scores >= threshold
            reported += int(keep.sum())
            for thing in things(scene):
                existing += 1
                mine = found.boxes[keep & (found.labels == NAMES.index(thing.noun))]
                right += bool((inclusive_iou(torch.tensor(thing.box), mine) >= 0.5).any())
        return right / max(reported, 1), right / max(existing, 1)


def things(scene: Scene) -> list[Thing]:
    return [thing for thing in scene.objects if isinstance(thing, Thing)]


def absent_things(rng: np.random.Generator, scene: Scene) -> dict[str, str]:
    """One absent noun of any sort, one of a sort with something present (if there is any), one word training never used."""
    present = {thing.noun for thing in things(scene)}
    groups = {NOUNS[noun].group for noun in present}
    absent = [noun for noun in NOUNS.values() if noun.name not in present]
    drawn = {"known": absent, "near": [noun for noun in absent if noun.group in groups]}
    names = {kind: _one_of(rng, _one_of(rng, nouns).names) for kind, nouns in drawn.items() if nouns}
    return names | {"foreign": _one_of(rng, ABSENT_HELD_OUT)}


def _one_of(rng: np.random.Generator, options):
    return options[rng.integers(len(options))]


def chunks(count: int) -> list[np.ndarray]:
    """Indices of the phrases of each prompt, in one fixed shuffle: neighbours are then not of one sort."""
    order = np.random.default_rng(0).permutation(count)
    return [order[i : i + PHRASES_PER_PROMPT] for i in range(0, count, PHRASES_PER_PROMPT)]


def merge(found: list[Detections], chunks: list[np.ndarray]) -> Detections:
    """The detections of several prompts as one, labelled by the phrases' indices in the whole list."""
    return Detections(
        torch.cat([f.boxes for f in found]),
        torch.cat([f.scores for f in found]),
        torch.cat([torch.from_numpy(chunk)[f.labels] for chunk, f in zip(chunks, found)]),
    )


def _precision(scenes: list[Scene], found: list[Detections], nouns: tuple[str, ...]) -> np.ndarray:
    """COCO's precision `[IoU threshold, recall, category]`, where category k is asked for and means the noun `nouns[k]`."""
    annotations = [
        {"image_id": n, "category_id": k, "bbox": xywh(thing.box), "iscrowd": 0}
        for n, scene in enumerate(scenes, 1)
        for thing in things(scene)
        for k, noun in enumerate(nouns)
        if noun == thing.noun
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation |= {"id": number, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    truth = {
        "images": [{"id": n} for n in range(1, len(scenes) + 1)],
        "categories": [{"id": k, "name": noun} for k, noun in enumerate(nouns)],
        "annotations": annotations,
    }
    detections = [
        {"image_id": n, "category_id": int(category), "bbox": xywh(box), "score": float(score)}
        for n, f in enumerate(found, 1)
        for box, score, category in zip(f.boxes.tolist(), f.scores, f.labels)
    ]
    return coco_precision(truth, detections)


def _means(prefix: str, precision: np.ndarray) -> dict[str, float]:
    """AP and AP50 under names with a prefix; nothing if none of the categories occurs."""
    if (precision == -1).all():
        return {}
    return {f"{prefix}_{name}": value for name, value in mean_precision(precision).items()}


def choose_threshold(sets: list[Evaluator | ThingEvaluator]) -> float:
    """The threshold with the best mean F1 among those at which no false alarm of any set is frequent."""

    def mean_f1(threshold: float) -> float:
        if max(rate for found in sets for rate in found.false_alarms(threshold).values()) > MAX_FALSE_ALARMS:
            # Where none keeps them rare, the highest wins.
            return -(threshold**-1)
        pairs = [found.precision_recall(threshold) for found in sets]
        return float(np.mean([2 * precision * recall / max(precision + recall, 1e-9) for precision, recall in pairs]))

    return round(float(max(THRESHOLDS, key=mean_f1)), 2)


def measure(model: GLIP | OnnxGLIP, tokenizer: Tokenizer, scenes: int) -> dict:
    """All numbers of the test scenes, at the threshold of the validation scenes."""
    kinds = {"shapes": Evaluator, "things": ThingEvaluator}
    threshold = choose_threshold([kind(model, tokenizer, "validation", scenes) for kind in kinds.values()])
    numbers = {"scenes": scenes, "threshold": threshold}
    for name, kind in kinds.items():
        test = kind(model, tokenizer, "test", scenes)
        precision, recall = test.precision_recall(threshold)
        numbers[name] = {
            **test.average_precision(),
            "precision": precision,
            "recall": recall,
            **{f"false_alarms_{way}": rate for way, rate in test.false_alarms(threshold).items()},
        }
        numbers[name] = {key: round(value, 4) for key, value in numbers[name].items()}
    return numbers | {"AP50_by_wording": test.by_wording()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a checkpoint (.pth), or the folder of a bundle")
    parser.add_argument("--vocab", type=Path, help="vocab.txt of the model (default: beside the checkpoint)")
    parser.add_argument("--text-heads", type=int, default=NANO.text.heads)
    parser.add_argument("--scenes", type=int, default=SCENES, help="scenes of each of the four sets")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    model: GLIP | OnnxGLIP
    if arguments.model.is_dir():
        model = OnnxGLIP(arguments.model, arguments.threads)
        tokenizer = model.tokenizer
    else:
        model = load_checkpoint(arguments.model, arguments.text_heads)
        tokenizer = build_tokenizer(arguments.vocab or arguments.model.with_name("vocab.txt"))
    text = json.dumps(measure(model, tokenizer, arguments.scenes), indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
