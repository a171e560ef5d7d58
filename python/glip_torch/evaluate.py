"""Measures a model on unseen scenes of shapes: `python -m glip_torch.evaluate RUN/model.pth` or `... BUNDLE`.

- AP and AP50 (pycocotools) over all colour-shape combinations, each of them asked for in every scene, so that finding
  what is not there costs precision. Seen and held-out combinations are averaged apart.
- False alarms: the share of prompts for one absent combination that get a detection over the threshold.

Scenes are resized to the sides that the model is recommended for, as the bundle says or the checkpoint; where it says
none, they are measured as they are. The threshold is chosen on the validation scenes; the numbers are from the test scenes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from .atomic import written
from .average_precision import coco_detections, coco_precision, coco_truth, mean_precision
from .checkpoint import load_detector
from .config import NANO
from .data.prompts import category_prompt
from .data.scenes import COLOURS, HELD_OUT, SHAPES, Scene, render_scene
from .dyhead import DyHead
from .model import GLIP
from .onnx_model import OnnxGLIP
from .postprocess import Detections, PostprocessOptions, detect, inclusive_iou
from .preprocess import normalise, pad, resize
from .tokenizer import model_tokenizer, phrase_tokens

#: What can be measured.
Detector = GLIP | DyHead | OnnxGLIP
#: Seeds of the two evaluation sets; training uses small seeds.
SEEDS = {"validation": 1001, "test": 1002}
#: Canvas sizes (width, height) that the scenes take turns in.
CANVASES = ((256, 256), (256, 256), (352, 256), (256, 320))
#: Share of objects of held-out combinations in evaluation scenes (a fifth of all combinations is held out).
HELD_OUT_SHARE = 0.3
CATEGORIES = [(colour, shape) for colour in COLOURS for shape in SHAPES]
PHRASES_PER_PROMPT = 16
#: The threshold may not let more absent phrases through than this, on the validation scenes.
MAX_FALSE_ALARMS = 0.05
THRESHOLDS = np.arange(0.10, 0.95, 0.01)
#: Values of F1 that differ by no more than this are as good as one another: about its best it is almost flat.
F1_SLACK = 0.015


def evaluation_scene(split: str, index: int) -> Scene:
    return render_scene(SEEDS[split], index, *CANVASES[index % len(CANVASES)], held_out_share=HELD_OUT_SHARE)


class Evaluator:
    def __init__(
        self, model: Detector, tokenizer: Tokenizer, split: str, scenes: int, sides: tuple[int, int] | None = None
    ):
        self.model, self.tokenizer, self.split, self.sides = model.eval(), tokenizer, split, sides
        self.chunks = chunks(len(CATEGORIES))
        self.truth: list[Scene] = []
        # Of all combinations; labels index CATEGORIES.
        self.found: list[Detections] = []
        # Best score of each absent prompt, by how it was drawn.
        self.absent: dict[str, list[float]] = {"random": [], "near": []}
        for index in tqdm(range(scenes), desc=f"{split} scenes", mininterval=5):
            self._add(index)

    def _add(self, index: int) -> None:
        scene = evaluation_scene(self.split, index)
        picture = EncodedPicture(self.model, self.tokenizer, Image.fromarray(scene.image), self.sides)
        prompts = [[" ".join(CATEGORIES[k]) for k in chunk] for chunk in self.chunks]
        absent = absent_combinations(np.random.default_rng([SEEDS[self.split], 3, index]), scene)
        prompts += [[" ".join(pair)] for _, pair in absent]
        found = picture.ground(prompts)
        self.truth.append(scene)
        self.found.append(merge(found[: len(self.chunks)], self.chunks))
        for (kind, _), detections in zip(absent, found[len(self.chunks) :]):
            self.absent[kind].append(best_score(detections))

    def average_precision(self) -> dict[str, float]:
        """AP and AP50 over the seen and over the held-out combinations."""
        truth = coco_truth(self._objects(), [" ".join(pair) for pair in CATEGORIES])
        precision = coco_precision(truth, coco_detections(self.found))
        held_out = np.array([pair in HELD_OUT for pair in CATEGORIES])
        results = {}
        for name, columns in (("seen", ~held_out), ("unseen", held_out)):
            for measure, value in mean_precision(precision[:, :, columns]).items():
                results[f"{name}_{measure}"] = value
        return results

    def false_alarms(self, threshold: float) -> dict[str, float]:
        """Share of absent prompts with a detection at or over the threshold, for each way of drawing them."""
        return alarm_rates(self.absent, threshold)

    def precision_recall(self, threshold: float) -> tuple[float, float]:
        """Precision and recall of all detections over the threshold, at IoU 0.5."""
        return precision_recall(self._objects(), self.found, threshold)

    def _objects(self) -> list[list[tuple[int, tuple[int, int, int, int]]]]:
        """The labels and boxes of all scenes' objects."""
        return [[(CATEGORIES.index((o.colour, o.shape)), o.box) for o in scene.objects] for scene in self.truth]


def precision_recall(
    truth: Sequence[Sequence[tuple[int, Sequence[float]]]], found: Sequence[Detections], threshold: float
) -> tuple[float, float]:
    """Precision and recall of all images' detections over the threshold, at IoU 0.5; `truth` is their labels and boxes."""
    right = reported = existing = 0
    for objects, detections in zip(truth, found):
        keep = detections.scores >= threshold
        reported += int(keep.sum())
        existing += len(objects)
        for label, box in objects:
            mine = detections.boxes[keep & (detections.labels == label)]
            right += bool((inclusive_iou(torch.tensor(box), mine) >= 0.5).any())
    return right / max(reported, 1), right / max(existing, 1)


def choose_threshold(sets: Sequence) -> float:
    """The lowest threshold whose mean F1 is as good as the best, among those at which no false alarm of any set is frequent.

    The lowest, since a name scores less in a sentence, or alone, than in the lists that are measured here.
    """

    def mean_f1(threshold: float) -> float:
        return float(np.mean([f1(*found.precision_recall(threshold)) for found in sets]))

    def most_alarms(threshold: float) -> float:
        return max(rate for found in sets for rate in found.false_alarms(threshold).values())

    quiet = [threshold for threshold in THRESHOLDS if most_alarms(threshold) <= MAX_FALSE_ALARMS]
    # Where none keeps them rare, the highest comes closest.
    scores = {threshold: mean_f1(threshold) for threshold in quiet or THRESHOLDS[-1:]}
    good = max(scores.values()) - F1_SLACK
    return round(float(min(threshold for threshold, score in scores.items() if score >= good)), 2)


def absent_combinations(rng: np.random.Generator, scene: Scene) -> list[tuple[str, tuple[str, str]]]:
    """Two random absent combinations, and two "near" ones that share a colour or a shape with something in the scene."""
    present = {(thing.colour, thing.shape) for thing in scene.objects}
    absent = [pair for pair in CATEGORIES if pair not in present]
    near = [pair for pair in absent if any(pair[0] == colour or pair[1] == shape for colour, shape in present)]
    drawn = [("random", absent[i]) for i in rng.choice(len(absent), 2, replace=False)]
    return drawn + [("near", near[i]) for i in rng.choice(len(near), min(2, len(near)), replace=False)]


class EncodedPicture:
    """A picture to ask for many prompts; `sides` are the short and the long one to resize it to, None to leave it as it is."""

    @torch.no_grad()
    def __init__(
        self, model: Detector, tokenizer: Tokenizer, picture: Image.Image, sides: tuple[int, int] | None = None
    ):
        self.model, self.tokenizer, self.size = model, tokenizer, picture.size
        resized = picture if sides is None else resize(picture, *sides)
        self.resized = resized.size
        self.pyramid = model.image_encoder(pad(normalise(np.asarray(resized)))[None])

    def ground(self, prompts: list[list[str]]) -> list[Detections]:
        """What is found for each list of phrases, in the picture's own pixels."""
        found = ground(self.model, self.tokenizer, self.pyramid, self.resized[::-1], prompts)
        return found if self.resized == self.size else [self._to_original(detections) for detections in found]

    def _to_original(self, found: Detections) -> Detections:
        # Edges of pixels scale, inclusive corners do not.
        last = torch.tensor([0.0, 0.0, 1.0, 1.0])
        scale = torch.tensor([own / resized for own, resized in zip(self.size, self.resized)] * 2)
        return Detections((found.boxes + last) * scale - last, found.scores, found.labels)


@torch.no_grad()
def ground(
    model: Detector,
    tokenizer: Tokenizer,
    pyramid: list[Tensor],
    image_size: tuple[int, int],
    prompts: list[list[str]],
) -> list[Detections]:
    """Grounds several lists of phrases in one encoded image; detections of every score, on the CPU."""
    texts, spans = zip(*(category_prompt(phrases) for phrases in prompts))
    encodings = [tokenizer.encode(text) for text in texts]
    length = max(len(encoding.ids) for encoding in encodings)
    input_ids = torch.tensor([encoding.ids + [0] * (length - len(encoding.ids)) for encoding in encodings])
    attention_mask = torch.tensor([[1] * len(e.ids) + [0] * (length - len(e.ids)) for e in encodings])
    tiled = [level.expand(len(prompts), -1, -1, -1) for level in pyramid]
    hidden, _ = model.text_encoder(input_ids, attention_mask)
    output = model.head(*model.fuse(tiled, hidden, attention_mask))
    sizes, config = [tuple(level.shape[2:]) for level in pyramid], model.config
    options = model.postprocess if isinstance(model, OnnxGLIP) else PostprocessOptions()
    return [
        detect(
            output,
            n,
            [phrase_tokens(encoding, *span) for span in spans[n]],
            sizes,
            config.strides,
            config.anchor_sizes,
            image_size,
            options,
        )
        for n, encoding in enumerate(encodings)
    ]


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


def best_score(detections: Detections) -> float:
    return float(detections.scores.max()) if len(detections.scores) else 0.0


def alarm_rates(absent: dict[str, list[float]], threshold: float) -> dict[str, float]:
    """Share of the absent prompts' best scores at or over the threshold, for each way of drawing them."""
    return {kind: float(np.mean(np.array(scores) >= threshold)) for kind, scores in absent.items()}


def f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / max(precision + recall, 1e-9)


def model_arguments(
    description: str | None, text_heads: int | None = None, sides: str = "the model's"
) -> argparse.ArgumentParser:
    """The options of a command that measures a model; heads and sides are what it is without these options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a checkpoint (.pth), or the folder of a bundle")
    parser.add_argument("--vocab", type=Path, help="vocab.txt of the model (default: beside the checkpoint)")
    heads = f"of a checkpoint (default: {text_heads or 'hidden size / 64'})"
    parser.add_argument("--text-heads", type=int, default=text_heads, help=heads)
    parser.add_argument("--sides", type=int, nargs=2, metavar=("SHORT", "LONG"), help=f"default: {sides}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    return parser


def scene_arguments(description: str | None, scenes: int, sets: str) -> argparse.ArgumentParser:
    """Those of one that measures it on sets of so many scenes."""
    parser = model_arguments(description, NANO.text.heads)
    parser.add_argument("--scenes", type=int, default=scenes, help=f"scenes of each of the {sets} sets")
    return parser


def load_model(arguments: argparse.Namespace) -> tuple[Detector, Tokenizer, tuple[int, int] | None]:
    """The model that `model_arguments` name, its tokenizer, and the sides given or recommended, if there are any."""
    torch.set_num_threads(arguments.threads)
    if arguments.model.is_dir():
        model = OnnxGLIP(arguments.model, arguments.threads)
        tokenizer = model.tokenizer
    else:
        model = load_detector(arguments.model, arguments.text_heads)
        tokenizer = model_tokenizer(model, arguments.vocab or arguments.model.with_name("vocab.txt"))
    return model, tokenizer, tuple(arguments.sides) if arguments.sides else model.recommended.sides


def tell(numbers: dict, file: Path | None) -> None:
    """Prints what was measured, and writes it to a file too, if there is one."""
    text = json.dumps(numbers, indent=1)
    print(text)
    if file:
        with written(file) as partial:
            partial.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    arguments = scene_arguments(__doc__, 500, "two").parse_args()
    model, tokenizer, sides = load_model(arguments)
    threshold = choose_threshold([Evaluator(model, tokenizer, "validation", arguments.scenes, sides)])
    test = Evaluator(model, tokenizer, "test", arguments.scenes, sides)
    precision, recall = test.precision_recall(threshold)
    numbers = {
        "scenes": arguments.scenes,
        **test.average_precision(),
        "threshold": threshold,
        "precision": precision,
        "recall": recall,
        **{f"false_alarms_{kind}": rate for kind, rate in test.false_alarms(threshold).items()},
    }
    numbers = {"sides": sides} | {name: round(value, 4) for name, value in numbers.items()}
    tell(numbers, arguments.json)


if __name__ == "__main__":
    main()
