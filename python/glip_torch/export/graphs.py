"""The parts of GLIP as graphs: named tensors in, named tensors out, float32 at every edge.

Each part is there twice: as a PyTorch module, which says what it computes, and as what writes the
same to ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn

from ..config import TextConfig, level_sizes
from ..csp_darknet import CSPDarknetEncoder
from ..model import GLIP
from ..text_encoder import mask_padding
from .csp_darknet import write_csp_darknet_encoder
from .fusion import write_tower
from .head import write_head
from .image_encoder import write_image_encoder
from .text_encoder import write_masked_padding, write_text_encoder
from .writer import GraphWriter


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
    module: PartModule
    inputs: list[Port]
    outputs: list[Port]
    #: Inputs of the given size.
    example: Callable[[InputSize], tuple[Tensor, ...]]

    def to_onnx(
        self, dtype: torch.dtype = torch.float32, int8: bool = False, in_pieces: bool = True
    ) -> onnx.ModelProto:
        """The graph with named, free dimensions, computing in `dtype`, or products with weights in 8 bits.

        `in_pieces` is for CPUs, whose caches large maps do not fit.
        """
        writer = GraphWriter(self.name, dtype, int8, in_pieces)
        inputs = [writer.input(port.name, port.type, port.shape) for port in self.inputs]
        with torch.no_grad():
            outputs = self.module.write(writer, *inputs)
        for port, value in zip(self.outputs, outputs, strict=True):
            writer.output(port.name, value, port.type, port.shape)
        return writer.model()


def build_graphs(model: GLIP) -> list[Graph]:
    """The graphs of a bundle in the order of the data flow; `fusion` only if the model has it."""
    config = model.config
    # Without fusion the tower is a part of the image encoder.
    channels, fused_channels = (
        config.fused_channels if config.fusion is None else config.channels,
        config.fused_channels,
    )
    width = config.text.hidden_size

    def levels(prefix: str, channels: int) -> list[Port]:
        return [
            Port(f"{prefix}_{level}", ("batch", channels, f"height_{level}", f"width_{level}"))
            for level in range(len(config.strides))
        ]

    def level_values(size: InputSize, channels: int) -> list[Tensor]:
        return [
            torch.randn(size.batch, channels, h, w) for h, w in level_sizes(size.height, size.width, config.strides)
        ]

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
            ImageEncoderPart(model),
            [pixels],
            levels("pyramid", channels),
            lambda size: (torch.randn(size.batch, 3, size.height, size.width),),
        ),
        Graph(
            "text_encoder",
            TextEncoderPart(model),
            [ids, mask],
            [words("hidden"), words("embedded")],
            lambda size: (
                _example_ids(config.text, size),
                padded_mask(size.batch, size.tokens),
            ),
        ),
        Graph(
            "fusion",
            FusionPart(model),
            [*levels("pyramid", channels), words("hidden"), mask],
            [*levels("fused", fused_channels), words("fused_text")],
            lambda size: (*level_values(size, channels), text_values(size), padded_mask(size.batch, size.tokens)),
        ),
        Graph(
            "head",
            HeadPart(model),
            [*levels("fused", fused_channels), words("text")],
            scores,
            lambda size: (*level_values(size, fused_channels), text_values(size)),
        ),
    ]
    return [graph for graph in graphs if graph.name != "fusion" or config.fusion is not None]


def _example_ids(text: TextConfig, size: InputSize) -> Tensor:
    """Any tokens, every fourth of them a boundary of phrases if the model has such."""
    ids = torch.randint(text.vocab_size, (size.batch, size.tokens))
    if text.boundaries:
        drawn = torch.randint(len(text.boundaries), ids[:, ::4].shape)
        ids[:, ::4] = torch.tensor(text.boundaries)[drawn]
    return ids


def padded_mask(batch: int, tokens: int) -> Tensor:
    """A mask whose last row ends in padding, so that a check sees whether padding counts."""
    mask = torch.ones(batch, tokens, dtype=torch.int64)
    mask[-1, tokens - tokens // 3 :] = 0
    return mask


class PartModule(nn.Module):
    """A part in PyTorch, and how it is written to ONNX: `write` takes and gives what `forward` does, as values."""

    def write(self, w: GraphWriter, *inputs: str) -> tuple[str, ...]:
        raise NotImplementedError


class ImageEncoderPart(PartModule):
    """The pyramid. Without fusion the tower is here too: it does not depend on the words."""

    def __init__(self, model: GLIP):
        super().__init__()
        self.image_encoder = model.image_encoder
        self.tower = model.tower if model.config.fusion is None else None

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        levels = self.image_encoder(pixels)
        if self.tower is not None:
            levels, _ = self.tower(levels)
        return tuple(levels)

    def write(self, w: GraphWriter, pixels: str) -> tuple[str, ...]:
        encoder = self.image_encoder
        if isinstance(encoder, CSPDarknetEncoder):
            levels = write_csp_darknet_encoder(w, encoder, pixels)
        else:
            levels = write_image_encoder(w, encoder.swin, encoder.fpn, pixels)
        if self.tower is not None:
            levels, _ = write_tower(w, self.tower, levels)
        return tuple(levels)


class TextEncoderPart(PartModule):
    def __init__(self, model: GLIP):
        super().__init__()
        self.text_encoder = model.text_encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        return self.text_encoder(input_ids, attention_mask)

    def write(self, w: GraphWriter, input_ids: str, attention_mask: str) -> tuple[str, ...]:
        return write_text_encoder(w, self.text_encoder, input_ids, attention_mask)


class FusionPart(PartModule):
    """The fused levels, and the text states that the head compares them with."""

    def __init__(self, model: GLIP):
        super().__init__()
        self.tower = model.tower
        self.fused_text = model.config.fusion is not None and model.config.fusion.fused_text

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *levels, hidden, attention_mask = inputs
        levels, fused = self.tower(levels, hidden, attention_mask)
        return *levels, fused if self.fused_text else mask_padding(hidden, attention_mask)

    def write(self, w: GraphWriter, *inputs: str) -> tuple[str, ...]:
        *levels, hidden, attention_mask = inputs
        levels, fused = write_tower(w, self.tower, levels, hidden, attention_mask)
        return *levels, fused if self.fused_text else write_masked_padding(w, hidden, attention_mask)


class HeadPart(PartModule):
    def __init__(self, model: GLIP):
        super().__init__()
        self.head = model.head

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *levels, text = inputs
        output = self.head(levels, text)
        return output.logits, output.deltas, output.centerness

    def write(self, w: GraphWriter, *inputs: str) -> tuple[str, ...]:
        *levels, text = inputs
        return write_head(w, self.head, levels, text)
