"""The two worlds that a small model can be trained in: how each draws its scenes, asks about them and spells its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..tokenizer import mixed_vocabulary, nano_vocabulary
from .mixed_prompts import sample_mixed_prompt
from .mixed_scenes import render_mixed_scene
from .nouns import NOUNS
from .prompts import ScenePrompt, sample_prompt
from .scenes import COLOURS, PATTERNS, SHAPES, Scene, render_scene

#: Share of the mixed world's training scenes that are scenes of shapes alone, which keeps the first nano's skill.
SHAPE_SCENES = 0.4


@dataclass(frozen=True)
class World:
    """What training needs to know of a world."""

    #: Renders a training scene: seed, index, width, height.
    render: Callable[[int, int, int, int], Scene]
    #: Draws a prompt about a scene; the last argument is the share of simple prompts.
    prompt: Callable[[np.random.Generator, Scene, float], ScenePrompt]
    vocabulary: Callable[[], list[str]]
    #: Attributes of objects and their values, for the probes.
    attributes: dict[str, tuple[str, ...]]


def _render_training_scene(seed: int, index: int, width: int, height: int) -> Scene:
    only_shapes = np.random.default_rng([seed, 4, index]).random() < SHAPE_SCENES
    return (render_scene if only_shapes else render_mixed_scene)(seed, index, width, height)


_SHAPE_ATTRIBUTES = {"colour": tuple(COLOURS), "shape": SHAPES, "pattern": PATTERNS}
WORLDS = {
    "shapes": World(render_scene, sample_prompt, nano_vocabulary, _SHAPE_ATTRIBUTES),
    "mixed": World(
        _render_training_scene, sample_mixed_prompt, mixed_vocabulary, _SHAPE_ATTRIBUTES | {"noun": tuple(NOUNS)}
    ),
}
