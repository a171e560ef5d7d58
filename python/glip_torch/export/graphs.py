"""The parts of a model as graphs: named tensors in, named tensors out, of the types that their ports say.

Each part is there twice: as a PyTorch module, which says what it computes, and as what writes the
same to ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import onnx
import torch
from torch import Tensor, nn

from ..config import Recommended
from ..postprocess import PostprocessOptions
from .writer import GraphWriter, name_of

#: The type of pixels and feature maps: the one that the graph computes in, which spares copies.
FEATURES = "features"


@dataclass(frozen=True)
class Port:
    """A graph's input or output; a dimension is a number, or the name of one that is free."""

    name: str
    shape: tuple[int | str, ...]
    type: str = "float32"

    def type_in(self, dtype: torch.dtype) -> str:
        """Its type in a graph that computes in `dtype`."""
        return name_of(dtype) if self.type == FEATURES else self.type


@dataclass(frozen=True)
class Written:
    """A graph in ONNX."""

    model: onnx.ModelProto
    #: What computes the inputs that the graph has beside its ports: see `writer.OfSize`.
    grid: onnx.ModelProto | None = None

    @property
    def models(self) -> list[onnx.ModelProto]:
        return [self.model] if self.grid is None else [self.grid, self.model]


@dataclass(frozen=True)
class InputSize:
    """What the free dimensions of an example are."""

    batch: int
    height: int
    width: int
    tokens: int


#: Sizes that no part of a graph is made for.
CHECKED = (
    InputSize(batch=1, height=64, width=96, tokens=3),
    InputSize(batch=2, height=320, width=128, tokens=21),
)


def padded_mask(batch: int, tokens: int) -> Tensor:
    """A mask whose last row ends in padding, so that a check sees whether padding counts."""
    mask = torch.ones(batch, tokens, dtype=torch.int64)
    mask[-1, tokens - tokens // 3 :] = 0
    return mask


class PartModule(nn.Module):
    """A part in PyTorch, and how it is written to ONNX: `write` takes and gives what `forward` does, as values."""

    def write(self, w: GraphWriter, *inputs: str) -> tuple[str, ...]:
        raise NotImplementedError


@dataclass
class Graph:
    """A part of the model and what the tensors at its edges are."""

    name: str
    module: PartModule
    inputs: list[Port]
    outputs: list[Port]
    #: Inputs of the given size.
    example: Callable[[InputSize], tuple[Tensor, ...]]
    #: The sizes that the self-check is made at.
    checked: tuple[InputSize, ...] = CHECKED

    def to_onnx(self, dtype: torch.dtype = torch.float32, int8: bool = False, in_pieces: bool = True) -> Written:
        """The graph with named, free dimensions, computing in `dtype`, or products with weights in 8 bits.

        `in_pieces` is for CPUs, whose caches large maps do not fit.
        """
        writer = GraphWriter(self.name, dtype, int8, in_pieces)
        inputs = [writer.input(port.name, port.type_in(dtype), port.shape) for port in self.inputs]
        with torch.no_grad():
            outputs = self.module.write(writer, *inputs)
        for port, value in zip(self.outputs, outputs, strict=True):
            writer.output(port.name, value, port.type_in(dtype), port.shape)
        return Written(writer.model(), writer.grid and writer.grid.model())


@dataclass(frozen=True)
class Export:
    """What a model's exporter makes of it."""

    #: In the order of the data flow; a bundle holds one file for each.
    graphs: list[Graph]
    family: str
    variant: str
    #: The manifest's entry `image`, but for the sides.
    image: dict
    #: The manifest's entries that models of other families have otherwise, by name.
    entries: dict[str, dict]
    #: What the family's models are run with, where neither the caller nor the checkpoint says.
    recommended: Recommended
    postprocess: PostprocessOptions
    #: How many tokens it embeds, and how many of them at a time.
    vocabulary: int
    positions: int
    #: Width of its text states.
    hidden_size: int
    #: Whether prompts can be learned for it, which need no text encoder.
    takes_learned_prompts: bool = True
    #: Tokens that the model knows by their ids, which the tokenizer must agree with.
    special_tokens: dict[str, int] = field(default_factory=dict)
