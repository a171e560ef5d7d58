"""Runs the experiment "On photographs" of teaching.md: `python reports/photos_runs.py RUNS --student MODEL.pth --data DATA --photos DIR`.

A glip-nano that was never told the names of 16 of COCO's 80 classes (`from_yolox --without`) learns words from boxes: those that
people drew, those of a teacher, or both. Its eyes stay as they are: what they see of a photograph is computed once, and only the
text encoder and the head's words are trained, with the loss of `glip_torch.train`'s recipe for glip-nano. Fusion's gates stay closed.

DATA holds `labelled.jsonl` and `taught.jsonl`, grounding files that `python -m glip_torch.data reword` has said in many words, and
`dev.json`, what is measured on. A run that has a result is not run again.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numba
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm

from glip_torch.average_precision import coco_precision, mean_precision, xywh
from glip_torch.checkpoint import load_checkpoint, save_checkpoint
from glip_torch.config import level_sizes
from glip_torch.data.batches import Batch
from glip_torch.data.grounding_batches import Example, collate, targets_of
from glip_torch.data.grounding_prompts import PromptMaker, PromptOptions
from glip_torch.data.prompts import category_prompt
from glip_torch.data.stream import GroundingData
from glip_torch.head import HeadOutput
from glip_torch.losses import Positives, Targets, find_positives, grounding_losses, loss_normaliser
from glip_torch.model import GLIP
from glip_torch.postprocess import Detections, anchors_for, detect
from glip_torch.preprocess import normalise, resize, resized_size
from glip_torch.tokenizer import build_tokenizer, phrase_tokens
from glip_torch.words.coco_names import CLASSES
from glip_torch.yolox import BOX, CODE

#: Every fifth class by the alphabet: 16 of 80.
HELD_OUT = sorted(CLASSES)[::5]
ARMS = {"labelled": ("labelled",), "taught": ("taught",), "both": ("labelled", "taught")}
SEEDS = (0, 1, 2)
#: Photographs are put into the top left of a square of this side, which is smaller in training than in measuring.
TRAINING_SIDE, MEASURED_SIDE = 320, 512
STEPS, BATCH, RATE, WARM_UP = 60, 16, 3e-4, 10
#: Locations of a photograph that are learned from.
LOCATIONS = 500
#: Where a location's objectness is, behind its code and its box.
OBJECTNESS = BOX.stop - 1
#: Boxes of the teacher below this are neither there nor absent.
CERTAIN = 0.5
PROMPTS = PromptOptions(negatives=30, full_share=0.1, mostly_few=True, certain=CERTAIN)


class Eyes:
    """What a model sees of photographs in a square of one side: for every location its code and its box, whatever is asked."""

    def __init__(self, model: GLIP, side: int):
        config = model.config
        self.model, self.side, self.strides, self.anchor_sizes = model, side, config.strides, config.anchor_sizes
        self.sizes = level_sizes(side, side, config.strides)
        self.anchors = anchors_for(self.sizes, config.strides, config.anchor_sizes)
        self.counts = [height * width for height, width in self.sizes]
        self._kept: dict[str, Tensor] = {}

    def scale(self, width: int, height: int) -> Tensor:
        """What x1 y1 x2 y2 of a photograph are multiplied by."""
        resized = resized_size(width, height, self.side, self.side)
        return torch.tensor([resized[0] / width, resized[1] / height] * 2)

    def see(self, name: str, content: bytes) -> Tensor:
        """What `look` gives, kept."""
        if name not in self._kept:
            self._kept[name] = self.look(Image.open(io.BytesIO(content)).convert("RGB"))
        return self._kept[name]

    @torch.no_grad()
    def look(self, picture: Image.Image) -> Tensor:
        """`[locations, BOX.stop]`, in half the digits, since those of thousands of photographs are kept."""
        pixels = normalise(np.asarray(resize(picture, self.side, self.side)))
        pixels = F.pad(pixels, (0, self.side - pixels.shape[2], 0, self.side - pixels.shape[1]))
        levels = self.model.image_encoder(pixels[None])
        for layer in self.model.tower.layers:
            levels = layer.decoupled(levels)
        levels = self.model.tower.output(levels)
        return torch.cat([level.flatten(2) for level in levels], dim=2)[0, : BOX.stop].T.half()


def outputs(model: GLIP, seen: Tensor, input_ids: Tensor, attention_mask: Tensor) -> HeadOutput:
    """The head's outputs for what was seen, `[batch, locations, ...]`; with closed gates they are the model's."""
    hidden, _ = model.text_encoder(input_ids, attention_mask)
    queries, bias = model.head.queries(hidden)
    logits = seen[..., :CODE] @ queries[..., :CODE].transpose(1, 2) + bias[:, None]
    return HeadOutput(logits, seen[..., CODE:OBJECTNESS], seen[..., OBJECTNESS])


# --- training -------------------------------------------------------------------------------------------------------


class Lessons:
    """Batches of records and what the eyes see of their photographs."""

    def __init__(self, files: list[Path], tokenizer: Tokenizer, eyes: Eyes, seed: int):
        self.data, self.maker = GroundingData(files, seed), PromptMaker(tokenizer, PROMPTS)
        self.eyes, self.seed = eyes, seed

    def batch(self, step: int) -> tuple[Tensor, Batch]:
        seen, examples = zip(*(self._example(step * BATCH + place) for place in range(BATCH)))
        return torch.stack(seen).float(), collate(list(examples))

    def _example(self, position: int) -> tuple[Tensor, Example]:
        row, header = self.data.at(position)
        record = row.record()
        prompt = self.maker.make(np.random.default_rng([self.seed, position]), record, header, row.place)
        scale = self.eyes.scale(record.width, record.height)
        boxes, tokens = targets_of(prompt.positives, prompt.encoding)
        doubtful, doubtful_tokens = targets_of(prompt.doubtful, prompt.encoding)
        seen = self.eyes.see(record.image, row.images.read(record.image, row.place))
        # Of the pixels nothing but what was seen is needed.
        pixels = torch.zeros(3, 1, 1)
        doubts = (doubtful * scale, doubtful_tokens)
        return seen, Example(pixels, prompt.encoding, boxes * scale, tokens, doubts, str(row.place))


def words_of(model: GLIP) -> list[nn.Parameter]:
    """What is trained: the text encoder, and the head's layers that read it."""
    head = model.head
    return [
        *model.text_encoder.parameters(),
        *head.dot_product_projection_text.parameters(),
        head.bias_lang,
        head.bias0,
    ]


def words_loss(model: GLIP, eyes: Eyes, seen: Tensor, batch: Batch) -> Tensor:
    """How wrong the words are, at the locations of each photograph that hold something and those likeliest to.

    Elsewhere objectness leaves nothing for the words to turn down.
    """
    positives = find_positives(eyes.anchors, eyes.counts, batch.targets)
    normaliser = loss_normaliser(positives.sums)
    objectness = seen[..., OBJECTNESS].clone()
    objectness[positives.image, positives.anchor] = math.inf
    kept = objectness.topk(min(LOCATIONS, objectness.shape[1]), dim=1).indices
    seen = seen.gather(1, kept[..., None].expand(-1, -1, seen.shape[2]))
    output = outputs(model, seen, batch.input_ids, batch.attention_mask)
    losses = []
    for row, locations in enumerate(kept):
        mine = positives.image == row
        places = (locations == positives.anchor[mine, None]).nonzero()[:, 1]
        found = Positives(torch.zeros_like(places), places, positives.box[mine], positives.weights[mine])
        parts = (
            HeadOutput(*(value[row : row + 1] for value in vars(output).values())),
            batch.attention_mask[row : row + 1],
            eyes.anchors[locations],
            [],
            Targets(*(value[row : row + 1] for value in vars(batch.targets).values())),
        )
        losses.append(grounding_losses(*parts, False, found, normaliser, joint_score=True).token)
    return torch.stack(losses).sum()


def train(model: GLIP, loss_of: Callable[[int], Tensor], steps: int, rate: float) -> list[float]:
    """Trains the words in place with what each step loses; returns the mean loss of every 20 steps."""
    parameters, curve = words_of(model), []
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=0.05)
    for step in tqdm(range(steps), mininterval=5):
        loss = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.step()
        curve.append(loss.item())
    return [round(mean(curve[first : first + 20]), 4) for first in range(0, steps, 20)]


# --- measuring ------------------------------------------------------------------------------------------------------


class Measured:
    """The photographs that models are measured on, as the eyes see them."""

    def __init__(self, annotations: Path, images: Path, eyes: Eyes):
        self.dataset, self.eyes = json.loads(annotations.read_text(encoding="utf-8")), eyes
        names = (image["file_name"] for image in tqdm(self.dataset["images"], "photographs measured on", mininterval=5))
        self.seen = [eyes.see(name, (images / name).read_bytes()).float() for name in names]

    def scores(self, model: GLIP, tokenizer: Tokenizer) -> dict[str, dict[str, float]]:
        """AP and AP50 by the classes' names, of all, of those that were held out and of the others."""
        ids = {category["name"]: category["id"] for category in self.dataset["categories"]}
        detections = [
            {"image_id": image["id"], "category_id": ids[CLASSES[label]], "bbox": xywh(box), "score": score}
            for image, found in zip(self.dataset["images"], self.detections(model, tokenizer, CLASSES))
            for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist())
        ]
        precision = coco_precision(self.dataset, detections)
        # pycocotools' columns are in the order of the ids.
        apart = np.array([name in HELD_OUT for name in sorted(ids, key=ids.get)])
        parts = {"all": precision, "16": precision[:, :, apart], "64": precision[:, :, ~apart]}
        return {name: mean_precision(part) for name, part in parts.items()}

    @torch.no_grad()
    def detections(self, model: GLIP, tokenizer: Tokenizer, words: list[str]) -> Iterator[Detections]:
        text, spans = category_prompt(words)
        encoding, eyes = tokenizer.encode(text), self.eyes
        tokens = [phrase_tokens(encoding, *span) for span in spans]
        ids = torch.tensor([encoding.ids])
        for image, seen in zip(self.dataset["images"], self.seen):
            output = outputs(model, seen[None], ids, torch.ones_like(ids))
            x, y, *_ = eyes.scale(image["width"], image["height"]).tolist()
            size = (round(image["height"] * y), round(image["width"] * x))
            found = detect(output, 0, tokens, eyes.sizes, eyes.strides, eyes.anchor_sizes, size)
            yield found.scaled(1 / x, 1 / y)


# --- the runs -------------------------------------------------------------------------------------------------------


@dataclass
class Experiment:
    runs: Path
    student: Path
    data: Path
    training: Eyes
    measured: Measured
    tokenizer: Tokenizer
    steps: int
    rate: float

    def run(self, arm: str, seed: int) -> dict:
        out = self.runs / f"{arm}-{seed}"
        if not (out / "result.json").exists():
            out.mkdir(parents=True, exist_ok=True)
            model, started = load_checkpoint(self.student).eval(), time.monotonic()
            lessons = Lessons([self.data / f"{name}.jsonl" for name in ARMS[arm]], self.tokenizer, self.training, seed)
            curve = train(
                model, lambda step: words_loss(model, lessons.eyes, *lessons.batch(step)), self.steps, self.rate
            )
            result = {"arm": arm, "seed": seed, "steps": self.steps, "rate": self.rate}
            result |= {"seconds": round(time.monotonic() - started), "loss": curve}
            result |= self.measured.scores(model, self.tokenizer)
            save_checkpoint(model, out / "model.pth")
            (out / "result.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
        return json.loads((out / "result.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument(
        "--student", type=Path, required=True, help="model.pth of `from_yolox --without`, vocab.txt beside it"
    )
    parser.add_argument("--teacher", type=Path, required=True, help="glip-nano's model.pth, to measure it likewise")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the photographs that are measured on")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rate", type=float, default=RATE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    torch.set_flush_denormal(True)
    models = {"teacher": load_checkpoint(arguments.teacher), "student": load_checkpoint(arguments.student)}
    tokenizers = {name: build_tokenizer(getattr(arguments, name).with_name("vocab.txt")) for name in models}
    eyes = Eyes(models["student"].eval(), MEASURED_SIDE)
    measured = Measured(arguments.data / "dev.json", arguments.photos, eyes)
    results = {name: measured.scores(model.eval(), tokenizers[name]) for name, model in models.items()}
    print(results, flush=True)
    experiment = Experiment(
        arguments.runs,
        arguments.student,
        arguments.data,
        Eyes(models["student"], TRAINING_SIDE),
        measured,
        tokenizers["student"],
        arguments.steps,
        arguments.rate,
    )
    runs = []
    for seed in arguments.seeds:
        for arm in ARMS:
            runs.append(experiment.run(arm, seed))
            print({name: value for name, value in runs[-1].items() if name != "loss"}, flush=True)
    results |= {"held out": HELD_OUT, "runs": runs}
    arguments.runs.mkdir(parents=True, exist_ok=True)
    (arguments.runs / "results.json").write_text(json.dumps(results) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
