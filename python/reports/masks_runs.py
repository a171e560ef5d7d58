"""Masks above glip-drawn, measured: `python reports/masks_runs.py RUN --model checkpoints/glip-drawn/model.pth`.

Arms: a mask head as it is, and the same with nothing to see in the picture or in the fused levels. Each is trained
on the same scenes, which are kept in RUN/scenes, and measured in the test scenes of `evaluate` and `evaluate_mixed`, on what the
detector finds there by their names. RUN/ARM has the head and `result.json`. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
import torch
from masks_head import MaskHead, overlaps, paste, widen
from masks_training import SEED, SeenScenes, train
from PIL import Image
from pycocotools import mask as rle
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm

from glip_torch import evaluate, evaluate_mixed
from glip_torch.average_precision import coco_areas, coco_detections, coco_truth, mean_precision
from glip_torch.checkpoint import load_checkpoint
from glip_torch.data.nouns import NOUNS
from glip_torch.data.scenes import HELD_OUT, Scene, Thing
from glip_torch.evaluate import CATEGORIES, EncodedPicture, chunks, merge
from glip_torch.model import GLIP
from glip_torch.postprocess import Detections, inclusive_iou, to_edges
from glip_torch.preprocess import normalise
from glip_torch.tokenizer import model_tokenizer

TEXT_HEADS = 4
#: What an arm's head sees: the picture, and the levels.
ARMS = {"both": (1.0, 1.0), "levels": (0.0, 1.0), "picture": (1.0, 0.0)}
AREAS = ("all", "small", "medium", "large")


class Blinded(nn.Module):
    """A head that sees its inputs times these."""

    def __init__(self, head: MaskHead, picture: float, levels: float):
        super().__init__()
        self.head, self.picture, self.levels = head, picture, levels

    def forward(self, pixels: Tensor, levels: list[Tensor], crops: Tensor) -> Tensor:
        return self.head(pixels * self.picture, [level * self.levels for level in levels], crops)


# --- what is asked --------------------------------------------------------------------------------------------------


class Shapes:
    """The scenes of `evaluate`, asked for all combinations."""

    names = tuple(" ".join(pair) for pair in CATEGORIES)

    def parts(self) -> dict[str, np.ndarray]:
        """Which names are averaged together."""
        held_out = np.array([pair in HELD_OUT for pair in CATEGORIES])
        return {"seen": ~held_out, "unseen": held_out}

    def scene(self, index: int) -> Scene:
        return evaluate.evaluation_scene("test", index)

    def phrases(self, index: int) -> list[str]:
        return list(self.names)

    def objects(self, scene: Scene) -> Iterator[tuple[int, int]]:
        """The number of each object that has a name, and the name's."""
        for k, thing in enumerate(scene.objects):
            yield k, CATEGORIES.index((thing.colour, thing.shape))


class Things:
    """The scenes of `evaluate_mixed`, asked for all nouns by a trained name each."""

    names = evaluate_mixed.NAMES

    def parts(self) -> dict[str, np.ndarray]:
        return {"things": np.ones(len(self.names), bool)}

    def scene(self, index: int) -> Scene:
        return evaluate_mixed.evaluation_scene("test", index)

    def phrases(self, index: int) -> list[str]:
        return [noun.names[index % len(noun.names)] for noun in NOUNS.values()]

    def objects(self, scene: Scene) -> Iterator[tuple[int, int]]:
        for k, thing in enumerate(scene.objects):
            if isinstance(thing, Thing):
                yield k, self.names.index(thing.noun)


# --- what is answered -----------------------------------------------------------------------------------------------


class KeepsLevels:
    """A detector that remembers the levels that it fused last."""

    def __init__(self, model: GLIP):
        self.model, self.config = model, model.config
        self.image_encoder, self.text_encoder, self.head = model.image_encoder, model.text_encoder, model.head
        self.levels: list[Tensor] = []

    def fuse(self, *inputs) -> tuple[list[Tensor], Tensor]:
        self.levels, text = self.model.fuse(*inputs)
        return self.levels, text


@torch.no_grad()
def find(
    model: GLIP, head: nn.Module, tokenizer: Tokenizer, scene: Scene, phrases: list[str]
) -> tuple[Detections, Tensor]:
    """What is found in a scene, labelled by the phrase's number, and the masks that the head gives it."""
    keeps, groups = KeepsLevels(model), chunks(len(phrases))
    # The scenes have the size that the model is asked at.
    found = EncodedPicture(keeps, tokenizer, Image.fromarray(scene.image)).ground(
        [[phrases[k] for k in group] for group in groups]
    )
    numbers = torch.cat([torch.full((len(these.boxes), 1), float(n)) for n, these in enumerate(found)])
    pixels, merged = normalise(scene.image)[None].expand(len(groups), -1, -1, -1), merge(found, groups)
    crops = widen(to_edges(merged.boxes))
    return merged, paste(head(pixels, keeps.levels, torch.cat([numbers, crops], dim=1)), crops, *scene.image.shape[:2])


def filled(boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks that are their whole box, bool `[n, height, width]`."""
    edges = to_edges(boxes)[..., None]
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    across, down = (x > edges[:, 0]) & (x < edges[:, 2]), (y > edges[:, 1]) & (y < edges[:, 3])
    return down[:, :, None] & across[:, None, :]


def true_masks(scene: Scene) -> Tensor:
    return torch.from_numpy(np.stack([scene.mask(k) for k in range(len(scene.objects))]))


def perfect(scene: Scene, boxes: Tensor, otherwise: Tensor) -> Tensor:
    """The true mask of the object that a box fits best, whatever it was called; `otherwise` where it fits none."""
    fit, nearest = torch.stack([inclusive_iou(torch.tensor(thing.box), boxes) for thing in scene.objects], 1).max(1)
    return torch.where((fit >= 0.5)[:, None, None], true_masks(scene)[nearest], otherwise)


# --- measuring ------------------------------------------------------------------------------------------------------


class Answers:
    """What was found in all scenes of a set, and the truth."""

    def __init__(self, asked: Shapes | Things, threshold: float):
        self.asked, self.threshold = asked, threshold
        self.truth: list[list] = []
        self.sizes: list[dict] = []
        self.true_segments: list[dict] = []
        self.found: list[Detections] = []
        self.segments: dict[str, list[dict]] = {"head": [], "whole box": [], "perfect": []}
        #: Kind, size and the mask's IoU of each object that was found over the threshold.
        self.right: list[tuple[str, str, float]] = []

    def add(self, scene: Scene, found: Detections, masks: Tensor) -> None:
        height, width = scene.image.shape[:2]
        boxes, truth = filled(found.boxes, height, width), true_masks(scene)
        for name, these in (("head", masks), ("whole box", boxes), ("perfect", perfect(scene, found.boxes, boxes))):
            self.segments[name] += encoded(these)
        objects = list(self.asked.objects(scene))
        self.found.append(found)
        self.truth.append([(label, scene.objects[k].box) for k, label in objects])
        self.sizes.append({"height": height, "width": width})
        self.true_segments += encoded(truth[[k for k, _ in objects]])
        for k, label in objects:
            thing = scene.objects[k]
            named = (found.labels == label) & (found.scores >= self.threshold)
            fit = torch.where(named, inclusive_iou(torch.tensor(thing.box), found.boxes), 0.0)
            if len(fit) and fit.max() >= 0.5:
                overlap = overlaps(masks[fit.argmax()][None], truth[k][None]).item()
                self.right.append((getattr(thing, "noun", None) or thing.shape, thing.size, overlap))

    def numbers(self) -> dict:
        """Precision by part of the names, kind of answer and area; IoU of masks where the box is right."""
        results: dict = {"objects": len(self.true_segments), "found": len(self.segments["head"])}
        truth, found = self._truth(), coco_detections(self.found)
        answers = {"boxes": ("bbox", found)} | {
            name: ("segm", [d | s for d, s in zip(found, map(measured, segments), strict=True)])
            for name, segments in self.segments.items()
        }
        for name, (kind, detections) in answers.items():
            precision = coco_areas(truth, detections, kind)
            for part, columns in self.asked.parts().items():
                results.setdefault(part, {})[name] = means(precision[:, :, columns])
        return results | {"IoU": self._overlaps()}

    def _truth(self) -> dict:
        dataset = coco_truth(self.truth, self.asked.names)
        for image, size in zip(dataset["images"], self.sizes, strict=True):
            image |= size
        for annotation, segment in zip(dataset["annotations"], self.true_segments, strict=True):
            annotation |= measured(segment)
        return dataset

    def _overlaps(self) -> dict[str, list]:
        """The mean over all objects, over those of a size and of a kind, and of how many."""
        groups: dict[str, list[float]] = {}
        for kind, size, overlap in self.right:
            for name in ("all", size, kind):
                groups.setdefault(name, []).append(overlap)
        return {name: [round(float(np.mean(values)), 3), len(values)] for name, values in sorted(groups.items())}


def encoded(masks: Tensor) -> list[dict]:
    """Run lengths of masks, bool `[n, height, width]`."""
    return rle.encode(np.asfortranarray(masks.permute(1, 2, 0).numpy().astype(np.uint8))) if len(masks) else []


def measured(segment: dict) -> dict:
    return {"segmentation": segment, "area": float(rle.area(segment))}


def means(precision: np.ndarray) -> dict[str, dict[str, float]]:
    """AP and AP50 of each area in which something is."""
    by_area = {name: precision[..., k] for k, name in enumerate(AREAS) if (precision[..., k] > -1).any()}
    return {
        name: {measure: round(value, 4) for measure, value in mean_precision(these).items()}
        for name, these in by_area.items()
    }


def measure(model: GLIP, head: nn.Module, tokenizer: Tokenizer, asked: Shapes | Things, scenes: int) -> dict:
    answers = Answers(asked, model.recommended.score_threshold)
    for index in tqdm(range(scenes), type(asked).__name__, mininterval=10):
        scene = asked.scene(index)
        answers.add(scene, *find(model, head.eval(), tokenizer, scene, asked.phrases(index)))
    return answers.numbers()


def run(arm: str, arguments: argparse.Namespace, load: Callable[[], tuple[GLIP, Tokenizer]]) -> dict:
    torch.manual_seed(SEED)
    model, tokenizer = load()
    head = Blinded(MaskHead(model.config.fused_channels), *ARMS[arm])
    scenes = SeenScenes(model, tokenizer, arguments.run / "scenes")
    train(head, scenes, arguments.batches, arguments.steps, arguments.run / arm)
    return {
        "parameters": sum(parameter.numel() for parameter in head.parameters()),
        "steps": arguments.steps,
        "scenes": arguments.scenes,
        **{
            type(asked).__name__: measure(model, head, tokenizer, asked, arguments.scenes)
            for asked in (Things(), Shapes())
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="model.pth of glip-drawn, vocab.txt beside it")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--batches", type=int, default=320, help="of 8 training scenes")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--scenes", type=int, default=300, help="of each set that is measured on")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    numba.set_num_threads(arguments.threads)

    def load() -> tuple[GLIP, Tokenizer]:
        model = load_checkpoint(arguments.model, TEXT_HEADS)
        return model, model_tokenizer(model, arguments.model.with_name("vocab.txt"))

    for arm in arguments.arms:
        out = arguments.run / arm / "result.json"
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            result = run(arm, arguments, load)
            out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
