"""The parts of GLIP as graphs: named tensors in, named tensors out, float32 at every edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import STRIDES, level_sizes
from ..model import GLIP
from ..text_encoder import mask_padding

LEVELS = range(len(STRIDES))


@dataclass(frozen=True)
class Port:
    """A graph's input or output; a dimension is a number, or the name of one that is free."""

    name: str
    shape: tuple[int | str, ...]
    type: str = "float32"


@dataclass(frozen=True)
class InputSize:
    """What the free dimensions of an example are."""

    batch: int
    height: int
    width: int
    tokens: int


@dataclass
class Graph:
    """A part of the model and what the tensors at its edges are."""

    name: str
    module: nn.Module
    inputs: list[Port]
    outputs: list[Port]
    #: Inputs of the given size.
    example: Callable[[InputSize], tuple[Tensor, ...]]


def build_graphs(model: GLIP) -> list[Graph]:
    """The graphs of a bundle in the order of the data flow; `fusion` only if the model has it."""
    config = model.config
    channels, width = config.channels, config.text.hidden_size

    def levels(prefix: str) -> list[Port]:
        return [Port(f"{prefix}_{level}", ("batch", channels, f"height_{level}", f"width_{level}")) for level in LEVELS]

    def level_values(size: InputSize) -> list[Tensor]:
        return [torch.randn(size.batch, channels, h, w) for h, w in level_sizes(size.height, size.width)]

    def text_values(size: InputSize) -> Tensor:
        return torch.randn(size.batch, size.tokens, width)

    def words(name: str) -> Port:
        return Port(name, ("batch", "tokens", width))

    pixels = Port("pixels", ("batch", 3, "height", "width"))
    ids = Port("input_ids", ("batch", "tokens"), "int64")
    mask = Port("attention_mask", ("batch", "tokens"), "int64")
    scores = [
        Port("logits", ("batch", "anchors", "tokens")),
        Port("deltas", ("batch", "anchors", 4)),
        Port("centerness", ("batch", "anchors")),
    ]

    graphs = [
        Graph(
            "image_encoder",
            ImageEncoderGraph(model),
            [pixels],
            levels("pyramid"),
            lambda size: (torch.randn(size.batch, 3, size.height, size.width),),
        ),
        Graph(
            "text_encoder",
            TextEncoderGraph(model),
            [ids, mask],
            [words("hidden"), words("embedded")],
            lambda size: (
                torch.randint(config.text.vocab_size, (size.batch, size.tokens)),
                padded_mask(size.batch, size.tokens),
            ),
        ),
        Graph(
            "fusion",
            FusionGraph(model),
            [*levels("pyramid"), words("hidden"), mask],
            [*levels("fused"), words("fused_text")],
            lambda size: (*level_values(size), text_values(size), padded_mask(size.batch, size.tokens)),
        ),
        Graph(
            "head",
            HeadGraph(model),
            [*levels("fused"), words("text")],
            scores,
            lambda size: (*level_values(size), text_values(size)),
        ),
    ]
    return [graph for graph in graphs if graph.name != "fusion" or config.fusion is not None]


def padded_mask(batch: int, tokens: int) -> Tensor:
    """A mask whose last row ends in padding, so that a check sees whether padding counts."""
    mask = torch.ones(batch, tokens, dtype=torch.int64)
    mask[-1, tokens - tokens // 3 :] = 0
    return mask


class ImageEncoderGraph(nn.Module):
    """The pyramid. Without fusion the tower is here too: it does not depend on the words."""

    def __init__(self, model: GLIP):
        super().__init__()
        self.image_encoder = model.image_encoder
        self.tower = model.tower if model.config.fusion is None else None

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        levels = self.image_encoder(pixels.to(_dtype(self)))
        if self.tower is not None:
            levels, _ = self.tower(levels)
        return _float(*levels)


class TextEncoderGraph(nn.Module):
    def __init__(self, model: GLIP):
        super().__init__()
        self.text_encoder = model.text_encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        return _float(*self.text_encoder(input_ids, attention_mask))


class FusionGraph(nn.Module):
    def __init__(self, model: GLIP):
        super().__init__()
        self.tower = model.tower
        self.fused_text = model.config.fusion is not None and model.config.fusion.fused_text

    def forward(
        self, p3: Tensor, p4: Tensor, p5: Tensor, p6: Tensor, p7: Tensor, hidden: Tensor, attention_mask: Tensor
    ) -> tuple[Tensor, ...]:
        dtype = _dtype(self)
        hidden = hidden.to(dtype)
        levels, fused = self.tower([level.to(dtype) for level in (p3, p4, p5, p6, p7)], hidden, attention_mask)
        return _float(*levels, fused if self.fused_text else mask_padding(hidden, attention_mask))


class HeadGraph(nn.Module):
    def __init__(self, model: GLIP):
        super().__init__()
        self.head = model.head

    def forward(self, p3: Tensor, p4: Tensor, p5: Tensor, p6: Tensor, p7: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        dtype = _dtype(self)
        output = self.head([level.to(dtype) for level in (p3, p4, p5, p6, p7)], text.to(dtype))
        return _float(output.logits, output.deltas, output.centerness)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _float(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.float() for tensor in tensors)
