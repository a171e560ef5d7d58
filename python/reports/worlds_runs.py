"""Runs the experiment "Both worlds in one model" of more_than_80.md: `python reports/worlds_runs.py RUNS --model MODEL.pth --photos DIR`.

Can glip-nano know the drawn world of glip-drawn too, and photographs as well as before? It learns scenes that are drawn as they are
needed with the loss of `glip_torch.train`'s recipe for it. Each step also has photographs, on which it is to go on saying what it said at
first: the scores and boxes of the model that it began as are what it is trained towards there (learning without forgetting,
https://arxiv.org/abs/1606.09282), so that no labels are needed. Two runs, by what may move:

words   what reads words: the text encoder, fusion with its gates, the head, and the tower's output. The eyes stay as they are.
all     everything

Measured are scenes of shapes and of things as `evaluate` and `evaluate_mixed` do, and photographs as `evaluate_photos` does, with all
80 names in a prompt. A run that has a result is not run again.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
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

from glip_torch.average_precision import mean_precision
from glip_torch.checkpoint import load_checkpoint, save_checkpoint
from glip_torch.config import level_sizes
from glip_torch.data.batches import Batch, SceneBatches
from glip_torch.data.nouns import NOUNS
from glip_torch.data.prompts import category_prompt
from glip_torch.data.scenes import COLOURS, SHAPES
from glip_torch.data.worlds import WORLDS
from glip_torch.evaluate import Evaluator
from glip_torch.evaluate_mixed import ThingEvaluator
from glip_torch.evaluate_photos import SIDES, PhotoEvaluator, askings
from glip_torch.head import HeadOutput
from glip_torch.losses import BOX_LOSS_WEIGHT, generalized_iou_loss, grounding_losses
from glip_torch.model import GLIP
from glip_torch.postprocess import anchors_for, decode_boxes
from glip_torch.preprocess import normalise, resize
from glip_torch.tokenizer import build_tokenizer
from glip_torch.training.initialise import set_dropout
from glip_torch.training.sources import simple_share
from glip_torch.words.coco_names import CLASSES

#: Parts of the names of parameters that are trained; "" is in all.
ARMS = {"words": ("text_encoder.", ".fusion.", "tower.output.", "head."), "all": ("",)}
#: Of a step: scenes, photographs, and the sides that both have.
SCENES, PHOTOGRAPHS, SCENE_SIDES, PHOTOGRAPH_SIDES = 8, 2, (128, 192, 256), (256, 320, 384)
#: Rates: of fusion, which is new; of the text encoder, which knows its words; of the rest.
FUSION_RATE, LANGUAGE_RATE, RATE, WARM_UP, WEIGHT_DECAY, GRADIENT_CLIP = 2e-3, 3e-4, 5e-4, 50, 0.02, 2.0
#: Locations of a photograph, the likeliest to hold something, at which words are kept.
LOCATIONS = 400
#: What photographs are asked for: names of COCO's, and of what is drawn.
NAMES, DRAWN_NAMES = 40, 12
DRAWN = [name for noun in NOUNS.values() for name in noun.names] + [f"{c} {s}" for c in COLOURS for s in SHAPES]
#: Drawn scenes are measured at glip-drawn's size.
SCENE_SIZE = (256, 426)


class Photographs:
    """Batches of photographs in a square, mirrored or not, and a list of names to ask them for."""

    def __init__(self, files: list[Path], tokenizer: Tokenizer, seed: int):
        self.files, self.tokenizer, self.seed = files, tokenizer, seed

    def load(self, step: int) -> tuple[Tensor, Tensor]:
        """Pixels `[photographs, 3, side, side]` and the prompt's ids `[1, tokens]`."""
        rng = np.random.default_rng([self.seed, 8, step])
        side = int(rng.choice(PHOTOGRAPH_SIDES))
        chosen = rng.choice(len(self.files), PHOTOGRAPHS, replace=False)
        pixels = torch.stack([_pixels(self.files[index], side, rng.random() < 0.5) for index in chosen])
        names = [*rng.choice(CLASSES, NAMES, replace=False), *rng.choice(DRAWN, DRAWN_NAMES, replace=False)]
        text, _ = category_prompt([str(name) for name in rng.permutation(names)])
        return pixels, torch.tensor([self.tokenizer.encode(text).ids])


def _pixels(file: Path, side: int, mirrored: bool) -> Tensor:
    pixels = normalise(np.asarray(resize(Image.open(file), side, side)))
    pixels = pixels.flip(2) if mirrored else pixels
    return F.pad(pixels, (0, side - pixels.shape[2], 0, side - pixels.shape[1]))


@torch.no_grad()
def start_says(start: GLIP, pixels: Tensor, ids: Tensor) -> HeadOutput:
    """The outputs of a model whose gates are closed, without the work that these make nothing of."""
    levels = start.image_encoder(pixels)
    for layer in start.tower.layers:
        levels = layer.convolution(levels)
    hidden, _ = start.text_encoder(ids, torch.ones_like(ids))
    return start.head(start.tower.output(levels), hidden.expand(len(pixels), -1, -1))


def kept_loss(output: HeadOutput, start: HeadOutput, anchors: Tensor) -> Tensor:
    """How far the outputs are from those of the start: objectness everywhere, boxes and words where it says that something is."""
    objectness = start.centerness.sigmoid()
    weights, likely = objectness.topk(min(LOCATIONS, objectness.shape[1]), dim=1)
    words = divergence(*(_at(says.logits, likely) for says in (output, start))) * weights[..., None]
    boxes, wanted = (decode_boxes(_at(says.deltas, likely), anchors[likely]).flatten(0, 1) for says in (output, start))
    moved = generalized_iou_loss(boxes, wanted) * weights.flatten()
    parts = (divergence(output.centerness, start.centerness), words, BOX_LOSS_WEIGHT * moved)
    return sum(part.sum() for part in parts) / objectness.sum()


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Of the probabilities that the logits are of (Kullback-Leibler)."""
    truth = wanted.sigmoid()
    entropies = (F.binary_cross_entropy_with_logits(value, truth, reduction="none") for value in (logits, wanted))
    return next(entropies) - next(entropies)


def _at(values: Tensor, places: Tensor) -> Tensor:
    """`values [batch, locations, n]` at `places [batch, some]`."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[2]))


def anchors_of(model: GLIP, pixels: Tensor) -> tuple[Tensor, list[int]]:
    config = model.config
    sizes = level_sizes(*pixels.shape[2:], config.strides)
    return anchors_for(sizes, config.strides, config.anchor_sizes), [height * width for height, width in sizes]


def learned_loss(model: GLIP, batch: Batch) -> Tensor:
    """How wrong the model is about drawn scenes."""
    output = model(batch.pixels, batch.input_ids, batch.attention_mask)
    parts = (output, batch.attention_mask, *anchors_of(model, batch.pixels), batch.targets)
    return grounding_losses(*parts, shared_target=False, joint_score=True).total


def build_optimizer(model: GLIP) -> torch.optim.AdamW:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = FUSION_RATE if ".fusion." in name else LANGUAGE_RATE if "text_encoder." in name else RATE
            groups.setdefault((rate, WEIGHT_DECAY if parameter.ndim > 1 else 0.0), []).append(parameter)
    return torch.optim.AdamW(
        {"params": parameters, "initial_lr": rate, "lr": 0.0, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    )


def train(model: GLIP, tokenizer: Tokenizer, photographs: Photographs, arm: str, steps: int, seed: int) -> list[dict]:
    """Trains in place; returns the means of both losses over every 100 steps."""
    start = copy.deepcopy(model).eval().requires_grad_(False)
    set_dropout(model.train(), 0.0)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in ARMS[arm]))
    optimizer, scenes = build_optimizer(model), SceneBatches(tokenizer, seed, SCENES, world=WORLDS["mixed"])
    rng, curve = np.random.default_rng([seed, 9]), []
    for step in tqdm(range(steps), arm, mininterval=10):
        progress = step / steps
        learned = learned_loss(model, scenes.load(step, int(rng.choice(SCENE_SIDES)), simple_share(progress)))
        optimizer.zero_grad()
        learned.backward()
        pixels, ids = photographs.load(step)
        asked = ids.expand(len(pixels), -1)
        kept = kept_loss(
            model(pixels, asked, torch.ones_like(asked)), start_says(start, pixels, ids), anchors_of(model, pixels)[0]
        )
        kept.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * min(1, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * progress)) / 2
        optimizer.step()
        curve.append((learned.item(), kept.item()))
    parts = [curve[first : first + 100] for first in range(0, steps, 100)]
    return [{name: round(mean(values), 4) for name, values in zip(("learned", "kept"), zip(*part))} for part in parts]


@torch.no_grad()
def measure(model: GLIP, tokenizer: Tokenizer, dev: dict, images: Path, scenes: int) -> dict:
    model.eval()
    shapes = Evaluator(model, tokenizer, "test", scenes, SCENE_SIZE).average_precision()
    things = ThingEvaluator(model, tokenizer, "test", scenes, SCENE_SIZE).average_precision()
    names = {"names": askings()["names"]}
    photographs = mean_precision(PhotoEvaluator(model, tokenizer, dev, images, SIDES, names).precision("names"))
    kept = ("seen_AP50", "unseen_AP50", "things_AP50", "held_out_AP50")
    numbers = {name: value for name, value in (shapes | things).items() if name in kept}
    numbers |= {f"photographs_{name}": value for name, value in photographs.items()}
    return {name: round(float(value), 4) for name, value in numbers.items()}


def training_files(photos: Path) -> list[Path]:
    """The photographs that are learned from, of which no label is read."""
    datasets = [json.loads((photos / name).read_text(encoding="utf-8")) for name in ("train.json", "taught.json")]
    return [photos / image["file_name"] for dataset in datasets for image in dataset["images"]]


def run(arm: str, arguments: argparse.Namespace, tokenizer: Tokenizer) -> dict:
    """One arm, or the start as it is; returns what is measured."""
    model, started, result = load_checkpoint(arguments.model), time.monotonic(), {}
    if arm != "start":
        photographs = Photographs(training_files(arguments.photos), tokenizer, arguments.seed)
        result["loss"] = train(model, tokenizer, photographs, arm, arguments.steps, arguments.seed)
        result |= {"steps": arguments.steps, "seconds": round(time.monotonic() - started)}
        save_checkpoint(model, arguments.runs / arm / "model.pth")
    dev = json.loads((arguments.photos / "dev.json").read_text(encoding="utf-8"))
    return result | measure(model, tokenizer, dev, arguments.photos, arguments.scenes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="model.pth of glip-nano, vocab.txt beside it")
    parser.add_argument(
        "--photos", type=Path, required=True, help="folder of train.json, taught.json, dev.json and images"
    )
    parser.add_argument("--arms", nargs="+", choices=sorted(ARMS), default=list(ARMS))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=60, help="of each set that is measured on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    torch.set_flush_denormal(True)
    tokenizer = build_tokenizer(arguments.model.with_name("vocab.txt"))
    for arm in ["start", *arguments.arms]:
        out = arguments.runs / arm / "result.json"
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            result = run(arm, arguments, tokenizer)
            out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            print(arm, result, flush=True)


if __name__ == "__main__":
    main()
