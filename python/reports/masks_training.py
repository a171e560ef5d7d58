"""How the mask heads of masks.md are trained: above a frozen GLIP, on scenes of the mixed world.

What the model makes of each scene is computed once and kept in a folder, half a megabyte a scene, so that all steps after the
first pass take the head's own time. A run that was stopped goes on from its state.pt; log.jsonl has how it goes.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from masks_head import LEVELS, mask_loss, mask_targets, overlaps, widen
from tokenizers import Tokenizer
from torch import Tensor, nn

from glip_torch.atomic import written
from glip_torch.data.batches import collate
from glip_torch.data.worlds import WORLDS
from glip_torch.dyconv import DeformableBranch
from glip_torch.evaluate import CANVASES
from glip_torch.model import GLIP
from glip_torch.postprocess import to_edges
from glip_torch.preprocess import normalise

#: Of the scenes; the model's own have others.
SEED = 6001
#: Scenes of a step, all of one size, and the share of their prompts that are lists of single nouns.
SCENES, SIMPLE = 8, 0.2
#: Standard deviation of the boxes' edges, as a share of the sides: those that a model finds are not exact either.
JITTER = 0.05
RATE, WARM_UP, WEIGHT_DECAY, GRADIENT_CLIP = 3e-3, 100, 1e-4, 2.0
LOG_EVERY, SAVE_EVERY = 50, 250


@dataclass
class Seen:
    """Scenes of one size as a frozen model sees them, and the objects that their prompts mean."""

    #: Pixels of the network's input `[batch, 3, height, width]`, and the fused levels that a head reads.
    pixels: Tensor
    levels: list[Tensor]
    #: Of each object: the number of its scene `[n, 1]`, its box by the edges `[n, 4]`, its mask `[n, height, width]`.
    numbers: Tensor
    edges: Tensor
    masks: Tensor


class SeenScenes:
    """Batches of training scenes: drawn and seen once, then read from a folder."""

    def __init__(self, model: GLIP, tokenizer: Tokenizer, folder: Path):
        self.model, self.tokenizer, self.folder = faster(model), tokenizer, folder
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, batch: int) -> Seen:
        file = self.folder / f"{batch:05}.pt"
        if not file.exists():
            with written(file) as partial:
                torch.save(self._see(batch), partial)
        stored = torch.load(file)
        numbers, edges = stored["boxes"].split([1, 4], dim=1)
        shown = stored["owners"][numbers[:, 0].long()]
        return Seen(
            torch.stack([normalise(image.numpy()) for image in stored["images"]]),
            [level.float() for level in stored["levels"]],
            numbers,
            edges,
            shown == stored["objects"][:, None, None] + 1,
        )

    @torch.no_grad()
    def _see(self, batch: int) -> dict[str, Tensor | list[Tensor]]:
        world, (width, height) = WORLDS["mixed"], CANVASES[batch % len(CANVASES)]
        scenes = [world.render(SEED, batch * SCENES + i, width, height) for i in range(SCENES)]
        prompts = [
            world.prompt(np.random.default_rng([SEED, 2, batch, i]), scene, SIMPLE) for i, scene in enumerate(scenes)
        ]
        asked = [(i, k) for i, prompt in enumerate(prompts) for k in sorted(set(chain(*prompt.targets)))]
        boxes = torch.tensor([scenes[i].objects[k].box for i, k in asked], dtype=torch.float32).reshape(-1, 4)
        inputs = collate(scenes, prompts, self.tokenizer)
        hidden, _ = self.model.text_encoder(inputs.input_ids, inputs.attention_mask)
        levels, _ = self.model.fuse(self.model.image_encoder(inputs.pixels), hidden, inputs.attention_mask)
        return {
            "images": torch.from_numpy(np.stack([scene.image for scene in scenes])),
            "levels": [level.half() for level in levels[:LEVELS]],
            "owners": torch.from_numpy(np.stack([scene.owner for scene in scenes]).astype(np.uint8)),
            "boxes": torch.cat([torch.tensor([[float(i)] for i, _ in asked]).reshape(-1, 1), to_edges(boxes)], dim=1),
            "objects": torch.tensor([k for _, k in asked], dtype=torch.int64),
        }


def faster(model: GLIP) -> GLIP:
    """The frozen model with the deformable convolutions of training: the same numbers in a third of the time."""
    for module in model.eval().requires_grad_(False).modules():
        if isinstance(module, DeformableBranch):
            module.training = True
    return model


def train(head: nn.Module, scenes: SeenScenes, batches: int, steps: int, out: Path) -> None:
    """Trains a head in place, in OUT, for so many steps altogether; each batch of scenes is seen once in a pass."""
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    first = _resume(head, optimizer, out / "state.pt")
    head.train()
    measured, since = [], time.monotonic()
    for step in range(first, steps):
        loss, overlap = _losses(head, scenes.load(_batch_of(step, batches)), torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), GRADIENT_CLIP)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.step()
        measured.append((loss.item(), overlap.item()))
        if (step + 1) % LOG_EVERY == 0:
            (loss, overlap), seconds = np.mean(measured, 0), round(time.monotonic() - since)
            line = {"step": step + 1, "loss": round(loss, 4), "IoU": round(overlap, 4), "seconds": seconds}
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            measured, since = [], time.monotonic()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            with written(out / "state.pt") as partial:
                torch.save({"head": head.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, partial)


def _resume(head: nn.Module, optimizer: torch.optim.Optimizer, state: Path) -> int:
    """The step to go on with."""
    if not state.exists():
        return 0
    stored = torch.load(state)
    head.load_state_dict(stored["head"])
    optimizer.load_state_dict(stored["optimizer"])
    return stored["step"]


def _batch_of(step: int, batches: int) -> int:
    """The first pass in order, as that makes what the others read; those shuffled."""
    done, place = divmod(step, batches)
    return place if done == 0 else int(np.random.default_rng([SEED, 3, done]).permutation(batches)[place])


def _losses(head: nn.Module, seen: Seen, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The loss, and the mean IoU of the masks in their crops."""
    sides = (seen.edges[:, 2:] - seen.edges[:, :2]).repeat(1, 2)
    crops = widen(seen.edges + torch.randn(sides.shape, generator=generator).clamp(-2, 2) * JITTER * sides)
    targets = mask_targets(seen.masks, crops)
    logits = head(seen.pixels, seen.levels, torch.cat([seen.numbers, crops], dim=1))
    return mask_loss(logits, targets), overlaps(logits > 0, targets > 0).mean()
