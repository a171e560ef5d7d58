"""What a family of models contributes to the benchmark: everything that is not the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from glip_torch.export.check import relative_error

from .flops import FlopCount
from .stopwatch import Stopwatch

#: Of every model, in the order of the data flow: a graph each.
STAGES = ("image_encoder", "text_encoder", "fusion", "head")

#: A prompt as the graphs name it: `input_ids`, `attention_mask` and what else a family's graphs take.
Prompt = dict[str, np.ndarray]


@dataclass(frozen=True)
class Limits:
    """Where the bars are; without one, a ratio is only told."""

    speedup: float
    second_prompt: float
    memory_gb: float
    onnxruntime: float = 1.02
    floor: float | None = None
    straight: float | None = None
    names: float | None = None
    load_seconds: float | None = None


@dataclass(frozen=True)
class TorchKind:
    """A contender in PyTorch."""

    label: str
    #: What the tables call its ratio to the crate.
    ratio: str
    #: Whether it pads prompts to one length, so that its time is the same for all.
    pads_prompts: bool = False


class TorchContender(ABC):
    """A model in PyTorch, eager, and the image that it is asked about; `outputs` are the last run's, named as the graphs'."""

    def __init__(self, model: nn.Module, pixels: Tensor):
        self.model = model
        self.pixels = pixels
        self.outputs: dict[str, Tensor] = {}

    def called(self) -> list[nn.Module]:
        """The modules that it calls, for who wants them compiled."""
        return [self.model]

    @abstractmethod
    def ground(self, prompt: dict[str, Tensor], clock: Stopwatch) -> None:
        """The `whole`: one image and one prompt, from start to end."""

    def prompt(self, prompt: dict[str, Tensor], clock: Stopwatch) -> None:
        """What depends on the prompt's length, if that can be run alone."""
        self.ground(prompt, clock)


class Family(ABC):
    """Models of one family and one size."""

    #: By name. What the last computes, all others must agree with; the first is what the bar is for.
    torch_kinds: ClassVar[dict[str, TorchKind]]
    #: What the tables call the stages, and the parts of `fusion` behind it.
    components: ClassVar[dict[str, str]]
    limits: ClassVar[Limits]
    compares_straight_export: ClassVar[bool] = False
    #: What `error` is, in words.
    error_is: ClassVar[str] = "relative to the tensor"

    @abstractmethod
    def build(self) -> nn.Module:
        """The model, in eval mode, with the weights that it is initialised with."""

    def random(self) -> nn.Module:
        """The same with weights that make everything run: time does not depend on what they are."""
        return self.build()

    @abstractmethod
    def save(self, model: nn.Module, checkpoint: Path) -> None: ...

    @abstractmethod
    def load(self, checkpoint: Path) -> nn.Module: ...

    @property
    @abstractmethod
    def vocabulary_size(self) -> int: ...

    @property
    def special_tokens(self) -> dict[int, str]:
        """Tokens whose places in the vocabulary the model has built in."""
        return {}

    @abstractmethod
    def prompt(self, tokens: int) -> Prompt:
        """Of so many tokens; which ones does not matter."""

    @abstractmethod
    def contender(self, kind: str, model: nn.Module, pixels: Tensor) -> TorchContender: ...

    @abstractmethod
    def count(self, model: nn.Module, pixels: Tensor, tokens: int, flops: FlopCount) -> None:
        """Counts each component, those of `fusion` by its parts, of a model and an image on the meta device."""

    def export_straight(self, model: nn.Module, path: Path) -> None:
        """The image encoder as PyTorch's exporter writes it, if the family compares that."""
        raise NotImplementedError

    def error(self, name: str, found: np.ndarray, expected: np.ndarray) -> float:
        """The largest of an output."""
        return relative_error(found, expected)

    def flops(self, height: int, width: int, tokens: int) -> dict[str, int]:
        """Floating-point operations of each component and of the `whole`, for a batch of one."""
        count = FlopCount()
        self.count(self.on_meta(), torch.empty(1, 3, height, width, device="meta"), tokens, count)
        flops = count.flops
        flops["fusion"] = sum(flops[part] for part in self.parts)
        flops["whole"] = sum(flops[stage] for stage in STAGES)
        return dict(flops)

    @property
    def parts(self) -> list[str]:
        """The parts of `fusion`."""
        return [component for component in self.components if component not in STAGES]

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.on_meta().parameters())

    def on_meta(self) -> nn.Module:
        """Of shapes alone."""
        with torch.device("meta"):
            return self.build()
