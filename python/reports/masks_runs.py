"""Can a small head learn masks from glip-drawn as it is? `python reports/masks_runs.py RUN --model .../glip-drawn/model.pth`.

It trains `glip_torch.mask_head` on drawn scenes, whose masks are known, above the frozen detector; then measures masks of what the
detector finds in the scenes that it is itself measured on. RUN/scenes keeps what the detector makes of the training scenes, half
a megabyte each. A run that was stopped goes on where it last wrote RUN/state.pt.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numba
import numpy as np
import torch
from pycocotools import mask as rle
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm

from glip_torch import evaluate, evaluate_mixed
from glip_torch.atomic import written
from glip_torch.average_precision import coco_areas, coco_detections, coco_truth, mean_precision
from glip_torch.checkpoint import load_detector
from glip_torch.data.batches import collate
from glip_torch.data.nouns import NOUNS
from glip_torch.data.scenes import HELD_OUT, Scene
from glip_torch.data.worlds import WORLDS
from glip_torch.dyconv import DeformableBranch
from glip_torch.evaluate import CANVASES, CATEGORIES, EncodedPicture, chunks, ground, merge
from glip_torch.mask_head import MaskHead, mask_loss, mask_targets, paste, widen
from glip_torch.model import GLIP
from glip_torch.postprocess import Detections, inclusive_iou, to_edges
from glip_torch.preprocess import normalise
from glip_torch.tokenizer import model_tokenizer

TEXT_HEADS = 4
#: Of the scenes that the head learns from; the detector's own have others.
SEED = 6001
#: Scenes of a step, all of one size.
SCENES = 8
#: Levels that are kept for training: those that the head reads.
LEVELS = 3
#: Standard deviation of the boxes' edges in training, as a share of the sides: the detector's are not exact either.
JITTER = 0.05
RATE, WARM_UP, WEIGHT_DECAY, GRADIENT_CLIP = 3e-3, 100, 1e-4, 2.0
LOG_EVERY, SAVE_EVERY = 50, 250


# --- training -------------------------------------------------------------------------------------------------------


class TrainingScenes:
    """Batches of scenes as the frozen detector sees them: drawn and seen once, then read from a folder."""

    def __init__(self, model: GLIP, tokenizer: Tokenizer, folder: Path):
        self.model, self.tokenizer, self.folder = model, tokenizer, folder
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, number: int) -> dict:
        """Batch `number`: `images` uint8 `[SCENES, height, width, 3]`, `levels`, `boxes [n, 5]` with the image's number first, and
        `masks [n, height, width]`, of all objects that a phrase of the scene's prompt means."""
        file = self.folder / f"{number:05}.pt"
        if not file.exists():
            with written(file) as partial:
                torch.save(self._make(number), partial)
        batch = torch.load(file)
        owners, objects = batch.pop("owners"), batch.pop("objects")
        return batch | {"masks": owners[batch["boxes"][:, 0].long()] == objects[:, None, None] + 1}

    @torch.no_grad()
    def _make(self, number: int) -> dict:
        world, (width, height) = WORLDS["mixed"], CANVASES[number % len(CANVASES)]
        scenes = [world.render(SEED, number * SCENES + i, width, height) for i in range(SCENES)]
        prompts = [world.prompt(np.random.default_rng([SEED, 2, number, i]), scene, 0.2) for i, scene in enumerate(scenes)]
        batch = collate(scenes, prompts, self.tokenizer)
        hidden, _ = self.model.text_encoder(batch.input_ids, batch.attention_mask)
        levels, _ = self.model.fuse(self.model.image_encoder(batch.pixels), hidden, batch.attention_mask)
        asked = [(i, k) for i, prompt in enumerate(prompts) for k in sorted(set(chain(*prompt.targets)))]
        boxes = torch.tensor([scenes[i].objects[k].box for i, k in asked], dtype=torch.float32)
        return {
            "images": torch.from_numpy(np.stack([scene.image for scene in scenes])),
            "levels": [level.half() for level in levels[:LEVELS]],
            "owners": torch.from_numpy(np.stack([scene.owner for scene in scenes]).astype(np.uint8)),
            "boxes": torch.cat([torch.tensor([[float(i)] for i, _ in asked]), to_edges(boxes)], dim=1),
            "objects": torch.tensor([k for _, k in asked], dtype=torch.int64),
        }


def jittered(edges: Tensor, generator: torch.Generator) -> Tensor:
    sides = (edges[:, 2:] - edges[:, :2]).repeat(1, 2)
    shift = torch.randn(edges.shape, generator=generator).clamp(-2, 2) * JITTER
    return edges + shift * sides


def train(head: MaskHead, scenes: TrainingScenes, batches: int, steps: int, run: Path) -> None:
    """Trains in place, or goes on with it."""
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    state, first = run / "state.pt", 0
    if state.exists():
        stored = torch.load(state)
        head.load_state_dict(stored["head"])
        optimizer.load_state_dict(stored["optimizer"])
        first = stored["step"]
    head.train()
    logged, since = [], time.monotonic()
    for step in range(first, steps):
        epoch, place = divmod(step, batches)
        order = np.random.default_rng([SEED, 3, epoch]).permutation(batches) if epoch else np.arange(batches)
        batch = scenes.load(int(order[place]))
        generator = torch.Generator().manual_seed(step)
        crops = widen(jittered(batch["boxes"][:, 1:], generator))
        pixels = torch.stack([normalise(image.numpy()) for image in batch["images"]])
        logits = head(pixels, [level.float() for level in batch["levels"]], torch.cat([batch["boxes"][:, :1], crops], 1))
        targets = mask_targets(batch["masks"], crops)
        loss = mask_loss(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), GRADIENT_CLIP)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.step()
        logged.append((loss.item(), _overlaps(logits > 0, targets > 0).mean().item()))
        if (step + 1) % LOG_EVERY == 0:
            loss, overlap = np.mean(logged, 0)
            seconds, logged = time.monotonic() - since, []
            line = {"step": step + 1, "loss": round(loss, 4), "IoU": round(overlap, 4), "seconds": round(seconds)}
            since = time.monotonic()
            with (run / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            with written(state) as partial:
                torch.save({"head": head.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, partial)


def _overlaps(a: Tensor, b: Tensor) -> Tensor:
    """IoU of masks `[n, height, width]`, pair by pair."""
    return (a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp(min=1)


def faster(model: GLIP) -> GLIP:
    """The frozen model with the deformable convolutions of training, which have the same numbers in a third of the time."""
    for module in model.modules():
        if isinstance(module, DeformableBranch):
            module.training = True
    return model


# --- measuring ------------------------------------------------------------------------------------------------------


class KeepsLevels:
    """A detector that remembers the levels it last fused."""

    def __init__(self, model: GLIP):
        self.model, self.config = model, model.config
        self.image_encoder, self.text_encoder, self.head = model.image_encoder, model.text_encoder, model.head
        self.levels: list[Tensor] = []

    def fuse(self, *inputs) -> tuple[list[Tensor], Tensor]:
        self.levels, text = self.model.fuse(*inputs)
        return self.levels, text


class Shapes:
    """The scenes of `evaluate`, asked for all 80 combinations."""

    names = [" ".join(pair) for pair in CATEGORIES]
    parts = {"seen": [pair not in HELD_OUT for pair in CATEGORIES], "unseen": [pair in HELD_OUT for pair in CATEGORIES]}

    def scene(self, index: int) -> Scene:
        return evaluate.evaluation_scene("test", index)

    def phrases(self, index: int) -> list[str]:
        return self.names

    def objects(self, scene: Scene) -> Iterator[tuple[int, int]]:
        """The number of each object that has a name, and the name's."""
        for k, thing in enumerate(scene.objects):
            yield k, CATEGORIES.index((thing.colour, thing.shape))


class Things:
    """The scenes of `evaluate_mixed`, asked for all nouns by a trained name each."""

    names = list(evaluate_mixed.NAMES)
    parts = {"things": [True] * len(names)}

    def scene(self, index: int) -> Scene:
        return evaluate_mixed.evaluation_scene("test", index)

    def phrases(self, index: int) -> list[str]:
        return [noun.names[index % len(noun.names)] for noun in NOUNS.values()]

    def objects(self, scene: Scene) -> Iterator[tuple[int, int]]:
        for k, thing in enumerate(scene.objects):
            if thing in evaluate_mixed.things(scene):
                yield k, self.names.index(thing.noun)


@torch.no_grad()
def find(model: GLIP, head: MaskHead, tokenizer: Tokenizer, scene: Scene, phrases: list[str]) -> tuple[Detections, Tensor]:
    """What is found in a scene, labelled by the phrase's number, and the masks that the head gives it."""
    from PIL import Image

    keeps, groups = KeepsLevels(model), chunks(len(phrases))
    picture = EncodedPicture(keeps, tokenizer, Image.fromarray(scene.image))
    found = picture.ground([[phrases[k] for k in group] for group in groups])
    height, width = scene.image.shape[:2]
    pixels = normalise(scene.image)[None].expand(len(groups), -1, -1, -1)
    numbers = torch.cat([torch.full((len(f.boxes), 1), float(n)) for n, f in enumerate(found)])
    merged = merge(found, groups)
    crops = widen(to_edges(merged.boxes))
    logits = head(pixels, keeps.levels, torch.cat([numbers, crops], dim=1))
    return merged, paste(logits, crops, height, width)


def filled(boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks that are their whole box, bool `[n, height, width]`."""
    edges = to_edges(boxes)[..., None]
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    across, down = (x > edges[:, 0]) & (x < edges[:, 2]), (y > edges[:, 1]) & (y < edges[:, 3])
    return down[:, :, None] & across[:, None, :]


def perfect(scene: Scene, boxes: Tensor, otherwise: Tensor) -> Tensor:
    """The true mask of the object whose box a box fits best, whatever it was called; `otherwise` where it fits none."""
    overlap = torch.stack([inclusive_iou(torch.tensor(thing.box), boxes) for thing in scene.objects], 1)
    best, nearest = overlap.max(1)
    truth = torch.from_numpy(np.stack([scene.mask(k) for k in range(len(scene.objects))]))
    return torch.where((best >= 0.5)[:, None, None], truth[nearest], otherwise)


def encoded(masks: Tensor) -> list[dict]:
    return rle.encode(np.asfortranarray(masks.permute(1, 2, 0).numpy().astype(np.uint8))) if len(masks) else []


def measure(model: GLIP, head: MaskHead, tokenizer: Tokenizer, asked: Shapes | Things, scenes: int, threshold: float) -> dict:
    head.eval()
    found: list[Detections] = []
    segments: dict[str, list] = {"head": [], "whole box": [], "perfect": []}
    truth, true_segments, sizes, overlaps = [], [], [], []
    for index in tqdm(range(scenes), type(asked).__name__, mininterval=10):
        scene = asked.scene(index)
        height, width = scene.image.shape[:2]
        detections, masks = find(model, head, tokenizer, scene, asked.phrases(index))
        boxes = filled(detections.boxes, height, width)
        for name, these in (("head", masks), ("whole box", boxes), ("perfect", perfect(scene, detections.boxes, boxes))):
            segments[name] += encoded(these)
        found.append(detections)
        objects = list(asked.objects(scene))
        truth.append([(label, scene.objects[k].box) for k, label in objects])
        sizes.append({"height": height, "width": width})
        for k, label in objects:
            mask = torch.from_numpy(scene.mask(k))
            true_segments += encoded(mask[None])
            right = (detections.labels == label) & (detections.scores >= threshold)
            fit = torch.where(right, inclusive_iou(torch.tensor(scene.objects[k].box), detections.boxes), 0.0)
            if len(fit) and fit.max() >= 0.5:
                kind = getattr(scene.objects[k], "noun", None) or scene.objects[k].shape
                overlaps.append((kind, scene.objects[k].size, _overlaps(masks[fit.argmax()][None], mask[None]).item()))
    dataset = coco_truth(truth, asked.names)
    for image, size in zip(dataset["images"], sizes):
        image |= size
    for annotation, segment in zip(dataset["annotations"], true_segments, strict=True):
        annotation |= {"segmentation": segment, "area": float(rle.area(segment))}
    results: dict = {"scenes": scenes, "objects": len(true_segments), "detections": len(segments["head"])}
    plain = coco_detections(found)
    answers = {"boxes": ("bbox", plain)} | {
        name: ("segm", [d | {"segmentation": s, "area": float(rle.area(s))} for d, s in zip(plain, these, strict=True)])
        for name, these in segments.items()
    }
    for name, (kind, detections) in answers.items():
        precision = coco_areas(dataset, detections, kind)
        for part, columns in asked.parts.items():
            for area, size in enumerate(("all", "small", "medium", "large")):
                these = precision[:, :, columns, area]
                if (these > -1).any():
                    values = mean_precision(these)
                    results.setdefault(part, {}).setdefault(name, {})[size] = {m: round(v, 4) for m, v in values.items()}
    results["IoU of right detections"] = {
        "all": _mean(overlaps, lambda _: True),
        **{size: _mean(overlaps, lambda o, size=size: o[1] == size) for size in ("small", "medium", "large")},
        **{kind: _mean(overlaps, lambda o, kind=kind: o[0] == kind) for kind in sorted({o[0] for o in overlaps})},
    }
    return results


def _mean(overlaps: list, chosen) -> list:
    """Mean IoU, and of how many."""
    values = [overlap[2] for overlap in overlaps if chosen(overlap)]
    return [round(float(np.mean(values)), 3) if values else None, len(values)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="model.pth of glip-drawn, vocab.txt beside it")
    parser.add_argument("--batches", type=int, default=500, help="of 8 training scenes")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--scenes", type=int, default=300, help="of each set that is measured on")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    numba.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    model = faster(load_detector(arguments.model, TEXT_HEADS).eval().requires_grad_(False))
    tokenizer = model_tokenizer(model, arguments.model.with_name("vocab.txt"))
    head = MaskHead(model.config.fused_channels)
    print(f"{sum(p.numel() for p in head.parameters())} parameters", flush=True)
    train(head, TrainingScenes(model, tokenizer, arguments.run / "scenes"), arguments.batches, arguments.steps, arguments.run)
    results = {}
    for asked in (Things(), Shapes()):
        numbers = measure(model, head, tokenizer, asked, arguments.scenes, model.recommended.score_threshold)
        results[type(asked).__name__] = numbers
        (arguments.run / "result.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
