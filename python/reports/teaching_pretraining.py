"""The image encoder that the models of teaching.md begin with: what ImageNet is to official's.

It tells shapes and colours apart in pictures of a single thing, all ten shapes among them. It learns no words and no boxes.
"""

from __future__ import annotations

import json
from pathlib import Path

import teaching_world as world
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_torch.config import SwinConfig
from glip_torch.data.scenes import SceneObject
from glip_torch.image_encoder import Swin
from glip_torch.preprocess import normalise

SIDE, BATCH, STEPS, RATE = 32, 64, 1500, 3e-3
#: Of the pictures: those that the encoder learns from, and those it is measured on.
SEED, TEST_SEED = 80, 81


class Classifier(nn.Module):
    """Says the shape and the colour from the mean of each stage's features, so that every stage learns them."""

    def __init__(self, config: SwinConfig):
        super().__init__()
        self.swin = Swin(config)
        for module in self.swin.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        self.classes = (len(world.SHAPES), len(world.COLOURS))
        self.heads = nn.ModuleList(nn.Linear(width, sum(self.classes)) for width in config.widths[1:])

    def forward(self, pixels: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = (stage.mean((2, 3)) for stage in self.swin(pixels))
        return [head(f).split(self.classes, dim=1) for f, head in zip(features, self.heads)]


def batch(seed: int, step: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of one thing each `[size, 3, 32, 32]`, and the indices of their shapes and colours `[size]`."""
    scenes = [world.draw_single(seed, step * size + n, SIDE) for n in range(size)]
    things: list[SceneObject] = [scene.objects[0] for scene in scenes]
    pixels = torch.stack([normalise(scene.image) for scene in scenes])
    shapes = torch.tensor([world.SHAPES.index(thing.shape) for thing in things])
    colours = torch.tensor([world.COLOURS.index(thing.colour) for thing in things])
    return pixels, shapes, colours


def pretrain(config: SwinConfig, out: Path) -> None:
    """Trains an encoder and writes OUT/swin.pth and OUT/pretraining.json."""
    torch.manual_seed(SEED)
    model = Classifier(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    for step in range(STEPS):
        pixels, shapes, colours = batch(SEED, step, BATCH)
        loss = sum(F.cross_entropy(s, shapes) + F.cross_entropy(c, colours) for s, c in model(pixels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"pre-training, step {step + 1}: {loss.item():.3f}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "pretraining.json").write_text(
        json.dumps({"steps": STEPS, "pictures": STEPS * BATCH, **accuracy(model)}) + "\n"
    )
    torch.save(model.swin.state_dict(), out / "swin.pth")


@torch.no_grad()
def accuracy(model: Classifier) -> dict[str, list[float]]:
    """Share of new pictures whose shape, and whose colour, each stage gets right."""
    pixels, shapes, colours = batch(TEST_SEED, 0, 1000)
    answers = model.eval()(pixels)
    right = lambda scores, truth: round(float((scores.argmax(1) == truth).float().mean()), 4)
    return {"shapes": [right(s, shapes) for s, _ in answers], "colours": [right(c, colours) for _, c in answers]}
