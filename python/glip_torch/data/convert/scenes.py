"""Rendered scenes as a grounding file with its pictures: a data set to try things with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..grounding import Category, Header, Phrase, Record
from ..prompts import COLOURS, SHAPES, sample_prompt
from ..scenes import Scene, render_scene
from .report import Report


class SceneSource:
    """`count` scenes of a seed, drawn into `folder`/images: detection records of "red circle" and so on, or captions."""

    def __init__(self, folder: Path, count: int, seed: int, side: int, captions: bool):
        self.folder, self.count, self.seed, self.side, self.captions = folder, count, seed, side, captions
        names = () if captions else tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
        self.header = Header(names)

    def records(self, report: Report) -> Iterator[Record]:
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        for index in range(self.count):
            scene = render_scene(self.seed, index, self.side, self.side)
            image = f"images/{self.seed}-{index}.png"
            Image.fromarray(scene.image).save(self.folder / image)
            if not scene.objects:
                report.skip(image, "scene without objects")
            elif self.captions:
                yield self._caption(image, scene, index)
            else:
                yield self._detection(image, scene)

    def _detection(self, image: str, scene: Scene) -> Record:
        boxes: dict[str, list] = {}
        for thing in scene.objects:
            boxes.setdefault(f"{thing.colour} {thing.shape}", []).append(thing.edges)
        categories = tuple(Category(name, tuple(found)) for name, found in boxes.items())
        return Record(image, self.side, self.side, categories=categories, source="scenes")

    def _caption(self, image: str, scene: Scene, index: int) -> Record:
        prompt = sample_prompt(np.random.default_rng([self.seed, 2, index]), scene)
        phrases = tuple(
            Phrase((span,), tuple(scene.objects[i].edges for i in meant))
            for span, meant in zip(prompt.spans, prompt.targets)
        )
        return Record(image, self.side, self.side, text=prompt.text, phrases=phrases, source="scenes")
