"""Initial weights for training from scratch in few steps, where the modules' own suit fine-tuning."""

from __future__ import annotations

import torch
from torch import nn

from ..dyhead import DyHead
from ..model import GLIP


def set_dropout(model: nn.Module, share: float) -> None:
    """The share of numbers that dropout leaves out in training, everywhere."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def initialise(model: GLIP | DyHead) -> None:
    # Every scene is new: there is nothing to over-fit.
    set_dropout(model, 0.0)
    for module in model.image_encoder.swin.modules():
        if isinstance(module, nn.Linear):
            # The usual standard deviation of 0.02 is for width 96 and up; narrow layers need more to pass a signal on.
            nn.init.xavier_uniform_(module.weight)
    if isinstance(model, GLIP):
        _initialise_words(model)
    # The tower has no residuals: it starts as nearly the identity (own cell, both signs), and so do the pyramid's outputs, or
    # a random network would forget the colours on the way.
    for layer in model.tower.layers:
        _add_identity(layer.dyconv.own.conv)
        lower_slope = layer.dyconv.activation.fc2.bias.chunk(4)[2]
        nn.init.constant_(lower_slope, 0.75)
    for conv in model.image_encoder.fpn.output:
        conv.weight.data *= 0.3
        _add_identity(conv)


def _initialise_words(model: GLIP) -> None:
    # They must stay apart on their way through the text layers, or the tower learns to find objects and stops
    # listening: BERT's layers keep their small weights, word embeddings outweigh positions, what the image adds is faint.
    nn.init.normal_(model.text_encoder.bert.embeddings.word_embeddings.weight, std=0.05)
    for layer in model.tower.layers:
        if layer.fusion is not None:
            nn.init.constant_(layer.fusion.gamma_v, 0.1)
            nn.init.constant_(layer.fusion.gamma_l, 0.1)
    # Starts the logits with a spread of about one that is due to the words alone.
    nn.init.normal_(model.head.dot_product_projection_text.weight, std=1.0)
    nn.init.zeros_(model.head.dot_product_projection_text.bias)


def _add_identity(conv: nn.Conv2d) -> None:
    conv.weight.data[:, :, 1, 1] += torch.eye(len(conv.weight))
