"""Batches of rendered scenes and their prompts, as tensors. A batch is a function of (seed, step, rank) alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from ..losses import Targets
from ..preprocess import normalise, pad
from ..probes import ATTRIBUTES, Attributes, attribute_labels
from ..tokenizer import phrase_tokens
from .prompts import ScenePrompt
from .scenes import Scene
from .worlds import WORLDS, World

# Longest scene side relative to the shortest.
MAX_ASPECT = 1.5


@dataclass
class Batch:
    pixels: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    targets: Targets
    #: Of rendered scenes: every object, asked for or not [batch, boxes], and its attributes [batch, boxes, attributes].
    present: Tensor | None = None
    attributes: Tensor | None = None
    #: Where each example is from, for messages.
    names: tuple[str, ...] = ()
    #: Records that could not be used on the way (`grounding_batches.Skipped`).
    skipped: tuple = ()

    def to(self, device: torch.device) -> Batch:
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        targets = Targets(*(None if value is None else value.to(device) for value in vars(self.targets).values()))
        return replace(self, targets=targets, **moved)


class SceneBatches:
    """Training batches: `load(step, short_side)` renders `size` scenes of one canvas size and prompts for them.

    A share `simple` of the prompts are lists of single attributes.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        seed: int,
        size: int,
        rank: int = 0,
        ranks: int = 1,
        world: World = WORLDS["shapes"],
    ):
        self.tokenizer, self.seed, self.size, self.rank, self.ranks = tokenizer, seed, size, rank, ranks
        self.world = world

    def load(self, step: int, short_side: int, simple: float = 0.0) -> Batch:
        # All ranks draw the same canvas: steps then cost them the same time.
        width, height = _canvas(np.random.default_rng([self.seed, 1, step]), short_side)
        first = (step * self.ranks + self.rank) * self.size
        scenes = [self.world.render(self.seed, first + i, width, height) for i in range(self.size)]
        prompts = [
            self.world.prompt(np.random.default_rng([self.seed, 2, first + i]), scene, simple)
            for i, scene in enumerate(scenes)
        ]
        batch = collate(scenes, prompts, self.tokenizer, self.world.attributes)
        batch.names = tuple(f"scene {first + i} of seed {self.seed}" for i in range(self.size))
        return batch


def _canvas(rng: np.random.Generator, short_side: int) -> tuple[int, int]:
    """Width and height: half of the batches are square, the others landscape or portrait of any length."""
    if rng.random() < 0.5:
        return short_side, short_side
    long_side = int(short_side * rng.uniform(1, MAX_ASPECT))
    return (long_side, short_side) if rng.random() < 0.5 else (short_side, long_side)


def collate(
    scenes: list[Scene], prompts: list[ScenePrompt], tokenizer: Tokenizer, attributes: Attributes = ATTRIBUTES
) -> Batch:
    """Stacks scenes of one size; prompts are padded to the longest, boxes to the most that any prompt means."""
    encodings = [tokenizer.encode(prompt.text) for prompt in prompts]
    input_ids, attention_mask = pad_encodings(encodings)
    tokens = input_ids.shape[1]
    boxes = max(1, max(len(scene.objects) for scene in scenes))
    targets = Targets(
        boxes=torch.zeros(len(scenes), boxes, 4),
        valid=torch.zeros(len(scenes), boxes, dtype=torch.bool),
        tokens=torch.zeros(len(scenes), boxes, tokens, dtype=torch.bool),
    )
    present = torch.zeros(len(scenes), boxes, dtype=torch.bool)
    labels = torch.zeros(len(scenes), boxes, len(attributes), dtype=torch.int64)
    for n, (scene, prompt, encoding) in enumerate(zip(scenes, prompts, encodings)):
        for index, thing in enumerate(scene.objects):
            targets.boxes[n, index] = torch.tensor(thing.box, dtype=torch.float32)
            present[n, index] = True
            labels[n, index] = torch.tensor(attribute_labels(thing, attributes))
        for span, meant in zip(prompt.spans, prompt.targets):
            words = phrase_tokens(encoding, *span)
            for index in meant:
                targets.tokens[n, index, words.start : words.stop] = True
                targets.valid[n, index] = True
    pixels = pad(torch.stack([normalise(scene.image) for scene in scenes]))
    return Batch(pixels, input_ids, attention_mask, targets, present, labels)


def pad_encodings(encodings: list[Encoding]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask `[prompts, tokens]`, padded to the longest prompt."""
    input_ids = torch.zeros(len(encodings), max(len(encoding.ids) for encoding in encodings), dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for n, encoding in enumerate(encodings):
        input_ids[n, : len(encoding.ids)] = torch.tensor(encoding.ids)
        attention_mask[n, : len(encoding.ids)] = 1
    return input_ids, attention_mask
