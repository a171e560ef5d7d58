"""GLIP's exporter: its four parts as graphs, and what its manifest says."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import OFFICIAL, SEPARATOR, TextConfig, level_sizes
from ..model import GLIP
from ..postprocess import CENTRE_WEIGHT, MAX_LOG_SCALE, SCALE_WEIGHT, PostprocessOptions
from ..preprocess import PIXEL_MEAN, PIXEL_STD, SIZE_DIVISOR
from ..text_encoder import mask_padding
from .fusion import write_tower
from .graphs import FEATURES, Export, Graph, InputSize, PartModule, Port, padded_mask
from .head import write_head
from .modules import write_module
from .text_encoder import write_masked_padding, write_text_encoder
from .writer import GraphWriter


def export_glip(model: GLIP) -> Export:
    config = model.config
    weights = (CENTRE_WEIGHT, CENTRE_WEIGHT, SCALE_WEIGHT, SCALE_WEIGHT)
    entries = {
        # The crate's rule has more of them, for other families: src/prompt/rule.rs.
        "prompt": {"separator": SEPARATOR},
        "features": {"levels": len(config.strides), "type": FEATURES},
        "head": {
            "kind": "anchors",
            "strides": config.strides,
            "sizes": config.anchor_sizes,
            "box_coder": {"weights": weights, "max_log_scale": MAX_LOG_SCALE},
        },
    }
    return Export(
        graphs=build_graphs(model),
        family="glip",
        variant=config.variant,
        image={
            "rounding": "rounded",
            "channel_order": "bgr",
            "mean": PIXEL_MEAN,
            "std": PIXEL_STD,
            "padding": {"multiple_of": SIZE_DIVISOR},
            "masks_padding": False,
        },
        entries=entries,
        recommended=OFFICIAL,
        postprocess=PostprocessOptions(),
        vocabulary=config.text.vocab_size,
        positions=config.text.max_positions,
        hidden_size=config.text.hidden_size,
    )


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
            Port(f"{prefix}_{level}", ("batch", channels, f"height_{level}", f"width_{level}"), FEATURES)
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

    pixels = Port("pixels", ("batch", 3, "height", "width"), FEATURES)
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
        levels = write_module(w, self.image_encoder, pixels)
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
