"""Measures a model of the mixed world: `python -m glip_torch.evaluate_mixed RUN/model.pth` or `... BUNDLE`.

Two sets, each of 500 validation and 500 test scenes: the scenes of shapes that `evaluate` uses, measured as it does, and mixed
scenes with everyday things, of which it measures

- AP and AP50 (pycocotools) over all nouns, each asked for in every scene by one of its trained names in turn, and over the
  held-out wordings, each asked for in every scene likewise. Plurals, the easiest wordings, are averaged apart.
- False alarms: the share of scenes in which the prompt for one absent thing gets a detection over the threshold. The thing is
  any noun that is not in the scene (`known`), one of a sort with something that is (`near`), or a word that training never
  used (`foreign`).

One threshold for both sets is chosen on the validation scenes: the lowest that is as good as the best by mean F1, with every false
alarm rare. The numbers are from the test scenes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from tokenizers import Tokenizer
from tqdm import tqdm

from .average_precision import coco_detections, coco_precision, coco_truth, mean_precision
from .data.mixed_scenes import render_mixed_scene
from .data.nouns import ABSENT_HELD_OUT, HELD_OUT_NAMES, KINDS, NOUNS
from .data.scenes import Scene, Thing
from .evaluate import (
    CANVASES,
    Detector,
    EncodedPicture,
    Evaluator,
    alarm_rates,
    best_score,
    choose_threshold,
    chunks,
    load_model,
    merge,
    precision_recall,
    scene_arguments,
    tell,
)
from .postprocess import Detections

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

    def __init__(
        self, model: Detector, tokenizer: Tokenizer, split: str, scenes: int, sides: tuple[int, int] | None = None
    ):
        self.model, self.tokenizer, self.split, self.sides = model.eval(), tokenizer, split, sides
        self.truth: list[Scene] = []
        # Labels index NAMES and WORDINGS.
        self.found: list[Detections] = []
        self.found_held_out: list[Detections] = []
        #: Best score of each prompt for one absent thing, by how it was drawn.
        self.absent: dict[str, list[float]] = {"known": [], "near": [], "foreign": []}
        for index in tqdm(range(scenes), desc=f"mixed {split} scenes", mininterval=5):
            self._add(index)

    def _add(self, index: int) -> None:
        scene = evaluation_scene(self.split, index)
        picture = EncodedPicture(self.model, self.tokenizer, Image.fromarray(scene.image), self.sides)
        trained = [noun.names[index % len(noun.names)] for noun in NOUNS.values()]
        absent = absent_things(np.random.default_rng([SEEDS[self.split], 3, index]), scene)
        by_name = chunks(len(trained))
        # No threshold depends on them, so validation does without.
        by_wording = chunks(len(WORDINGS)) if self.split == "test" else []
        prompts = [[trained[k] for k in chunk] for chunk in by_name]
        prompts += [[WORDINGS[k] for k in chunk] for chunk in by_wording]
        prompts += [[words] for words in absent.values()]
        found = picture.ground(prompts)
        self.truth.append(scene)
        first = len(by_name)
        last = first + len(by_wording)
        self.found.append(merge(found[:first], by_name))
        if by_wording:
            self.found_held_out.append(merge(found[first:last], by_wording))
        for kind, detections in zip(absent, found[last:]):
            self.absent[kind].append(best_score(detections))

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
        return alarm_rates(self.absent, threshold)

    def precision_recall(self, threshold: float) -> tuple[float, float]:
        """Precision and recall of the nouns' detections over the threshold, at IoU 0.5."""
        truth = [[(NAMES.index(thing.noun), thing.box) for thing in things(scene)] for scene in self.truth]
        return precision_recall(truth, self.found, threshold)


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


def _precision(scenes: list[Scene], found: list[Detections], nouns: tuple[str, ...]) -> np.ndarray:
    """COCO's precision `[IoU threshold, recall, category]`, where category k is asked for and means the noun `nouns[k]`."""
    objects = [
        [(k, thing.box) for thing in things(scene) for k, noun in enumerate(nouns) if noun == thing.noun]
        for scene in scenes
    ]
    return coco_precision(coco_truth(objects, nouns), coco_detections(found))


def _means(prefix: str, precision: np.ndarray) -> dict[str, float]:
    """AP and AP50 under names with a prefix; nothing if none of the categories occurs."""
    if (precision == -1).all():
        return {}
    return {f"{prefix}_{name}": value for name, value in mean_precision(precision).items()}


def measure(model: Detector, tokenizer: Tokenizer, scenes: int, sides: tuple[int, int] | None = None) -> dict:
    """All numbers of the test scenes, at the threshold of the validation scenes."""
    kinds = {"shapes": Evaluator, "things": ThingEvaluator}
    threshold = choose_threshold([kind(model, tokenizer, "validation", scenes, sides) for kind in kinds.values()])
    numbers = {"sides": sides, "scenes": scenes, "threshold": threshold}
    for name, kind in kinds.items():
        test = kind(model, tokenizer, "test", scenes, sides)
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
    arguments = scene_arguments(__doc__, SCENES, "four").parse_args()
    model, tokenizer, sides = load_model(arguments)
    tell(measure(model, tokenizer, arguments.scenes, sides), arguments.json)


if __name__ == "__main__":
    main()
