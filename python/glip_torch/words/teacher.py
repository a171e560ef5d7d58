"""What a sentence encoder knows of words, brought to the classes of a detector.

MiniLM places texts by what they mean, "sofa" beside "couch". `MeaningMap` learns, from the words whose meaning is known, what
the detector has to look for; it then answers for every other word too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm
from transformers import BertModel, BertTokenizerFast

from .wordnet import NamedMeaning

#: Texts that are encoded at a time.
BATCH = 256


@torch.inference_mode()
def embed(texts: list[str], folder: Path) -> Tensor:
    """MiniLM's embeddings `[texts, width]`, of length 1: the mean of its last states, as sentence-transformers takes it."""
    tokenizer, encoder = BertTokenizerFast.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    # Texts of a length together, so that little is padding.
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    embeddings = torch.zeros(len(texts), encoder.config.hidden_size)
    for first in tqdm(range(0, len(order), BATCH), desc="sentence encoder", mininterval=10):
        indices = order[first : first + BATCH]
        batch = tokenizer([texts[index] for index in indices], padding=True, return_tensors="pt")
        mask = batch.attention_mask[..., None]
        states = (encoder(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        embeddings[indices] = F.normalize(states, dim=1)
    return embeddings


@dataclass
class SeenLocations:
    """Locations of photographs: what the detector's tower says of each, and how likely it holds each class."""

    features: Tensor  #: `[locations, code]`
    classes: Tensor  #: `[locations, classes]`, in 0..1

    def presence(self, classes: tuple[int, ...], sample: Tensor) -> Tensor:
        """How likely each of the sampled locations holds one of the classes, `[sample]`."""
        if not classes:
            return torch.zeros(len(sample))
        return self.classes[sample][:, list(classes)].amax(1)


class MeaningMap(nn.Module):
    """From embeddings `[texts, width]` to what to look for, `[texts, code + 1]`: weights of a location's features, and a bias."""

    def __init__(self, width: int, code: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, 512), nn.GELU(), nn.Linear(512, 256), nn.GELU(), nn.Linear(256, code + 1)
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.layers(embeddings)


def logits_at(wanted: Tensor, features: Tensor) -> Tensor:
    """`[..., locations]`, of what to look for `[..., code + 1]`."""
    return wanted[..., :-1] @ features.T + wanted[..., -1:]


@dataclass(frozen=True)
class MapSettings:
    steps: int = 8000
    texts: int = 256
    locations: int = 768
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    #: Standard deviation of what is added to each number of an embedding, so that neighbours get the same answer.
    noise: float = 0.03


class MeaningDraw:
    """Draws indices of texts with a known meaning: names of classes, other nouns that mean one, and nouns that mean none.

    Every class as often as any other, however many nouns it has, and its first name as often as all others of its names.
    """

    NAMES, NOUNS = 0.5, 0.2
    FIRST = 0.5

    def __init__(self, meanings: list[NamedMeaning], names: int):
        def grouped(indices: range) -> list[list[int]]:
            groups: dict[tuple[int, ...], list[int]] = {}
            for index in indices:
                if meanings[index].classes:
                    groups.setdefault(meanings[index].classes, []).append(index)
            return list(groups.values())

        self.names, self.nouns = grouped(range(names)), grouped(range(names, len(meanings)))
        self.none = [index for index, meaning in enumerate(meanings) if meaning.classes == ()]

    def draw(self, rng: np.random.Generator) -> int:
        share = rng.random()
        if share >= self.NAMES + self.NOUNS:
            return self.none[rng.integers(len(self.none))]
        groups = self.names if share < self.NAMES else self.nouns
        group = groups[rng.integers(len(groups))]
        if groups is self.names and rng.random() < self.FIRST:
            return group[0]
        return group[rng.integers(len(group))]


def train_map(
    meanings: list[NamedMeaning],
    names: int,
    embeddings: Tensor,
    seen: SeenLocations,
    settings: MapSettings,
    seed: int = 0,
) -> MeaningMap:
    """The map for the meanings, the first `names` of which are names of classes."""
    torch.manual_seed(seed)
    rng, draw = np.random.default_rng(seed), MeaningDraw(meanings, names)
    model = MeaningMap(embeddings.shape[1], seen.features.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    for _ in tqdm(range(settings.steps), desc="map of meanings", mininterval=10):
        indices = [draw.draw(rng) for _ in range(settings.texts)]
        sample = torch.from_numpy(rng.integers(len(seen.features), size=settings.locations))
        texts = embeddings[indices]
        texts = F.normalize(texts + settings.noise * torch.randn_like(texts), dim=1)
        target = torch.stack([seen.presence(meanings[index].classes, sample) for index in indices])
        loss = F.binary_cross_entropy_with_logits(logits_at(model(texts), seen.features[sample]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()
